package syscalls

import (
	"strings"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_LINK, Name: "link", Args: "path path", Fn: sysLink},
		Row{Nr: unix.SYS_LINKAT, Name: "linkat", Args: "fd path fd path flags:at", Fn: sysLinkat},
		Row{Nr: unix.SYS_SYMLINK, Name: "symlink", Args: "str path", Fn: sysSymlink},
		Row{Nr: unix.SYS_SYMLINKAT, Name: "symlinkat", Args: "str fd path", Fn: sysSymlinkat},
		Row{Nr: unix.SYS_UNLINK, Name: "unlink", Args: "path", Fn: sysUnlink},
		Row{Nr: unix.SYS_UNLINKAT, Name: "unlinkat", Args: "fd path flags:at", Fn: sysUnlinkat},
		Row{Nr: unix.SYS_RENAME, Name: "rename", Args: "path path", Fn: sysRename},
		Row{Nr: unix.SYS_RENAMEAT, Name: "renameat", Args: "fd path fd path", Fn: sysRenameat},
		Row{Nr: unix.SYS_RENAMEAT2, Name: "renameat2", Args: "fd path fd path flags:rename", Fn: sysRenameat2},
	)
}

// twoPaths copies the paths of a call that takes two.
func twoPaths(t *kernel.Task, dir1 int32, addr1 uint64, dir2 int32, addr2 uint64) (p, q atPath, e abi.Errno) {
	if p, e = pathAt(t, dir1, addr1); e != 0 {
		return p, q, e
	}
	if q, e = pathAt(t, dir2, addr2); e != 0 {
		p.put()
	}
	return p, q, e
}

func linkAt(t *kernel.Task, dir1 int32, addr1 uint64, dir2 int32, addr2 uint64, flags uint32) (uint64, abi.Errno) {
	if flags&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	p, q, e := twoPaths(t, dir1, addr1, dir2, addr2)
	if e != 0 {
		return 0, e
	}
	defer p.put()
	defer q.put()
	return 0, vfs.Link(t, p.At, p.name, q.At, q.name, flags)
}

// sysLink is link(2).
func sysLink(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return linkAt(t, unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], 0)
}

// sysLinkat is linkat(2).
func sysLinkat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return linkAt(t, a.Int(0), a[1], a.Int(2), a[3], a.Uint32(4))
}

func symlinkAt(t *kernel.Task, target uint64, dir int32, addr uint64) (uint64, abi.Errno) {
	s, e := t.CopyInString(target, pathMax)
	if e != 0 {
		return 0, e
	}
	if s == "" {
		return 0, unix.ENOENT
	}
	p, e := pathAt(t, dir, addr)
	if e != 0 {
		return 0, e
	}
	defer p.put()
	return 0, vfs.Symlink(t, strings.Clone(s), p.At, p.name)
}

// sysSymlink is symlink(2).
func sysSymlink(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return symlinkAt(t, a[0], unix.AT_FDCWD, a[1])
}

// sysSymlinkat is symlinkat(2).
func sysSymlinkat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return symlinkAt(t, a[0], a.Int(1), a[2])
}

// sysUnlink is unlink(2).
func sysUnlink(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	p, e := cwdPath(t, a[0])
	if e != 0 {
		return 0, e
	}
	return 0, vfs.Unlink(t, p.At, p.name)
}

// sysUnlinkat is unlinkat(2).
func sysUnlinkat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := a.Uint32(2)
	if flags&^unix.AT_REMOVEDIR != 0 {
		return 0, unix.EINVAL
	}
	p, e := pathAt(t, a.Int(0), a[1])
	if e != 0 {
		return 0, e
	}
	defer p.put()
	if flags != 0 {
		return 0, vfs.Rmdir(t, p.At, p.name)
	}
	return 0, vfs.Unlink(t, p.At, p.name)
}

func renameAt(t *kernel.Task, dir1 int32, addr1 uint64, dir2 int32, addr2 uint64, flags uint32) (uint64, abi.Errno) {
	switch {
	case flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE|unix.RENAME_WHITEOUT) != 0,
		flags&unix.RENAME_EXCHANGE != 0 && flags != unix.RENAME_EXCHANGE:
		return 0, unix.EINVAL
	case flags&unix.RENAME_WHITEOUT != 0 && !t.Creds().Capable(auth.CAP_MKNOD):
		return 0, unix.EPERM
	}
	p, q, e := twoPaths(t, dir1, addr1, dir2, addr2)
	if e != 0 {
		return 0, e
	}
	defer p.put()
	defer q.put()
	return 0, vfs.Rename(t, p.At, p.name, q.At, q.name, flags)
}

// sysRename is rename(2).
func sysRename(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return renameAt(t, unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], 0)
}

// sysRenameat is renameat(2).
func sysRenameat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return renameAt(t, a.Int(0), a[1], a.Int(2), a[3], 0)
}

// sysRenameat2 is renameat2(2).
func sysRenameat2(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return renameAt(t, a.Int(0), a[1], a.Int(2), a[3], a.Uint32(4))
}
