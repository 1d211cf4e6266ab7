package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_SETXATTR, Name: "setxattr", Args: "path str buf size flags:xattr", Fn: sysSetxattr},
		Row{Nr: unix.SYS_LSETXATTR, Name: "lsetxattr", Args: "path str buf size flags:xattr", Fn: sysLsetxattr},
		Row{Nr: unix.SYS_FSETXATTR, Name: "fsetxattr", Args: "fd str buf size flags:xattr", Fn: sysFsetxattr},
		Row{Nr: unix.SYS_GETXATTR, Name: "getxattr", Args: "path str buf:out size", Fn: sysGetxattr},
		Row{Nr: unix.SYS_LGETXATTR, Name: "lgetxattr", Args: "path str buf:out size", Fn: sysLgetxattr},
		Row{Nr: unix.SYS_FGETXATTR, Name: "fgetxattr", Args: "fd str buf:out size", Fn: sysFgetxattr},
		Row{Nr: unix.SYS_LISTXATTR, Name: "listxattr", Args: "path buf:out size", Fn: sysListxattr},
		Row{Nr: unix.SYS_LLISTXATTR, Name: "llistxattr", Args: "path buf:out size", Fn: sysLlistxattr},
		Row{Nr: unix.SYS_FLISTXATTR, Name: "flistxattr", Args: "fd buf:out size", Fn: sysFlistxattr},
		Row{Nr: unix.SYS_REMOVEXATTR, Name: "removexattr", Args: "path str", Fn: sysRemovexattr},
		Row{Nr: unix.SYS_LREMOVEXATTR, Name: "lremovexattr", Args: "path str", Fn: sysLremovexattr},
		Row{Nr: unix.SYS_FREMOVEXATTR, Name: "fremovexattr", Args: "fd str", Fn: sysFremovexattr},
	)
}

const (
	xattrNameMax = 255
	xattrSizeMax = 65536
	xattrListMax = 65536
)

// onTarget runs f on what the first argument names: a path, or a descriptor.
func onTarget(t *kernel.Task, arg uint64, kind xattrTarget, f func(vfs.Path) abi.Errno) abi.Errno {
	var e abi.Errno
	switch kind {
	case followed:
		_, e = withPath(t, arg, vfs.LookupFollow, f)
	case notFollowed:
		_, e = withPath(t, arg, 0, f)
	default:
		_, e = withFD(t, int32(arg), func(fd *vfs.FileDescription) abi.Errno { return f(fd.Path) })
	}
	return e
}

type xattrTarget int

const (
	followed xattrTarget = iota
	notFollowed
	descriptor
)

// xattrName copies an attribute's name: ERANGE if it is empty or too long.
func xattrName(t *kernel.Task, addr uint64) (string, abi.Errno) {
	s, e := t.CopyInString(addr, xattrNameMax+1)
	if e == unix.ENAMETOOLONG || e == 0 && s == "" {
		return "", unix.ERANGE
	}
	return s, e
}

func setxattr(t *kernel.Task, a *Args, kind xattrTarget) (uint64, abi.Errno) {
	flags := a.Uint32(4)
	if flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		return 0, unix.EINVAL
	}
	name, e := xattrName(t, a[1])
	if e != 0 {
		return 0, e
	}
	if a[3] > xattrSizeMax {
		return 0, unix.E2BIG
	}
	value := make([]byte, a[3])
	if len(value) > 0 {
		if e := t.CopyIn(a[2], value); e != 0 {
			return 0, e
		}
	}
	return 0, onTarget(t, a[0], kind, func(p vfs.Path) abi.Errno {
		return vfs.SetXattr(t, p, name, value, int(flags))
	})
}

// answer gives a value as getxattr and listxattr do: its length for a buffer of
// no size, ERANGE for one too small.
func answer(t *kernel.Task, addr, size uint64, v []byte) (uint64, abi.Errno) {
	n := uint64(len(v))
	switch {
	case size == 0 || n == 0:
		return n, 0
	case n > size:
		return 0, unix.ERANGE
	}
	return n, t.CopyOut(addr, v)
}

func getxattr(t *kernel.Task, a *Args, kind xattrTarget) (uint64, abi.Errno) {
	name, e := xattrName(t, a[1])
	if e != 0 {
		return 0, e
	}
	var value []byte
	e = onTarget(t, a[0], kind, func(p vfs.Path) (e abi.Errno) {
		value, e = vfs.GetXattr(t, p, name)
		return e
	})
	if e != 0 {
		return 0, e
	}
	return answer(t, a[2], a[3], value)
}

func listxattr(t *kernel.Task, a *Args, kind xattrTarget) (uint64, abi.Errno) {
	var names []string
	e := onTarget(t, a[0], kind, func(p vfs.Path) (e abi.Errno) {
		names, e = vfs.ListXattr(t, p)
		return e
	})
	if e != 0 {
		return 0, e
	}
	var b []byte
	for _, n := range names {
		b = append(append(b, n...), 0)
	}
	if len(b) > xattrListMax {
		return 0, unix.E2BIG
	}
	return answer(t, a[1], a[2], b)
}

func removexattr(t *kernel.Task, a *Args, kind xattrTarget) (uint64, abi.Errno) {
	name, e := xattrName(t, a[1])
	if e != 0 {
		return 0, e
	}
	return 0, onTarget(t, a[0], kind, func(p vfs.Path) abi.Errno { return vfs.RemoveXattr(t, p, name) })
}

// The calls of setxattr(2), getxattr(2), listxattr(2) and removexattr(2).

func sysSetxattr(t *kernel.Task, a *Args) (uint64, abi.Errno)  { return setxattr(t, a, followed) }
func sysLsetxattr(t *kernel.Task, a *Args) (uint64, abi.Errno) { return setxattr(t, a, notFollowed) }
func sysFsetxattr(t *kernel.Task, a *Args) (uint64, abi.Errno) { return setxattr(t, a, descriptor) }

func sysGetxattr(t *kernel.Task, a *Args) (uint64, abi.Errno)  { return getxattr(t, a, followed) }
func sysLgetxattr(t *kernel.Task, a *Args) (uint64, abi.Errno) { return getxattr(t, a, notFollowed) }
func sysFgetxattr(t *kernel.Task, a *Args) (uint64, abi.Errno) { return getxattr(t, a, descriptor) }

func sysListxattr(t *kernel.Task, a *Args) (uint64, abi.Errno)  { return listxattr(t, a, followed) }
func sysLlistxattr(t *kernel.Task, a *Args) (uint64, abi.Errno) { return listxattr(t, a, notFollowed) }
func sysFlistxattr(t *kernel.Task, a *Args) (uint64, abi.Errno) { return listxattr(t, a, descriptor) }

func sysRemovexattr(t *kernel.Task, a *Args) (uint64, abi.Errno) { return removexattr(t, a, followed) }
func sysLremovexattr(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return removexattr(t, a, notFollowed)
}
func sysFremovexattr(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return removexattr(t, a, descriptor)
}
