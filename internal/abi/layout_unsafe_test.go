package abi

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The host's own structures are the reference.
func TestStatLayout(t *testing.T) {
	s := Stat{Dev: unix.Mkdev(259, 70000), Ino: 2, Rdev: unix.Mkdev(4095, 300), Mode: 0o100644, Nlink: 3, UID: 4, GID: 5,
		Size: 6, Blocks: 7, Blksize: 8, Atime: -1, Mtime: 2e9 + 3, Ctime: 4e9 + 5, Btime: 6e9 + 7,
		Attributes: 9, AttributesMask: 10, MountID: 11, Mask: 12}
	var b [StatSize]byte
	s.Put(&b)
	st := *(*unix.Stat_t)(unsafe.Pointer(&b))
	if unsafe.Sizeof(st) != StatSize || st.Dev != s.Dev || st.Ino != 2 || st.Rdev != s.Rdev || st.Mode != 0o100644 || st.Nlink != 3 ||
		st.Uid != 4 || st.Gid != 5 || st.Size != 6 || st.Blocks != 7 || st.Blksize != 8 ||
		st.Atim != (unix.Timespec{Sec: -1, Nsec: 999999999}) || st.Mtim.Nano() != s.Mtime || st.Ctim.Nano() != s.Ctime {
		t.Errorf("%+v", st)
	}
	var x [StatxSize]byte
	s.PutStatx(&x)
	sx := *(*unix.Statx_t)(unsafe.Pointer(&x))
	if unsafe.Sizeof(sx) != StatxSize || sx.Mask != 12 || sx.Blksize != 8 || sx.Attributes != 9 || sx.Nlink != 3 || sx.Uid != 4 ||
		sx.Gid != 5 || sx.Mode != 0o100644 || sx.Ino != 2 || sx.Size != 6 || sx.Blocks != 7 || sx.Attributes_mask != 10 ||
		sx.Atime.Sec != -1 || sx.Btime.Nsec != 7 || sx.Ctime.Sec != 4 || sx.Mtime.Nsec != 3 ||
		sx.Rdev_major != 4095 || sx.Rdev_minor != 300 || sx.Dev_major != 259 || sx.Dev_minor != 70000 || sx.Mnt_id != 11 {
		t.Errorf("%+v", sx)
	}
}

func TestStatfsLayout(t *testing.T) {
	s := Statfs{1, 2, 3, 4, 5, 6, 7, 8 | 9<<32, 10, 11, 12}
	var b [StatfsSize]byte
	s.Put(&b)
	f := *(*unix.Statfs_t)(unsafe.Pointer(&b))
	if unsafe.Sizeof(f) != StatfsSize || f.Type != 1 || f.Bsize != 2 || f.Blocks != 3 || f.Bfree != 4 || f.Bavail != 5 || f.Files != 6 ||
		f.Ffree != 7 || f.Fsid.Val != [2]int32{8, 9} || f.Namelen != 10 || f.Frsize != 11 || f.Flags != 12 {
		t.Errorf("%+v", f)
	}
}

func TestFlockLayout(t *testing.T) {
	f := Flock{Type: 1, Whence: 2, Start: -3, Len: 4, PID: 5}
	var b [FlockSize]byte
	f.Put(&b)
	h := *(*unix.Flock_t)(unsafe.Pointer(&b))
	if unsafe.Sizeof(h) != FlockSize || h.Type != 1 || h.Whence != 2 || h.Start != -3 || h.Len != 4 || h.Pid != 5 {
		t.Errorf("%+v", h)
	}
	var g Flock
	if g.Get(&b); g != f {
		t.Errorf("%+v", g)
	}
}

func TestDirents(t *testing.T) {
	b := make([]byte, 64)
	for i := range b {
		b[i] = 0xff
	}
	n := PutDirent64(b, 1, 2, unix.DT_DIR, "abcde")
	if n != 32 || le.Uint64(b) != 1 || le.Uint64(b[8:]) != 2 || le.Uint16(b[16:]) != 32 || b[18] != unix.DT_DIR || string(b[19:25]) != "abcde\x00" || b[31] != 0 {
		t.Errorf("%d % x", n, b[:n])
	}
	n = PutDirent(b, 1, 2, unix.DT_REG, "abcd")
	if n != 24 || string(b[18:23]) != "abcd\x00" || b[23] != unix.DT_REG {
		t.Errorf("%d % x", n, b[:n])
	}
	if PutDirent64(b[:23], 1, 2, 0, "abcd") != 0 {
		t.Error("an entry where it does not fit")
	}
}

func TestTimes(t *testing.T) {
	b := make([]byte, ItimerspecSize)
	PutItimerspec(b, 1e9+2, 3e9+4)
	if i, v, ok := Itimerspec(b); i != 1e9+2 || v != 3e9+4 || !ok {
		t.Error(i, v, ok)
	}
	le.PutUint64(b[8:], 1e9)
	if _, ok := Timespec(b); ok {
		t.Error("a billion nanoseconds")
	}
	le.PutUint64(b, 1<<62)
	le.PutUint64(b[8:], 0)
	if ns, ok := Timespec(b); ns != 1<<63-1 || !ok {
		t.Error(ns, ok)
	}
	PutTimeval(b, 1e9+2e3)
	if ns, ok := Timeval(b); ns != 1e9+2e3 || !ok {
		t.Error(ns, ok)
	}
}
