package tmpfs

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// directory keeps its entries by name, and in the order they were made, which
// is readdir's. A cookie is never used twice, so that deletes and creates
// between two reads neither skip nor repeat others.
type directory struct {
	inode

	mu      sync.RWMutex
	entries map[string]*entry
	order   []*entry // ascending cookies; entries without a node were removed
	gone    int      // how many of those
	last    int64    // the last cookie given
}

type entry struct {
	name   string
	node   node
	cookie int64
}

const firstCookie = 2 // "." is 1, ".." is 2

// Attr adds the size that tmpfs gives directories.
func (d *directory) Attr() (vfs.Attr, abi.Errno) {
	a, e := d.inode.Attr()
	d.mu.RLock()
	a.Size = int64(len(d.entries)+2) * 20
	d.mu.RUnlock()
	return a, e
}

// Lookup finds name.
func (d *directory) Lookup(c vfs.Caller, name string) (vfs.Inode, abi.Errno) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if e := d.entries[name]; e != nil {
		return e.node, 0
	}
	return nil, unix.ENOENT
}

// add enters n under name.
func (d *directory) add(name string, n node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.entries == nil {
		d.entries = map[string]*entry{}
		d.last = firstCookie
	}
	d.last++
	e := &entry{strings.Clone(name), n, d.last}
	d.entries[e.name] = e
	d.order = append(d.order, e)
	d.modified()
}

// exchange puts n in the place of what name leads to.
func (d *directory) exchange(name string, n node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries[name].node = n
	d.modified()
}

// drop removes name.
func (d *directory) drop(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entries[name]
	delete(d.entries, name)
	e.node = nil
	d.gone++
	if d.gone > 32 && d.gone > len(d.order)/2 {
		d.order = slices.DeleteFunc(d.order, func(e *entry) bool { return e.node == nil })
		d.gone = 0
	}
	d.modified()
}

// find gives the index in order of the first entry with a cookie ≥ cookie.
func (d *directory) find(cookie int64) int {
	i, _ := slices.BinarySearchFunc(d.order, cookie, func(e *entry, c int64) int { return cmp.Compare(e.cookie, c) })
	return i
}

// newChild readies a new inode of this directory.
func (d *directory) newChild(c vfs.Caller, i *inode, mode uint32) abi.Errno {
	if e := d.fs.newInode(); e != 0 {
		return e
	}
	uid, gid, mode := vfs.NewOwner(c, d.Perm(), mode)
	d.fs.initInode(i, mode, uid, gid)
	return 0
}

// Create makes a regular file.
func (d *directory) Create(c vfs.Caller, name string, mode uint32) (vfs.Inode, abi.Errno) {
	f := newRegular()
	if e := d.newChild(c, &f.inode, unix.S_IFREG|mode); e != 0 {
		return nil, e
	}
	d.add(name, f)
	return f, 0
}

// Tmpfile makes a regular file without a name.
func (d *directory) Tmpfile(c vfs.Caller, mode uint32) (vfs.Inode, abi.Errno) {
	f := newRegular()
	if e := d.newChild(c, &f.inode, unix.S_IFREG|mode); e != 0 {
		return nil, e
	}
	f.nlink.Store(0)
	return f, 0
}

// Mkdir makes a directory.
func (d *directory) Mkdir(c vfs.Caller, name string, mode uint32) (vfs.Inode, abi.Errno) {
	n := &directory{}
	if e := d.newChild(c, &n.inode, unix.S_IFDIR|mode); e != 0 {
		return nil, e
	}
	n.nlink.Store(2)
	d.nlink.Add(1)
	d.add(name, n)
	return n, 0
}

// Symlink makes a symbolic link.
func (d *directory) Symlink(c vfs.Caller, name, target string) (vfs.Inode, abi.Errno) {
	n := &symlink{target: strings.Clone(target)}
	if e := d.newChild(c, &n.inode, unix.S_IFLNK|0777); e != 0 {
		return nil, e
	}
	d.add(name, n)
	return n, 0
}

// Mknod makes a fifo, socket or device node.
func (d *directory) Mknod(c vfs.Caller, name string, mode uint32, rdev uint64) (vfs.Inode, abi.Errno) {
	n := &special{rdev: rdev}
	if e := d.newChild(c, &n.inode, mode); e != 0 {
		return nil, e
	}
	d.add(name, n)
	return n, 0
}

// Link gives target one more name.
func (d *directory) Link(c vfs.Caller, name string, target vfs.Inode) abi.Errno {
	n := target.(node)
	n.common().nlink.Add(1)
	n.common().changed()
	d.add(name, n)
	return 0
}

