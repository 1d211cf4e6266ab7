package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_UTIME, Name: "utime", Args: "path ptr", Fn: sysUtime},
		Row{Nr: unix.SYS_UTIMES, Name: "utimes", Args: "path ptr", Fn: sysUtimes},
		Row{Nr: unix.SYS_FUTIMESAT, Name: "futimesat", Args: "fd path ptr", Fn: sysFutimesat},
		Row{Nr: unix.SYS_UTIMENSAT, Name: "utimensat", Args: "fd path ptr flags:at", Fn: sysUtimensat},
	)
}

// fileTimes are the two times of the family of utime(2).
type fileTimes struct{ atime, mtime vfs.TimeSpec }

var bothNow = fileTimes{vfs.TimeSpec{Now: true}, vfs.TimeSpec{Now: true}}

// fileTime joins seconds and nanoseconds; seconds beyond what fits are cut.
func fileTime(sec, nsec int64) vfs.TimeSpec {
	sec = min(max(sec, -abi.MaxSec), abi.MaxSec-1)
	return vfs.TimeSpec{Time: vfs.Time(sec*1e9 + nsec)}
}

func setTimes(t *kernel.Task, dirfd int32, addr uint64, ft fileTimes, flags uint32) (uint64, abi.Errno) {
	return withPathAt(t, dirfd, addr, lookupFor(flags, true), func(p vfs.Path) abi.Errno {
		return vfs.Utimens(t, p, ft.atime, ft.mtime)
	})
}

// sysUtime is utime(2).
func sysUtime(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	ft := bothNow
	if a[1] != 0 {
		var b [16]byte
		if e := t.CopyIn(a[1], b[:]); e != 0 {
			return 0, e
		}
		ft.atime = fileTime(int64(binary.LittleEndian.Uint64(b[:])), 0)
		ft.mtime = fileTime(int64(binary.LittleEndian.Uint64(b[8:])), 0)
	}
	return setTimes(t, unix.AT_FDCWD, a[0], ft, 0)
}

// copyTimevals copies struct timeval[2]; a null pointer is the present.
func copyTimevals(t *kernel.Task, addr uint64) (fileTimes, abi.Errno) {
	if addr == 0 {
		return bothNow, 0
	}
	var b [32]byte
	if e := t.CopyIn(addr, b[:]); e != 0 {
		return fileTimes{}, e
	}
	var v [4]int64
	for i := range v {
		v[i] = int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
	if v[1] < 0 || v[1] >= 1e6 || v[3] < 0 || v[3] >= 1e6 {
		return fileTimes{}, unix.EINVAL
	}
	return fileTimes{fileTime(v[0], v[1]*1e3), fileTime(v[2], v[3]*1e3)}, 0
}

// sysUtimes is utimes(2).
func sysUtimes(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	ft, e := copyTimevals(t, a[1])
	if e != 0 {
		return 0, e
	}
	return setTimes(t, unix.AT_FDCWD, a[0], ft, 0)
}

// sysFutimesat is futimesat(2); a null path is the descriptor itself.
func sysFutimesat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	ft, e := copyTimevals(t, a[2])
	if e != 0 {
		return 0, e
	}
	return timesOf(t, a.Int(0), a[1], ft, 0)
}

// timesOf sets the times of a path, or of a descriptor for a null path.
func timesOf(t *kernel.Task, dirfd int32, addr uint64, ft fileTimes, flags uint32) (uint64, abi.Errno) {
	if addr != 0 || dirfd == unix.AT_FDCWD {
		return setTimes(t, dirfd, addr, ft, flags)
	}
	if flags != 0 {
		return 0, unix.EINVAL
	}
	return withFD(t, dirfd, func(fd *vfs.FileDescription) abi.Errno {
		return vfs.Utimens(t, fd.Path, ft.atime, ft.mtime)
	})
}

const (
	utimeNow  = 1<<30 - 1
	utimeOmit = 1<<30 - 2
)

// timeOrWord decodes one of utimensat's times.
func timeOrWord(b []byte) (vfs.TimeSpec, bool) {
	sec, nsec := int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))
	switch {
	case nsec == utimeNow:
		return vfs.TimeSpec{Now: true}, true
	case nsec == utimeOmit:
		return vfs.TimeSpec{Omit: true}, true
	case nsec < 0 || nsec >= 1e9:
		return vfs.TimeSpec{}, false
	}
	return fileTime(sec, nsec), true
}

// sysUtimensat is utimensat(2).
func sysUtimensat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	ft := bothNow
	if a[2] != 0 {
		var b [32]byte
		if e := t.CopyIn(a[2], b[:]); e != 0 {
			return 0, e
		}
		var ok1, ok2 bool
		ft.atime, ok1 = timeOrWord(b[:])
		ft.mtime, ok2 = timeOrWord(b[16:])
		if ft.atime.Omit && ft.mtime.Omit {
			return 0, 0
		}
		if !ok1 || !ok2 {
			return 0, unix.EINVAL
		}
	}
	flags := a.Uint32(3)
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	return timesOf(t, a.Int(0), a[1], ft, flags)
}
