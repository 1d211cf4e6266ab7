package goferfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/wire"
)

// Options describe a mount.
type Options struct {
	Mount    int  // index in GoferConfig.Mounts
	Readonly bool // as in GoferMount
	// Shared: others may change the tree.
	Shared bool
}

// FS is one mount of a Gofer.
type FS struct {
	vfs.FilesystemDefaults
	client   *Client
	mount    uint16
	shared   bool
	readonly bool
	vfsFS    *vfs.Filesystem
	root     *inode
	statted  atomic.Int32 // see light
	walked   atomic.Bool  // an FSWalk was made
	dev      uint64       // host device of the root

	mu    sync.Mutex
	links map[fileID]*inode // files with several names
	devs  map[uint64]uint64 // other host devices → the guest's
	idle  idleFDs
}

// fileID is a host file's identity.
type fileID struct{ dev, ino uint64 }

const v9fsMagic = 0x01021997

// New makes the file system of a mount; its root's attributes are asked for.
func New(client *Client, o Options) (*vfs.Filesystem, abi.Errno) {
	fs := &FS{client: client, mount: uint16(o.Mount), shared: o.Shared, readonly: o.Readonly}
	fs.links = map[fileID]*inode{}
	fs.devs = map[uint64]uint64{}
	fs.idle.max = idleLimit()
	fs.root = &inode{fs: fs}
	e := fs.call(request{op: wire.FSStat, ino: fs.root}, nil, func(d *wire.Decoder, _ int) abi.Errno {
		var a wire.FSAttr
		d.Attr(&a)
		fs.dev = a.Dev
		fs.root.setAttr(&a)
		return 0
	})
	if e != 0 {
		return nil, e
	}
	fs.vfsFS = vfs.NewFilesystem("9p", v9fsMagic, fs.root, fs)
	fs.vfsFS.Volatile, fs.vfsFS.MakesFirst, fs.vfsFS.RemovesSure = o.Shared, o.Shared, o.Shared
	fs.vfsFS.ReadOnly.Store(o.Readonly)
	return fs.vfsFS, 0
}

// Statfs asks the host.
func (fs *FS) Statfs(vfs.Caller) (vfs.Statfs, abi.Errno) {
	var s wire.FSStatfsReply
	e := fs.call(request{op: wire.FSStatfs, ino: fs.root}, nil, func(d *wire.Decoder, _ int) abi.Errno {
		d.Statfs(&s)
		return 0
	})
	return vfs.Statfs{Bsize: s.Bsize, Blocks: s.Blocks, Bfree: s.Bfree, Bavail: s.Bavail,
		Files: s.Files, Ffree: s.Ffree, Namelen: s.Namelen}, e
}

// Release closes idle descriptors.
func (fs *FS) Release() { fs.idle.drop(0) }

// guestDev gives the device number that the guest sees for a host device; 0 is
// the file system's own.
func (fs *FS) guestDev(dev uint64) uint64 {
	if dev == fs.dev {
		return 0
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	d, ok := fs.devs[dev]
	if !ok {
		d = vfs.NewAnonDev()
		fs.devs[dev] = d
	}
	return d
}

// fileOf gives the inode of what stands at p: the one that is known by another
// name, or a new one.
func (fs *FS) fileOf(p place, a *wire.FSAttr, target string) *inode {
	many := a.Nlink > 1 && a.Mode&unix.S_IFMT != unix.S_IFDIR
	id := fileID{a.Dev, a.Ino}
	fs.client.mu.Lock()
	defer fs.client.mu.Unlock()
	if many {
		fs.mu.Lock()
		i := fs.links[id]
		fs.mu.Unlock()
		if i != nil {
			i.moved(place{}, p)
			return i
		}
	}
	i := &inode{fs: fs, target: target}
	i.one[0] = p
	i.places = i.one[:]
	i.setAttr(a)
	if many {
		fs.mu.Lock()
		fs.links[id] = i
		fs.mu.Unlock()
	}
	return i
}
