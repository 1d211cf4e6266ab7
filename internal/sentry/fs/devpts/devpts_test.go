package devpts

import (
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

func openAt(t *testing.T, i *Instance, name string, flags uint32) (*vfs.FileDescription, error) {
	t.Helper()
	ns := vfs.NewMountNamespace(i.fs, "devpts", 0)
	ctx := vfs.NewFSContext(ns.Root(), 0)
	fd, e := vfs.Open(vfs.Internal, vfs.At{FS: ctx}, name, vfs.OpenHow{Flags: flags})
	if e != 0 {
		return nil, e
	}
	return fd, nil
}

func TestLifeOfAPair(t *testing.T) {
	i, e := New("gid=5,mode=620,ptmxmode=666,max=2")
	if e != 0 {
		t.Fatal(e)
	}
	if o := i.Options(); o != "gid=5,mode=620,ptmxmode=666,max=2" {
		t.Errorf("options %q", o)
	}
	m, err := openAt(t, i, "/ptmx", unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openAt(t, i, "/0", unix.O_RDWR|unix.O_NOCTTY); err != unix.EIO {
		t.Errorf("open of a locked slave: %v, want EIO", err)
	}
	var mem memory
	if _, e := m.Ioctl(vfs.Internal, unix.TIOCSPTLCK, 0, &mem); e != 0 {
		t.Fatal(e)
	}
	s, err := openAt(t, i, "/0", unix.O_RDWR|unix.O_NOCTTY)
	if err != nil {
		t.Fatal(err)
	}
	a, e := s.Path.Stat(vfs.Internal)
	if e != 0 || a.Mode != unix.S_IFCHR|0620 || a.GID != 5 || a.Rdev != vfs.MakeDev(136, 0) || a.Ino != 3 {
		t.Errorf("the slave has %+v, %v", a, e)
	}
	var names []string
	root, err := openAt(t, i, "/", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	root.ReadDir(vfs.Internal, func(d vfs.Dirent) bool { names = append(names, d.Name); return true })
	if len(names) != 4 || names[2] != "ptmx" || names[3] != "0" {
		t.Errorf("the directory has %q", names)
	}
	m2, err := openAt(t, i, "/ptmx", unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openAt(t, i, "/ptmx", unix.O_RDWR); err != unix.ENOSPC {
		t.Errorf("a third pair of two: %v, want ENOSPC", err)
	}
	m2.DecRef()
	m.DecRef()
	if _, err := openAt(t, i, "/0", unix.O_RDWR|unix.O_NOCTTY); err != unix.ENOENT {
		t.Errorf("open after the master was closed: %v, want ENOENT", err)
	}
	s.DecRef()
	if len(i.slaves) != 0 {
		t.Error("slaves are left over")
	}
}

type memory [8]byte

func (m *memory) CopyIn(a uint64, b []byte) unix.Errno  { copy(b, m[a:]); return 0 }
func (m *memory) CopyOut(a uint64, b []byte) unix.Errno { copy(m[a:], b); return 0 }

func TestBadOptions(t *testing.T) {
	for _, s := range []string{"nonsense", "gid=x", "max=99999999", "mode=9"} {
		if _, e := New(s); e != unix.EINVAL {
			t.Errorf("%q: %v, want EINVAL", s, e)
		}
	}
}
