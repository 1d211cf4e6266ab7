package container

import (
	"testing"

	"github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"bulkhead.dev/bulkhead/internal/wire"
)

func TestVMAnnotations(t *testing.T) {
	for _, c := range []struct {
		key, value string
		ok         bool
	}{
		{vmMemoryAnnotation, "268435456", true}, {vmMemoryAnnotation, "1", false}, {vmMemoryAnnotation, "lots", false},
		{vmCPUsAnnotation, "2", true}, {vmCPUsAnnotation, "0", false},
		{vmTemplateAnnotation, "off", true}, {vmTemplateAnnotation, "no", false},
		{vmAccelAnnotation, "tcg", true}, {vmAccelAnnotation, "hax", false},
		{vmHypervisorAnnotation, "firecracker", true}, {vmHypervisorAnnotation, "xen", false},
		{vmKernelAnnotation, "/boot/vmlinuz", true}, {vmKernelAnnotation, "vmlinuz", false},
		{vmRootAnnotation, "share", true}, {vmRootAnnotation, "9p", false},
		{vmOwnerAnnotation, "team-a", true}, {vmOwnerAnnotation, "", false},
		{vmAnnotationPrefix + "unknown", "x", false},
	} {
		if err := vmAnnotation(c.key, c.value); (err == nil) != c.ok {
			t.Errorf("%s=%s: %v", c.key, c.value, err)
		}
	}
	o := vmOptions(map[string]string{vmMemoryAnnotation: "268435456", vmTemplateAnnotation: "off", vmRootAnnotation: "share"})
	if o.Memory != 256<<20 || !o.NoTemplate || !o.LiveRoot {
		t.Errorf("options %+v", o)
	}
}

// A limit of memory is the container's; the hypervisor's part comes on top, in
// each form that a limit is given in, and what is not limited stays so.
func TestVMOverhead(t *testing.T) {
	limit, pids := int64(100<<20), int64(10)
	r := &specs.LinuxResources{
		Memory:  &specs.LinuxMemory{Limit: &limit},
		Pids:    &specs.LinuxPids{Limit: &pids},
		Unified: map[string]string{"memory.max": "104857600", "cpu.weight": "5"},
	}
	out := hostResources(WallVM, r)
	if out.Memory != limit+wire.VMOverhead || out.Unified["memory.max"] != "306184192" || out.Unified["cpu.weight"] != "5" {
		t.Errorf("memory %d, unified %v", out.Memory, out.Unified)
	}
	if r.Unified["memory.max"] != "104857600" {
		t.Error("the caller's own map was changed")
	}
	if out.PidsLimit != nil {
		t.Error("the guest's limit of tasks is the host's")
	}
	if out := hostResources(WallVM, &specs.LinuxResources{}); out.Memory != 0 {
		t.Errorf("no limit became %d", out.Memory)
	}
	if out := hostResources(WallSentry, r); out.Memory != limit {
		t.Errorf("the Sentry's limit is %d", out.Memory)
	}
}

func TestVMUIDsDiffer(t *testing.T) {
	a, b := vmUID("/run/a"), vmUID("/run/b")
	if a == b || a < vmUIDBase || a >= vmUIDBase+1<<24 {
		t.Errorf("uids %#x and %#x", a, b)
	}
}

// What a container writes to its root must not reach an image that others
// share, and a live root is served as it is.
func TestForVM(t *testing.T) {
	l := &launch{}
	l.gofer.Mounts = []wire.GoferMount{{Root: "/rootfs"}}
	l.sentry.Root.Overlay = wire.OverlayNone
	l.forVM(&wire.VMOptions{}, "/run/x")
	if l.sentry.Root.Overlay != wire.OverlayMemory || !l.gofer.Mounts[0].Readonly || l.vm.UID == 0 {
		t.Errorf("image: %+v %+v", l.sentry.Root, l.gofer.Mounts[0])
	}
	l = &launch{}
	l.gofer.Mounts = []wire.GoferMount{{Root: "/rootfs"}}
	l.sentry.Root.Overlay = wire.OverlayNone
	l.forVM(&wire.VMOptions{LiveRoot: true}, "/run/x")
	if l.sentry.Root.Overlay != wire.OverlayNone || l.gofer.Mounts[0].Readonly {
		t.Errorf("share: %+v %+v", l.sentry.Root, l.gofer.Mounts[0])
	}
}

func TestSplitBoot(t *testing.T) {
	burst := uint64(1000)
	r := &cgroups.Resources{CpuQuota: 20000, CpuPeriod: 100000, CpuBurst: &burst, CpuShares: 512, Memory: 1 << 20}
	later := splitBoot(r)
	if later == nil || later.CpuQuota != 20000 || later.CpuPeriod != 100000 || later.CpuBurst != &burst || later.Memory != 0 || !later.SkipDevices {
		t.Errorf("later: %+v", later)
	}
	if r.CpuQuota != 0 || r.CpuBurst != nil || r.CpuShares != 512 || r.Memory != 1<<20 {
		t.Errorf("at once: %+v", r)
	}
	for _, quota := range []int64{0, -1} {
		if later := splitBoot(&cgroups.Resources{CpuQuota: quota}); later != nil {
			t.Errorf("quota %d: %+v", quota, later)
		}
	}
}
