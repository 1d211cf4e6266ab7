package dev

import (
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/fs/tmpfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// mounted gives a populated /dev as the root of a tree.
func mounted(t testing.TB) vfs.At {
	t.Helper()
	fs, e := tmpfs.New(vfs.Internal, "devtmpfs", 0, "mode=755")
	if e != 0 {
		t.Fatal(e)
	}
	at := vfs.At{FS: vfs.NewFSContext(vfs.NewMountNamespace(fs, "devtmpfs", 0).Root(), 022)}
	for range 2 { // what is there already is left alone
		if e := Populate(vfs.Internal, at, ""); e != 0 {
			t.Fatal(e)
		}
	}
	return at
}

func open(t testing.TB, at vfs.At, path string, flags uint32) *vfs.FileDescription {
	t.Helper()
	fd, e := vfs.Open(vfs.Internal, at, path, vfs.OpenHow{Flags: flags})
	if e != 0 {
		t.Fatalf("%s: %v", path, e)
	}
	return fd
}

func TestNodes(t *testing.T) {
	at := mounted(t)
	for _, n := range Nodes {
		a, e := vfs.Stat(vfs.Internal, at, "/"+n.Name, 0)
		if e != 0 || a.Mode != unix.S_IFCHR|n.Mode || a.Rdev != vfs.MakeDev(n.Major, n.Minor) {
			t.Errorf("%s: mode %#o, device %#x, %v", n.Name, a.Mode, a.Rdev, e)
		}
	}
	if l, e := vfs.Readlink(vfs.Internal, at, "/fd"); e != 0 || l != "/proc/self/fd" {
		t.Errorf("fd leads to %q, %v", l, e)
	}
	if a, e := vfs.Stat(vfs.Internal, at, "/shm", 0); e != 0 || a.Mode != unix.S_IFDIR|01777 {
		t.Errorf("shm: mode %#o, %v", a.Mode, e)
	}
}

func TestMemoryDevices(t *testing.T) {
	at := mounted(t)
	b := []byte("abc")
	for _, c := range []struct {
		name        string
		read, write int
		errno       unix.Errno
		fills       bool
	}{{"null", 0, 3, 0, false}, {"zero", 3, 3, 0, true}, {"full", 3, 0, unix.ENOSPC, true}, {"urandom", 3, 3, 0, false}} {
		fd := open(t, at, "/"+c.name, unix.O_RDWR)
		copy(b, "abc")
		if n, e := fd.Read(vfs.Internal, b); n != c.read || e != 0 || c.fills && string(b) != "\x00\x00\x00" {
			t.Errorf("%s: read %d, %v: %q", c.name, n, e, b)
		}
		if n, e := fd.Write(vfs.Internal, b); n != c.write || e != c.errno {
			t.Errorf("%s: write %d, %v", c.name, n, e)
		}
		if n, e := fd.Pread(vfs.Internal, b, 1<<40); n != c.read || e != 0 {
			t.Errorf("%s: pread %d, %v", c.name, n, e)
		}
		if off, e := fd.Seek(vfs.Internal, 100, unix.SEEK_SET); off != 0 || e != 0 {
			t.Errorf("%s: lseek %d, %v", c.name, off, e)
		}
		fd.DecRef()
	}
	fd := open(t, at, "/zero", unix.O_RDWR)
	defer fd.DecRef()
	if m, e := fd.Map(vfs.Internal, 0, 4096, unix.PROT_READ, false); e != 0 || !m.Anonymous {
		t.Errorf("mapping zero: %+v, %v", m, e)
	}
	null := open(t, at, "/null", unix.O_RDWR)
	defer null.DecRef()
	if _, e := null.Map(vfs.Internal, 0, 4096, unix.PROT_READ, false); e != unix.ENODEV {
		t.Errorf("mapping null: %v, want ENODEV", e)
	}
}

func TestRandomBytesDiffer(t *testing.T) {
	fd := open(t, mounted(t), "/random", unix.O_RDONLY)
	defer fd.DecRef()
	a, b := make([]byte, 10000), make([]byte, 10000)
	fd.Read(vfs.Internal, a)
	fd.Read(vfs.Internal, b)
	if string(a) == string(b) || string(a[5000:]) == string(make([]byte, 5000)) {
		t.Error("not random")
	}
}

func TestTerminalsWithoutOne(t *testing.T) {
	at := mounted(t)
	if _, e := vfs.Open(vfs.Internal, at, "/tty", vfs.OpenHow{Flags: unix.O_RDWR}); e != unix.ENXIO {
		t.Errorf("tty: %v, want ENXIO", e)
	}
}

func BenchmarkReadZero(b *testing.B) {
	fd := open(b, mounted(b), "/zero", unix.O_RDONLY)
	defer fd.DecRef()
	buf := make([]byte, 1)
	b.ReportAllocs()
	for range b.N {
		fd.Read(vfs.Internal, buf)
	}
}
