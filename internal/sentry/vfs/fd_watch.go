package vfs

import (
	"slices"
	"sync"
)

// ReleaseWatcher is told, without any lock held, that the last reference to a
// description it watches has gone, before the file is released: epoll(7).
type ReleaseWatcher interface{ DescriptionGone(fd *FileDescription) }

// releaseWatchers are those of one description.
type releaseWatchers struct {
	mu   sync.Mutex // a leaf
	list []ReleaseWatcher
}

// Watch adds w. The caller holds a reference.
func (fd *FileDescription) Watch(w ReleaseWatcher) {
	fd.watchers.mu.Lock()
	fd.watchers.list = append(fd.watchers.list, w)
	fd.watchers.mu.Unlock()
}

// Unwatch takes w away, if it is there.
func (fd *FileDescription) Unwatch(w ReleaseWatcher) {
	fd.watchers.mu.Lock()
	if i := slices.Index(fd.watchers.list, w); i >= 0 {
		fd.watchers.list = slices.Delete(fd.watchers.list, i, i+1)
	}
	fd.watchers.mu.Unlock()
}

// gone tells the watchers. No reference is left.
func (fd *FileDescription) gone() {
	fd.watchers.mu.Lock()
	list := fd.watchers.list
	fd.watchers.list = nil
	fd.watchers.mu.Unlock()
	for _, w := range list {
		w.DescriptionGone(fd)
	}
}
