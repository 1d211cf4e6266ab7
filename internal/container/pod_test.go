package container

import (
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"bulkhead.dev/bulkhead/internal/wire"
)

func TestPodPart(t *testing.T) {
	for _, c := range []struct {
		annotations map[string]string
		sandbox     bool
		joins       string
	}{
		{nil, false, ""},
		{map[string]string{"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "s"}, true, ""},
		{map[string]string{"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "s"}, false, "s"},
		{map[string]string{"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.cri-o.SandboxID": "o"}, false, "o"},
		{map[string]string{"io.kubernetes.cri.container-type": "container"}, false, ""},
		{map[string]string{"io.kubernetes.cri.sandbox-id": "s"}, false, ""},
	} {
		if sandbox, joins := podPart(c.annotations); sandbox != c.sandbox || joins != c.joins {
			t.Errorf("%v: %v %q", c.annotations, sandbox, joins)
		}
	}
}

// podCreation is a container behind the VM wall with these annotations.
func podCreation(rt *Runtime, annotations map[string]string) *creation {
	c := &creation{Container: &Container{rt: rt}, opts: &CreateOptions{ID: "me"}, bundle: &bundle{config: &Config{Annotations: annotations}}}
	c.rec.Wall, c.launch.vm = WallVM, new(wire.VMOptions)
	return c
}

func TestPodOfSandbox(t *testing.T) {
	c := podCreation(&Runtime{Root: t.TempDir()}, map[string]string{
		"io.kubernetes.cri.container-type": "sandbox", podMemoryAnnotation: "1000000", podCPUQuotaAnnotation: "150000", podCPUPeriodAnnotation: "100000",
	})
	if err := c.joinPod(nil); err != nil {
		t.Fatal(err)
	}
	if vm := c.launch.vm; !vm.Pod || vm.PodMemory != 1000000 || vm.CPUs != 2 || vm.Member != "" {
		t.Errorf("%+v", vm)
	}
}

// What cannot be joined is refused, and says why.
func TestPodRefusals(t *testing.T) {
	rt := &Runtime{Root: t.TempDir()}
	member := map[string]string{"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "pod"}
	refused := func(want string) {
		t.Helper()
		if err := podCreation(rt, member).joinPod(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	refused("create that first")
	p, err := rt.makeDir("pod")
	if err != nil {
		t.Fatal(err)
	}
	p.rec.ID, p.rec.Wall = "pod", WallSentry
	if err := p.save(); err != nil {
		t.Fatal(err)
	}
	p.unlock()
	refused("a pod has one wall")
	p.rec.Wall, p.rec.Loaded = WallVM, true
	if err := p.save(); err != nil {
		t.Fatal(err)
	}
	refused("takes no more containers")
}

// A member may be given the pod's PID namespace, which is refused elsewhere.
func TestPodNamespaces(t *testing.T) {
	cfg := &Config{Annotations: map[string]string{"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "pod"}}
	l := &specs.Linux{Namespaces: []specs.LinuxNamespace{
		{Type: specs.PIDNamespace, Path: "/proc/1/ns/pid"}, {Type: specs.IPCNamespace, Path: "/proc/1/ns/ipc"}, {Type: specs.MountNamespace}, {Type: specs.NetworkNamespace},
	}}
	for joins, want := range map[bool]int{true: 0, false: 2} {
		said := 0
		c := &checker{joins: joins, warn: func(string, ...any) { said++ }}
		c.namespaces(cfg, l)
		if said += len(c.errs); said != want {
			t.Errorf("joins %v: %d objections, want %d: %v", joins, said, want, c.errs)
		}
	}
	if !strings.HasPrefix(wire.PodTree("a.1", 12), "a.1-12") || filepath.Base(wire.PodTree("a", 3)) != "a-3" {
		t.Error(wire.PodTree("a.1", 12))
	}
}
