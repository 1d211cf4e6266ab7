package tmpfs

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// inode is what every kind of file has.
type inode struct {
	vfs.InodeBase
	vfs.InodeDefaults
	fs    *FS
	ino   uint64
	btime vfs.Time

	mode     atomic.Uint32
	uid, gid atomic.Uint32
	nlink    atomic.Uint32
	atime    atomic.Int64
	mtime    atomic.Int64
	ctime    atomic.Int64
	freed    atomic.Bool

	xattrMu sync.Mutex // a leaf
	xattrs  map[string][]byte
}

func (fs *FS) initInode(i *inode, mode, uid, gid uint32) {
	i.fs, i.ino = fs, fs.lastIno.Add(1)
	i.mode.Store(mode)
	i.uid.Store(uid)
	i.gid.Store(gid)
	i.nlink.Store(1)
	now := vfs.Now()
	i.btime = now
	i.atime.Store(int64(now))
	i.mtime.Store(int64(now))
	i.ctime.Store(int64(now))
}

func (i *inode) common() *inode { return i }

// node is every inode of this file system.
type node interface {
	vfs.Inode
	common() *inode
}

// Perm is what permission checks read.
func (i *inode) Perm() vfs.Perm {
	return vfs.Perm{Mode: i.mode.Load(), UID: i.uid.Load(), GID: i.gid.Load()}
}

// Attr gives the attributes that all kinds have.
func (i *inode) Attr() (vfs.Attr, abi.Errno) {
	return vfs.Attr{
		Mode: i.mode.Load(), Nlink: i.nlink.Load(), UID: i.uid.Load(), GID: i.gid.Load(),
		Ino: i.ino, Blksize: pageSize,
		Atime: vfs.Time(i.atime.Load()), Mtime: vfs.Time(i.mtime.Load()), Ctime: vfs.Time(i.ctime.Load()),
		Btime: i.btime,
	}, 0
}

// SetAttr changes all but the size.
func (i *inode) SetAttr(c vfs.Caller, s vfs.SetAttr) abi.Errno {
	if s.Mask&vfs.SetUID != 0 {
		i.uid.Store(s.UID)
	}
	if s.Mask&vfs.SetGID != 0 {
		i.gid.Store(s.GID)
	}
	if s.Mask&vfs.SetMode != 0 {
		i.mode.Store(i.mode.Load()&unix.S_IFMT | s.Mode&07777)
	}
	if s.Mask&vfs.SetAtime != 0 {
		i.atime.Store(int64(s.Atime))
	}
	if s.Mask&vfs.SetMtime != 0 {
		i.mtime.Store(int64(s.Mtime))
	}
	i.changed()
	return 0
}

// changed stamps ctime; modified mtime too.
func (i *inode) changed() { i.ctime.Store(int64(vfs.Now())) }

func (i *inode) modified() {
	now := int64(vfs.Now())
	i.mtime.Store(now)
	i.ctime.Store(now)
}

// accessed stamps atime after a read through fd.
func (i *inode) accessed(fd *vfs.FileDescription) {
	now := vfs.Now()
	if fd.WantAtime(vfs.Time(i.atime.Load()), vfs.Time(i.mtime.Load()), vfs.Time(i.ctime.Load()), now) {
		i.atime.Store(int64(now))
	}
}

// unlinked drops one link.
func (i *inode) unlinked() {
	i.nlink.Add(^uint32(0))
	i.changed()
}

// Forget frees an inode without links and names.
func (i *inode) Forget() {
	if i.nlink.Load() == 0 && i.freed.CompareAndSwap(false, true) {
		i.fs.freeInode()
	}
}

// storable tells whether tmpfs keeps xattrs of this name.
func storable(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "security.")
}

// GetXattr gives a copy of the value.
func (i *inode) GetXattr(c vfs.Caller, name string) ([]byte, abi.Errno) {
	if !storable(name) {
		return nil, unix.EOPNOTSUPP
	}
	i.xattrMu.Lock()
	defer i.xattrMu.Unlock()
	v, ok := i.xattrs[name]
	if !ok {
		return nil, unix.ENODATA
	}
	return slices.Clone(v), 0
}

// SetXattr stores a copy of value.
func (i *inode) SetXattr(c vfs.Caller, name string, value []byte, flags int) abi.Errno {
	if !storable(name) {
		return unix.EOPNOTSUPP
	}
	i.xattrMu.Lock()
	defer i.xattrMu.Unlock()
	_, ok := i.xattrs[name]
	switch {
	case ok && flags&unix.XATTR_CREATE != 0:
		return unix.EEXIST
	case !ok && flags&unix.XATTR_REPLACE != 0:
		return unix.ENODATA
	case !ok && len(i.xattrs) >= maxXattrs:
		return unix.ENOSPC
	}
	if i.xattrs == nil {
		i.xattrs = map[string][]byte{}
	}
	i.xattrs[strings.Clone(name)] = append([]byte{}, value...)
	i.changed()
	return 0
}

const maxXattrs = 128 // of one file

// ListXattr gives the names in order.
func (i *inode) ListXattr(vfs.Caller) ([]string, abi.Errno) {
	i.xattrMu.Lock()
	defer i.xattrMu.Unlock()
	names := make([]string, 0, len(i.xattrs))
	for n := range i.xattrs {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, 0
}

// RemoveXattr removes one.
func (i *inode) RemoveXattr(c vfs.Caller, name string) abi.Errno {
	if !storable(name) {
		return unix.EOPNOTSUPP
	}
	i.xattrMu.Lock()
	defer i.xattrMu.Unlock()
	if _, ok := i.xattrs[name]; !ok {
		return unix.ENODATA
	}
	delete(i.xattrs, name)
	i.changed()
	return 0
}

// dropFileCaps takes away security.capability when contents change.
func (i *inode) dropFileCaps() {
	i.xattrMu.Lock()
	delete(i.xattrs, "security.capability")
	i.xattrMu.Unlock()
}

// symlink is a symbolic link.
type symlink struct {
	inode
	target string
}

// Readlink gives the target.
func (l *symlink) Readlink(vfs.Caller) (string, abi.Errno) { return l.target, 0 }

// Attr adds the size: the target's length.
func (l *symlink) Attr() (vfs.Attr, abi.Errno) {
	a, e := l.inode.Attr()
	a.Size = int64(len(l.target))
	return a, e
}

// special is a device node, fifo or socket.
type special struct {
	inode
	rdev uint64
}

// Attr adds the device number.
func (s *special) Attr() (vfs.Attr, abi.Errno) {
	a, e := s.inode.Attr()
	a.Rdev = s.rdev
	return a, e
}
