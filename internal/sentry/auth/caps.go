package auth

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// Secure bits (capabilities(7)); each has a lock one bit above it.
const (
	SECBIT_NOROOT                      = 1 << 0
	SECBIT_NO_SETUID_FIXUP             = 1 << 2
	SECBIT_KEEP_CAPS                   = 1 << 4
	SECBIT_KEEP_CAPS_LOCKED            = 1 << 5
	SECBIT_NO_CAP_AMBIENT_RAISE        = 1 << 6
	secureAllBits               uint32 = 0x55
	secureAllLocks              uint32 = secureAllBits << 1
)

// subset tells whether s has nothing that of lacks.
func (s Caps) subset(of Caps) bool { return s&^of == 0 }

// CapSet is capset(2) on the caller itself.
func (c *Creds) CapSet(effective, permitted, inheritable Caps) (*Creds, abi.Errno) {
	effective, permitted, inheritable = effective&AllCaps, permitted&AllCaps, inheritable&AllCaps
	switch {
	case !c.Capable(CAP_SETPCAP) && !inheritable.subset(c.Inheritable|c.Permitted),
		!inheritable.subset(c.Inheritable | c.Bounding),
		!permitted.subset(c.Permitted),
		!effective.subset(permitted):
		return nil, unix.EPERM
	}
	n := c.Clone()
	n.Effective, n.Permitted, n.Inheritable = effective, permitted, inheritable
	n.Ambient &= permitted & inheritable
	return n, 0
}

// DropBounding is PR_CAPBSET_DROP.
func (c *Creds) DropBounding(cp uint64) (*Creds, abi.Errno) {
	if !c.Capable(CAP_SETPCAP) {
		return nil, unix.EPERM
	}
	if cp > CAP_LAST_CAP {
		return nil, unix.EINVAL
	}
	n := c.Clone()
	n.Bounding &^= 1 << cp
	return n, 0
}

// RaiseAmbient and LowerAmbient are PR_CAP_AMBIENT's.
func (c *Creds) RaiseAmbient(cp int) (*Creds, abi.Errno) {
	if !c.Permitted.Has(cp) || !c.Inheritable.Has(cp) || c.Securebits&SECBIT_NO_CAP_AMBIENT_RAISE != 0 {
		return nil, unix.EPERM
	}
	n := c.Clone()
	n.Ambient |= 1 << uint(cp)
	return n, 0
}

func (c *Creds) LowerAmbient(set Caps) *Creds {
	n := c.Clone()
	n.Ambient &^= set
	return n
}

// SetSecurebits is PR_SET_SECUREBITS.
func (c *Creds) SetSecurebits(bits uint64) (*Creds, abi.Errno) {
	old := c.Securebits
	b := uint32(bits)
	switch {
	case bits&^uint64(secureAllBits|secureAllLocks) != 0,
		(old&secureAllLocks)>>1&(old^b) != 0, // a locked bit would change
		old&secureAllLocks&^b != 0,           // a lock would open
		!c.Capable(CAP_SETPCAP):
		return nil, unix.EPERM
	}
	n := c.Clone()
	n.Securebits = b
	return n, 0
}

// SetKeepCaps is PR_SET_KEEPCAPS.
func (c *Creds) SetKeepCaps(on bool) (*Creds, abi.Errno) {
	if c.Securebits&SECBIT_KEEP_CAPS_LOCKED != 0 {
		return nil, unix.EPERM
	}
	n := c.Clone()
	n.Securebits &^= SECBIT_KEEP_CAPS
	if on {
		n.Securebits |= SECBIT_KEEP_CAPS
	}
	return n, 0
}

// Loses tells whether going from c to n changes what a process is towards
// others, so that it becomes undumpable and forgets its parent-death signal.
func (c *Creds) Loses(n *Creds) bool {
	return c.EUID != n.EUID || c.EGID != n.EGID || c.FSUID != n.FSUID || c.FSGID != n.FSGID ||
		!n.Permitted.subset(c.Permitted)
}
