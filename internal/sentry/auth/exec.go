package auth

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// ExecFile is what exec reads of a program's inode.
type ExecFile struct {
	Mode     uint32 // with S_ISUID and S_ISGID
	UID, GID uint32
	Caps     []byte // the xattr security.capability; nil: none
	NoSUID   bool   // its mount ignores set-id bits and file capabilities
	// SharedFS: another process shares the caller's root and umask (CLONE_FS),
	// and could fool a privileged program.
	SharedFS bool
}

const (
	modeSetUID    = 0o4000
	modeSetGID    = 0o2000
	modeGroupExec = 0o0010

	capRevisionMask = 0xff000000
	capRevision1    = 0x01000000
	capRevision2    = 0x02000000
	capRevision3    = 0x03000000
	capFlagEffect   = 1
)

// ExecCreds gives the credentials after an exec of f (capabilities(7),
// "Transformation of capabilities during execve"). secure is AT_SECURE.
func ExecCreds(old *Creds, f *ExecFile) (n *Creds, secure bool, e abi.Errno) {
	n = old.Clone()
	if !f.NoSUID && !old.NoNewPrivs {
		n.setIDs(f)
	}
	effective, hasFileCaps, e := n.fileCaps(old, f)
	if e != 0 {
		return nil, false, e
	}
	effective = n.rootCaps(old, hasFileCaps) || effective

	isSetID := n.EUID != old.UID || n.EGID != old.GID
	gained := !n.Permitted.subset(old.Permitted)
	if (isSetID || gained) && (old.NoNewPrivs || f.SharedFS) {
		if !old.Capable(CAP_SETUID) || old.NoNewPrivs {
			n.EUID, n.EGID = n.UID, n.GID
		}
		n.Permitted &= old.Permitted
	}
	n.SUID, n.FSUID = n.EUID, n.EUID
	n.SGID, n.FSGID = n.EGID, n.EGID
	if hasFileCaps || isSetID {
		n.Ambient = 0
	}
	grew := !n.Permitted.subset(n.Ambient)
	n.Permitted |= n.Ambient
	n.Effective = n.Ambient
	if effective {
		n.Effective = n.Permitted
	}
	n.Securebits &^= SECBIT_KEEP_CAPS
	secure = isSetID || (n.UID != 0 && (effective || grew))
	return n, secure, 0
}

func (c *Creds) setIDs(f *ExecFile) {
	if f.Mode&modeSetUID != 0 {
		c.EUID = f.UID
	}
	if f.Mode&(modeSetGID|modeGroupExec) == modeSetGID|modeGroupExec {
		c.EGID = f.GID
	}
}

// fileCaps sets the permitted set from the file's: P' = (X & fP) | (I & fI).
func (c *Creds) fileCaps(old *Creds, f *ExecFile) (effective, has bool, e abi.Errno) {
	c.Permitted = 0
	if f.NoSUID || f.Caps == nil {
		return false, false, 0
	}
	permitted, inheritable, effective, ok := parseFileCaps(f.Caps)
	if !ok {
		return false, false, 0
	}
	c.Permitted = old.Bounding&permitted | old.Inheritable&inheritable
	if effective && !(permitted & AllCaps).subset(c.Permitted) {
		return false, true, unix.EPERM
	}
	return effective, true, 0
}

// parseFileCaps decodes struct vfs_cap_data; ok false: it is none of the known
// forms, or belongs to another user namespace.
func parseFileCaps(b []byte) (permitted, inheritable Caps, effective, ok bool) {
	if len(b) < 4 {
		return 0, 0, false, false
	}
	le := binary.LittleEndian
	magic := le.Uint32(b)
	want := map[uint32]int{capRevision1: 12, capRevision2: 20, capRevision3: 24}[magic&capRevisionMask]
	if want == 0 || len(b) != want {
		return 0, 0, false, false
	}
	permitted, inheritable = Caps(le.Uint32(b[4:])), Caps(le.Uint32(b[8:]))
	if want > 12 {
		permitted |= Caps(le.Uint32(b[12:])) << 32
		inheritable |= Caps(le.Uint32(b[16:])) << 32
	}
	if want == 24 && le.Uint32(b[20:]) != 0 {
		return 0, 0, false, false
	}
	return permitted, inheritable, magic&capFlagEffect != 0, true
}

// rootCaps gives user 0 its capabilities, whatever the file has. It tells
// whether they are effective.
func (c *Creds) rootCaps(old *Creds, hasFileCaps bool) bool {
	if c.Securebits&SECBIT_NOROOT != 0 || (hasFileCaps && c.EUID == 0 && c.UID != 0) {
		return false
	}
	if c.EUID == 0 || c.UID == 0 {
		c.Permitted = old.Bounding | old.Inheritable
	}
	return c.EUID == 0
}
