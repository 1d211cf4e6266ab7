package goferfs

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
)

// TestSharedChanges has the host change files that the guest has seen.
func TestSharedChanges(t *testing.T) {
	root := t.TempDir()
	fs := mountDir(t, root, Options{Shared: true}, func(f func()) error { go f(); return nil })
	at := vfs.At{FS: vfstest.NewGuest(fs).FS}
	c := vfs.Internal
	stat := func(path string) (vfs.Attr, abi.Errno) { return vfs.Stat(c, at, path, 0) }
	host := func(name string) string { return filepath.Join(root, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(host(name), []byte(text), 0644); err != nil {
			t.Fatal(err)
		}
	}
	if _, e := stat("/f"); e != unix.ENOENT {
		t.Errorf("before it is made: %v", e)
	}
	write("f", "one")
	if a, e := stat("/f"); e != 0 || a.Size != 3 {
		t.Errorf("made by the host: size %d, %v", a.Size, e)
	}
	fd, e := vfs.Open(c, at, "/f", vfs.OpenHow{})
	if e != 0 {
		t.Fatal(e)
	}
	defer fd.DecRef()
	write("f", "longer")
	if a, e := fd.Path.Stat(c); e != 0 || a.Size != 6 {
		t.Errorf("grown by the host: size %d, %v", a.Size, e)
	}
	buf := make([]byte, 10)
	if n, _ := fd.Pread(c, buf, 0); string(buf[:n]) != "longer" {
		t.Errorf("read %q", buf[:n])
	}
	write("g", "another")
	if err := os.Rename(host("g"), host("f")); err != nil {
		t.Fatal(err)
	}
	if a, e := stat("/f"); e != 0 || a.Size != 7 {
		t.Errorf("replaced by the host: size %d, %v", a.Size, e)
	}
	if n, _ := fd.Pread(c, buf, 0); string(buf[:n]) != "longer" {
		t.Errorf("the open file reads %q", buf[:n])
	}
	if err := os.Remove(host("f")); err != nil {
		t.Fatal(err)
	}
	if _, e := stat("/f"); e != unix.ENOENT {
		t.Errorf("removed by the host: %v", e)
	}
	if err := os.Symlink("dir", host("f")); err != nil {
		t.Fatal(err)
	}
	if s, e := vfs.Readlink(c, at, "/f"); s != "dir" || e != 0 {
		t.Errorf("a link made by the host: %q %v", s, e)
	}
	if err := os.MkdirAll(host("dir"), 0755); err != nil {
		t.Fatal(err)
	}
	names := func() (n int) {
		fd, e := vfs.Open(c, at, "/dir", vfs.OpenHow{})
		if e != 0 {
			t.Fatal(e)
		}
		defer fd.DecRef()
		fd.ReadDir(c, func(vfs.Dirent) bool { n++; return true })
		return n
	}
	if n := names(); n != 2 {
		t.Errorf("%d names in an empty directory", n)
	}
	write("dir/x", "")
	if n := names(); n != 3 {
		t.Errorf("%d names after the host made one", n)
	}
}

// TestSharedRemove has the host exchange a file before the guest, which knows
// the old one, removes the name.
func TestSharedRemove(t *testing.T) {
	root := t.TempDir()
	fs := mountDir(t, root, Options{Shared: true}, func(f func()) error { go f(); return nil })
	at := vfs.At{FS: vfstest.NewGuest(fs).FS}
	c := vfs.Internal
	host := func(name string) string { return filepath.Join(root, name) }
	know := func(name string, e abi.Errno) {
		t.Helper()
		if _, got := vfs.Stat(c, at, name, 0); got != e {
			t.Fatalf("%s: %v, want %v", name, got, e)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(host("f"), []byte("one"), 0644))
	must(os.WriteFile(host("g"), []byte("two"), 0644))
	know("/f", 0)
	fd, e := vfs.Open(c, at, "/f", vfs.OpenHow{})
	if e != 0 {
		t.Fatal(e)
	}
	defer fd.DecRef()
	must(os.Rename(host("g"), host("f")))
	if e := vfs.Unlink(c, at, "/f"); e != 0 {
		t.Errorf("a file that came in another's place: %v", e)
	}
	know("/f", unix.ENOENT)
	if _, err := os.Lstat(host("f")); !os.IsNotExist(err) {
		t.Errorf("still on the host: %v", err)
	}
	must(os.WriteFile(host("d"), nil, 0644))
	know("/d", 0)
	must(os.Remove(host("d")))
	must(os.Mkdir(host("d"), 0755))
	if e := vfs.Unlink(c, at, "/d"); e != unix.EISDIR {
		t.Errorf("unlink of a directory that came in a file's place: %v", e)
	}
	must(os.Remove(host("d")))
	if e := vfs.Rmdir(c, at, "/d"); e != unix.ENOENT {
		t.Errorf("rmdir of a directory that is gone: %v", e)
	}
}

// TestForeseen holds that what a walk learns of names to come is gone once the
// guest changes the directory.
func TestForeseen(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "a", "b"), 0755); err != nil {
		t.Fatal(err)
	}
	fs := mountDir(t, root, Options{Shared: true}, func(f func()) error { go f(); return nil })
	at := vfs.At{FS: vfstest.NewGuest(fs).FS}
	c := vfs.Internal
	p, e := vfs.Walk(c, at, "/a/b", 0)
	if e != 0 {
		t.Fatal(e)
	}
	defer p.DecRef()
	for range 100 {
		p.Inode().(*inode).Foresee(c, "new/x", false)
		if e := vfs.Mkdir(c, at, "/a/b/new", 0755); e != 0 {
			t.Fatal(e)
		}
		if _, e := vfs.Stat(c, at, "/a/b/new", 0); e != 0 {
			t.Fatalf("a new directory: %v", e)
		}
		p.Inode().(*inode).Foresee(c, "new/x", false)
		if e := vfs.Rmdir(c, at, "/a/b/new"); e != 0 {
			t.Fatal(e)
		}
		if _, e := vfs.Stat(c, at, "/a/b/new", 0); e != unix.ENOENT {
			t.Fatalf("a removed directory: %v", e)
		}
	}
}
