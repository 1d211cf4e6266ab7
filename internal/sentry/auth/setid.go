package auth

import (
	"slices"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// Keep, as an id, leaves it as it is.
const Keep = ^uint32(0)

// NGROUPS_MAX is how many supplementary groups there may be.
const NGROUPS_MAX = 65536

// fsCaps are the capabilities that go with a file-system uid of 0.
const fsCaps = Caps(1<<CAP_CHOWN | 1<<CAP_DAC_OVERRIDE | 1<<CAP_DAC_READ_SEARCH | 1<<CAP_FOWNER |
	1<<CAP_FSETID | 1<<CAP_LINUX_IMMUTABLE | 1<<CAP_MKNOD | 1<<CAP_MAC_OVERRIDE)

// SetUID is setuid(2).
func (c *Creds) SetUID(uid uint32) (*Creds, abi.Errno) {
	if uid == Keep {
		return nil, unix.EINVAL
	}
	n := c.Clone()
	if c.Capable(CAP_SETUID) {
		n.UID, n.SUID = uid, uid
	} else if uid != c.UID && uid != c.SUID {
		return nil, unix.EPERM
	}
	n.EUID, n.FSUID = uid, uid
	n.fixSetUID(c)
	return n, 0
}

// SetREUID is setreuid(2).
func (c *Creds) SetREUID(ruid, euid uint32) (*Creds, abi.Errno) {
	n, capable := c.Clone(), c.Capable(CAP_SETUID)
	if ruid != Keep {
		if ruid != c.UID && ruid != c.EUID && !capable {
			return nil, unix.EPERM
		}
		n.UID = ruid
	}
	if euid != Keep {
		if euid != c.UID && euid != c.EUID && euid != c.SUID && !capable {
			return nil, unix.EPERM
		}
		n.EUID = euid
	}
	if ruid != Keep || (euid != Keep && euid != c.UID) {
		n.SUID = n.EUID
	}
	n.FSUID = n.EUID
	n.fixSetUID(c)
	return n, 0
}

// SetRESUID is setresuid(2).
func (c *Creds) SetRESUID(ruid, euid, suid uint32) (*Creds, abi.Errno) {
	n := c.Clone()
	if !c.Capable(CAP_SETUID) {
		for _, id := range [...]uint32{ruid, euid, suid} {
			if id != Keep && id != c.UID && id != c.EUID && id != c.SUID {
				return nil, unix.EPERM
			}
		}
	}
	set(&n.UID, ruid)
	set(&n.EUID, euid)
	set(&n.SUID, suid)
	n.FSUID = n.EUID
	n.fixSetUID(c)
	return n, 0
}

func set(p *uint32, id uint32) {
	if id != Keep {
		*p = id
	}
}

// SetFSUID is setfsuid(2); nil: nothing changes.
func (c *Creds) SetFSUID(uid uint32) *Creds {
	if uid == Keep || uid == c.FSUID {
		return nil
	}
	if uid != c.UID && uid != c.EUID && uid != c.SUID && !c.Capable(CAP_SETUID) {
		return nil
	}
	n := c.Clone()
	n.FSUID = uid
	if c.Securebits&SECBIT_NO_SETUID_FIXUP == 0 {
		switch {
		case c.FSUID == 0 && uid != 0:
			n.Effective &^= fsCaps
		case c.FSUID != 0 && uid == 0:
			n.Effective |= fsCaps & n.Permitted
		}
	}
	return n
}

// fixSetUID changes capabilities as user ids go from or to 0 (capabilities(7),
// "Effect of user ID changes").
func (c *Creds) fixSetUID(old *Creds) {
	if c.Securebits&SECBIT_NO_SETUID_FIXUP != 0 {
		return
	}
	hadRoot := old.UID == 0 || old.EUID == 0 || old.SUID == 0
	if hadRoot && c.UID != 0 && c.EUID != 0 && c.SUID != 0 {
		if c.Securebits&SECBIT_KEEP_CAPS == 0 {
			c.Permitted, c.Effective = 0, 0
		}
		c.Ambient = 0
	}
	switch {
	case old.EUID == 0 && c.EUID != 0:
		c.Effective = 0
	case old.EUID != 0 && c.EUID == 0:
		c.Effective = c.Permitted
	}
}

// SetGID is setgid(2).
func (c *Creds) SetGID(gid uint32) (*Creds, abi.Errno) {
	if gid == Keep {
		return nil, unix.EINVAL
	}
	n := c.Clone()
	if c.Capable(CAP_SETGID) {
		n.GID, n.SGID = gid, gid
	} else if gid != c.GID && gid != c.SGID {
		return nil, unix.EPERM
	}
	n.EGID, n.FSGID = gid, gid
	return n, 0
}

// SetREGID is setregid(2).
func (c *Creds) SetREGID(rgid, egid uint32) (*Creds, abi.Errno) {
	n, capable := c.Clone(), c.Capable(CAP_SETGID)
	if rgid != Keep {
		if rgid != c.GID && rgid != c.EGID && !capable {
			return nil, unix.EPERM
		}
		n.GID = rgid
	}
	if egid != Keep {
		if egid != c.GID && egid != c.EGID && egid != c.SGID && !capable {
			return nil, unix.EPERM
		}
		n.EGID = egid
	}
	if rgid != Keep || (egid != Keep && egid != c.GID) {
		n.SGID = n.EGID
	}
	n.FSGID = n.EGID
	return n, 0
}

// SetRESGID is setresgid(2).
func (c *Creds) SetRESGID(rgid, egid, sgid uint32) (*Creds, abi.Errno) {
	n := c.Clone()
	if !c.Capable(CAP_SETGID) {
		for _, id := range [...]uint32{rgid, egid, sgid} {
			if id != Keep && id != c.GID && id != c.EGID && id != c.SGID {
				return nil, unix.EPERM
			}
		}
	}
	set(&n.GID, rgid)
	set(&n.EGID, egid)
	set(&n.SGID, sgid)
	n.FSGID = n.EGID
	return n, 0
}

// SetFSGID is setfsgid(2); nil: nothing changes.
func (c *Creds) SetFSGID(gid uint32) *Creds {
	if gid == Keep || gid == c.FSGID {
		return nil
	}
	if gid != c.GID && gid != c.EGID && gid != c.SGID && !c.Capable(CAP_SETGID) {
		return nil
	}
	n := c.Clone()
	n.FSGID = gid
	return n
}

// SetGroups is setgroups(2); it keeps groups, which the caller gives away.
func (c *Creds) SetGroups(groups []uint32) (*Creds, abi.Errno) {
	if !c.Capable(CAP_SETGID) {
		return nil, unix.EPERM
	}
	if len(groups) > NGROUPS_MAX || slices.Contains(groups, Keep) {
		return nil, unix.EINVAL
	}
	slices.Sort(groups)
	n := c.Clone()
	n.Groups = groups
	return n, 0
}
