package vfs

// AnonKind is a kind of file without a name in any tree.
type AnonKind int

const (
	AnonPipe   AnonKind = iota // "pipe:[7]"
	AnonSocket                 // "socket:[9]"
)

// NewAnonInode makes the inode of a pipe or socket, mode with its type, owned
// by the caller. AnonInode.Open gives descriptions of it.
func NewAnonInode(c Caller, kind AnonKind, mode uint32) *AnonInode { return nil }

// AnonInode is an inode of pipefs or sockfs.
type AnonInode struct {
	InodeBase
	InodeDefaults
}

// Ino is its number.
func (a *AnonInode) Ino() uint64 { return 0 }

// Open makes a description, with one reference; mode is FMODE_*.
func (a *AnonInode) Open(impl File, flags, mode uint32) *FileDescription { return nil }

// NewAnon makes a description of the one anonymous inode: "eventfd" is shown
// as "anon_inode:[eventfd]". flags have the access mode.
func NewAnon(name string, impl File, flags uint32) *FileDescription { return nil }
