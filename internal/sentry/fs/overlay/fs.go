package overlay

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/tmpfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

const (
	magic = 0x794c7630 // OVERLAYFS_SUPER_MAGIC
	// ownInodes is where the numbers of new files begin, beyond those that
	// hosts' file systems usually have.
	ownInodes = 1 << 48
)

// FS is one overlay.
type FS struct {
	vfs.FilesystemDefaults
	vfsFS   *vfs.Filesystem
	lower   *vfs.Filesystem
	upperFS *vfs.Filesystem
	upper   *tmpfs.FS
	root    *inode
	lastIno atomic.Uint64

	mu sync.Mutex
	// links are the lower files with several names that have an inode here.
	links map[vfs.Inode]*inode
}

// New lays a writable layer over lower. data are tmpfs's mount options, for the
// layer's size; both file systems end with the overlay.
func New(c vfs.Caller, lower *vfs.Filesystem, data string) (*vfs.Filesystem, abi.Errno) {
	upper, e := tmpfs.New(c, "overlay", 0, data)
	if e != 0 {
		return nil, e
	}
	fs := &FS{lower: lower, upperFS: upper, upper: upper.Ops.(*tmpfs.FS), links: map[vfs.Inode]*inode{}}
	fs.lastIno.Store(ownInodes)
	if fs.root, e = fs.fromLower(lower.RootDentry().Inode()); e != 0 {
		return nil, e
	}
	fs.vfsFS = vfs.NewFilesystem("overlay", magic, fs.root, fs)
	return fs.vfsFS, 0
}

// Statfs is the writable layer's.
func (fs *FS) Statfs(c vfs.Caller) (vfs.Statfs, abi.Errno) { return fs.upper.Statfs(c) }

// Options are shown by mountinfo.
func (fs *FS) Options() string { return "lowerdir=/,upperdir=memory" }

// Release ends both layers.
func (fs *FS) Release() {
	fs.upper.Release()
	fs.lower.Ops.Release()
}

// fromLower makes the inode of an unchanged lower file.
func (fs *FS) fromLower(low vfs.Inode) (*inode, abi.Errno) {
	a, e := low.Attr()
	if e != 0 {
		return nil, e
	}
	many := a.Nlink > 1 && a.Mode&unix.S_IFMT != unix.S_IFDIR
	if many {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		if i := fs.links[low]; i != nil {
			return i, 0
		}
	}
	i := &inode{fs: fs, lower: low, ino: a.Ino, dev: a.Dev, rdev: a.Rdev}
	i.mode.Store(a.Mode)
	i.uid.Store(a.UID)
	i.gid.Store(a.GID)
	i.nlink.Store(a.Nlink)
	if many {
		fs.links[low] = i
	}
	return i, 0
}

// newInode makes an inode of the upper layer alone, owned by who makes it.
func (fs *FS) newInode(c vfs.Caller, dir *inode, mode uint32) (*inode, abi.Errno) {
	if e := fs.upper.ChargeInode(); e != 0 {
		return nil, e
	}
	uid, gid, mode := vfs.NewOwner(c, dir.Perm(), mode)
	i := &inode{fs: fs, ino: fs.lastIno.Add(1)}
	i.owned.Store(true)
	i.mode.Store(mode)
	i.uid.Store(uid)
	i.gid.Store(gid)
	i.nlink.Store(1)
	now := vfs.Now()
	i.btime = now
	i.atime.Store(int64(now))
	i.mtime.Store(int64(now))
	i.ctime.Store(int64(now))
	return i, 0
}
