package goferfs

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
)

// TestMessages holds what common calls cost in requests to the Gofer.
func TestMessages(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "usr", "bin"), 0755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(root, "usr", "bin", n), []byte("x"), 0755); err != nil {
			t.Fatal(err)
		}
	}
	fs := mountDir(t, root, Options{}, func(f func()) error { go f(); return nil })
	g := vfstest.NewGuest(fs)
	at := vfs.At{FS: g.FS}
	client := fs.RootDentry().Inode().(*inode).fs.client
	open := func(path string, flags uint32) func() {
		return func() {
			fd, e := vfs.Open(vfs.Internal, at, path, vfs.OpenHow{Flags: flags})
			if e != 0 {
				t.Fatal(path, e)
			}
			fd.DecRef()
		}
	}
	for _, c := range []struct {
		what string
		want uint64
		do   func()
	}{
		{"the first walk", 1, func() { vfs.Stat(vfs.Internal, at, "/usr/bin/a", 0) }},
		{"a name beside it", 1, func() { vfs.Stat(vfs.Internal, at, "/usr/bin/b", 0) }},
		{"a name that does not exist", 1, func() { vfs.Stat(vfs.Internal, at, "/usr/bin/none", 0) }},
		{"a path that ends early", 1, func() { vfs.Stat(vfs.Internal, at, "/var/lib/none", 0) }},
		{"that again", 0, func() { vfs.Stat(vfs.Internal, at, "/var/lib/none", 0) }},
		{"the fourth name: the directory", 1, func() { vfs.Stat(vfs.Internal, at, "/usr/bin/nil", 0) }},
		{"any other name", 0, func() { vfs.Stat(vfs.Internal, at, "/usr/bin/null", 0) }},
		{"open of a file that was found by itself", 0, open("/usr/bin/a", unix.O_RDONLY)},
		{"open again", 0, open("/usr/bin/a", unix.O_RDONLY)},
		{"open to write", 1, open("/usr/bin/a", unix.O_RDWR)},
		{"open to read after that", 0, open("/usr/bin/a", unix.O_RDONLY)},
		{"xattrs, whose names came with the descriptor", 0, func() { getXattr(at) }},
	} {
		before := client.Calls()
		c.do()
		if n := client.Calls() - before; n != c.want {
			t.Errorf("%s: %d messages, want %d", c.what, n, c.want)
		}
	}
}

func getXattr(at vfs.At) {
	if p, e := vfs.Walk(vfs.Internal, at, "/usr/bin/a", 0); e == 0 {
		vfs.GetXattr(vfs.Internal, p, "security.capability")
		p.DecRef()
	}
}
