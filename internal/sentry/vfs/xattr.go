package vfs

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

const (
	xattrNameMax  = 255
	xattrValueMax = 65536
)

// GetXattr gives a value, permissions checked (xattr(7)).
func GetXattr(c Caller, p Path, name string) ([]byte, abi.Errno) {
	if e := p.xattrPermission(c, name, MayRead); e != 0 {
		return nil, e
	}
	return p.Dentry.inode.GetXattr(c, name)
}

// SetXattr sets one; flags are XATTR_CREATE and XATTR_REPLACE.
func SetXattr(c Caller, p Path, name string, value []byte, flags int) abi.Errno {
	if flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		return unix.EINVAL
	}
	if len(value) > xattrValueMax {
		return unix.E2BIG
	}
	if e := p.writable(); e != 0 {
		return e
	}
	if e := p.xattrPermission(c, name, MayWrite); e != 0 {
		return e
	}
	if e := securityXattr(c.Creds(), name); e != 0 {
		return e
	}
	e := p.Dentry.inode.SetXattr(c, strings.Clone(name), value, flags)
	if e == 0 {
		p.Notify(unix.IN_ATTRIB)
	}
	return e
}

// RemoveXattr removes one; ENODATA if there is none.
func RemoveXattr(c Caller, p Path, name string) abi.Errno {
	if e := p.writable(); e != 0 {
		return e
	}
	if e := p.xattrPermission(c, name, MayWrite); e != 0 {
		return e
	}
	if e := securityXattr(c.Creds(), name); e != 0 {
		return e
	}
	e := p.Dentry.inode.RemoveXattr(c, name)
	if e == 0 {
		p.Notify(unix.IN_ATTRIB)
	}
	return e
}

// ListXattr lists the names that the caller may know of.
func ListXattr(c Caller, p Path) ([]string, abi.Errno) {
	names, e := p.Dentry.inode.ListXattr(c)
	if e != 0 || c.Creds().Capable(auth.CAP_SYS_ADMIN) {
		return names, e
	}
	return slices.DeleteFunc(names, func(s string) bool { return strings.HasPrefix(s, "trusted.") }), 0
}

// xattrPermission checks a name and the rules of its namespace.
func (p Path) xattrPermission(c Caller, name string, mask uint32) abi.Errno {
	if name == "" || len(name) > xattrNameMax {
		return unix.ERANGE
	}
	cr, ino := c.Creds(), p.Dentry.inode
	refused := abi.Errno(unix.ENODATA)
	if mask == MayWrite {
		refused = unix.EPERM
	}
	switch {
	case strings.HasPrefix(name, "security."), strings.HasPrefix(name, "system."):
		return emptySuffix(name)
	case strings.HasPrefix(name, "trusted."):
		if !cr.Capable(auth.CAP_SYS_ADMIN) {
			return refused
		}
		return emptySuffix(name)
	case strings.HasPrefix(name, "user."):
		perm := ino.Perm()
		switch perm.Mode & unix.S_IFMT {
		case unix.S_IFREG, unix.S_IFDIR:
		default:
			return refused
		}
		if mask == MayWrite && perm.Mode&unix.S_IFMT == unix.S_IFDIR && perm.Mode&unix.S_ISVTX != 0 &&
			!ownerOrCapable(cr, perm) {
			return unix.EPERM
		}
		if e := inodePermission(c, p.Dentry.fs, ino, mask); e != 0 {
			return e
		}
		return emptySuffix(name)
	}
	if e := inodePermission(c, p.Dentry.fs, ino, mask); e != 0 {
		return e
	}
	return unix.EOPNOTSUPP
}

// emptySuffix refuses a namespace without a name.
func emptySuffix(name string) abi.Errno {
	if name[len(name)-1] == '.' && strings.Count(name, ".") == 1 {
		return unix.EINVAL
	}
	return 0
}

// securityXattr checks a change of security.* (capabilities(7)).
func securityXattr(cr *auth.Creds, name string) abi.Errno {
	switch {
	case !strings.HasPrefix(name, "security."):
		return 0
	case name == "security.capability":
		if !cr.Capable(auth.CAP_SETFCAP) {
			return unix.EPERM
		}
	case !cr.Capable(auth.CAP_SYS_ADMIN):
		return unix.EPERM
	}
	return 0
}
