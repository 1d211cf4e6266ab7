package vfs

import (
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
)

// Dentry is a name in a directory, cached: an inode, or, without one, a name
// known not to exist. Which inode it leads to never changes; creating and
// removing files exchanges dentries.
type Dentry struct {
	fs    *Filesystem
	inode Inode // nil: negative; constant
	loc   atomic.Pointer[location]

	// refs counts pins, those of the names in it among them. Dead dentries are
	// far below zero: see tryPin.
	refs    atomic.Int32
	mounted atomic.Int32  // mounts on top of it
	flags   atomic.Uint32 // dentry* bits

	// mu guards children, and is held for writing over changes to the
	// directory.
	mu       sync.RWMutex
	children map[string]*Dentry

	lru   lruLinks // under fs.cache.mu
	first location // what loc points to until a rename
}

// location is where a dentry hangs; rename replaces it whole.
type location struct {
	parent *Dentry // nil: a root
	name   string
}

// Filesystem is one mounted instance of a file system (a superblock).
type Filesystem struct {
	Type  string // "tmpfs"
	Magic int64  // statfs(2)'s f_type
	Dev   uint64 // st_dev, encoded; unique
	Ops   FilesystemOps
	// Volatile: directories implement Revalidator.
	Volatile bool
	// MakesFirst: of a Volatile file system whose directories refuse to make a
	// name that exists (EEXIST), so that it need not be looked up before.
	MakesFirst bool
	// RemovesSure: of a Volatile file system whose directories refuse to remove
	// a name that leads elsewhere by now (ESTALE), so that it need not be
	// revalidated before.
	RemovesSure bool
	// ReadOnly is the superblock's own MS_RDONLY.
	ReadOnly atomic.Bool
	// Top, if not empty, is what mountinfo calls the root: of a tree of the
	// host, its path there. Set before the first mount.
	Top string

	root     *Dentry
	renameMu sync.RWMutex // held for writing while a rename moves names
	cache    dentryCache
	mounts   atomic.Int32 // Mounts of it
}

// Statfs is struct statfs without its flags, which the mount gives.
type Statfs struct {
	Bsize                 int64
	Blocks, Bfree, Bavail uint64
	Files, Ffree          uint64
	Namelen               int64
}

// FilesystemOps are the operations on a file system as a whole. Embed
// FilesystemDefaults.
type FilesystemOps interface {
	Statfs(c Caller) (Statfs, abi.Errno)
	Sync() abi.Errno
	// Options are those of the file system itself, for mountinfo: ",size=64k"
	// is written "size=64k".
	Options() string
	// Remount changes them (MS_REMOUNT).
	Remount(c Caller, data string) abi.Errno
	// Release is called when the last mount of it is gone.
	Release()
}

// FilesystemDefaults are an empty Options and Statfs, and a Remount that
// ignores its data.
type FilesystemDefaults struct{}

func (FilesystemDefaults) Statfs(Caller) (Statfs, abi.Errno) {
	return Statfs{Bsize: 4096, Namelen: 255}, 0
}
func (FilesystemDefaults) Sync() abi.Errno                  { return 0 }
func (FilesystemDefaults) Options() string                  { return "" }
func (FilesystemDefaults) Remount(Caller, string) abi.Errno { return 0 }
func (FilesystemDefaults) Release()                         {}

// FSType is a kind of file system that mount(2) can make.
type FSType struct {
	Name  string
	NoDev bool // "nodev" in /proc/filesystems
	// New makes an instance, or gives the one there is.
	New func(c Caller, source string, flags uint64, data string) (*Filesystem, abi.Errno)
}

// Inode gives the inode, nil for a negative dentry.
func (d *Dentry) Inode() Inode { return d.inode }

// Filesystem gives the dentry's file system.
func (d *Dentry) Filesystem() *Filesystem { return d.fs }

// Name gives the dentry's last component; "" for a root.
func (d *Dentry) Name() string { return d.loc.Load().name }

// Parent gives the directory the name stands in; nil for a root.
func (d *Dentry) Parent() *Dentry { return d.loc.Load().parent }
