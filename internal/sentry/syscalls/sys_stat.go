package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_STAT, Name: "stat", Args: "path ptr", Fn: sysStat},
		Row{Nr: unix.SYS_LSTAT, Name: "lstat", Args: "path ptr", Fn: sysLstat},
		Row{Nr: unix.SYS_FSTAT, Name: "fstat", Args: "fd ptr", Fn: sysFstat},
		Row{Nr: unix.SYS_NEWFSTATAT, Name: "newfstatat", Args: "fd path ptr flags:at", Fn: sysNewfstatat},
		Row{Nr: unix.SYS_STATX, Name: "statx", Args: "fd path flags:at hex ptr", Fn: sysStatx},
		Row{Nr: unix.SYS_ACCESS, Name: "access", Args: "path int", Fn: sysAccess},
		Row{Nr: unix.SYS_FACCESSAT, Name: "faccessat", Args: "fd path int", Fn: sysFaccessat},
		Row{Nr: unix.SYS_FACCESSAT2, Name: "faccessat2", Args: "fd path int flags:at", Fn: sysFaccessat2},
		Row{Nr: unix.SYS_READLINK, Name: "readlink", Args: "path str:out size", Fn: sysReadlink},
		Row{Nr: unix.SYS_READLINKAT, Name: "readlinkat", Args: "fd path str:out size", Fn: sysReadlinkat},
		Row{Nr: unix.SYS_STATFS, Name: "statfs", Args: "path ptr", Fn: sysStatfs},
		Row{Nr: unix.SYS_FSTATFS, Name: "fstatfs", Args: "fd ptr", Fn: sysFstatfs},
	)
}

func putStat(t *kernel.Task, addr uint64, a *vfs.Attr) (uint64, abi.Errno) {
	s := a.Stat()
	b := t.ReadBuf(abi.StatSize)
	s.Put((*[abi.StatSize]byte)(b))
	return 0, t.CopyOut(addr, b)
}

func statPath(t *kernel.Task, path, addr uint64, how vfs.Lookup) (uint64, abi.Errno) {
	p, e := cwdPath(t, path)
	if e != 0 {
		return 0, e
	}
	a, e := vfs.Stat(t, p.At, p.name, how)
	if e != 0 {
		return 0, e
	}
	return putStat(t, addr, &a)
}

// sysStat is stat(2).
func sysStat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return statPath(t, a[0], a[1], vfs.LookupFollow)
}

// sysLstat is lstat(2).
func sysLstat(t *kernel.Task, a *Args) (uint64, abi.Errno) { return statPath(t, a[0], a[1], 0) }

func statFD(t *kernel.Task, num int32, addr uint64) (uint64, abi.Errno) {
	fd, e := t.FDs().Get(num)
	if e != 0 {
		return 0, e
	}
	attr, e := fd.Path.Stat(t)
	fd.DecRef()
	if e != 0 {
		return 0, e
	}
	return putStat(t, addr, &attr)
}

// sysFstat is fstat(2).
func sysFstat(t *kernel.Task, a *Args) (uint64, abi.Errno) { return statFD(t, a.Int(0), a[1]) }

const statFlags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_EMPTY_PATH

// sysNewfstatat is newfstatat(2), fstatat of the C library.
func sysNewfstatat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := a.Uint32(3)
	if flags&^statFlags != 0 {
		return 0, unix.EINVAL
	}
	p, e := pathAtOrNull(t, a.Int(0), a[1], flags)
	if e != 0 {
		return 0, e
	}
	attr, e := vfs.Stat(t, p.At, p.name, lookupFor(flags, true))
	p.put()
	if e != 0 {
		return 0, e
	}
	return putStat(t, a[2], &attr)
}

// Bits of statx's answer beyond STATX_BASIC_STATS.
const (
	statxMountID   = 0x1000
	statxReserved  = 0x80000000
	statxSyncType  = 0x6000
	attrMountRoot  = 0x2000
	attrsSupported = attrMountRoot | unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND
)

