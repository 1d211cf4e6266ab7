package vfs

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

// What a permission check asks for, as access(2)'s bits.
const (
	MayExec  uint32 = 1
	MayWrite uint32 = 2
	MayRead  uint32 = 4
)

// CheckPerm tells whether cr may do what mask says with a file of permissions
// p (path_resolution(7), capabilities(7)).
func CheckPerm(cr *auth.Creds, p Perm, mask uint32) abi.Errno {
	mode := p.Mode
	if cr.FSUID == p.UID {
		mode >>= 6
	} else if (mode>>3^mode)&mask != 0 && cr.InGroup(p.GID) {
		mode >>= 3
	}
	if mask&^mode&7 == 0 {
		return 0
	}
	if p.Mode&unix.S_IFMT == unix.S_IFDIR {
		if mask&MayWrite == 0 && cr.Capable(auth.CAP_DAC_READ_SEARCH) {
			return 0
		}
		if cr.Capable(auth.CAP_DAC_OVERRIDE) {
			return 0
		}
		return unix.EACCES
	}
	if mask == MayRead && cr.Capable(auth.CAP_DAC_READ_SEARCH) {
		return 0
	}
	if (mask&MayExec == 0 || p.Mode&0111 != 0) && cr.Capable(auth.CAP_DAC_OVERRIDE) {
		return 0
	}
	return unix.EACCES
}

// inodePermission is CheckPerm with the file system's own read-only state.
func inodePermission(c Caller, fs *Filesystem, ino Inode, mask uint32) abi.Errno {
	p := ino.Perm()
	if mask&MayWrite != 0 && fs.ReadOnly.Load() {
		switch p.Mode & unix.S_IFMT {
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
			return unix.EROFS
		}
	}
	return CheckPerm(c.Creds(), p, mask)
}

// ownerOrCapable tells whether the caller owns the file or may act so.
func ownerOrCapable(cr *auth.Creds, p Perm) bool {
	return cr.FSUID == p.UID || cr.Capable(auth.CAP_FOWNER)
}

// sticky tells whether dir's sticky bit keeps the caller from removing victim.
func sticky(cr *auth.Creds, dir, victim Perm) bool {
	if dir.Mode&unix.S_ISVTX == 0 || victim.UID == cr.FSUID || dir.UID == cr.FSUID {
		return false
	}
	return !cr.Capable(auth.CAP_FOWNER)
}

// Permission checks mask (MayRead, MayWrite, MayExec) for the caller's
// file-system ids; a write through a read-only mount is EROFS.
func (p Path) Permission(c Caller, mask uint32) abi.Errno {
	e := inodePermission(c, p.Dentry.fs, p.Dentry.inode, mask)
	if e == 0 && mask&MayWrite != 0 && p.Mount.ReadOnly() && !special(p.Dentry.inode) {
		return unix.EROFS
	}
	return e
}

// special tells whether ino is a device, fifo or socket: those may be written
// on a read-only mount.
func special(ino Inode) bool {
	switch ino.Perm().Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
		return true
	}
	return false
}

// isDir tells whether ino is a directory.
func isDir(ino Inode) bool { return ino.Perm().Mode&unix.S_IFMT == unix.S_IFDIR }

// internalCaller is the superuser without a task.
type internalCaller struct{ creds *auth.Creds }

func (i internalCaller) Creds() *auth.Creds { return i.creds }
func (internalCaller) Umask() uint32        { return 0 }
func (internalCaller) TGID() int32          { return 0 }
func (internalCaller) FSizeLimit() uint64   { return ^uint64(0) }
func (internalCaller) SignalXFSZ()          {}

// Internal is the caller for what the Sentry does of its own accord.
var Internal Caller = internalCaller{auth.Root()}
