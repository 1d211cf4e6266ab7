package overlay

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// inode is a file of either layer, or of both.
type inode struct {
	vfs.InodeBase
	vfs.InodeDefaults
	fs       *FS
	lower    vfs.Inode // constant; nil for a file of the upper layer alone
	ino, dev uint64    // constant
	rdev     uint64    // constant
	target   string    // of a symbolic link of the upper layer; constant

	// owned says that the attributes here count: until then they are the
	// lower file's. It is set under mu, and never cleared.
	owned          atomic.Bool
	mode, uid, gid atomic.Uint32 // right in any case
	nlink          atomic.Uint32
	atime          atomic.Int64
	mtime          atomic.Int64
	ctime          atomic.Int64
	btime          vfs.Time // under mu until owned, then constant

	// content is a regular file's, once it differs from the lower one's. It
	// then has size and times too. Set under mu, once.
	content atomic.Pointer[content]

	mu     sync.Mutex
	xattrs *map[string][]byte // all of them, once they differ from the lower file's
	caps   atomic.Bool        // security.capability may be among them
	dir    dirState
	homes  []home // where the lower tree has it, of an inode with names there
	freed  bool
}

// home is a name that an unchanged inode has in the lower tree.
type home struct {
	dir  *inode
	name string
}

// content is a regular file of the tmpfs, open for good.
type content struct {
	ino  vfs.Inode
	file vfs.File
}

func (i *inode) kind() uint32 { return i.mode.Load() & unix.S_IFMT }
func (i *inode) isDir() bool  { return i.kind() == unix.S_IFDIR }

// Perm is what permission checks read.
func (i *inode) Perm() vfs.Perm {
	return vfs.Perm{Mode: i.mode.Load(), UID: i.uid.Load(), GID: i.gid.Load()}
}

// Attr puts the attributes together from where they are.
func (i *inode) Attr() (vfs.Attr, abi.Errno) {
	var a vfs.Attr
	var e abi.Errno
	switch c := i.content.Load(); {
	case c != nil:
		a, e = c.ino.Attr()
	case i.lower != nil:
		a, e = i.lower.Attr()
	default:
		a = vfs.Attr{Blksize: 4096, Size: int64(len(i.target))}
		if i.isDir() {
			a.Size = 4096
		}
	}
	if e != 0 {
		return a, e
	}
	if i.owned.Load() {
		a.Mode, a.UID, a.GID, a.Nlink = i.mode.Load(), i.uid.Load(), i.gid.Load(), i.nlink.Load()
		if i.content.Load() == nil {
			a.Atime, a.Mtime, a.Ctime = vfs.Time(i.atime.Load()), vfs.Time(i.mtime.Load()), vfs.Time(i.ctime.Load())
		}
		a.Btime = i.btime
	}
	a.Ino, a.Dev, a.Rdev = i.ino, i.dev, i.rdev
	return a, 0
}

// Steady: as long as it is not a file of the tmpfs, whose access time reads change.
func (i *inode) Steady() bool {
	if i.content.Load() != nil {
		return false
	}
	low, ok := i.lower.(vfs.Steady)
	return i.lower == nil || ok && low.Steady()
}

// own makes the attributes here the ones that count.
func (i *inode) own() abi.Errno {
	if i.owned.Load() {
		return 0
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ownLocked()
}

func (i *inode) ownLocked() abi.Errno {
	if i.owned.Load() {
		return 0
	}
	a, e := i.lower.Attr()
	if e != 0 {
		return e
	}
	if e := i.fs.upper.ChargeInode(); e != 0 {
		return e
	}
	i.btime = a.Btime
	i.atime.Store(int64(a.Atime))
	i.mtime.Store(int64(a.Mtime))
	i.ctime.Store(int64(a.Ctime))
	i.owned.Store(true)
	return 0
}

// SetAttr changes attributes in the upper layer.
func (i *inode) SetAttr(c vfs.Caller, s vfs.SetAttr) abi.Errno {
	i.mu.Lock()
	defer i.mu.Unlock()
	if e := i.ownLocked(); e != 0 {
		return e
	}
	if s.Mask&vfs.SetSize != 0 {
		if e := i.copyUp(s.Size); e != 0 {
			return e
		}
		i.dropCaps()
	}
	if s.Mask&vfs.SetUID != 0 {
		i.uid.Store(s.UID)
	}
	if s.Mask&vfs.SetGID != 0 {
		i.gid.Store(s.GID)
	}
	if s.Mask&vfs.SetMode != 0 {
		i.mode.Store(i.mode.Load()&unix.S_IFMT | s.Mode&07777)
	}
	if c := i.content.Load(); c != nil {
		return c.ino.SetAttr(vfs.Internal, s)
	}
	if s.Mask&vfs.SetAtime != 0 {
		i.atime.Store(int64(s.Atime))
	}
	if s.Mask&vfs.SetMtime != 0 {
		i.mtime.Store(int64(s.Mtime))
	}
	i.ctime.Store(int64(vfs.Now()))
	return 0
}

// changed stamps ctime, wherever it is kept. The inode is owned.
func (i *inode) changed() {
	if c := i.content.Load(); c != nil {
		c.ino.SetAttr(vfs.Internal, vfs.SetAttr{})
		return
	}
	i.ctime.Store(int64(vfs.Now()))
}

// modified stamps a directory whose names changed.
func (i *inode) modified() {
	now := int64(vfs.Now())
	i.mtime.Store(now)
	i.ctime.Store(now)
}

// unlinked drops one link of an owned inode.
func (i *inode) unlinked() {
	i.nlink.Add(^uint32(0))
	i.changed()
}

// Readlink gives the target.
func (i *inode) Readlink(c vfs.Caller) (string, abi.Errno) {
	if i.lower != nil {
		return i.lower.Readlink(c)
	}
	return i.target, 0
}

// Forget frees what nobody can find any more, and drops what the lower tree
// has unchanged.
func (i *inode) Forget() {
	if i.nlink.Load() == 0 {
		i.free()
		return
	}
	i.mu.Lock()
	pristine := !i.owned.Load() && len(i.dir.names) == 0
	homes := i.homes
	i.mu.Unlock()
	if !pristine || i == i.fs.root {
		return
	}
	i.fs.mu.Lock()
	if i.fs.links[i.lower] == i {
		delete(i.fs.links, i.lower)
	}
	i.fs.mu.Unlock()
	for _, h := range homes {
		h.dir.mu.Lock()
		if e := h.dir.dir.names[h.name]; e != nil && e.node == i {
			delete(h.dir.dir.names, h.name)
		}
		h.dir.mu.Unlock()
	}
	if f, ok := i.lower.(vfs.Forgetter); ok {
		f.Forget()
	}
}

// free gives back what an inode without links holds.
func (i *inode) free() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.freed {
		return
	}
	i.freed = true
	i.fs.upper.ReleaseInode()
	if c := i.content.Load(); c != nil {
		c.file.Release(nil)
		c.ino.(vfs.Forgetter).Forget()
	}
	if i.lower == nil {
		return
	}
	i.fs.mu.Lock()
	if i.fs.links[i.lower] == i {
		delete(i.fs.links, i.lower)
	}
	i.fs.mu.Unlock()
}
