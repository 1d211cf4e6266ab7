package kernfs

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

var lastIno atomic.Uint64

// firstIno leaves the low numbers to roots and others that are known by theirs.
const firstIno = 1 << 20

// NewIno gives a number for one more inode of a fixed tree. Dynamic inodes
// number themselves above 1<<32.
func NewIno() uint64 { return firstIno + lastIno.Add(1) }

// Node is what every inode here has.
type Node struct {
	vfs.InodeBase
	vfs.InodeDefaults
	Meta
}

// Meta are an inode's attributes, set before it is used.
type Meta struct {
	Mode  uint32 // with its type
	Ino   uint64
	Nlink uint32
	// Owner gives the owner; nil: root.
	Owner func() (uid, gid uint32)
	// Times are those of making.
	Time vfs.Time
	Rdev uint64
}

// Init fills in a node of a fixed tree.
func (n *Node) Init(mode uint32) {
	n.Mode, n.Ino, n.Nlink, n.Time = mode, NewIno(), 1, vfs.Now()
}

// Perm is vfs.Inode's.
func (n *Node) Perm() vfs.Perm {
	p := vfs.Perm{Mode: n.Mode}
	if n.Owner != nil {
		p.UID, p.GID = n.Owner()
	}
	return p
}

// Attr is vfs.Inode's.
func (n *Node) Attr() (vfs.Attr, abi.Errno) {
	p := n.Perm()
	return vfs.Attr{
		Mode: n.Mode, Nlink: max(n.Nlink, 1), UID: p.UID, GID: p.GID, Ino: n.Ino, Rdev: n.Rdev,
		Blksize: 4096, Atime: n.Time, Mtime: n.Time, Ctime: n.Time,
	}, 0
}

// SetAttr lets files be truncated, which changes nothing, and refuses the rest.
func (n *Node) SetAttr(_ vfs.Caller, s vfs.SetAttr) abi.Errno {
	if s.Mask&(vfs.SetMode|vfs.SetUID|vfs.SetGID) != 0 {
		return unix.EPERM
	}
	return 0
}

// DType gives the DT_* of a mode.
func DType(mode uint32) uint8 { return uint8(mode & unix.S_IFMT >> 12) }
