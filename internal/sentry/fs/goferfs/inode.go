package goferfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/wire"
)

// inode is a host file.
type inode struct {
	vfs.InodeBase
	vfs.InodeDefaults
	fs     *FS
	target string // of a symbolic link; constant

	mode, uid, gid atomic.Uint32
	ino            atomic.Uint64

	places []place  // under Client.mu; empty once it has no name
	one    [1]place // room for the usual case

	mu     sync.Mutex
	attr   wire.FSAttr
	stale  bool // attr has changed on the host by our doing
	dir    *dirCache
	ahead  *ahead    // entries read ahead, until they are in dir
	xattrs *[]string // names, if known (exclusive mounts)

	seen    atomic.Pointer[foreseen]
	pairs   pairs
	fetched atomic.Int64 // when the attributes came with a name
	checked atomic.Int64 // when a shared directory was last found in its place
	whole   atomic.Bool  // dir is complete
	read    atomic.Bool  // the directory has been read by a guest

	host atomic.Pointer[hostFD] // the descriptor to share; written under mu
	idle bool                   // in fs.idle's list, under its lock
}

// setAttr takes over attributes. mu is held, or the inode is new.
func (i *inode) setAttr(a *wire.FSAttr) {
	i.attr = *a
	i.stale = false
	i.ino.Store(a.Ino)
	i.mode.Store(a.Mode)
	i.uid.Store(a.UID)
	i.gid.Store(a.GID)
}

func (i *inode) isDir() bool { return i.mode.Load()&unix.S_IFMT == unix.S_IFDIR }

// Perm is what permission checks read; the walk has made sure of it.
func (i *inode) Perm() vfs.Perm {
	return vfs.Perm{Mode: i.mode.Load(), UID: i.uid.Load(), GID: i.gid.Load()}
}

// Attr gives the attributes, asking the host if they may have changed.
func (i *inode) Attr() (vfs.Attr, abi.Errno) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stale || i.fs.shared {
		if e := i.refresh(); e != 0 {
			return vfs.Attr{}, e
		}
	}
	return i.vfsAttr(), 0
}

// vfsAttr gives what is known. mu is held.
func (i *inode) vfsAttr() vfs.Attr {
	a := &i.attr
	return vfs.Attr{
		Mode: a.Mode, Nlink: a.Nlink, UID: a.UID, GID: a.GID, Ino: a.Ino, Dev: i.fs.guestDev(a.Dev), Rdev: a.Rdev,
		Size: a.Size, Blocks: a.Blocks, Blksize: a.Blksize,
		Atime: vfs.Time(a.Atime), Mtime: vfs.Time(a.Mtime), Ctime: vfs.Time(a.Ctime), Btime: vfs.Time(a.Btime),
	}
}

// Steady: nobody else changes an exclusive mount, and reading does not show.
func (i *inode) Steady() bool { return !i.fs.shared }

