package overlay

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// dirState is a directory's own names, under the inode's mu. A name that is
// not here is the lower directory's.
type dirState struct {
	names map[string]*entry
	// added are the entries that the lower directory does not have, ascending
	// cookies; entries without a node were removed.
	added []*entry
	gone  int
	last  int64
}

// entry is one name.
type entry struct {
	name string
	node *inode // nil: whiteout, or removed from added
	// inLower: the lower directory has this name; readdir shows the entry in
	// that one's place. plain: and it is the same file, so that the entry may
	// be dropped.
	inLower, plain bool
	cookie         int64
}

// addedCookies begin beyond a lower directory's.
const addedCookies = 1 << 40

// put enters n under name, which has no entry or a whiteout. mu is held.
func (d *dirState) put(name string, n *inode) {
	if d.names == nil {
		d.names = map[string]*entry{}
	}
	e := &entry{name: strings.Clone(name), node: n}
	if old := d.names[name]; old != nil {
		e.inLower = old.inLower
	}
	if !e.inLower {
		if d.last == 0 {
			d.last = addedCookies
		}
		d.last++
		e.cookie = d.last
		d.added = append(d.added, e)
	}
	d.names[e.name] = e
}

// drop removes name; a whiteout stays if the lower directory has it. mu is
// held.
func (d *dirState) drop(name string) {
	e := d.names[name]
	if e == nil {
		return
	}
	if e.inLower {
		d.names[e.name] = &entry{name: e.name, inLower: true}
		return
	}
	delete(d.names, name)
	e.node = nil
	d.gone++
	if d.gone > 32 && d.gone > len(d.added)/2 {
		d.added = slices.DeleteFunc(d.added, func(e *entry) bool { return e.node == nil })
		d.gone = 0
	}
}

// exchange makes name lead to n. mu is held.
func (d *dirState) exchange(name string, n *inode) {
	e := d.names[name]
	e.node, e.plain = n, false
}

// Prefetch passes the path on to the lower directory: vfs.Prefetcher. What of it
// is only in the upper layer is asked for in vain, once.
func (i *inode) Prefetch(path string) {
	if p, ok := i.lower.(vfs.Prefetcher); ok {
		p.Prefetch(path)
	}
}

// Lookup finds name here, else in the lower directory.
func (i *inode) Lookup(c vfs.Caller, name string) (vfs.Inode, abi.Errno) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if e := i.dir.names[name]; e != nil {
		if e.node == nil {
			return nil, unix.ENOENT
		}
		return e.node, 0
	}
	if i.lower == nil {
		return nil, unix.ENOENT
	}
	low, e := i.lower.Lookup(c, name)
	if e != 0 {
		return nil, e
	}
	n, e := i.fs.fromLower(low)
	if e != 0 {
		return nil, e
	}
	if i.dir.names == nil {
		i.dir.names = map[string]*entry{}
	}
	en := &entry{name: strings.Clone(name), node: n, inLower: true, plain: true}
	i.dir.names[en.name] = en
	if n.fs.root != n {
		n.home(home{i, en.name})
	}
	return n, 0
}

// home notes a name in the lower tree. The directory's mu is held.
func (i *inode) home(h home) {
	i.mu.Lock()
	i.homes = append(i.homes, h)
	i.mu.Unlock()
}

// enter adds a new node under name.
func (i *inode) enter(name string, n *inode) abi.Errno {
	i.mu.Lock()
	defer i.mu.Unlock()
	if e := i.ownLocked(); e != 0 {
		return e
	}
	i.dir.put(name, n)
	i.modified()
	return 0
}

// add makes a node and enters it; fill completes it.
func (i *inode) add(c vfs.Caller, name string, mode uint32, fill func(n *inode) abi.Errno) (vfs.Inode, abi.Errno) {
	n, e := i.fs.newInode(c, i, mode)
	if e != 0 {
		return nil, e
	}
	if fill != nil {
		if e := fill(n); e != 0 {
			n.nlink.Store(0)
			n.free()
			return nil, e
		}
	}
	if e := i.enter(name, n); e != 0 {
		n.nlink.Store(0)
		n.free()
		return nil, e
	}
	return n, 0
}

// Create makes a regular file.
func (i *inode) Create(c vfs.Caller, name string, mode uint32) (vfs.Inode, abi.Errno) {
	return i.add(c, name, unix.S_IFREG|mode, (*inode).newContent)
}

// Tmpfile makes a regular file without a name.
func (i *inode) Tmpfile(c vfs.Caller, mode uint32) (vfs.Inode, abi.Errno) {
	n, e := i.fs.newInode(c, i, unix.S_IFREG|mode)
	if e != 0 {
		return nil, e
	}
	n.nlink.Store(0)
	if e := n.newContent(); e != 0 {
		n.free()
		return nil, e
	}
	return n, 0
}

