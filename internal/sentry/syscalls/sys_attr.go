package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

// noNodes: the Gofer makes no devices on the host.
const noNodes = "device nodes on volumes: EPERM, as in a user namespace"

func init() {
	register(
		Row{Nr: unix.SYS_CHMOD, Name: "chmod", Args: "path mode", Fn: sysChmod},
		Row{Nr: unix.SYS_FCHMOD, Name: "fchmod", Args: "fd mode", Fn: sysFchmod},
		Row{Nr: unix.SYS_FCHMODAT, Name: "fchmodat", Args: "fd path mode", Fn: sysFchmodat},
		Row{Nr: unix.SYS_FCHMODAT2, Name: "fchmodat2", Args: "fd path mode flags:at", Fn: sysFchmodat2},
		Row{Nr: unix.SYS_CHOWN, Name: "chown", Args: "path uid uid", Fn: sysChown},
		Row{Nr: unix.SYS_LCHOWN, Name: "lchown", Args: "path uid uid", Fn: sysLchown},
		Row{Nr: unix.SYS_FCHOWN, Name: "fchown", Args: "fd uid uid", Fn: sysFchown},
		Row{Nr: unix.SYS_FCHOWNAT, Name: "fchownat", Args: "fd path uid uid flags:at", Fn: sysFchownat},
		Row{Nr: unix.SYS_TRUNCATE, Name: "truncate", Args: "path off", Fn: sysTruncate},
		Row{Nr: unix.SYS_FTRUNCATE, Name: "ftruncate", Args: "fd off", Fn: sysFtruncate},
		Row{Nr: unix.SYS_UMASK, Name: "umask", Args: "mode", Fn: sysUmask},
		Row{Nr: unix.SYS_MKNOD, Name: "mknod", Args: "path mode dev", Fn: sysMknod, Note: noNodes},
		Row{Nr: unix.SYS_MKNODAT, Name: "mknodat", Args: "fd path mode dev", Fn: sysMknodat, Note: noNodes},
	)
}

func chmodAt(t *kernel.Task, dirfd int32, addr uint64, mode, flags uint32) (uint64, abi.Errno) {
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	return withPathAt(t, dirfd, addr, lookupFor(flags, true), func(p vfs.Path) abi.Errno {
		return vfs.Chmod(t, p, mode&modeBits)
	})
}

// sysChmod is chmod(2).
func sysChmod(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return chmodAt(t, unix.AT_FDCWD, a[0], a.Uint32(1), 0)
}

// sysFchmod is fchmod(2).
func sysFchmod(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return withFD(t, a.Int(0), func(fd *vfs.FileDescription) abi.Errno {
		return vfs.Chmod(t, fd.Path, a.Uint32(1)&modeBits)
	})
}

// sysFchmodat is the system call behind fchmodat(2), without flags.
func sysFchmodat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return chmodAt(t, a.Int(0), a[1], a.Uint32(2), 0)
}

// sysFchmodat2 is fchmodat2(2).
func sysFchmodat2(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return chmodAt(t, a.Int(0), a[1], a.Uint32(2), a.Uint32(3))
}

func chownAt(t *kernel.Task, dirfd int32, addr uint64, uid, gid, flags uint32) (uint64, abi.Errno) {
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	return withPathAt(t, dirfd, addr, lookupFor(flags, true), func(p vfs.Path) abi.Errno {
		return vfs.Chown(t, p, uid, gid)
	})
}

// sysChown is chown(2).
func sysChown(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return chownAt(t, unix.AT_FDCWD, a[0], a.Uint32(1), a.Uint32(2), 0)
}

// sysLchown is lchown(2).
func sysLchown(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return chownAt(t, unix.AT_FDCWD, a[0], a.Uint32(1), a.Uint32(2), unix.AT_SYMLINK_NOFOLLOW)
}

// sysFchown is fchown(2).
func sysFchown(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return withFD(t, a.Int(0), func(fd *vfs.FileDescription) abi.Errno {
		return vfs.Chown(t, fd.Path, a.Uint32(1), a.Uint32(2))
	})
}

// sysFchownat is fchownat(2).
func sysFchownat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return chownAt(t, a.Int(0), a[1], a.Uint32(2), a.Uint32(3), a.Uint32(4))
}

// sysTruncate is truncate(2).
func sysTruncate(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	size := int64(a[1])
	if size < 0 {
		return 0, unix.EINVAL
	}
	return withPath(t, a[0], vfs.LookupFollow, func(p vfs.Path) abi.Errno { return vfs.Truncate(t, p, size) })
}

// sysFtruncate is ftruncate(2).
func sysFtruncate(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	size := int64(a[1])
	if size < 0 {
		return 0, unix.EINVAL
	}
	return withFD(t, a.Int(0), func(fd *vfs.FileDescription) abi.Errno { return fd.Truncate(t, size) })
}

// sysUmask is umask(2).
func sysUmask(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return uint64(t.FS().SetUmask(a.Uint32(0))), 0
}

// decodeDev turns the 32-bit device number of mknod(2) into st_rdev's form.
func decodeDev(d uint32) uint64 {
	return vfs.MakeDev(d>>8&0xfff, d&0xff|d>>12&0xfff00)
}

func mknodAt(t *kernel.Task, dirfd int32, addr uint64, mode, dev uint32) (uint64, abi.Errno) {
	var rdev uint64
	switch mode & unix.S_IFMT {
	case 0:
		mode |= unix.S_IFREG
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK:
	case unix.S_IFCHR, unix.S_IFBLK:
		rdev = decodeDev(dev)
	case unix.S_IFDIR:
		return 0, unix.EPERM
	default:
		return 0, unix.EINVAL
	}
	p, e := pathAt(t, dirfd, addr)
	if e != 0 {
		return 0, e
	}
	defer p.put()
	return 0, vfs.Mknod(t, p.At, p.name, mode&(unix.S_IFMT|modeBits), rdev)
}

// sysMknod is mknod(2).
func sysMknod(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return mknodAt(t, unix.AT_FDCWD, a[0], uint32(uint16(a[1])), a.Uint32(2))
}

// sysMknodat is mknodat(2).
func sysMknodat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return mknodAt(t, a.Int(0), a[1], uint32(uint16(a[2])), a.Uint32(3))
}
