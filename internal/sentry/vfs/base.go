package vfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// InodeBase is what vfs keeps on every inode. Embed it by value: it gives the
// inode its Base method. Its zero value is ready to use.
type InodeBase struct {
	// refs counts the live dentries that lead here.
	refs atomic.Int32
	// writers counts descriptions open for writing, or, negative, those who
	// deny it (running programs): ETXTBSY.
	writers atomic.Int32
	// linkable: without a link, yet one may be made (O_TMPFILE).
	linkable atomic.Bool
	// life is the file's write-life hint (F_SET_RW_HINT).
	life  atomic.Uint32
	marks atomic.Pointer[markList]
	locks atomic.Pointer[lockList]

	mu      sync.Mutex
	special any // fifo: its pipe; socket: what is bound to it
}

// Base makes an embedding type's inode.
func (b *InodeBase) Base() *InodeBase { return b }

// Special gives what another package has attached to the inode: a fifo's pipe,
// a socket file's socket.
func (b *InodeBase) Special() any {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.special
}

// SpecialOr gives what is attached, attaching what mk makes if nothing is.
func (b *InodeBase) SpecialOr(mk func() any) any {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.special == nil {
		b.special = mk()
	}
	return b.special
}

// SetSpecial attaches v in place of what was attached.
func (b *InodeBase) SetSpecial(v any) {
	b.mu.Lock()
	b.special = v
	b.mu.Unlock()
}

// WriteLife and SetWriteLife are the write-life hint, which nothing here uses.
func (b *InodeBase) WriteLife() uint64     { return uint64(b.life.Load()) }
func (b *InodeBase) SetWriteLife(v uint64) { b.life.Store(uint32(v)) }

// GetWrite notes one more writer; ETXTBSY while a program runs from the file.
func (b *InodeBase) GetWrite() abi.Errno {
	for {
		n := b.writers.Load()
		if n < 0 {
			return unix.ETXTBSY
		}
		if b.writers.CompareAndSwap(n, n+1) {
			return 0
		}
	}
}

// PutWrite ends what GetWrite began.
func (b *InodeBase) PutWrite() { b.writers.Add(-1) }

// DenyWrite keeps writers out (exec); ETXTBSY if there are any.
func (b *InodeBase) DenyWrite() abi.Errno {
	for {
		n := b.writers.Load()
		if n > 0 {
			return unix.ETXTBSY
		}
		if b.writers.CompareAndSwap(n, n-1) {
			return 0
		}
	}
}

// AllowWrite ends what DenyWrite began.
func (b *InodeBase) AllowWrite() { b.writers.Add(1) }

// InodeDefaults refuses every operation as Linux does for a file system
// without it. It lacks Base, Perm and Attr.
type InodeDefaults struct{}

func (InodeDefaults) SetAttr(Caller, SetAttr) abi.Errno                { return unix.EPERM }
func (InodeDefaults) Lookup(Caller, string) (Inode, abi.Errno)         { return nil, unix.ENOENT }
func (InodeDefaults) Create(Caller, string, uint32) (Inode, abi.Errno) { return nil, unix.EACCES }
func (InodeDefaults) Mkdir(Caller, string, uint32) (Inode, abi.Errno)  { return nil, unix.EPERM }
func (InodeDefaults) Symlink(Caller, string, string) (Inode, abi.Errno) {
	return nil, unix.EPERM
}
func (InodeDefaults) Mknod(Caller, string, uint32, uint64) (Inode, abi.Errno) {
	return nil, unix.EPERM
}
func (InodeDefaults) Tmpfile(Caller, uint32) (Inode, abi.Errno) { return nil, unix.EOPNOTSUPP }
func (InodeDefaults) Link(Caller, string, Inode) abi.Errno      { return unix.EPERM }
func (InodeDefaults) Unlink(Caller, string, Inode) abi.Errno    { return unix.EPERM }
func (InodeDefaults) Rmdir(Caller, string, Inode) abi.Errno     { return unix.EPERM }
func (InodeDefaults) Rename(Caller, string, Inode, Inode, string, Inode, uint32) abi.Errno {
	return unix.EPERM
}
func (InodeDefaults) Readlink(Caller) (string, abi.Errno) { return "", unix.EINVAL }
func (InodeDefaults) Open(Caller, *FileDescription) (File, abi.Errno) {
	return nil, unix.ENXIO
}
func (InodeDefaults) GetXattr(Caller, string) ([]byte, abi.Errno) {
	return nil, unix.EOPNOTSUPP
}
func (InodeDefaults) SetXattr(Caller, string, []byte, int) abi.Errno { return unix.EOPNOTSUPP }
func (InodeDefaults) ListXattr(Caller) ([]string, abi.Errno)         { return nil, 0 }
func (InodeDefaults) RemoveXattr(Caller, string) abi.Errno           { return unix.EOPNOTSUPP }

