package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// Behind the VM wall a monitor stands where the Sentry does: it is the process
// of the record, its pid is the container's, and it speaks the Sentry's control
// protocol. There is no Gofer: the monitor's virtiofsd's serve the volumes.

// vmmProgram is the monitor's, a program of its own so that the other wall's
// start does not pay for what it links.
const vmmProgram = "bulkhead-vmm"

// vmmExe finds it: beside this program, else on the PATH. A test names its own
// binary's fake.
var vmmExe = func() ([]string, error) {
	if self, err := os.Readlink("/proc/self/exe"); err == nil {
		if p := filepath.Join(filepath.Dir(self), vmmProgram); unix.Access(p, unix.X_OK) == nil {
			return []string{p}, nil
		}
	}
	p, err := exec.LookPath(vmmProgram)
	if err != nil {
		return nil, fmt.Errorf("the VM wall needs %s, which is neither beside this program nor on the PATH: make build makes both", vmmProgram)
	}
	return []string{p}, nil
}

// Annotations of the VM wall.
const (
	vmAnnotationPrefix     = annotationPrefix + "vm."
	vmMemoryAnnotation     = vmAnnotationPrefix + "memory"     // bytes of the machine
	vmCPUsAnnotation       = vmAnnotationPrefix + "cpus"       // number of vCPUs
	vmTemplateAnnotation   = vmAnnotationPrefix + "template"   // off: boot, restore no snapshot
	vmAccelAnnotation      = vmAnnotationPrefix + "accel"      // auto, kvm or tcg
	vmHypervisorAnnotation = vmAnnotationPrefix + "hypervisor" // qemu, cloud-hypervisor or firecracker
	vmChannelAnnotation    = vmAnnotationPrefix + "channel"    // virtio or vsock: how QEMU's guest is spoken to
	vmKernelAnnotation     = vmAnnotationPrefix + "kernel"     // a vmlinuz of the host
	vmRootAnnotation       = vmAnnotationPrefix + "root"       // image, or share: virtiofs
	vmOwnerAnnotation      = vmAnnotationPrefix + "owner"      // whose templates; never another's
)

// vmAnnotation checks one annotation of the VM wall.
func vmAnnotation(key, value string) error {
	bad := func(want string) error { return fmt.Errorf("%q; want %s", value, want) }
	switch key {
	case vmMemoryAnnotation:
		if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < 64<<20 || n > 1<<42 {
			return bad("a number of bytes, at least 67108864")
		}
	case vmCPUsAnnotation:
		if n, err := strconv.Atoi(value); err != nil || n < 1 || n > 255 {
			return bad("a number of CPUs")
		}
	case vmTemplateAnnotation:
		if value != "on" && value != "off" {
			return bad("on or off")
		}
	case vmAccelAnnotation:
		if value != "auto" && value != "kvm" && value != "tcg" {
			return bad("auto, kvm or tcg")
		}
	case vmChannelAnnotation:
		return CheckChannel(value)
	case vmHypervisorAnnotation:
		return CheckHypervisor(value)
	case vmKernelAnnotation:
		if !filepath.IsAbs(value) {
			return bad("an absolute path")
		}
	case vmRootAnnotation:
		if value != "image" && value != "share" {
			return bad("image or share")
		}
	case vmOwnerAnnotation:
		if value == "" || len(value) > 256 {
			return bad("a name")
		}
	default:
		return errors.New("is no annotation of this runtime")
	}
	return nil
}

// CheckChannel refuses a way to the agent that there is not.
func CheckChannel(name string) error {
	if name != "virtio" && name != "vsock" {
		return fmt.Errorf("%q; want virtio or vsock", name)
	}
	return nil
}

// CheckHypervisor refuses one that there is no driver for.
func CheckHypervisor(name string) error {
	switch name {
	case "qemu", "cloud-hypervisor", "firecracker":
		return nil
	}
	return fmt.Errorf("%q; want qemu, cloud-hypervisor or firecracker", name)
}

// vmOptions reads the annotations, which have been checked.
func vmOptions(a map[string]string) *wire.VMOptions {
	o := &wire.VMOptions{
		NoTemplate: a[vmTemplateAnnotation] == "off",
		Accel:      a[vmAccelAnnotation],
		Hypervisor: a[vmHypervisorAnnotation],
		Channel:    a[vmChannelAnnotation],
		Kernel:     a[vmKernelAnnotation],
		LiveRoot:   a[vmRootAnnotation] == "share",
	}
	o.Memory, _ = strconv.ParseInt(a[vmMemoryAnnotation], 10, 64)
	o.CPUs, _ = strconv.Atoi(a[vmCPUsAnnotation])
	return o
}

// vmUIDBase is the first of the numbers that hypervisors run as: a range that
// no distribution hands out.
const vmUIDBase = 0x60000000

// vmUID gives the hypervisor of a sandbox a uid of its own, so that one that
// breaks out meets nobody's files or processes.
func vmUID(dir string) int {
	h := fnv.New32a()
	fmt.Fprint(h, dir, os.Getpid())
	return vmUIDBase + int(h.Sum32()&0xffffff)
}