// sysStatx is statx(2).
func sysStatx(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags, mask := a.Uint32(2), a.Uint32(3)
	if mask&statxReserved != 0 || flags&^(statFlags|statxSyncType) != 0 || flags&statxSyncType == statxSyncType {
		return 0, unix.EINVAL
	}
	p, e := pathAtOrNull(t, a.Int(0), a[1], flags)
	if e != 0 {
		return 0, e
	}
	path, e := p.walk(t, lookupFor(flags, true))
	p.put()
	if e != 0 {
		return 0, e
	}
	defer path.DecRef()
	attr, e := path.Stat(t)
	if e != 0 {
		return 0, e
	}
	s := attr.Stat()
	s.Mask = unix.STATX_BASIC_STATS
	s.Attributes, s.AttributesMask = attr.StatxAttr, attrsSupported|attr.StatxAttr
	if attr.Btime != 0 {
		s.Mask |= unix.STATX_BTIME
	}
	if path.Mount != nil {
		s.Mask |= statxMountID
		s.MountID = uint64(path.Mount.ID)
		if path.Dentry == path.Mount.Root {
			s.Attributes |= attrMountRoot
		}
	}
	b := t.ReadBuf(abi.StatxSize)
	s.PutStatx((*[abi.StatxSize]byte)(b))
	return 0, t.CopyOut(a[4], b)
}

func accessAt(t *kernel.Task, dirfd int32, addr uint64, mode, flags uint32) (uint64, abi.Errno) {
	if mode&^7 != 0 || flags&^(unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	p, e := pathAt(t, dirfd, addr)
	if e != 0 {
		return 0, e
	}
	e = vfs.Access(t, p.At, p.name, mode, flags)
	p.put()
	return 0, e
}

// sysAccess is access(2).
func sysAccess(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return accessAt(t, unix.AT_FDCWD, a[0], a.Uint32(1), 0)
}

// sysFaccessat is the system call behind faccessat(2), without flags.
func sysFaccessat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return accessAt(t, a.Int(0), a[1], a.Uint32(2), 0)
}

// sysFaccessat2 is faccessat2(2).
func sysFaccessat2(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return accessAt(t, a.Int(0), a[1], a.Uint32(2), a.Uint32(3))
}

func readlinkAt(t *kernel.Task, dirfd int32, path, buf uint64, size int32) (uint64, abi.Errno) {
	if size <= 0 {
		return 0, unix.EINVAL
	}
	p, e := pathAt(t, dirfd, path)
	if e != 0 {
		return 0, e
	}
	s, e := vfs.Readlink(t, p.At, p.name)
	p.put()
	if e != 0 {
		return 0, e
	}
	b := t.ReadBuf(min(len(s), int(size)))
	copy(b, s)
	return uint64(len(b)), t.CopyOut(buf, b)
}

// sysReadlink is readlink(2).
func sysReadlink(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return readlinkAt(t, unix.AT_FDCWD, a[0], a[1], a.Int(2))
}

// sysReadlinkat is readlinkat(2).
func sysReadlinkat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return readlinkAt(t, a.Int(0), a[1], a[2], a.Int(3))
}

// stValid marks f_flags as meaningful (ST_VALID).
const stValid = 0x20

// mountFlags turns MS_* into ST_*.
func mountFlags(ms uint64, readOnly bool) int64 {
	f := int64(stValid) | int64(ms&(unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC)) | int64(ms&(unix.MS_NOATIME|unix.MS_NODIRATIME))
	if ms&unix.MS_RELATIME != 0 {
		f |= unix.ST_RELATIME
	}
	if ms&msNoSymFollow != 0 {
		f |= 0x2000
	}
	if readOnly {
		f |= unix.ST_RDONLY
	}
	return f
}

const msNoSymFollow = 0x100

func putStatfs(t *kernel.Task, p vfs.Path, addr uint64) abi.Errno {
	s, e := p.Statfs(t)
	if e != 0 {
		return e
	}
	m := p.Mount
	out := abi.Statfs{Type: m.FS.Magic, Bsize: s.Bsize, Blocks: s.Blocks, Bfree: s.Bfree, Bavail: s.Bavail,
		Files: s.Files, Ffree: s.Ffree, Fsid: m.FS.Dev, Namelen: s.Namelen, Frsize: s.Bsize,
		Flags: mountFlags(m.Flags(), m.ReadOnly())}
	b := t.ReadBuf(abi.StatfsSize)
	out.Put((*[abi.StatfsSize]byte)(b))
	return t.CopyOut(addr, b)
}

// sysStatfs is statfs(2).
func sysStatfs(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return withPath(t, a[0], vfs.LookupFollow, func(p vfs.Path) abi.Errno { return putStatfs(t, p, a[1]) })
}

// sysFstatfs is fstatfs(2).
func sysFstatfs(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, e := t.FDs().Get(a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	return 0, putStatfs(t, fd.Path, a[1])
}
