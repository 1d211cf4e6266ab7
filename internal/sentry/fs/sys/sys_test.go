package sys

import (
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

func TestTree(t *testing.T) {
	up := []Interface{{Name: "lo", Index: 1, MTU: 65536, Flags: unix.IFF_UP | unix.IFF_LOOPBACK, Type: 772}}
	ns := vfs.NewMountNamespace(New(Config{CPUs: 3, Interfaces: func() []Interface { return up }}), "sysfs", 0)
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
	for path, want := range map[string]string{
		"/devices/system/cpu/online":                            "0-2\n",
		"/devices/system/cpu/cpu2/topology/core_siblings":       "7\n",
		"/devices/system/cpu/cpu1/topology/thread_siblings":     "2\n",
		"/devices/system/cpu/cpu0/cache/index3/shared_cpu_list": "0-2\n",
		"/class/net/lo/mtu":                                     "65536\n",
		"/class/net/lo/statistics/rx_bytes":                     "0\n",
		"/kernel/mm/transparent_hugepage/enabled":               "always [madvise] never\n",
	} {
		if got := read(path); got != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
	if _, e := vfs.Stat(vfs.Internal, at, "/fs/cgroup", vfs.LookupDirectory); e != 0 {
		t.Errorf("/fs/cgroup: %v", e)
	}
	up = nil
	if _, e := vfs.Stat(vfs.Internal, at, "/class/net/lo", 0); e != unix.ENOENT {
		t.Errorf("an interface that went: %v, want ENOENT", e)
	}
	if got := maskOf(0, 40); got != "ff,ffffffff\n" {
		t.Errorf("mask of 40: %q", got)
	}
}
