package overlay

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/gofer"
	"bulkhead.dev/bulkhead/internal/sentry/fs/goferfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
	"bulkhead.dev/bulkhead/internal/wire"
)

// startGofer serves dir twice: as mount 0 to write to, as mount 1 to read.
func startGofer(t testing.TB, dir string, run func(func()) error) *goferfs.Client {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &wire.GoferConfig{Mounts: []wire.GoferMount{{Root: dir, Dest: "/"}, {Root: dir, Readonly: true, Dest: "/"}}}
	done := make(chan error, 1)
	if err := run(func() { done <- gofer.Serve(p[1], cfg) }); err != nil {
		t.Skipf("this host lets no tmpfs be mounted in a mount namespace: %v", err)
	}
	c := goferfs.NewClient(p[0])
	t.Cleanup(func() {
		c.Close()
		if err := <-done; err != nil {
			t.Errorf("the Gofer ended with: %v", err)
		}
		unix.Close(p[1])
	})
	return c
}

func mount(t testing.TB, c *goferfs.Client, o goferfs.Options) *vfs.Filesystem {
	t.Helper()
	fs, e := goferfs.New(c, o)
	if e != 0 {
		t.Fatal(e)
	}
	return fs
}

// TestAgainstHost makes the same random tree on the host and behind a Gofer,
// then goes on with random calls on the host's and on an overlay over the
// other.
func TestAgainstHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the oracle is a tmpfs mounted in a mount namespace")
	}
	limits := vfstest.Limits{Without: []string{"tmpfile", "chdir"}, NoDevices: true, NoWhite: true, Xattrs: []string{"user.a", "user.b"}}
	for seed := range uint64(6) {
		host, err := vfstest.NewHost(t.TempDir())
		if err != nil {
			t.Skipf("this host lets no tmpfs be mounted in a mount namespace: %v", err)
		}
		dir := t.TempDir()
		c := startGofer(t, dir, func(f func()) error { return vfstest.OnTmpfs(dir, f) })
		lower := mount(t, c, goferfs.Options{})
		if err := vfstest.Compare(seed, 800, host, vfstest.NewGuest(lower), limits); err != nil {
			t.Fatalf("making the tree: %v", err)
		}
		fs, e := New(vfs.Internal, mount(t, c, goferfs.Options{Mount: 1, Readonly: true}), "size=64m")
		if e != 0 {
			t.Fatal(e)
		}
		// Few dentries, so that much is forgotten and found again.
		fs.SetDentryLimit(4)
		err = vfstest.Compare(seed+100, 2000, host, vfstest.NewGuest(fs), vfstest.Limits{})
		host.Close()
		if err != nil {
			t.Fatal(err)
		}
		fs.Ops.Release()
		lower.Ops.Release()
	}
}
