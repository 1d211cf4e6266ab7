package gofer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of the hot paths, without an allocation and without the
// scheduler: the Gofer has nothing else to do. Names end in a zero byte.

func ptr(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func openat2(dir int, path []byte, how *unix.OpenHow) (int, unix.Errno) {
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_OPENAT2, uintptr(dir), ptr(path), uintptr(unsafe.Pointer(how)), unsafe.Sizeof(*how), 0, 0)
		if e != unix.EINTR {
			return int(r), e
		}
	}
}

func openat(dir int, name []byte, flags int, mode uint32) (int, unix.Errno) {
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(dir), ptr(name), uintptr(flags), uintptr(mode), 0, 0)
		if e != unix.EINTR {
			return int(r), e
		}
	}
}

func statx(dir int, name []byte, flags int, st *unix.Statx_t) unix.Errno {
	const mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	_, _, e := unix.RawSyscall6(unix.SYS_STATX, uintptr(dir), ptr(name), uintptr(flags), mask, uintptr(unsafe.Pointer(st)), 0)
	return e
}

func readlinkat(dir int, name, buf []byte) (int, unix.Errno) {
	r, _, e := unix.RawSyscall6(unix.SYS_READLINKAT, uintptr(dir), ptr(name), ptr(buf), uintptr(len(buf)), 0, 0)
	return int(r), e
}

func getdents(fd int, buf []byte) (int, unix.Errno) {
	r, _, e := unix.RawSyscall(unix.SYS_GETDENTS64, uintptr(fd), ptr(buf), uintptr(len(buf)))
	return int(r), e
}

func closeFD(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// sysName calls nr(dir, name, a, b, c).
func sysName(nr uintptr, dir int, name []byte, a, b, c uintptr) unix.Errno {
	for {
		_, _, e := unix.RawSyscall6(nr, uintptr(dir), ptr(name), a, b, c, 0)
		if e != unix.EINTR {
			return e
		}
	}
}

// sysNames calls nr(dir, name, dir2, name2, flags).
func sysNames(nr uintptr, dir int, name []byte, dir2 int, name2 []byte, flags uintptr) unix.Errno {
	_, _, e := unix.RawSyscall6(nr, uintptr(dir), ptr(name), uintptr(dir2), ptr(name2), flags, 0)
	return e
}

// symlinkat has its target first.
func symlinkat(target []byte, dir int, name []byte) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_SYMLINKAT, ptr(target), uintptr(dir), ptr(name))
	return e
}

func utimensat(dir int, name []byte, ts *[2]unix.Timespec, flags int) unix.Errno {
	_, _, e := unix.RawSyscall6(unix.SYS_UTIMENSAT, uintptr(dir), ptr(name), uintptr(unsafe.Pointer(ts)), uintptr(flags), 0, 0)
	return e
}

// futimens is utimensat without a name.
func futimens(fd int, ts *[2]unix.Timespec) unix.Errno {
	_, _, e := unix.RawSyscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(ts)), 0, 0, 0)
	return e
}

func flistxattr(fd int, buf []byte) (int, unix.Errno) {
	r, _, e := unix.RawSyscall(unix.SYS_FLISTXATTR, uintptr(fd), ptr(buf), uintptr(len(buf)))
	return int(r), e
}