// Mkdir makes a directory; it hides what the lower tree may have had there.
func (i *inode) Mkdir(c vfs.Caller, name string, mode uint32) (vfs.Inode, abi.Errno) {
	n, e := i.add(c, name, unix.S_IFDIR|mode, func(n *inode) abi.Errno {
		n.nlink.Store(2)
		return 0
	})
	if e == 0 {
		i.nlink.Add(1)
	}
	return n, e
}

// Symlink makes a symbolic link.
func (i *inode) Symlink(c vfs.Caller, name, target string) (vfs.Inode, abi.Errno) {
	return i.add(c, name, unix.S_IFLNK|0777, func(n *inode) abi.Errno {
		n.target = strings.Clone(target)
		return 0
	})
}

// Mknod makes a fifo, socket or device node.
func (i *inode) Mknod(c vfs.Caller, name string, mode uint32, rdev uint64) (vfs.Inode, abi.Errno) {
	return i.add(c, name, mode, func(n *inode) abi.Errno {
		n.rdev = rdev
		return 0
	})
}

// Link gives target one more name.
func (i *inode) Link(c vfs.Caller, name string, target vfs.Inode) abi.Errno {
	t := target.(*inode)
	if e := t.own(); e != 0 {
		return e
	}
	if e := i.enter(name, t); e != 0 {
		return e
	}
	t.nlink.Add(1)
	t.changed()
	return 0
}

