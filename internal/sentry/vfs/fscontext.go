package vfs

import (
	"sync"
	"sync/atomic"
)

// FSContext is a task's view of names (fs_struct): root, working directory and
// umask. It counts its users: threads that share it by CLONE_FS.
type FSContext struct {
	users atomic.Int32
	umask atomic.Uint32

	mu        sync.RWMutex
	root, cwd Path
}

// NewFSContext gives a context with one user whose root and working directory
// are root.
func NewFSContext(root Path, umask uint32) *FSContext {
	f := &FSContext{root: root, cwd: root}
	root.IncRef()
	root.IncRef()
	f.users.Store(1)
	f.umask.Store(umask & 0777)
	return f
}

// Root and Cwd give borrowed paths.
func (f *FSContext) Root() Path {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.root
}

// Cwd gives the working directory, borrowed.
func (f *FSContext) Cwd() Path {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.cwd
}

// Both gives root and working directory, borrowed.
func (f *FSContext) Both() (root, cwd Path) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.root, f.cwd
}

// SetRoot makes p the root; p is pinned once more.
func (f *FSContext) SetRoot(p Path) { f.replace(&f.root, p) }

// SetCwd makes p the working directory; p is pinned once more.
func (f *FSContext) SetCwd(p Path) { f.replace(&f.cwd, p) }

func (f *FSContext) replace(where *Path, p Path) {
	p.IncRef()
	f.mu.Lock()
	old := *where
	*where = p
	f.mu.Unlock()
	old.DecRef()
}

// Umask gives the file mode creation mask.
func (f *FSContext) Umask() uint32 { return f.umask.Load() }

// SetUmask sets it and gives the old one.
func (f *FSContext) SetUmask(m uint32) uint32 { return f.umask.Swap(m & 0777) }

// Fork gives a copy with one user.
func (f *FSContext) Fork() *FSContext {
	root, cwd := f.Both()
	n := NewFSContext(root, f.Umask())
	n.SetCwd(cwd)
	return n
}

// IncRef adds a user.
func (f *FSContext) IncRef() { f.users.Add(1) }

// Users is the number of users.
func (f *FSContext) Users() int32 { return f.users.Load() }

// DecRef removes a user; the last unpins root and working directory.
func (f *FSContext) DecRef() {
	if f.users.Add(-1) == 0 {
		f.root.DecRef()
		f.cwd.DecRef()
	}
}
