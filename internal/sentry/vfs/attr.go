package vfs

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

// Now is the time that files are stamped with.
func Now() Time { return Time(ktime.Real()) }

// Stat gives attributes the shape of the guest's structures.
func (a *Attr) Stat() abi.Stat {
	return abi.Stat{
		Dev: a.Dev, Ino: a.Ino, Rdev: a.Rdev, Mode: a.Mode, Nlink: a.Nlink, UID: a.UID, GID: a.GID,
		Size: a.Size, Blocks: a.Blocks, Blksize: a.Blksize,
		Atime: int64(a.Atime), Mtime: int64(a.Mtime), Ctime: int64(a.Ctime), Btime: int64(a.Btime),
	}
}

// Stat gives the attributes of what is at p, Dev filled in.
func (p Path) Stat(c Caller) (Attr, abi.Errno) {
	a, e := p.Dentry.inode.Attr()
	return p.whole(a), e
}

// whole fills in Dev.
func (p Path) whole(a Attr) Attr {
	if a.Dev == 0 {
		a.Dev = p.Dentry.fs.Dev
	}
	return a
}

// Stat is fstatat's and statx's.
func Stat(c Caller, at At, path string, how Lookup) (Attr, abi.Errno) {
	p, e := Walk(c, at, path, how)
	if e != 0 {
		return Attr{}, e
	}
	defer p.DecRef()
	if f, ok := p.Dentry.inode.(AttrFinder); ok && path != "" {
		a, e := f.FoundAttr()
		return p.whole(a), e
	}
	return p.Stat(c)
}

// Statfs gives the file system's figures; f_type is p's Filesystem.Magic,
// f_flags are the mount's Flags.
func (p Path) Statfs(c Caller) (Statfs, abi.Errno) { return p.Dentry.fs.Ops.Statfs(c) }

// writable checks that the mount may be written to.
func (p Path) writable() abi.Errno {
	if p.Mount.ReadOnly() {
		return unix.EROFS
	}
	return 0
}

// setAttr makes a change that has been checked, and tells watchers.
func (p Path) setAttr(c Caller, s SetAttr, event uint32) abi.Errno {
	e := p.Dentry.inode.SetAttr(c, s)
	if e == 0 && event != 0 {
		p.Notify(event)
	}
	return e
}

// Chmod is fchmod(2) and its family.
func Chmod(c Caller, p Path, mode uint32) abi.Errno {
	if e := p.writable(); e != 0 {
		return e
	}
	cr, perm := c.Creds(), p.Dentry.inode.Perm()
	if perm.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.EOPNOTSUPP
	}
	if !ownerOrCapable(cr, perm) {
		return unix.EPERM
	}
	mode &= 07777
	if mode&unix.S_ISGID != 0 && !cr.InGroup(perm.GID) && !cr.Capable(auth.CAP_FSETID) {
		mode &^= unix.S_ISGID
	}
	return p.setAttr(c, SetAttr{Mask: SetMode, Mode: mode}, unix.IN_ATTRIB)
}

// Chown is fchown(2) and its family; ^0 leaves an id alone.
func Chown(c Caller, p Path, uid, gid uint32) abi.Errno {
	if e := p.writable(); e != 0 {
		return e
	}
	cr, ino := c.Creds(), p.Dentry.inode
	perm := ino.Perm()
	s := SetAttr{UID: uid, GID: gid}
	capable := cr.Capable(auth.CAP_CHOWN)
	owner := cr.FSUID == perm.UID
	if uid != ^uint32(0) {
		if !capable && !(owner && uid == perm.UID) {
			return unix.EPERM
		}
		s.Mask |= SetUID
	}
	if gid != ^uint32(0) {
		if !capable && !(owner && (gid == perm.GID || cr.InGroup(gid))) {
			return unix.EPERM
		}
		s.Mask |= SetGID
	}
	if perm.Mode&unix.S_IFMT != unix.S_IFDIR {
		dropSetID(cr, perm, &s)
		if s.Mask&SetMode != 0 && !ownerOrCapable(cr, perm) {
			return unix.EPERM // it is a change of mode too
		}
		if perm.Mode&unix.S_IFMT == unix.S_IFREG {
			ino.RemoveXattr(c, "security.capability")
		}
	}
	return p.setAttr(c, s, unix.IN_ATTRIB)
}

// dropSetID adds the clearing of set-id bits to s, as a change of owner or of
// contents brings it.
func dropSetID(cr *auth.Creds, perm Perm, s *SetAttr) {
	mode := perm.Mode & 07777
	keep := mode &^ unix.S_ISUID
	if mode&unix.S_ISGID != 0 &&
		(mode&unix.S_IXGRP != 0 || !cr.InGroup(perm.GID) && !cr.Capable(auth.CAP_FSETID)) {
		keep &^= unix.S_ISGID
	}
	if keep != mode {
		s.Mask |= SetMode
		s.Mode = keep
	}
}

// dropSetIDOnWrite clears them when a file is written by one without
// CAP_FSETID.
func dropSetIDOnWrite(c Caller, ino Inode, perm Perm) {
	if perm.Mode&(unix.S_ISUID|unix.S_ISGID) == 0 || perm.Mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	cr := c.Creds()
	if cr.Capable(auth.CAP_FSETID) {
		return
	}
	var s SetAttr
	dropSetID(cr, perm, &s)
	if s.Mask != 0 {
		ino.SetAttr(c, s)
	}
}