// Forgetter is an inode that wants to know when no dentry leads to it any
// more: no open file, no cached name. It may be found and used again later.
type Forgetter interface{ Forget() }

// Prefetcher is a directory that does better to be told several components of a
// path at once than to be asked name by name: they are about to be looked up.
type Prefetcher interface{ Prefetch(path string) }

// Revalidator is a directory whose names may change behind vfs's back: proc,
// shared volumes. It is asked before a cached dentry is used; child is nil for
// a name known not to exist. Its Filesystem has Volatile set.
type Revalidator interface {
	Revalidate(c Caller, name string, child Inode) bool
}

// UnseenRemover is a directory of a RemovesSure file system that can remove a
// name nobody has looked at; done false: it must be looked at first.
type UnseenRemover interface {
	UnlinkUnseen(c Caller, name string) (done bool, e abi.Errno)
}

// Foreseer is a directory of a Volatile file system that is told the rest of a
// walk's path before its first name is looked up or revalidated: it may ask for
// all of it at once. open: what is at its end is about to be read.
type Foreseer interface {
	Foresee(c Caller, path string, open bool)
}

// AttrFinder is an inode of a Volatile file system that knows its attributes
// when a walk has just come to it.
type AttrFinder interface {
	FoundAttr() (Attr, abi.Errno)
}

// OwnOpener marks device nodes, fifos and sockets that are opened by their own
// Open, not by way of the device registry or the fifo opener.
type OwnOpener interface{ OpensItself() }

// FileDefaults refuses what a kind of file need not support, as Linux does.
type FileDefaults struct{}

func (FileDefaults) Release(*FileDescription) {}
func (FileDefaults) Seekable() bool           { return false }
func (FileDefaults) Read(Caller, *FileDescription, []byte, int64) (int, abi.Errno) {
	return 0, unix.EINVAL
}
func (FileDefaults) Write(Caller, *FileDescription, []byte, int64) (int, int64, abi.Errno) {
	return 0, 0, unix.EINVAL
}
func (FileDefaults) Seek(Caller, *FileDescription, int64, int) (int64, abi.Errno) {
	return 0, unix.ESPIPE
}
func (FileDefaults) ReadDir(Caller, *FileDescription, int64, func(Dirent) bool) abi.Errno {
	return unix.ENOTDIR
}
func (FileDefaults) Ready(*FileDescription) uint32 {
	return waiter.In | waiter.Out | waiter.RdNorm | waiter.WrNorm
}
func (FileDefaults) Queue(*FileDescription) *waiter.Queue { return nil }
func (FileDefaults) Ioctl(Caller, *FileDescription, uint32, uint64, UserMemory) (uint64, abi.Errno) {
	return 0, abi.ENOIOCTLCMD
}
func (FileDefaults) Sync(Caller, *FileDescription, bool) abi.Errno { return unix.EINVAL }
func (FileDefaults) Allocate(Caller, *FileDescription, uint32, int64, int64) abi.Errno {
	return unix.EOPNOTSUPP
}
func (FileDefaults) Map(Caller, *FileDescription, int64, int64, uint32, bool) (Mapping, abi.Errno) {
	return Mapping{}, unix.ENODEV
}

// Sealer is a File that takes seals (F_ADD_SEALS, F_GET_SEALS).
type Sealer interface {
	AddSeals(seals uint32) abi.Errno
	Seals() uint32
}
