package vfs

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Watcher is an inotify instance. It must not call back into vfs, but for
// Watch.Mask.
type Watcher interface {
	// WatchEvent queues an event of w, IN_IGNORED included. name is empty for
	// events of the watched file itself, and valid only during the call.
	WatchEvent(w *Watch, mask, cookie uint32, name string)
}

// Watch is one mark on an inode.
type Watch struct {
	Owner Watcher
	WD    int32
	mask  atomic.Uint32
	gone  atomic.Bool
	inode Inode
}

// markList is the inode's watches; it is replaced, never changed.
type markList struct{ list []*Watch }

var (
	watched    atomic.Int32 // watches in all: without any, events cost one load
	lastCookie atomic.Uint32
)

// AddWatch marks ino for owner with IN_* events in mask (IN_ONESHOT,
// IN_EXCL_UNLINK included). The watched file is held only by its names and
// descriptors: when the last goes, the watch gets IN_DELETE_SELF, then
// IN_IGNORED.
func AddWatch(ino Inode, owner Watcher, wd int32, mask uint32) *Watch {
	w := &Watch{Owner: owner, WD: wd, inode: ino}
	w.mask.Store(mask)
	b := ino.Base()
	b.mu.Lock()
	defer b.mu.Unlock()
	n := &markList{}
	if old := b.marks.Load(); old != nil {
		n.list = append(n.list, old.list...)
	}
	n.list = append(n.list, w)
	b.marks.Store(n)
	watched.Add(1)
	return w
}

// FindWatch gives owner's watch on ino, nil if none.
func FindWatch(ino Inode, owner Watcher) *Watch {
	if m := ino.Base().marks.Load(); m != nil {
		for _, w := range m.list {
			if w.Owner == owner {
				return w
			}
		}
	}
	return nil
}

// Mask and SetMask read and change what is watched.
func (w *Watch) Mask() uint32        { return w.mask.Load() }
func (w *Watch) SetMask(mask uint32) { w.mask.Store(mask) }

// Inode gives the watched inode.
func (w *Watch) Inode() Inode { return w.inode }

// Remove takes the watch away; no event is sent. It tells whether it was
// there.
func (w *Watch) Remove() bool {
	if !w.gone.CompareAndSwap(false, true) {
		return false
	}
	watched.Add(-1)
	b := w.inode.Base()
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.marks.Load()
	if old == nil {
		return true
	}
	n := &markList{}
	for _, x := range old.list {
		if x != w {
			n.list = append(n.list, x)
		}
	}
	if len(n.list) == 0 {
		n = nil
	}
	b.marks.Store(n)
	return true
}

// notify sends an event to the watches of an inode.
func (b *InodeBase) notify(mask, cookie uint32, name string) {
	m := b.marks.Load()
	if m == nil {
		return
	}
	if mask&(unix.IN_MOVE_SELF|unix.IN_DELETE_SELF) != 0 {
		mask &^= unix.IN_ISDIR // inotify never showed it with these
	}
	for _, w := range m.list {
		if w.mask.Load()&mask&unix.IN_ALL_EVENTS == 0 || w.gone.Load() {
			continue
		}
		w.Owner.WatchEvent(w, mask, cookie, name)
		if w.mask.Load()&unix.IN_ONESHOT != 0 && w.Remove() {
			w.Owner.WatchEvent(w, unix.IN_IGNORED, 0, "")
		}
	}
}

// deleteSelf tells the watches of an inode that is gone for good.
func (b *InodeBase) deleteSelf() {
	b.notify(unix.IN_DELETE_SELF, 0, "")
	if m := b.marks.Load(); m != nil {
		for _, w := range m.list {
			if w.Remove() {
				w.Owner.WatchEvent(w, unix.IN_IGNORED, 0, "")
			}
		}
	}
}

func dirBit(ino Inode) uint32 {
	if isDir(ino) {
		return unix.IN_ISDIR
	}
	return 0
}

// notifyChild tells the watches of a directory about an entry.
func (dir *Dentry) notifyChild(mask, cookie uint32, name string, ino Inode) {
	if watched.Load() == 0 {
		return
	}
	dir.inode.Base().notify(mask|dirBit(ino), cookie, name)
}

// notifySelf tells the watches of the file alone.
func (p Path) notifySelf(mask uint32) {
	if watched.Load() != 0 {
		p.Dentry.inode.Base().notify(mask|dirBit(p.Dentry.inode), 0, "")
	}
}

// Notify sends an event about the file at p (IN_ACCESS, IN_MODIFY, …) to its
// watches and, by name, to those of its directory. vfs does so itself for what
// goes through it.
func (p Path) Notify(mask uint32) {
	if watched.Load() == 0 || p.Dentry == nil {
		return
	}
	d := p.Dentry
	mask |= dirBit(d.inode)
	loc := d.loc.Load()
	if loc.parent != nil {
		if m := loc.parent.inode.Base().marks.Load(); m != nil {
			loc.parent.notifyUnlessGone(m, d, mask, loc.name)
		}
	}
	d.inode.Base().notify(mask, 0, "")
}

// notifyUnlessGone respects IN_EXCL_UNLINK: no events of children that have
// been unlinked.
func (dir *Dentry) notifyUnlessGone(m *markList, d *Dentry, mask uint32, name string) {
	if d.flags.Load()&dentryUnlinked == 0 {
		dir.inode.Base().notify(mask, 0, name)
		return
	}
	for _, w := range m.list {
		if w.mask.Load()&mask&unix.IN_ALL_EVENTS != 0 && w.mask.Load()&unix.IN_EXCL_UNLINK == 0 && !w.gone.Load() {
			w.Owner.WatchEvent(w, mask, 0, name)
		}
	}
}
