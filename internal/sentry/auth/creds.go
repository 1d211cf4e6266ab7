// Package auth has a task's credentials and the questions asked of them:
// credentials(7), capabilities(7). A *Creds is immutable once published;
// changing one means to copy, change and publish the copy. It has no locks.
package auth

import "slices"

// Caps is a set of capabilities, bit n for capability n.
type Caps uint64

// Capability numbers (include/uapi/linux/capability.h).
const (
	CAP_CHOWN = iota
	CAP_DAC_OVERRIDE
	CAP_DAC_READ_SEARCH
	CAP_FOWNER
	CAP_FSETID
	CAP_KILL
	CAP_SETGID
	CAP_SETUID
	CAP_SETPCAP
	CAP_LINUX_IMMUTABLE
	CAP_NET_BIND_SERVICE
	CAP_NET_BROADCAST
	CAP_NET_ADMIN
	CAP_NET_RAW
	CAP_IPC_LOCK
	CAP_IPC_OWNER
	CAP_SYS_MODULE
	CAP_SYS_RAWIO
	CAP_SYS_CHROOT
	CAP_SYS_PTRACE
	CAP_SYS_PACCT
	CAP_SYS_ADMIN
	CAP_SYS_BOOT
	CAP_SYS_NICE
	CAP_SYS_RESOURCE
	CAP_SYS_TIME
	CAP_SYS_TTY_CONFIG
	CAP_MKNOD
	CAP_LEASE
	CAP_AUDIT_WRITE
	CAP_AUDIT_CONTROL
	CAP_SETFCAP
	CAP_MAC_OVERRIDE
	CAP_MAC_ADMIN
	CAP_SYSLOG
	CAP_WAKE_ALARM
	CAP_BLOCK_SUSPEND
	CAP_AUDIT_READ
	CAP_PERFMON
	CAP_BPF
	CAP_CHECKPOINT_RESTORE
	capCount
)

// CAP_LAST_CAP is the highest capability known.
const CAP_LAST_CAP = capCount - 1

// AllCaps has every capability.
const AllCaps = Caps(1)<<capCount - 1

// Creds are a task's identity.
type Creds struct {
	UID, EUID, SUID, FSUID uint32
	GID, EGID, SGID, FSGID uint32
	Groups                 []uint32 // sorted, never changed in place

	Permitted, Effective, Inheritable, Bounding, Ambient Caps

	Securebits uint32
	NoNewPrivs bool
}

// Has tells whether c is in the set.
func (s Caps) Has(c int) bool { return s>>uint(c)&1 != 0 }

// Capable tells whether the effective set has capability n.
func (c *Creds) Capable(n int) bool { return c.Effective.Has(n) }

// InGroup tells whether gid is the file-system group or a supplementary one.
func (c *Creds) InGroup(gid uint32) bool {
	if c.FSGID == gid {
		return true
	}
	_, ok := slices.BinarySearch(c.Groups, gid)
	return ok
}

// InEGroup is InGroup for the effective group.
func (c *Creds) InEGroup(gid uint32) bool {
	if c.EGID == gid {
		return true
	}
	_, ok := slices.BinarySearch(c.Groups, gid)
	return ok
}

// Clone gives a copy to change before it is published.
func (c *Creds) Clone() *Creds { n := *c; return &n }

// Root gives the superuser with every capability.
func Root() *Creds {
	return &Creds{Permitted: AllCaps, Effective: AllCaps, Bounding: AllCaps}
}
