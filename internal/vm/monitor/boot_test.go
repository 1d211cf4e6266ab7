package monitor

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
)

func TestModulesOf(t *testing.T) {
	for _, c := range []struct {
		what string
		cfg  hypervisor.Config
		want string
	}{
		{"an image", hypervisor.Config{Disks: make([]hypervisor.Disk, 1)}, "block,erofs,overlay"},
		{"an image, a volume and a network", hypervisor.Config{
			Disks: make([]hypervisor.Disk, 1), Shares: make([]hypervisor.Share, 1), Nets: make([]hypervisor.Net, 1),
		}, "block,erofs,virtiofs,overlay,net"},
		{"a pod", hypervisor.Config{Shares: make([]hypervisor.Share, 2)}, "virtiofs,overlay"},
	} {
		got := modulesOf(&c.cfg, "erofs")
		if want := " bulkhead.modules=" + c.want + " bulkhead.later=balloon,rng"; got != want {
			t.Errorf("%s: %q, want %q", c.what, got, want)
		}
	}
}

func TestWhyOutOfMemory(t *testing.T) {
	m := &monitor{memory: 512 << 20}
	g := newContainer(m, "c", &m.cfg)
	for _, c := range []struct {
		limit  int64
		status uint32
		oom    bool
		want   string
	}{
		{0, uint32(unix.SIGKILL), true, "the VM has 512 MiB"},
		{100 << 20, uint32(unix.SIGKILL), true, "they may have 100 MiB"},
		{0, uint32(unix.SIGKILL), false, ""}, // somebody's kill
		{0, uint32(unix.SIGTERM), true, ""},
		{0, 137 << 8, true, ""}, // a child was killed, and a shell has passed it on
		{0, 0, true, ""},
	} {
		g.conf.Limits.MemoryBytes = c.limit
		err := g.outOfMemory(&proc{status: c.status, oom: c.oom})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
