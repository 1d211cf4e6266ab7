package cgroupfs

import (
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

type view struct{ inspect.View }

func (view) PIDs(int32) []int32 { return []int32{1, 5} }
func (view) System() inspect.System {
	return inspect.System{Tasks: 3, UserNS: 2e6, SystemNS: 1e6}
}

func (view) MemUse() (used, shmem uint64) { return 1 << 20, 0 }

func TestLimits(t *testing.T) {
	l := Limits{Memory: 64<<20 + 1, Pids: 20, CPUQuota: 50000, CPUs: 2}
	ns := vfs.NewMountNamespace(New(view{}, func() Limits { return l }), "cgroup", 0)
	at := vfs.At{FS: vfs.NewFSContext(ns.Root(), 0)}
	read := func(path string) string {
		t.Helper()
		fd, e := vfs.Open(vfs.Internal, at, path, vfs.OpenHow{Flags: unix.O_RDONLY})
		if e != 0 {
			t.Fatalf("%s: %v", path, e)
		}
		defer fd.DecRef()
		b := make([]byte, 100)
		n, _ := fd.Read(vfs.Internal, b)
		return string(b[:n])
	}
	check := func(want map[string]string) {
		t.Helper()
		for f, w := range want {
			if got := read("/" + f); got != w {
				t.Errorf("%s has %q, want %q", f, got, w)
			}
		}
	}
	check(map[string]string{
		"memory.max": "67108864\n", "memory.current": "1048576\n", "pids.max": "20\n", "pids.current": "3\n",
		"cpu.max": "50000 100000\n", "cgroup.procs": "1\n5\n", "cpuset.cpus.effective": "0-1\n", "cgroup.type": "domain\n",
	})
	l = Limits{}
	check(map[string]string{"memory.max": "max\n", "pids.max": "max\n", "cpu.max": "max 100000\n"})
	if _, e := vfs.Open(vfs.Internal, at, "/memory.max", vfs.OpenHow{Flags: unix.O_WRONLY}); e != unix.EROFS {
		t.Errorf("open for writing: %v, want EROFS", e)
	}
	if e := vfs.Mkdir(vfs.Internal, at, "/sub", 0755); e != unix.EROFS {
		t.Errorf("mkdir: %v, want EROFS", e)
	}
}
