package goferfs

import (
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
)

// TestUnlinkedFile uses a file that has lost its last name.
func TestUnlinkedFile(t *testing.T) {
	for _, shared := range []bool{false, true} {
		fs := mountDir(t, t.TempDir(), Options{Shared: shared}, func(f func()) error { go f(); return nil })
		at := vfs.At{FS: vfstest.NewGuest(fs).FS}
		c := vfs.Internal
		fd, e := vfs.Open(c, at, "/f", vfs.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0644})
		if e != 0 {
			t.Fatal(e)
		}
		if e := vfs.Unlink(c, at, "/f"); e != 0 {
			t.Fatal(e)
		}
		if n, e := fd.Write(c, []byte("hello")); n != 5 || e != 0 {
			t.Errorf("write: %d %v", n, e)
		}
		if e := vfs.Chmod(c, fd.Path, 0600); e != 0 {
			t.Errorf("chmod: %v", e)
		}
		if e := fd.Truncate(c, 3); e != 0 {
			t.Errorf("truncate: %v", e)
		}
		a, e := fd.Path.Stat(c)
		if e != 0 || a.Nlink != 0 || a.Size != 3 || a.Mode != unix.S_IFREG|0600 {
			t.Errorf("stat: %+v %v", a, e)
		}
		buf := make([]byte, 10)
		if n, e := fd.Pread(c, buf, 0); n != 3 || e != 0 {
			t.Errorf("read: %d %v", n, e)
		}
		if _, e := vfs.Stat(c, at, "/f", 0); e != unix.ENOENT {
			t.Errorf("stat of the name: %v", e)
		}
		fd.DecRef()
	}
}

// TestRemovedDirectory makes nothing in a directory that is gone.
func TestRemovedDirectory(t *testing.T) {
	fs := mountDir(t, t.TempDir(), Options{}, func(f func()) error { go f(); return nil })
	g := vfstest.NewGuest(fs)
	at := vfs.At{FS: g.FS}
	if e := vfs.Mkdir(vfs.Internal, at, "/d", 0755); e != 0 {
		t.Fatal(e)
	}
	fd, e := vfs.Open(vfs.Internal, at, "/d", vfs.OpenHow{Flags: unix.O_DIRECTORY})
	if e != 0 {
		t.Fatal(e)
	}
	defer fd.DecRef()
	if e := vfs.Rmdir(vfs.Internal, at, "/d"); e != 0 {
		t.Fatal(e)
	}
	if e := vfs.Mkdir(vfs.Internal, vfs.At{FS: g.FS, Dir: fd}, "x", 0755); e != unix.ENOENT {
		t.Errorf("mkdir in it: %v, want ENOENT", e)
	}
	if _, e := fd.Inode().Tmpfile(vfs.Internal, 0600); e != unix.ESTALE {
		t.Errorf("a file without a name in it: %v, want ESTALE", e)
	}
	if _, e := vfs.Stat(vfs.Internal, at, "/x", 0); e != unix.ENOENT {
		t.Errorf("something was made elsewhere: %v", e)
	}
}
