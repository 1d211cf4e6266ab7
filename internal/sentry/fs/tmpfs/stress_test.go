package tmpfs

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
)

// TestConcurrent has several tasks change one tree at once, with so few
// dentries that names come and go all the time; then all must be free again.
func TestConcurrent(t *testing.T) {
	fs, e := New(vfs.Internal, "", 0, "mode=755,size=64m")
	if e != 0 {
		t.Fatal(e)
	}
	fs.SetDentryLimit(6)
	g := vfstest.NewGuest(fs)
	vfstest.Stress(1, 4, 1500, g, vfstest.Limits{})
	g.FS.SetCwd(g.NS.Root())
	removeAll(t, g, "/")
	fs.DropCaches()
	s, _ := fs.Ops.Statfs(vfs.Internal)
	if s.Bfree != s.Blocks {
		t.Errorf("%d pages are left over in an empty tmpfs", s.Blocks-s.Bfree)
	}
	if s.Files-s.Ffree != 1 {
		t.Errorf("%d inodes are left over in an empty tmpfs", s.Files-s.Ffree-1)
	}
}

// TestDotDotOfRemoved: a removed directory that a task stands in still leads to
// the one it stood in, be that evicted from the cache, used, or removed too.
func TestDotDotOfRemoved(t *testing.T) {
	fs, e := New(vfs.Internal, "", 0, "mode=755")
	if e != 0 {
		t.Fatal(e)
	}
	g := vfstest.NewGuest(fs)
	at := vfs.At{FS: g.FS}
	for _, d := range []string{"/a", "/a/b", "/a/b/c"} {
		if e := vfs.Mkdir(vfs.Internal, at, d, 0755); e != 0 {
			t.Fatal(d, e)
		}
	}
	p, e := vfs.Walk(vfs.Internal, at, "/a/b/c", 0)
	if e != 0 {
		t.Fatal(e)
	}
	g.FS.SetCwd(p)
	p.DecRef()
	stat := func(path string, want abi.Errno) {
		t.Helper()
		done := make(chan abi.Errno, 1)
		go func() {
			_, e := vfs.Stat(vfs.Internal, at, path, 0)
			done <- e
		}()
		select {
		case e := <-done:
			if e != want {
				t.Errorf("stat %s: %v, want %v", path, e, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("stat %s does not end", path)
		}
	}
	vfs.Rmdir(vfs.Internal, at, "/a/b/c")
	fs.DropCaches()
	stat("..", 0)
	stat("../none", unix.ENOENT)
	stat("../../b", 0)
	vfs.Rmdir(vfs.Internal, at, "/a/b")
	stat("../none", unix.ENOENT)
	stat("../../b", unix.ENOENT)
	vfs.Rmdir(vfs.Internal, at, "/a")
	fs.DropCaches()
	stat("..", 0)
	stat("../..", 0)
	stat("../../b", unix.ENOENT)
	stat("../../..", 0)
	g.FS.SetCwd(g.NS.Root())
	fs.DropCaches()
	if s, _ := fs.Ops.Statfs(vfs.Internal); s.Files-s.Ffree != 1 {
		t.Errorf("%d inodes are left over in an empty tmpfs", s.Files-s.Ffree-1)
	}
}

// removeAll removes what is in dir.
func removeAll(t *testing.T, g *vfstest.Guest, dir string) {
	at := vfs.At{FS: g.FS}
	fd, e := vfs.Open(vfs.Internal, at, dir, vfs.OpenHow{})
	if e != 0 {
		t.Fatal(dir, e)
	}
	defer fd.DecRef()
	var names []string
	fd.ReadDir(vfs.Internal, func(d vfs.Dirent) bool {
		if d.Name != "." && d.Name != ".." {
			names = append(names, d.Name)
		}
		return true
	})
	for _, n := range names {
		p := dir + "/" + n
		if e := vfs.Unlink(vfs.Internal, at, p); e == 0 {
			continue
		}
		removeAll(t, g, p)
		if e := vfs.Rmdir(vfs.Internal, at, p); e != 0 {
			t.Errorf("rmdir %s: %v", p, e)
		}
	}
}
