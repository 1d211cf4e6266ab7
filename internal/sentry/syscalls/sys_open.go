package syscalls

import (
	"encoding/binary"
	"strings"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_OPEN, Name: "open", Args: "path flags:open mode", Fn: sysOpen},
		Row{Nr: unix.SYS_OPENAT, Name: "openat", Args: "fd path flags:open mode", Fn: sysOpenat},
		Row{Nr: unix.SYS_OPENAT2, Name: "openat2", Args: "fd path ptr size", Fn: sysOpenat2},
		Row{Nr: unix.SYS_CREAT, Name: "creat", Args: "path mode", Fn: sysCreat},
		Row{Nr: unix.SYS_CLOSE, Name: "close", Args: "fd", Fn: sysClose},
		Row{Nr: unix.SYS_CLOSE_RANGE, Name: "close_range", Args: "fd fd flags:close_range", Fn: sysCloseRange},
		Row{Nr: unix.SYS_DUP, Name: "dup", Args: "fd", Fn: sysDup},
		Row{Nr: unix.SYS_DUP2, Name: "dup2", Args: "fd fd", Fn: sysDup2},
		Row{Nr: unix.SYS_DUP3, Name: "dup3", Args: "fd fd flags:open", Fn: sysDup3},
	)
}

const (
	oLargefile = 0x8000 // O_LARGEFILE, which 64-bit programs always have
	modeBits   = 0o7777 // S_IALLUGO

	// validOpen are all flags that open(2) knows; others it ignores.
	validOpen = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_APPEND |
		unix.O_NONBLOCK | unix.O_SYNC | unix.O_ASYNC | unix.O_DIRECT | oLargefile | unix.O_DIRECTORY |
		unix.O_NOFOLLOW | unix.O_NOATIME | unix.O_CLOEXEC | unix.O_PATH | unix.O_TMPFILE
	pathFlags  = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_PATH | unix.O_CLOEXEC
	tmpfileBit = unix.O_TMPFILE &^ unix.O_DIRECTORY
)

// checkOpen applies the rules that open(2) and openat2(2) share.
func checkOpen(flags uint32) abi.Errno {
	if flags&(unix.O_CREAT|unix.O_DIRECTORY) == unix.O_CREAT|unix.O_DIRECTORY && flags&tmpfileBit == 0 {
		return unix.EINVAL
	}
	if flags&tmpfileBit != 0 {
		if flags&unix.O_DIRECTORY == 0 || flags&unix.O_CREAT != 0 || vfs.AccessMode(flags)&vfs.FMODE_WRITE == 0 {
			return unix.EINVAL
		}
	}
	return 0
}

// openHow is what open(2) makes of its arguments: unknown flags are dropped,
// the mode counts only where a file may be made.
func openHow(flags, mode uint32) (vfs.OpenHow, abi.Errno) {
	flags = flags&validOpen | oLargefile
	if flags&unix.O_PATH != 0 {
		flags &= pathFlags
	}
	how := vfs.OpenHow{Flags: flags}
	if flags&(unix.O_CREAT|tmpfileBit) != 0 {
		how.Mode = mode & modeBits
	}
	return how, checkOpen(flags)
}

func openAt(t *kernel.Task, dirfd int32, addr uint64, how vfs.OpenHow) (uint64, abi.Errno) {
	p, e := pathAt(t, dirfd, addr)
	if e == 0 && p.Dir == nil && dirfd != unix.AT_FDCWD && how.Resolve&unix.RESOLVE_IN_ROOT != 0 {
		p.Dir, e = t.FDs().Get(dirfd) // an absolute path needs it too
	}
	if e != 0 {
		return 0, e
	}
	fd, e := vfs.Open(t, p.At, p.name, how)
	p.put()
	quiet := still(how.Flags)
	if !quiet {
		vfs.DropNotes() // open and openat are in stills
	}
	if e != 0 {
		return 0, e
	}
	num, e := install(t, fd, how.Flags&unix.O_CLOEXEC != 0)
	if e == 0 && quiet {
		if how.Flags&unix.O_NOFOLLOW == 0 || strings.Contains(p.name, "/") || how.Resolve != 0 {
			dirfd = -1
		}
		t.Opened(int32(num), fd, dirfd, p.name)
	}
	return num, e
}

// still tells whether an open with flags changes nothing.
func still(flags uint32) bool {
	return flags&(unix.O_ACCMODE|unix.O_CREAT|unix.O_TRUNC|unix.O_PATH|tmpfileBit) == unix.O_RDONLY
}

// sysOpen is open(2).
func sysOpen(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	how, e := openHow(a.Uint32(1), a.Uint32(2))
	if e != 0 {
		return 0, e
	}
	return openAt(t, unix.AT_FDCWD, a[0], how)
}

