package vfs

import (
	"sync"
	"sync/atomic"
)

// Bits of Dentry.flags.
const (
	dentryUnlinked uint32 = 1 << iota // the name is gone; only pins keep it
	dentryUsed                        // found since the last sweep
	dentryLoose                       // never stood in a directory: O_TMPFILE, pipes
)

// deadRefs is added to the pins of a dentry that nobody may find any more.
const deadRefs = -1 << 30

// defaultDentries bounds the dentries that one file system keeps cached.
const defaultDentries = 16384

// dentryCache lists the dentries of a file system, oldest first, so that unused
// leaves can be dropped when there are too many.
type dentryCache struct {
	mu         sync.Mutex
	head, tail *Dentry
	count      int
	max        int
}

type lruLinks struct {
	prev, next *Dentry
	in         bool
}

// SetDentryLimit changes how many dentries are kept cached.
func (fs *Filesystem) SetDentryLimit(n int) {
	fs.cache.mu.Lock()
	fs.cache.max = n
	fs.cache.mu.Unlock()
}

// NewFilesystem makes a file system whose root directory is root.
func NewFilesystem(typ string, magic int64, root Inode, ops FilesystemOps) *Filesystem {
	fs := &Filesystem{Type: typ, Magic: magic, Dev: NewAnonDev(), Ops: ops}
	fs.cache.max = defaultDentries
	fs.root = newDentry(fs, nil, "", root)
	fs.root.refs.Add(1)
	return fs
}

// RootDentry gives the root directory.
func (fs *Filesystem) RootDentry() *Dentry { return fs.root }

// newDentry makes a dentry without pins that holds ino and a pin of parent, which
// is not dead, for as long as it lives: ".." leads there even when both names are
// gone.
func newDentry(fs *Filesystem, parent *Dentry, name string, ino Inode) *Dentry {
	d := &Dentry{fs: fs, inode: ino}
	d.first = location{parent, name}
	d.loc.Store(&d.first)
	if ino != nil {
		ino.Base().refs.Add(1)
	}
	if parent != nil {
		parent.refs.Add(1)
	}
	return d
}

// attach puts a new dentry under name (which it keeps) into dir. dir.mu is held
// for writing.
func (dir *Dentry) attach(name string, ino Inode) *Dentry {
	d := newDentry(dir.fs, dir, name, ino)
	d.flags.Store(dentryUsed)
	dir.put(name, d)
	dir.fs.cache.add(d)
	return d
}

func (dir *Dentry) put(name string, d *Dentry) {
	if dir.children == nil {
		dir.children = make(map[string]*Dentry)
	}
	dir.children[name] = d
}

// unlink takes d out of dir, whose lock is held for writing, and leaves a
// negative dentry there.
func (dir *Dentry) unlink(d *Dentry) {
	name := d.Name()
	if dir.children[name] == d {
		delete(dir.children, name)
	}
	if !dir.fs.Volatile {
		dir.attach(name, nil)
	}
	d.drop()
}

// drop ends a dentry's life in the cache: it dies now, or with its last pin.
func (d *Dentry) drop() {
	d.flags.Or(dentryUnlinked)
	d.kill()
}

// tryPin pins d unless it is dead.
func (d *Dentry) tryPin() bool {
	if d.refs.Add(1) > 0 {
		return true
	}
	d.refs.Add(-1)
	return false
}

// unpin takes one pin back; nil has none. An unlinked dentry dies with its last, and its
// directory, unlinked too, perhaps with it.
func (d *Dentry) unpin() {
	for d != nil && d.refs.Add(-1) == 0 && d.flags.Load()&dentryUnlinked != 0 && d.die() {
		d = d.Parent()
	}
}

// dead tells whether d was dropped from the cache.
func (d *Dentry) dead() bool { return d.refs.Load() < 0 }

// kill makes an unpinned d dead and lets go of its directory.
func (d *Dentry) kill() bool {
	if !d.die() {
		return false
	}
	d.Parent().unpin()
	return true
}

// hang puts d's name elsewhere, in a rename; to is pinned.
func (d *Dentry) hang(to *Dentry, name string) {
	from := d.Parent()
	to.refs.Add(1)
	d.loc.Store(&location{to, name})
	from.unpin()
}

// die makes an unpinned d dead and lets go of its inode. What calls it unpins the
// directory.
func (d *Dentry) die() bool {
	if !d.refs.CompareAndSwap(0, deadRefs) {
		return false
	}
	d.fs.cache.remove(d)
	if d.inode != nil {
		putInode(d.inode)
	}
	return true
}

