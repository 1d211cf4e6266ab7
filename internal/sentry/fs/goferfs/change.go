package goferfs

import (
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/wire"
)

// made makes a file by request op, and enters it.
func (i *inode) made(c vfs.Caller, op wire.FSOp, name, target string, mode uint32) (*inode, abi.Errno) {
	if i.fs.readonly {
		return nil, unix.EROFS
	}
	uid, gid, mode := vfs.NewOwner(c, i.Perm(), mode)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ahead = nil // what was read ahead is old now
	defer i.unforesee()
	n := &entry{name: strings.Clone(name), target: target}
	host := -1
	e := i.fs.call(request{op: op, ino: i, name: name}, func(e *wire.Encoder) {
		if op == wire.FSSymlink {
			e.Str(target)
		} else {
			e.U32(mode)
		}
		e.U32(uid)
		e.U32(gid)
	}, func(d *wire.Decoder, fd int) abi.Errno {
		n.take(d)
		host = fd
		return 0
	})
	if e != 0 {
		return nil, e
	}
	d := i.cache()
	d.remove(n.name)
	d.add(n)
	ch := i.instance(n)
	if host >= 0 {
		ch.host.Store(newHostFD(host, true))
		i.fs.idle.add(ch)
	}
	i.stale = true
	return ch, 0
}

// Create, Mkdir, Symlink and Mknod make files on the host.
func (i *inode) Create(c vfs.Caller, name string, mode uint32) (vfs.Inode, abi.Errno) {
	return orNil(i.made(c, wire.FSCreate, name, "", unix.S_IFREG|mode))
}

func (i *inode) Mkdir(c vfs.Caller, name string, mode uint32) (vfs.Inode, abi.Errno) {
	return orNil(i.made(c, wire.FSMkdir, name, "", unix.S_IFDIR|mode))
}

func (i *inode) Symlink(c vfs.Caller, name, target string) (vfs.Inode, abi.Errno) {
	return orNil(i.made(c, wire.FSSymlink, name, strings.Clone(target), unix.S_IFLNK|0777))
}

// Tmpfile makes a regular file without a name, if the host's file system can.
func (i *inode) Tmpfile(c vfs.Caller, mode uint32) (vfs.Inode, abi.Errno) {
	if i.fs.readonly {
		return nil, unix.EROFS
	}
	uid, gid, mode := vfs.NewOwner(c, i.Perm(), unix.S_IFREG|mode)
	n := &inode{fs: i.fs}
	e := i.fs.call(request{op: wire.FSTmpfile, ino: i}, func(e *wire.Encoder) {
		e.U32(mode)
		e.U32(uid)
		e.U32(gid)
	}, func(d *wire.Decoder, fd int) abi.Errno {
		var a wire.FSAttr
		d.Attr(&a)
		n.setAttr(&a)
		if fd < 0 {
			return unix.ENFILE
		}
		n.host.Store(newHostFD(fd, true))
		return 0
	})
	if e != 0 {
		return nil, e
	}
	return n, 0
}

// Mknod makes fifos and sockets; device nodes are EPERM.
func (i *inode) Mknod(c vfs.Caller, name string, mode uint32, rdev uint64) (vfs.Inode, abi.Errno) {
	return orNil(i.made(c, wire.FSMknod, name, "", mode))
}

func orNil(i *inode, e abi.Errno) (vfs.Inode, abi.Errno) {
	if e != 0 {
		return nil, e
	}
	return i, 0
}

// Link gives target one more name.
func (i *inode) Link(c vfs.Caller, name string, target vfs.Inode) abi.Errno {
	if i.fs.readonly {
		return unix.EROFS
	}
	t := target.(*inode)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ahead = nil
	defer i.unforesee()
	n := &entry{name: strings.Clone(name), target: t.target, ino: t}
	done := func(d *wire.Decoder, _ int) abi.Errno {
		n.take(d)
		t.moved(place{}, place{i, n.name})
		return 0
	}
	e := i.fs.call2(wire.FSLink, t, "", i, n.name, nil, done)
	if h := t.host.Load(); e == unix.ESTALE && h != nil {
		e = i.fs.call(request{op: wire.FSLinkFD, ino: i, name: n.name, send: h.fd}, nil, done)
	}
	if e != 0 {
		return e
	}
	i.cache().remove(n.name)
	i.cache().add(n)
	i.stale = true
	t.mu.Lock()
	t.setAttr(n.attr)
	t.mu.Unlock()
	i.fs.mu.Lock()
	i.fs.links[fileID{n.attr.Dev, n.attr.Ino}] = t
	i.fs.mu.Unlock()
	return 0
}

