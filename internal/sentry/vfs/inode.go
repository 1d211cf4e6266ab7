package vfs

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

// Caller is who makes a call: a kernel.Task, or an internal caller at boot.
// Files that need more (terminals: session and process group; locks: an
// owner) assert further interfaces of it.
type Caller interface {
	Creds() *auth.Creds
	Umask() uint32
	// TGID is the caller's process id, for lock owners and SCM_CREDENTIALS.
	TGID() int32
	// FSizeLimit is RLIMIT_FSIZE's soft limit. A write past it fails with
	// EFBIG, after SignalXFSZ.
	FSizeLimit() uint64
	SignalXFSZ()
}

// Time is nanoseconds since the epoch of CLOCK_REALTIME.
type Time int64

// Attr are an inode's attributes, as statx(2) tells them.
type Attr struct {
	Mode      uint32 // S_IFMT and permission bits
	Nlink     uint32
	UID, GID  uint32
	Ino       uint64
	Dev       uint64 // as stat's st_dev; the file system's unless set
	Rdev      uint64 // for device nodes, encoded as st_rdev
	Size      int64  // bytes
	Blocks    int64  // units of 512 bytes
	Blksize   uint32
	Atime     Time
	Mtime     Time
	Ctime     Time
	Btime     Time // zero: not known
	StatxAttr uint64
}

// SetAttr says which attributes to change. Permission has been checked by vfs.
type SetAttr struct {
	Mask         SetMask
	Mode         uint32 // permission bits only (07777)
	UID, GID     uint32
	Size         int64
	Atime, Mtime Time // with SetAtime and SetMtime; vfs has filled in "now"
}

// SetMask picks fields of SetAttr.
type SetMask uint32

const (
	SetMode SetMask = 1 << iota
	SetUID
	SetGID
	SetSize
	SetAtime
	SetMtime
)

// Perm is what a permission check reads.
type Perm struct {
	Mode     uint32
	UID, GID uint32
}

// Inode is a file as its file system keeps it. vfs has checked permissions,
// names (no "", ".", "..", no slash, at most 255 bytes) and mounts before it
// calls; names are valid only during the call: clone what is kept. Embed
// InodeDefaults for the operations that a kind of file refuses.
//
// Directory operations run with the parent dentry's lock held for writing
// (Lookup: for writing too, when the name is not cached), rename with both.
type Inode interface {
	// Base gives what vfs itself keeps on each inode: locks, watches, the
	// fifo's pipe, the bound socket.
	Base() *InodeBase
	// Perm and Attr must not block for long; Perm is on the path of each walk.
	Perm() Perm
	Attr() (Attr, abi.Errno)
	SetAttr(c Caller, s SetAttr) abi.Errno

	Lookup(c Caller, name string) (Inode, abi.Errno)
	// Create makes a regular file; mode has passed the umask.
	Create(c Caller, name string, mode uint32) (Inode, abi.Errno)
	Mkdir(c Caller, name string, mode uint32) (Inode, abi.Errno)
	Symlink(c Caller, name, target string) (Inode, abi.Errno)
	// Mknod makes fifos, sockets and device nodes; mode has the type.
	Mknod(c Caller, name string, mode uint32, rdev uint64) (Inode, abi.Errno)
	// Tmpfile makes an unnamed regular file (O_TMPFILE).
	Tmpfile(c Caller, mode uint32) (Inode, abi.Errno)
	Link(c Caller, name string, target Inode) abi.Errno
	Unlink(c Caller, name string, target Inode) abi.Errno
	Rmdir(c Caller, name string, target Inode) abi.Errno
	// Rename moves name (src) from this directory to newName in newDir, which
	// is of the same file system; dst is what stood there, or nil. flags are
	// RENAME_NOREPLACE (checked already), RENAME_EXCHANGE, RENAME_WHITEOUT.
	Rename(c Caller, name string, src Inode, newDir Inode, newName string, dst Inode, flags uint32) abi.Errno
	Readlink(c Caller) (string, abi.Errno)

	// Open gives the file operations of a new description. fd's flags and
	// path are set. O_TRUNC and permissions have been handled by vfs.
	Open(c Caller, fd *FileDescription) (File, abi.Errno)

	GetXattr(c Caller, name string) ([]byte, abi.Errno)
	SetXattr(c Caller, name string, value []byte, flags int) abi.Errno
	ListXattr(c Caller) ([]string, abi.Errno)
	RemoveXattr(c Caller, name string) abi.Errno
}

// MagicLink is an inode of kind symlink that leads to a file itself, not to a
// name (/proc/self/fd/N, /proc/self/exe, root, cwd).
type MagicLink interface {
	Target(c Caller) (Path, abi.Errno)
}
