package syscalls

import (
	"encoding/binary"
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_GETDENTS, Name: "getdents", Args: "fd ptr size", Fn: sysGetdents},
		Row{Nr: unix.SYS_GETDENTS64, Name: "getdents64", Args: "fd ptr size", Fn: sysGetdents64},
		Row{Nr: unix.SYS_MKDIR, Name: "mkdir", Args: "path mode", Fn: sysMkdir},
		Row{Nr: unix.SYS_MKDIRAT, Name: "mkdirat", Args: "fd path mode", Fn: sysMkdirat},
		Row{Nr: unix.SYS_RMDIR, Name: "rmdir", Args: "path", Fn: sysRmdir},
		Row{Nr: unix.SYS_CHDIR, Name: "chdir", Args: "path", Fn: sysChdir},
		Row{Nr: unix.SYS_FCHDIR, Name: "fchdir", Args: "fd", Fn: sysFchdir},
		Row{Nr: unix.SYS_GETCWD, Name: "getcwd", Args: "str:out size", Fn: sysGetcwd},
		Row{Nr: unix.SYS_CHROOT, Name: "chroot", Args: "path", Fn: sysChroot},
	)
}

// direntSink assembles entries. Its emit function is made once, so that a call
// allocates nothing.
type direntSink struct {
	b    []byte
	n    int
	full bool // an entry did not fit
	put  func([]byte, uint64, int64, uint8, string) int
	emit func(vfs.Dirent) bool
}

var direntSinks = sync.Pool{New: func() any {
	s := new(direntSink)
	s.emit = s.add
	return s
}}

func (s *direntSink) add(d vfs.Dirent) bool {
	k := s.put(s.b[s.n:], d.Ino, d.Next, d.Type, d.Name)
	s.n += k
	s.full = k == 0
	return k != 0
}

func getdents(t *kernel.Task, a *Args, put func([]byte, uint64, int64, uint8, string) int) (uint64, abi.Errno) {
	fd, e := t.FDs().GetFile(a.Int(0))
	if e != 0 {
		return 0, e
	}
	s := direntSinks.Get().(*direntSink)
	o := getOut(t, int(min(a.Uint32(2), chunkSize)))
	s.b, s.n, s.full, s.put = o.b, 0, false, put
	from := fd.Offset()
	e = fd.ReadDir(t, s.emit)
	n := s.n
	switch {
	case n > 0:
		n, e = copyDirents(t, a[1], s.b[:n], fd, from)
		if n == s.n && !s.full {
			t.ReadToEnd(a.Int(0), fd)
		}
	case e == 0 && s.full:
		e = unix.EINVAL
	}
	s.b = nil
	direntSinks.Put(s)
	o.put()
	fd.DecRef()
	return uint64(n), e
}

// copyDirents copies entries that were read from offset from on. Those that do not
// arrive are read again by the next call.
func copyDirents(t *kernel.Task, addr uint64, b []byte, fd *vfs.FileDescription, from int64) (int, abi.Errno) {
	if t.MM().Writable(addr, uint64(len(b))) {
		return len(b), t.CopyOut(addr, b)
	}
	n, e := t.CopyOutNow(addr, b)
	whole := 0
	for whole < len(b) {
		size := int(binary.LittleEndian.Uint16(b[whole+16:])) // d_reclen
		if whole+size > n {
			break
		}
		from = int64(binary.LittleEndian.Uint64(b[whole+8:])) // d_off
		whole += size
	}
	if whole > 0 {
		e = 0
	}
	if whole < len(b) {
		fd.Rewind(from)
	}
	return whole, e
}

// sysGetdents is getdents(2).
func sysGetdents(t *kernel.Task, a *Args) (uint64, abi.Errno) { return getdents(t, a, abi.PutDirent) }

// sysGetdents64 is getdents64(2).
func sysGetdents64(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return getdents(t, a, abi.PutDirent64)
}

func mkdirAt(t *kernel.Task, dirfd int32, addr uint64, mode uint32) (uint64, abi.Errno) {
	p, e := pathAt(t, dirfd, addr)
	if e != 0 {
		return 0, e
	}
	defer p.put()
	return 0, vfs.Mkdir(t, p.At, p.name, mode&modeBits)
}

// sysMkdir is mkdir(2).
func sysMkdir(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return mkdirAt(t, unix.AT_FDCWD, a[0], a.Uint32(1))
}

// sysMkdirat is mkdirat(2).
func sysMkdirat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return mkdirAt(t, a.Int(0), a[1], a.Uint32(2))
}

// sysRmdir is rmdir(2).
func sysRmdir(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	p, e := cwdPath(t, a[0])
	if e != 0 {
		return 0, e
	}
	return 0, vfs.Rmdir(t, p.At, p.name)
}

// sysChdir is chdir(2).
func sysChdir(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	p, e := cwdPath(t, a[0])
	if e != 0 {
		return 0, e
	}
	return 0, vfs.Chdir(t, t.FS(), p.name)
}

// sysFchdir is fchdir(2), which takes O_PATH descriptors too.
func sysFchdir(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, e := t.FDs().Get(a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	return 0, vfs.Fchdir(t, t.FS(), fd)
}

// sysGetcwd is getcwd(2); the result counts the zero byte.
func sysGetcwd(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	s, e := vfs.Getcwd(t.FS())
	if e != 0 {
		return 0, e
	}
	n := len(s) + 1
	if uint64(n) > a[1] {
		return 0, unix.ERANGE
	}
	b := t.ReadBuf(n)
	copy(b, s)
	b[n-1] = 0
	return uint64(n), t.CopyOut(a[0], b)
}

// sysChroot is chroot(2).
func sysChroot(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	p, e := cwdPath(t, a[0])
	if e != 0 {
		return 0, e
	}
	return 0, vfs.Chroot(t, t.FS(), p.name)
}
