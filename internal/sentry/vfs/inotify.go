package vfs

import "sync/atomic"

// Watcher is an inotify instance: it gets events in order, under a lock; it
// must not call back into vfs.
type Watcher interface {
	// WatchEvent: mask has the event and IN_ISDIR; name is empty for events
	// of the watched file itself, and valid only during the call.
	WatchEvent(w *Watch, mask, cookie uint32, name string)
}

// Watch is one mark on an inode.
type Watch struct {
	Owner Watcher
	WD    int32
	mask  atomic.Uint32
	inode Inode
}

type markList struct{}

// AddWatch marks ino for owner with IN_* events in mask (IN_ONESHOT,
// IN_EXCL_UNLINK included). IN_IGNORED is sent when the inode goes.
func AddWatch(ino Inode, owner Watcher, wd int32, mask uint32) *Watch { return nil }

// FindWatch gives owner's watch on ino, nil if none.
func FindWatch(ino Inode, owner Watcher) *Watch { return nil }

// Mask and SetMask read and change what is watched.
func (w *Watch) Mask() uint32        { return w.mask.Load() }
func (w *Watch) SetMask(mask uint32) { w.mask.Store(mask) }

// Inode gives the watched inode.
func (w *Watch) Inode() Inode { return w.inode }

// Remove takes the watch away (no event is sent).
func (w *Watch) Remove() {}

// Notify sends an event about the file behind fd (IN_ACCESS, IN_MODIFY, …) to
// its watchers and those of its directory; vfs itself does so for what goes
// through it.
func (p Path) Notify(mask uint32) {}