// sysOpenat is openat(2).
func sysOpenat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	how, e := openHow(a.Uint32(2), a.Uint32(3))
	if e != 0 {
		return 0, e
	}
	return openAt(t, a.Int(0), a[1], how)
}

// sysCreat is creat(2).
func sysCreat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	how, e := openHow(unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, a.Uint32(1))
	if e != 0 {
		return 0, e
	}
	return openAt(t, unix.AT_FDCWD, a[0], how)
}

const (
	howSize       = 24   // struct open_how, first version
	resolveCached = 0x20 // RESOLVE_CACHED
	allResolve    = unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS |
		unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT | resolveCached
)

// copyStruct copies a structure that may grow: what is beyond known bytes must
// be zero (E2BIG), what is missing counts as zero.
func copyStruct(t *kernel.Task, addr, size uint64, dst []byte) abi.Errno {
	if size > pageSize {
		return unix.E2BIG
	}
	n := min(int(size), len(dst))
	if e := t.CopyIn(addr, dst[:n]); e != 0 {
		return e
	}
	if rest := int(size) - n; rest > 0 {
		more := make([]byte, rest)
		if e := t.CopyIn(addr+uint64(n), more); e != 0 {
			return e
		}
		for _, b := range more {
			if b != 0 {
				return unix.E2BIG
			}
		}
	}
	return 0
}

// sysOpenat2 is openat2(2), which refuses what openat ignores.
func sysOpenat2(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[3] < howSize {
		return 0, unix.EINVAL
	}
	var b [howSize]byte
	if e := copyStruct(t, a[2], a[3], b[:]); e != 0 {
		return 0, e
	}
	flags, mode, resolve := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	creates := flags&(unix.O_CREAT|tmpfileBit) != 0
	switch {
	case flags&^uint64(validOpen) != 0,
		resolve&^allResolve != 0,
		resolve&(unix.RESOLVE_BENEATH|unix.RESOLVE_IN_ROOT) == unix.RESOLVE_BENEATH|unix.RESOLVE_IN_ROOT,
		creates && mode&^modeBits != 0,
		!creates && mode != 0,
		flags&unix.O_PATH != 0 && flags&^uint64(pathFlags) != 0:
		return 0, unix.EINVAL
	case resolve&resolveCached != 0 && flags&(unix.O_TRUNC|unix.O_CREAT|tmpfileBit) != 0:
		return 0, unix.EAGAIN
	}
	if e := checkOpen(uint32(flags)); e != 0 {
		return 0, e
	}
	return openAt(t, a.Int(0), a[1], vfs.OpenHow{Flags: uint32(flags), Mode: uint32(mode), Resolve: resolve})
}

// sysClose is close(2).
func sysClose(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	t.UsedFDs()
	return 0, t.FDs().Close(t, a.Int(0))
}

// sysCloseRange is close_range(2).
func sysCloseRange(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	first, last, flags := a.Uint32(0), a.Uint32(1), a.Uint32(2)
	if flags&^(unix.CLOSE_RANGE_UNSHARE|unix.CLOSE_RANGE_CLOEXEC) != 0 || first > last {
		return 0, unix.EINVAL
	}
	if flags&unix.CLOSE_RANGE_UNSHARE != 0 {
		t.UnshareFDs()
	}
	if flags&unix.CLOSE_RANGE_CLOEXEC != 0 {
		t.FDs().CloexecRange(first, last)
		return 0, 0
	}
	t.FDs().CloseRange(t, first, last)
	return 0, 0
}

// sysDup is dup(2).
func sysDup(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, e := t.FDs().Get(a.Int(0))
	if e != 0 {
		return 0, e
	}
	return install(t, fd, false)
}

func dupTo(t *kernel.Task, oldfd, newfd int32, cloexec bool) (uint64, abi.Errno) {
	fd, e := t.FDs().Get(oldfd)
	if e != 0 {
		return 0, e
	}
	if e := t.FDs().InstallAt(t, fd, newfd, cloexec, noFile(t)); e != 0 {
		fd.DecRef()
		return 0, e
	}
	return uint64(newfd), 0
}

// sysDup2 is dup2(2).
func sysDup2(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Int(0) == a.Int(1) {
		_, e := t.FDs().Cloexec(a.Int(0))
		return uint64(a.Int(0)), e
	}
	return dupTo(t, a.Int(0), a.Int(1), false)
}

// sysDup3 is dup3(2).
func sysDup3(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Uint32(2)&^unix.O_CLOEXEC != 0 || a.Int(0) == a.Int(1) {
		return 0, unix.EINVAL
	}
	return dupTo(t, a.Int(0), a.Int(1), a.Uint32(2) != 0)
}