// call2 is call for requests about two paths.
func (fs *FS) call2(op wire.FSOp, ino *inode, name string, ino2 *inode, name2 string, args func(e *wire.Encoder), done func(d *wire.Decoder, fd int) abi.Errno) abi.Errno {
	ok := true
	e := fs.call(request{op: op, ino: ino, name: name}, func(e *wire.Encoder) {
		ok = fs.client.putPath(ino2, name2)
		if args != nil {
			args(e)
		}
		if !ok {
			e.Full = true // nothing is sent
		}
	}, done)
	if !ok {
		return unix.ESTALE
	}
	return e
}

// Unlink and Rmdir remove a name.
func (i *inode) Unlink(c vfs.Caller, name string, target vfs.Inode) abi.Errno {
	return i.removed(wire.FSUnlink, name, target.(*inode))
}

func (i *inode) Rmdir(c vfs.Caller, name string, target vfs.Inode) abi.Errno {
	return i.removed(wire.FSRmdir, name, target.(*inode))
}

func (i *inode) removed(op wire.FSOp, name string, t *inode) abi.Errno {
	if i.fs.readonly {
		return unix.EROFS
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ahead = nil
	defer i.unforesee()
	var want wire.FSIdentity
	if i.fs.shared { // or the name was looked up for good
		want = t.identity()
	}
	e := i.fs.call(request{op: op, ino: i, name: name}, func(e *wire.Encoder) { e.Identity(want) }, func(*wire.Decoder, int) abi.Errno {
		t.moved(place{i, name}, place{})
		return 0
	})
	if e != 0 {
		return e
	}
	i.cache().remove(name)
	i.stale = true
	t.lost()
	return 0
}

// UnlinkUnseen removes a name of a shared mount that no inode here is known by:
// vfs.UnseenRemover. Whatever else had the file's attributes asks anew.
func (i *inode) UnlinkUnseen(c vfs.Caller, name string) (bool, abi.Errno) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if n := i.cache().index()[name]; !i.fs.shared || i.fs.readonly || n != nil && n.ino != nil {
		return false, 0
	}
	i.ahead = nil
	defer i.unforesee()
	e := i.fs.call(request{op: wire.FSUnlink, ino: i, name: name}, func(e *wire.Encoder) { e.Identity(wire.FSIdentity{}) }, nil)
	if e == 0 {
		i.cache().remove(name)
		i.stale = true
	}
	return true, e
}

// identity is what a name must still lead to when it is removed.
func (t *inode) identity() wire.FSIdentity {
	t.mu.Lock()
	defer t.mu.Unlock()
	return wire.FSIdentity{Ino: t.attr.Ino, Dev: t.attr.Dev, Type: t.attr.Mode & unix.S_IFMT, UID: t.attr.UID}
}

// lost counts a name that went.
func (t *inode) lost() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isDir() || t.attr.Nlink <= 1 {
		t.attr.Nlink = 0
	} else {
		t.attr.Nlink--
		t.stale = true
	}
}

// Rename moves a name on the host. Whiteouts are overlay's business.
func (i *inode) Rename(c vfs.Caller, name string, src vfs.Inode, newDir vfs.Inode, newName string, dst vfs.Inode, flags uint32) abi.Errno {
	if i.fs.readonly {
		return unix.EROFS
	}
	if flags&unix.RENAME_WHITEOUT != 0 {
		return unix.EINVAL
	}
	to, s := newDir.(*inode), src.(*inode)
	t, _ := dst.(*inode)
	exchange := flags&unix.RENAME_EXCHANGE != 0
	from, target := place{i, strings.Clone(name)}, place{to, strings.Clone(newName)}
	e := i.fs.call2(wire.FSRename, i, name, to, newName, func(e *wire.Encoder) {
		e.U32(flags & (unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE))
	}, func(*wire.Decoder, int) abi.Errno {
		s.moved(from, target)
		if exchange {
			t.moved(target, from)
		} else if t != nil {
			t.moved(target, place{})
		}
		return 0
	})
	if e != 0 {
		return e
	}
	i.renamed(from.name, t, exchange)
	to.renamed(target.name, s, true)
	if t != nil && !exchange {
		t.lost()
	}
	s.mu.Lock()
	s.stale = true
	s.mu.Unlock()
	return 0
}

// renamed notes that name in i now leads to n, or, unless put, to nothing.
func (i *inode) renamed(name string, n *inode, put bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stale, i.ahead = true, nil
	i.unforesee()
	d := i.cache()
	d.remove(name)
	if put {
		n.mu.Lock()
		attr := n.attr
		n.mu.Unlock()
		d.add(&entry{name: name, target: n.target, attr: &attr, num: attr.Ino, typ: uint8(attr.Mode >> 12), ino: n})
	}
}