// Unlink removes a name of a file.
func (d *directory) Unlink(c vfs.Caller, name string, target vfs.Inode) abi.Errno {
	d.drop(name)
	target.(node).common().unlinked()
	return 0
}

// Rmdir removes an empty directory.
func (d *directory) Rmdir(c vfs.Caller, name string, target vfs.Inode) abi.Errno {
	t := target.(*directory)
	if !t.empty() {
		return unix.ENOTEMPTY
	}
	d.drop(name)
	d.nlink.Add(^uint32(0))
	t.nlink.Store(0)
	t.changed()
	return 0
}

func (d *directory) empty() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.entries) == 0
}

// Rename moves an entry; vfs holds the locks of both directories' dentries.
func (d *directory) Rename(c vfs.Caller, name string, src vfs.Inode, newDir vfs.Inode, newName string, dst vfs.Inode, flags uint32) abi.Errno {
	to, s := newDir.(*directory), src.(node)
	if flags&unix.RENAME_EXCHANGE != 0 {
		t := dst.(node)
		d.exchange(name, t)
		to.exchange(newName, s)
		d.moveLinks(to, src, dst)
		s.common().changed()
		t.common().changed()
		return 0
	}
	if sub, ok := dst.(*directory); ok && !sub.empty() {
		return unix.ENOTEMPTY
	}
	var white *special
	if flags&unix.RENAME_WHITEOUT != 0 {
		white = &special{}
		if e := d.newChild(c, &white.inode, unix.S_IFCHR); e != 0 {
			return e
		}
	}
	if sub, ok := dst.(*directory); ok {
		sub.nlink.Store(0)
		to.nlink.Add(^uint32(0))
	} else if dst != nil {
		dst.(node).common().unlinked()
	}
	if dst != nil {
		to.drop(newName)
	}
	if white != nil {
		d.exchange(name, white)
	} else {
		d.drop(name)
	}
	to.add(newName, s)
	d.moveLinks(to, src, nil)
	s.common().changed()
	return 0
}

// moveLinks counts the ".." of directories that went from d to to, and back.
func (d *directory) moveLinks(to *directory, gone, back vfs.Inode) {
	if d == to {
		return
	}
	if _, ok := gone.(*directory); ok {
		d.nlink.Add(^uint32(0))
		to.nlink.Add(1)
	}
	if _, ok := back.(*directory); ok {
		to.nlink.Add(^uint32(0))
		d.nlink.Add(1)
	}
}

// Open gives a directory to read.
func (d *directory) Open(c vfs.Caller, fd *vfs.FileDescription) (vfs.File, abi.Errno) {
	return &dirFile{d: d}, 0
}

// dirFile reads a directory.
type dirFile struct {
	vfs.FileDefaults
	d *directory
}

func (f *dirFile) Seekable() bool { return true }

// Read of a directory is EISDIR.
func (f *dirFile) Read(vfs.Caller, *vfs.FileDescription, []byte, int64) (int, abi.Errno) {
	return 0, unix.EISDIR
}

// Seek to the end is behind the last entry.
func (f *dirFile) Seek(c vfs.Caller, fd *vfs.FileDescription, off int64, whence int) (int64, abi.Errno) {
	return 0, unix.EINVAL
}

// Sync has nothing to do.
func (f *dirFile) Sync(vfs.Caller, *vfs.FileDescription, bool) abi.Errno { return 0 }

// ReadDir emits the entries behind off.
func (f *dirFile) ReadDir(c vfs.Caller, fd *vfs.FileDescription, off int64, emit func(vfs.Dirent) bool) abi.Errno {
	d := f.d
	d.accessed(fd)
	if off == 0 {
		if !emit(vfs.Dirent{Name: ".", Ino: d.ino, Type: unix.DT_DIR, Next: 1}) {
			return 0
		}
		off = 1
	}
	if off == 1 {
		if !emit(vfs.Dirent{Name: "..", Ino: parentIno(fd, d.ino), Type: unix.DT_DIR, Next: firstCookie}) {
			return 0
		}
		off = firstCookie
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, e := range d.order[d.find(off+1):] {
		if e.node == nil {
			continue
		}
		i := e.node.common()
		if !emit(vfs.Dirent{Name: e.name, Ino: i.ino, Type: uint8(i.mode.Load() >> 12), Next: e.cookie}) {
			return 0
		}
	}
	return 0
}

// parentIno is the number of ".." for a directory read through fd.
func parentIno(fd *vfs.FileDescription, self uint64) uint64 {
	p := fd.Path.Dentry.Parent()
	if p == nil {
		return self
	}
	if n, ok := p.Inode().(node); ok {
		return n.common().ino
	}
	return self
}