// FoundAttr is Attr of what a walk has just come to: vfs.AttrFinder. In a
// shared tree it has asked for the attributes on its way.
func (i *inode) FoundAttr() (vfs.Attr, abi.Errno) {
	if !i.fs.shared || i.isDir() || i == i.fs.root || ktime.Mono()-i.fetched.Load() >= dirTrust {
		return i.Attr()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stale {
		if e := i.refresh(); e != 0 {
			return vfs.Attr{}, e
		}
	}
	return i.vfsAttr(), 0
}

// refresh learns the attributes anew: from a descriptor at hand, else from the
// Gofer. mu is held.
func (i *inode) refresh() abi.Errno {
	if h := i.host.Load(); h != nil {
		var st unix.Stat_t
		if err := unix.Fstat(h.fd, &st); err != nil {
			return hostErr(err)
		}
		i.setStat(&st)
		return 0
	}
	e := i.fs.call(request{op: wire.FSStat, ino: i}, nil, func(d *wire.Decoder, _ int) abi.Errno {
		var a wire.FSAttr
		if d.Attr(&a); !d.Bad && a.Mode&unix.S_IFMT == i.mode.Load()&unix.S_IFMT {
			i.setAttr(&a)
		}
		return 0
	})
	if e == unix.ESTALE || e == unix.ENOENT {
		// Gone from the host: what is known must do.
		i.attr.Nlink = 0
		return 0
	}
	return e
}

// setStat takes over what fstat gave, but not the owner: the Sentry may live in
// a user namespace that shows it as nobody.
func (i *inode) setStat(st *unix.Stat_t) {
	a := i.attr
	a.Mode, a.Nlink = st.Mode, uint32(st.Nlink)
	a.Size, a.Blocks, a.Blksize = st.Size, st.Blocks, uint32(st.Blksize)
	a.Atime, a.Mtime, a.Ctime = st.Atim.Nano(), st.Mtim.Nano(), st.Ctim.Nano()
	i.setAttr(&a)
}

// SetAttr changes attributes on the host.
func (i *inode) SetAttr(c vfs.Caller, s vfs.SetAttr) abi.Errno {
	i.mu.Lock()
	defer i.mu.Unlock()
	args := wire.FSSetAttrArgs{
		Mask: uint32(s.Mask), Mode: s.Mode, UID: s.UID, GID: s.GID,
		Size: s.Size, Atime: int64(s.Atime), Mtime: int64(s.Mtime),
	}
	r := request{op: wire.FSSetAttr, ino: i}
	h := i.host.Load()
	if h != nil && h.writable {
		if s.Mask&vfs.SetSize != 0 {
			if err := unix.Ftruncate(h.fd, s.Size); err != nil {
				return hostErr(err)
			}
			i.stale = true
			if args.Mask &^= wire.FSSetSize; args.Mask == 0 {
				return 0
			}
		}
		// By descriptor: the file may have no name any more.
		r.send = h.fd
	}
	return i.fs.call(r, func(e *wire.Encoder) { e.SetAttr(&args) }, func(d *wire.Decoder, _ int) abi.Errno {
		var a wire.FSAttr
		if d.Attr(&a); !d.Bad {
			i.setAttr(&a)
		}
		return 0
	})
}

// Readlink gives the target, which came with the name.
func (i *inode) Readlink(vfs.Caller) (string, abi.Errno) { return i.target, 0 }

// GetXattr asks the host, unless it is known that there is none of that name.
func (i *inode) GetXattr(c vfs.Caller, name string) ([]byte, abi.Errno) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if names, e := i.xattrNames(); e != 0 || !contains(names, name) {
		return nil, orErr(e, unix.ENODATA)
	}
	var v []byte
	e := i.fs.call(request{op: wire.FSGetXattr, ino: i}, func(e *wire.Encoder) { e.Str(name) }, func(d *wire.Decoder, _ int) abi.Errno {
		v = append([]byte{}, d.Bytes()...)
		return 0
	})
	return v, e
}

func orErr(e, other abi.Errno) abi.Errno {
	if e != 0 {
		return e
	}
	return other
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// xattrNames gives the names there are. mu is held.
func (i *inode) xattrNames() ([]string, abi.Errno) {
	if i.xattrs != nil && !i.fs.shared {
		return *i.xattrs, 0
	}
	switch i.mode.Load() & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
	default:
		return nil, 0
	}
	var names []string
	e := i.fs.call(request{op: wire.FSListXattr, ino: i}, nil, func(d *wire.Decoder, _ int) abi.Errno {
		names = decodeNames(d)
		return 0
	})
	if e == unix.EACCES || e == unix.EPERM || e == unix.ESTALE {
		e = 0 // a file that the Gofer itself may not read
	}
	if e == 0 {
		i.xattrs = &names
	}
	return names, e
}

// decodeNames reads the names of xattrs.
func decodeNames(d *wire.Decoder) (names []string) {
	for n := d.U32(); n > 0 && !d.Bad; n-- {
		names = append(names, string(d.Str()))
	}
	return names
}

// ListXattr gives the names.
func (i *inode) ListXattr(vfs.Caller) ([]string, abi.Errno) {
	i.mu.Lock()
	defer i.mu.Unlock()
	names, e := i.xattrNames()
	return append([]string(nil), names...), e
}

// SetXattr and RemoveXattr change the host's.
func (i *inode) SetXattr(c vfs.Caller, name string, value []byte, flags int) abi.Errno {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.xattrs, i.stale = nil, true
	return i.fs.call(request{op: wire.FSSetXattr, ino: i}, func(e *wire.Encoder) {
		e.Str(name)
		e.U32(uint32(flags))
		e.Bytes(value)
	}, nil)
}

func (i *inode) RemoveXattr(c vfs.Caller, name string) abi.Errno {
	i.mu.Lock()
	defer i.mu.Unlock()
	if names, e := i.xattrNames(); e != 0 || !contains(names, name) {
		return orErr(e, unix.ENODATA)
	}
	i.xattrs, i.stale = nil, true
	return i.fs.call(request{op: wire.FSDelXattr, ino: i}, func(e *wire.Encoder) { e.Str(name) }, nil)
}

// hostErr gives the guest's error for a failed call on a host descriptor.
func hostErr(err error) abi.Errno {
	e, ok := err.(unix.Errno)
	switch {
	case !ok, e == unix.EBADF, e == unix.EFAULT:
		return unix.EIO
	}
	return e
}