// leave takes name, which leads to t, out of the directory.
func (i *inode) leave(name string, t *inode) abi.Errno {
	if e := t.own(); e != 0 {
		return e
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if e := i.ownLocked(); e != 0 {
		return e
	}
	i.dir.drop(name)
	i.modified()
	return 0
}

// Unlink removes a name of a file.
func (i *inode) Unlink(c vfs.Caller, name string, target vfs.Inode) abi.Errno {
	t := target.(*inode)
	if e := i.leave(name, t); e != 0 {
		return e
	}
	t.unlinked()
	return 0
}

// Rmdir removes an empty directory.
func (i *inode) Rmdir(c vfs.Caller, name string, target vfs.Inode) abi.Errno {
	t := target.(*inode)
	if e := t.empty(c); e != 0 {
		return e
	}
	if e := i.leave(name, t); e != 0 {
		return e
	}
	i.dropLink()
	t.nlink.Store(0)
	return 0
}

// dropLink counts one directory less in i. A lower file system that does not
// count them has 1.
func (i *inode) dropLink() {
	if i.nlink.Load() > 2 {
		i.nlink.Add(^uint32(0))
	}
}

// empty gives ENOTEMPTY if any name can be seen in the directory.
func (i *inode) empty(c vfs.Caller) abi.Errno {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, e := range i.dir.names {
		if e.node != nil {
			return unix.ENOTEMPTY
		}
	}
	if i.lower == nil {
		return 0
	}
	full := false
	e := i.readLower(c, nil, 0, func(d vfs.Dirent) bool {
		full = full || d.Name != "." && d.Name != ".." && i.dir.names[d.Name] == nil
		return !full
	})
	if e == 0 && full {
		e = unix.ENOTEMPTY
	}
	return e
}

// Rename moves a name; vfs holds the locks of both directories' dentries.
func (i *inode) Rename(c vfs.Caller, name string, src vfs.Inode, newDir vfs.Inode, newName string, dst vfs.Inode, flags uint32) abi.Errno {
	to, s := newDir.(*inode), src.(*inode)
	t, _ := dst.(*inode)
	for _, n := range []*inode{i, to, s} {
		if e := n.own(); e != 0 {
			return e
		}
	}
	if t != nil {
		if e := t.own(); e != 0 {
			return e
		}
	}
	if flags&unix.RENAME_EXCHANGE != 0 {
		i.swap(name, s, to, newName, t)
		return 0
	}
	if t != nil && t.isDir() {
		if e := t.empty(c); e != 0 {
			return e
		}
	}
	var white *inode
	if flags&unix.RENAME_WHITEOUT != 0 {
		var e abi.Errno
		if white, e = i.fs.newInode(c, i, unix.S_IFCHR); e != 0 {
			return e
		}
	}
	i.move(name, s, to, newName, t, white)
	return 0
}

// lockTwo locks one or two directories, for which vfs's rename mutex is held.
func lockTwo(a, b *inode) func() {
	a.mu.Lock()
	if a == b {
		return a.mu.Unlock
	}
	b.mu.Lock()
	return func() { b.mu.Unlock(); a.mu.Unlock() }
}

func (i *inode) swap(name string, s, to *inode, newName string, t *inode) {
	unlock := lockTwo(i, to)
	i.dir.exchange(name, t)
	to.dir.exchange(newName, s)
	unlock()
	if i != to && s.isDir() != t.isDir() {
		if s.isDir() {
			i.dropLink()
			to.nlink.Add(1)
		} else {
			to.dropLink()
			i.nlink.Add(1)
		}
	}
	i.modified()
	to.modified()
	s.changed()
	t.changed()
}

func (i *inode) move(name string, s, to *inode, newName string, t, white *inode) {
	unlock := lockTwo(i, to)
	if t != nil {
		to.dir.drop(newName)
	}
	if white != nil {
		i.dir.exchange(name, white)
	} else {
		i.dir.drop(name)
	}
	to.dir.put(newName, s)
	unlock()
	switch {
	case t == nil:
	case t.isDir():
		t.nlink.Store(0)
		to.dropLink()
	default:
		t.unlinked()
	}
	if i != to && s.isDir() {
		i.dropLink()
		to.nlink.Add(1)
	}
	i.modified()
	to.modified()
	s.changed()
}

// Open gives the operations on the file.
func (i *inode) Open(c vfs.Caller, fd *vfs.FileDescription) (vfs.File, abi.Errno) {
	switch i.kind() {
	case unix.S_IFDIR:
		return &dirFile{i: i}, 0
	case unix.S_IFREG:
		return i.openFile(c, fd)
	}
	return nil, unix.ENXIO
}

// dirFile reads a directory: first what the lower one has, then what was added.
type dirFile struct {
	vfs.FileDefaults
	i *inode
}

func (f *dirFile) Seekable() bool { return true }

// Read of a directory is EISDIR.
func (f *dirFile) Read(vfs.Caller, *vfs.FileDescription, []byte, int64) (int, abi.Errno) {
	return 0, unix.EISDIR
}

// Seek knows no end.
func (f *dirFile) Seek(vfs.Caller, *vfs.FileDescription, int64, int) (int64, abi.Errno) {
	return 0, unix.EINVAL
}

// Sync has nothing to do.
func (f *dirFile) Sync(vfs.Caller, *vfs.FileDescription, bool) abi.Errno { return 0 }

const firstCookie = 2 // "." is 1, ".." is 2

// ReadDir emits the entries behind off.
func (f *dirFile) ReadDir(c vfs.Caller, fd *vfs.FileDescription, off int64, emit func(vfs.Dirent) bool) abi.Errno {
	i := f.i
	if off == 0 {
		if !emit(vfs.Dirent{Name: ".", Ino: i.ino, Type: unix.DT_DIR, Next: 1}) {
			return 0
		}
		off = 1
	}
	if off == 1 {
		if !emit(vfs.Dirent{Name: "..", Ino: parentIno(fd, i), Type: unix.DT_DIR, Next: firstCookie}) {
			return 0
		}
		off = firstCookie
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if off < addedCookies && i.lower != nil {
		full := false
		e := i.readLower(c, fd, off, func(d vfs.Dirent) bool {
			full = !i.emitLower(d, emit)
			return !full
		})
		if e != 0 || full {
			return e
		}
	}
	at, _ := slices.BinarySearchFunc(i.dir.added, off+1, func(e *entry, c int64) int { return cmp.Compare(e.cookie, c) })
	for _, e := range i.dir.added[at:] {
		if e.node == nil {
			continue
		}
		if !emit(vfs.Dirent{Name: e.name, Ino: e.node.ino, Type: uint8(e.node.mode.Load() >> 12), Next: e.cookie}) {
			return 0
		}
	}
	return 0
}

// emitLower emits an entry of the lower directory, as the upper layer has it.
// mu is held.
func (i *inode) emitLower(d vfs.Dirent, emit func(vfs.Dirent) bool) bool {
	if d.Name == "." || d.Name == ".." {
		return true
	}
	if e := i.dir.names[d.Name]; e != nil && !e.plain {
		if e.node == nil {
			return true
		}
		d.Ino, d.Type = e.node.ino, uint8(e.node.mode.Load()>>12)
	}
	return emit(d)
}

// readLower reads the lower directory. mu is held.
func (i *inode) readLower(c vfs.Caller, fd *vfs.FileDescription, off int64, emit func(vfs.Dirent) bool) abi.Errno {
	if fd == nil {
		fd = &vfs.FileDescription{Mode: vfs.FMODE_READ}
		fd.Path = vfs.Path{Dentry: i.fs.lower.RootDentry()}
	}
	f, e := i.lower.Open(c, fd)
	if e != 0 {
		return e
	}
	e = f.ReadDir(c, fd, off, emit)
	f.Release(fd)
	return e
}

// parentIno is the number of ".." for a directory read through fd.
func parentIno(fd *vfs.FileDescription, i *inode) uint64 {
	if p := fd.Path.Dentry.Parent(); p != nil {
		if up, ok := p.Inode().(*inode); ok {
			return up.ino
		}
	}
	return i.ino
}