// TimeSpec is one of utimensat's two times.
type TimeSpec struct {
	Omit, Now bool
	Time      Time
}

// Utimens is utimensat(2); a nil pointer there is Now twice.
func Utimens(c Caller, p Path, atime, mtime TimeSpec) abi.Errno {
	if atime.Omit && mtime.Omit {
		return 0
	}
	if e := p.writable(); e != 0 {
		return e
	}
	cr, ino := c.Creds(), p.Dentry.inode
	if !ownerOrCapable(cr, ino.Perm()) {
		if !atime.Now || !mtime.Now {
			return unix.EPERM
		}
		if e := inodePermission(c, p.Dentry.fs, ino, MayWrite); e != 0 {
			return e
		}
	}
	now := Now()
	var s SetAttr
	var event uint32
	if !atime.Omit {
		s.Mask, s.Atime = s.Mask|SetAtime, pick(atime, now)
		event = unix.IN_ACCESS
	}
	if !mtime.Omit {
		s.Mask, s.Mtime = s.Mask|SetMtime, pick(mtime, now)
		event = unix.IN_MODIFY
	}
	if !atime.Omit && !mtime.Omit {
		event = unix.IN_ATTRIB
	}
	return p.setAttr(c, s, event)
}

func pick(t TimeSpec, now Time) Time {
	if t.Now {
		return now
	}
	return t.Time
}

// Truncate is truncate(2).
func Truncate(c Caller, p Path, size int64) abi.Errno {
	if size < 0 {
		return unix.EINVAL
	}
	ino := p.Dentry.inode
	switch ino.Perm().Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return unix.EISDIR
	default:
		return unix.EINVAL
	}
	if e := p.writable(); e != 0 {
		return e
	}
	if e := inodePermission(c, p.Dentry.fs, ino, MayWrite); e != 0 {
		return e
	}
	if e := ino.Base().GetWrite(); e != 0 {
		return e
	}
	defer ino.Base().PutWrite()
	return p.truncate(c, size)
}

// truncate changes the size after the checks.
func (p Path) truncate(c Caller, size int64) abi.Errno {
	if uint64(size) > c.FSizeLimit() {
		c.SignalXFSZ()
		return unix.EFBIG
	}
	ino := p.Dentry.inode
	s := SetAttr{Mask: SetSize, Size: size}
	perm := ino.Perm()
	if perm.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 && !c.Creds().Capable(auth.CAP_FSETID) {
		dropSetID(c.Creds(), perm, &s)
	}
	return p.setAttr(c, s, unix.IN_MODIFY)
}

// Truncate is ftruncate(2).
func (fd *FileDescription) Truncate(c Caller, size int64) abi.Errno {
	if fd.Mode&FMODE_PATH != 0 {
		return unix.EBADF
	}
	if size < 0 || fd.Mode&FMODE_WRITE == 0 {
		return unix.EINVAL
	}
	if fd.Inode().Perm().Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EINVAL
	}
	return fd.Path.truncate(c, size)
}

// Access is faccessat2(2): mode is R_OK|W_OK|X_OK; flags AT_EACCESS,
// AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH.
func Access(c Caller, at At, path string, mode, flags uint32) abi.Errno {
	if mode&^7 != 0 || flags&^uint32(unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return unix.EINVAL
	}
	if flags&unix.AT_EACCESS == 0 {
		c = realIDs(c)
	}
	how := LookupFollow
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		how = 0
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		how |= LookupEmpty
	}
	p, e := Walk(c, at, path, how)
	if e != 0 {
		return e
	}
	defer p.DecRef()
	if mode&MayExec != 0 && p.Mount.Flags()&unix.MS_NOEXEC != 0 && p.Inode().Perm().Mode&unix.S_IFMT == unix.S_IFREG {
		return unix.EACCES
	}
	return p.Permission(c, mode)
}

// realCaller is a caller judged by its real ids.
type realCaller struct {
	Caller
	creds *auth.Creds
}

func (r realCaller) Creds() *auth.Creds { return r.creds }

// realIDs gives c with its real ids as file-system ids, and the capabilities
// that access(2) gives those.
func realIDs(c Caller) Caller {
	cr := c.Creds()
	caps := cr.Permitted
	const noSetuidFixup = 1 << 2
	if cr.Securebits&noSetuidFixup != 0 {
		caps = cr.Effective
	} else if cr.UID != 0 {
		caps = 0
	}
	if cr.FSUID == cr.UID && cr.FSGID == cr.GID && cr.Effective == caps {
		return c
	}
	n := cr.Clone()
	n.FSUID, n.FSGID, n.Effective = cr.UID, cr.GID, caps
	return realCaller{c, n}
}

// NewOwner gives owner, group and mode of a file about to be made in a
// directory of permissions dir: its set-gid bit is inherited.
func NewOwner(c Caller, dir Perm, mode uint32) (uid, gid, newMode uint32) {
	cr := c.Creds()
	uid, gid = cr.FSUID, cr.FSGID
	if dir.Mode&unix.S_ISGID == 0 {
		return uid, gid, mode
	}
	gid = dir.GID
	if mode&unix.S_IFMT == unix.S_IFDIR {
		return uid, gid, mode | unix.S_ISGID
	}
	const both = unix.S_ISGID | unix.S_IXGRP
	if mode&both == both && !cr.InGroup(gid) && !cr.Capable(auth.CAP_FSETID) {
		mode &^= unix.S_ISGID
	}
	return uid, gid, mode
}