// putInode ends one dentry's hold on an inode.
func putInode(ino Inode) {
	b := ino.Base()
	if b.refs.Add(-1) != 0 {
		return
	}
	if b.marks.Load() != nil {
		if a, e := ino.Attr(); e == 0 && a.Nlink == 0 {
			b.deleteSelf()
		}
	}
	if f, ok := ino.(Forgetter); ok {
		f.Forget()
	}
}

// used notes a hit.
func (d *Dentry) used() {
	if d.flags.Load()&dentryUsed == 0 {
		d.flags.Or(dentryUsed)
	}
}

func (c *dentryCache) add(d *Dentry) {
	c.mu.Lock()
	c.push(d)
	c.count++
	c.mu.Unlock()
}

func (c *dentryCache) remove(d *Dentry) {
	c.mu.Lock()
	if d.lru.in {
		c.pull(d)
		c.count--
	}
	c.mu.Unlock()
}

func (c *dentryCache) push(d *Dentry) {
	d.lru = lruLinks{prev: c.tail, in: true}
	if c.tail != nil {
		c.tail.lru.next = d
	} else {
		c.head = d
	}
	c.tail = d
}

func (c *dentryCache) pull(d *Dentry) {
	if d.lru.prev != nil {
		d.lru.prev.lru.next = d.lru.next
	} else {
		c.head = d.lru.next
	}
	if d.lru.next != nil {
		d.lru.next.lru.prev = d.lru.prev
	} else {
		c.tail = d.lru.prev
	}
	d.lru = lruLinks{}
}

// desperate counts walks that could not get through for dentries being dropped.
var desperate atomic.Int32

// shrink drops unused leaves while there are too many dentries. No dentry's
// lock is held.
func (fs *Filesystem) shrink() {
	if desperate.Load() != 0 {
		return
	}
	var batch [32]*Dentry
	for _, d := range batch[:fs.cache.victims(batch[:])] {
		fs.evict(d)
	}
}

// overfull is a cheap check before shrink; it may be wrong for a moment.
func (c *dentryCache) overfull() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count > c.max
}

// victims picks leaves to drop, giving those used since the last sweep another
// round.
func (c *dentryCache) victims(out []*Dentry) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for tries := 0; tries < 8*len(out) && n < len(out) && c.count-n > c.max; tries++ {
		d := c.head
		if d == nil {
			break
		}
		c.pull(d)
		c.push(d)
		if d.refs.Load() != 0 || d.mounted.Load() != 0 {
			continue
		}
		if d.flags.Load()&dentryUsed != 0 {
			d.flags.And(^dentryUsed)
			continue
		}
		out[n] = d
		n++
	}
	return n
}

// evict drops d if it is an unused leaf.
func (fs *Filesystem) evict(d *Dentry) {
	loc := d.loc.Load()
	if loc.parent == nil {
		return
	}
	dir := loc.parent
	dir.mu.Lock()
	defer dir.mu.Unlock()
	if dir.children[loc.name] != d {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.children) != 0 || d.mounted.Load() != 0 {
		return
	}
	if d.inode != nil && d.inode.Base().marks.Load() != nil {
		return
	}
	if d.kill() {
		delete(dir.children, loc.name)
	}
}

// DropCaches drops every unused leaf, leaves first, until none is left
// (umount, sync of a shared volume).
func (fs *Filesystem) DropCaches() {
	fs.cache.mu.Lock()
	saved := fs.cache.max
	fs.cache.max = 0
	fs.cache.mu.Unlock()
	for last := -1; ; {
		fs.shrinkAll()
		fs.cache.mu.Lock()
		n := fs.cache.count
		fs.cache.mu.Unlock()
		if n == 0 || n == last {
			break
		}
		last = n
	}
	fs.SetDentryLimit(saved)
}

// shrinkAll sweeps over every dentry once, twice for the used ones.
func (fs *Filesystem) shrinkAll() {
	fs.cache.mu.Lock()
	all := make([]*Dentry, 0, fs.cache.count)
	for d := fs.cache.tail; d != nil; d = d.lru.prev {
		all = append(all, d)
	}
	fs.cache.mu.Unlock()
	for _, d := range all {
		if d.refs.Load() == 0 {
			fs.evict(d)
		}
	}
}