// vmPlans are the ways to start a monitor: with its own PID namespace, so that
// its end ends all, and its own mount namespace, so that its files go with it.
// It must see owners as they are, and so has no user namespace when root
// starts it.
func vmPlans(uid, gid int) []nsPlan {
	const ns = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	bare := nsPlan{name: "no namespaces", vm: true}
	if uid == 0 {
		return []nsPlan{{name: "namespaces of root", flags: ns, vm: true}, bare}
	}
	return []nsPlan{{
		name: "own user namespace", flags: unix.CLONE_NEWUSER | ns, vm: true,
		uids: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
		gids: []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}},
	}, bare}
}

// startMonitor starts `bulkhead-vmm monitor`, with the descriptors of a Sentry
// but the Gofer's.
func (l *launch) startMonitor(r *running, control, conf, ready *os.File) error {
	exe, err := vmmExe()
	if err != nil {
		return err
	}
	files := []*os.File{l.stdio[0], l.stdio[1], l.stdio[2], control, conf, ready}
	// Not the cpuset's, which update may widen: the machine's CPUs are all there
	// from its start, and the guest's cgroup says how many are used.
	if l.vm.CPUs == 0 {
		l.vm.CPUs = runtime.NumCPU()
	}
	args := []string{"monitor", "--control-fd=3", "--config-fd=4", "--ready-fd=5"}
	if l.pod != nil {
		args[0] = "member"
		args = append(args, fmt.Sprint("--pod-fd=", len(files)))
		files = append(files, l.pod)
	}
	if l.start {
		args = append(args, "--start")
	}
	l.sentry.DebugLogFD = 0
	if l.debug != nil {
		l.sentry.DebugLogFD = len(files)
		files = append(files, l.debug)
		l.vm.Console = true
	}
	l.sentry.PreserveFDs = len(l.extra) // refused there, by name
	p, plan, err := l.spawn(exe, args, files, l.sentryPlans, l.netns, l.ctty)
	if err != nil {
		return fmt.Errorf("starting the VM's monitor: %w", err)
	}
	r.sentry, r.plan = p, plan
	l.sentry.Privileges = plan.privileges(l.cgroup)
	return nil
}

// encodeVM is the monitor's configuration.
func (l *launch) encodeVM() ([]byte, error) {
	return json.Marshal(&wire.VMConfig{Container: l.sentry, Trees: l.gofer, VM: *l.vm})
}

// forVM makes a launch one of a VM.
func (l *launch) forVM(o *wire.VMOptions, dir string) {
	l.vm = o
	o.UID = vmUID(dir)
	if o.Cache == "" {
		o.Cache = vmCache()
	}
	l.sentryPlans = vmPlans(os.Geteuid(), os.Getegid())
	l.goferPlans = nil
	if o.LiveRoot {
		return
	}
	// What the container writes to its root stays in the VM: the image is
	// shared by all who have the same root.
	l.sentry.Root.Overlay = wire.OverlayMemory
	l.gofer.Mounts[0].Readonly = true
}

// vmCache is an ordinary user's own cache, as the XDG Base Directory
// Specification has it: the monitor is root in its namespace, and would take
// root's. "" is that.
func vmCache() string {
	if os.Geteuid() == 0 {
		return ""
	}
	base := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(base) {
		home := os.Getenv("HOME")
		if !filepath.IsAbs(home) {
			return ""
		}
		base = filepath.Join(home, ".cache")
	}
	return filepath.Join(base, "bulkhead")
}

// vmOverhead is what a limit of memory leaves to the hypervisor.
func vmOverhead(limit int64) int64 {
	if limit <= 0 {
		return limit
	}
	return limit + wire.VMOverhead
}

// splitBoot takes the quota of CPU time out of r and gives what is to be set when
// the machine is there; nil if there is none. A boot is the runtime's work and one
// CPU's, and a quota of a fifth makes it five times as long; worse, a guest's kernel
// that is stopped in the middle of each period measures its timers wrong (package
// word). The container itself never runs without: its guest's cgroup has it.
func splitBoot(r *cgroups.Resources) *cgroups.Resources {
	if r.CpuQuota <= 0 {
		return nil
	}
	later := &cgroups.Resources{SkipDevices: true, CpuQuota: r.CpuQuota, CpuPeriod: r.CpuPeriod, CpuBurst: r.CpuBurst}
	r.CpuQuota, r.CpuBurst = 0, nil
	return later
}

// hostResources are the limits of the container's cgroups: those of
// config.json, and behind the VM wall what the hypervisor and the guest's
// kernel need beside them.
func hostResources(wall Wall, r *specs.LinuxResources) *cgroups.Resources {
	out := resourcesOf(r)
	if wall != WallVM {
		return out
	}
	for _, name := range []string{"memory.max", "memory.high"} {
		if n, err := strconv.ParseInt(out.Unified[name], 10, 64); err == nil {
			out.Unified = maps.Clone(out.Unified)
			out.Unified[name] = strconv.FormatInt(vmOverhead(n), 10)
		}
	}
	out.Memory = vmOverhead(out.Memory)
	out.MemorySwap = vmOverhead(out.MemorySwap)
	// The guest's tasks are no tasks of the host: its kernel holds their limit.
	out.PidsLimit = nil
	return out
}

// hostLimits are the limits of `do`'s cgroup.
func (o *DoOptions) hostLimits() (memory, pids int64) {
	if o.VM == nil {
		return o.Memory, o.Pids
	}
	return vmOverhead(o.Memory), 0
}
