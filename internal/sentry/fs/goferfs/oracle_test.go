package goferfs

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/gofer"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
	"bulkhead.dev/bulkhead/internal/wire"
)

// mountDir serves dir by a Gofer in this process.
func mountDir(t testing.TB, dir string, o Options, run func(func()) error) *vfs.Filesystem {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &wire.GoferConfig{Mounts: []wire.GoferMount{{Root: dir, Readonly: o.Readonly, Shared: o.Shared, Dest: "/"}}}
	done := make(chan error, 1)
	if err := run(func() { done <- gofer.Serve(p[1], cfg) }); err != nil {
		t.Skipf("this host lets no tmpfs be mounted in a mount namespace: %v", err)
	}
	c := NewClient(p[0])
	t.Cleanup(func() {
		c.Close()
		if err := <-done; err != nil {
			t.Errorf("the Gofer ended with: %v", err)
		}
		unix.Close(p[1])
	})
	fs, e := New(c, o)
	if e != 0 {
		t.Fatal(e)
	}
	return fs
}

// TestAgainstHost runs random calls on the host and by way of a Gofer.
func TestAgainstHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the oracle is a tmpfs mounted in a mount namespace")
	}
	limits := vfstest.Limits{
		NoDevices: true, NoWhite: true,
		Xattrs: []string{"user.a", "user.b", "user.", "nope.x", ""},
	}
	for _, shared := range []bool{false, true} {
		for seed := range uint64(3) {
			host, err := vfstest.NewHost(t.TempDir())
			if err != nil {
				t.Skipf("this host lets no tmpfs be mounted in a mount namespace: %v", err)
			}
			dir := t.TempDir()
			fs := mountDir(t, dir, Options{Shared: shared}, func(f func()) error { return vfstest.OnTmpfs(dir, f) })
			err = vfstest.Compare(seed, 2000, host, vfstest.NewGuest(fs), limits)
			host.Close()
			fs.Ops.Release()
			if err != nil {
				t.Fatalf("shared %v: %v", shared, err)
			}
		}
	}
}
