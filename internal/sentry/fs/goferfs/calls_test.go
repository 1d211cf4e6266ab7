package goferfs

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
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

// TestSharedMessages holds what making files in a volume costs, where nothing
// that was looked up lasts.
func TestSharedMessages(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "unseendir"), 0755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"there", "other", "unseen"} {
		if err := os.WriteFile(filepath.Join(root, n), []byte("x"), 0644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("target", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "deep", "er"), 0755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "deep", "er", "f"), []byte("x"), 0644); err != nil {
		t.Fatal(err)
	}
	fs := mountDir(t, root, Options{Shared: true}, func(f func()) error { go f(); return nil })
	at := vfs.At{FS: vfstest.NewGuest(fs).FS}
	client := fs.RootDentry().Inode().(*inode).fs.client
	c := vfs.Internal
	wait := func() { // until no directory is trusted
		for until := ktime.Mono() + dirTrust; ktime.Mono() <= until; {
			runtime.Gosched()
		}
	}
	stat := func(path string) func() abi.Errno {
		return func() abi.Errno { _, e := vfs.Stat(c, at, path, 0); return e }
	}
	read := func(path string) func() abi.Errno {
		return func() abi.Errno {
			fd, e := vfs.Open(c, at, path, vfs.OpenHow{})
			if e != 0 {
				return e
			}
			defer fd.DecRef()
			if n, e := fd.Pread(c, make([]byte, 9), 0); n != 1 || e != 0 {
				t.Errorf("%s reads %d, %v", path, n, e)
			}
			return 0
		}
	}
	pair := func(paths ...string) func() abi.Errno {
		return func() (e abi.Errno) {
			for _, p := range paths {
				if e = stat(p)(); e == 0 {
					e = read(p)()
				}
			}
			return e
		}
	}
	open := func(path string, flags uint32) func() abi.Errno {
		return func() abi.Errno {
			fd, e := vfs.Open(c, at, path, vfs.OpenHow{Flags: flags | unix.O_CREAT | unix.O_WRONLY, Mode: 0600})
			if e == 0 {
				fd.DecRef()
			}
			return e
		}
	}
	for _, tc := range []struct {
		what string
		want uint64
		e    abi.Errno
		do   func() abi.Errno
	}{
		{"a new file", 1, 0, open("/new", 0)},
		{"a new file, exclusively", 1, 0, open("/new2", unix.O_EXCL)},
		{"a file that exists, exclusively", 2, unix.EEXIST, open("/there", unix.O_EXCL)},
		{"a file that exists", 3, 0, open("/other", 0)},
		{"through a link", 4, 0, open("/link", 0)},
		{"a directory", 1, 0, func() abi.Errno { return vfs.Mkdir(c, at, "/dir", 0755) }},
		{"a directory that exists", 1, unix.EEXIST, func() abi.Errno { return vfs.Mkdir(c, at, "/dir", 0755) }},
		{"a symbolic link", 1, 0, func() abi.Errno { return vfs.Symlink(c, "x", at, "/sym") }},
		{"files looked at and opened, at first", 4, 0, pair("/there", "/other")},
		{"then", 3, 0, pair("/there", "/other")},
		{"and then", 2, 0, pair("/there", "/other")},
		{"without opening", 2, 0, func() abi.Errno { stat("/there")(); return stat("/other")() }},
		{"after that", 4, 0, pair("/there", "/other")},
		{"a path", 1, 0, stat("/deep/er/f")},
		{"that again", 1, 0, stat("/deep/er/f")},
		{"a name that does not exist", 1, unix.ENOENT, stat("/deep/er/none")},
		{"that again", 1, unix.ENOENT, stat("/deep/er/none")},
		{"a path that ends early", 1, unix.ENOENT, stat("/deep/none/none")},
		{"reading a file", 1, 0, read("/deep/er/f")},
		{"that again", 1, 0, read("/deep/er/f")},
		{"a new file down there", 2, 0, open("/deep/er/g", 0)},
		{"another name for it", 3, 0, func() abi.Errno { return vfs.Link(c, at, "/deep/er/g", at, "/deep/er/h", 0) }},
		{"removing a name", 2, 0, func() abi.Errno { return vfs.Unlink(c, at, "/deep/er/g") }},
		{"removing a name nearby", 1, 0, func() abi.Errno { return vfs.Unlink(c, at, "/new") }},
		{"removing a file nobody has looked at", 1, 0, func() abi.Errno { return vfs.Unlink(c, at, "/unseen") }},
		{"and one that is not there", 2, unix.ENOENT, func() abi.Errno { return vfs.Unlink(c, at, "/unseen") }},
		{"removing a directory as a file", 1, unix.EISDIR, func() abi.Errno { return vfs.Unlink(c, at, "/unseendir") }},
		{"removing a directory", 1, 0, func() abi.Errno { return vfs.Rmdir(c, at, "/dir") }},
	} {
		wait()
		before := client.Calls()
		if e := tc.do(); e != tc.e {
			t.Errorf("%s: %v, want %v", tc.what, e, tc.e)
		}
		if n := client.Calls() - before; n > tc.want {
			t.Errorf("%s: %d messages, want %d at most", tc.what, n, tc.want)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "target")); err != nil {
		t.Errorf("what was made through a link: %v", err)
	}
}
