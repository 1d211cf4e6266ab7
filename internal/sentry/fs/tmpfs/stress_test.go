package tmpfs

import (
	"testing"

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
