package vfs

import (
	"math"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Blocker is a Caller that can wait: a kernel.Task.
type Blocker interface {
	waiter.Listener
	Block(deadline int64) abi.Errno
}

// FileLock is a POSIX or OFD record lock on [Start, End], both included; End
// math.MaxInt64 is to the end of the file.
type FileLock struct {
	Type       int16 // F_RDLCK, F_WRLCK, F_UNLCK
	Start, End int64
	PID        int32 // what F_GETLK tells; -1 for OFD locks
	Owner      any   // *FDTable for POSIX locks, *FileDescription for OFD locks
}

// lockList has the locks on one inode. Lock order: blocked.mu is inside mu.
type lockList struct {
	mu    sync.Mutex
	ino   Inode
	fs    *Filesystem
	recs  []FileLock
	flock []flockEntry
	freed bool // a lock has gone: waiters are to try again
	waits int  // how many stand in blocked.waits for this list
	queue waiter.Queue
}

type flockEntry struct {
	fd  *FileDescription
	ex  bool
	pid int32
}

// blockedLock is a wait for a lock: an edge of the graph of owners.
type blockedLock struct {
	lock  FileLock
	by    any // owner of the lock that is in the way
	list  *lockList
	flock bool
}

var (
	blocked struct {
		mu    sync.Mutex
		waits []*blockedLock
	}
	lockLists struct {
		mu  sync.Mutex
		all map[*lockList]struct{}
	}
)

// locksOf gives the inode's list, made if need be.
func locksOf(p Path) *lockList {
	b := p.Dentry.inode.Base()
	if l := b.locks.Load(); l != nil {
		return l
	}
	l := &lockList{ino: p.Dentry.inode, fs: p.Dentry.fs}
	if !b.locks.CompareAndSwap(nil, l) {
		l = b.locks.Load()
	}
	return l
}

// listed notes whether l has locks, for Locks. l.mu is held.
func (l *lockList) listed() {
	lockLists.mu.Lock()
	defer lockLists.mu.Unlock()
	if len(l.recs) == 0 && len(l.flock) == 0 {
		delete(lockLists.all, l)
		return
	}
	if lockLists.all == nil {
		lockLists.all = map[*lockList]struct{}{}
	}
	lockLists.all[l] = struct{}{}
}

func overlap(a, b *FileLock) bool { return a.Start <= b.End && b.Start <= a.End }

// conflict finds a lock of another owner that keeps l out.
func (l *lockList) conflict(want *FileLock) (FileLock, bool) {
	for i := range l.recs {
		r := &l.recs[i]
		if r.Owner != want.Owner && overlap(r, want) && (r.Type == unix.F_WRLCK || want.Type == unix.F_WRLCK) {
			return *r, true
		}
	}
	return FileLock{}, false
}

// set puts n in the place of what its owner held there (F_UNLCK: of nothing),
// and joins neighbours.
func (l *lockList) set(n FileLock) {
	out := make([]FileLock, 0, len(l.recs)+2)
	for _, r := range l.recs {
		if r.Owner != n.Owner {
			out = append(out, r)
			continue
		}
		l.freed = true
		touch := r.Type == n.Type && (r.End == math.MaxInt64 || r.End+1 >= n.Start) &&
			(n.End == math.MaxInt64 || n.End+1 >= r.Start)
		switch {
		case touch:
			n.Start, n.End = min(n.Start, r.Start), max(n.End, r.End)
		case !overlap(&r, &n):
			out = append(out, r)
		default:
			if r.Start < n.Start {
				left := r
				left.End = n.Start - 1
				out = append(out, left)
			}
			if r.End > n.End {
				right := r
				right.Start = n.End + 1
				out = append(out, right)
			}
		}
	}
	if n.Type != unix.F_UNLCK {
		out = append(out, n)
	}
	l.recs = out
	l.listed()
}

// SetLock takes, changes or drops a record lock. Without b it fails with
// EAGAIN on a conflict; with b it waits (F_SETLKW), and finds deadlocks
// (EDEADLK). fd's access mode is checked (EBADF).
func SetLock(fd *FileDescription, l FileLock, b Blocker) abi.Errno {
	switch {
	case fd.Mode&FMODE_PATH != 0,
		l.Type == unix.F_RDLCK && fd.Mode&FMODE_READ == 0,
		l.Type == unix.F_WRLCK && fd.Mode&FMODE_WRITE == 0:
		return unix.EBADF
	case l.Type != unix.F_RDLCK && l.Type != unix.F_WRLCK && l.Type != unix.F_UNLCK:
		return unix.EINVAL
	}
	if t, ok := l.Owner.(*FDTable); ok {
		t.locks.Store(true)
	} else {
		fd.locked.Store(true)
	}
	list := locksOf(fd.Path)
	return list.wait(b, func() (FileLock, bool) {
		if l.Type != unix.F_UNLCK {
			if other, bad := list.conflict(&l); bad {
				return other, false
			}
		}
		list.set(l)
		return FileLock{}, true
	}, &blockedLock{lock: l, list: list})
}

// wait tries, under list.mu, until try succeeds; without b, once.
func (list *lockList) wait(b Blocker, try func() (FileLock, bool), bl *blockedLock) abi.Errno {
	list.mu.Lock()
	other, ok := try()
	if ok || b == nil {
		list.unlock()
		if ok {
			return 0
		}
		return unix.EAGAIN
	}
	entry := waiter.Entry{Listener: b}
	list.queue.Register(&entry, waiter.In)
	defer list.queue.Unregister(&entry)
	for {
		if e := bl.enter(other.Owner); e != 0 {
			bl.leave()
			list.unlock()
			return e
		}
		list.unlock()
		e := b.Block(0)
		list.mu.Lock()
		if e == 0 {
			if other, ok = try(); !ok {
				continue
			}
		}
		bl.leave()
		list.unlock()
		return e
	}
}

// unlock lets waiters try: locks may have gone. Until they have, they wait for
// nobody: whoever held the lock that they waited for may want one of theirs
// meanwhile, which is no deadlock.
func (list *lockList) unlock() {
	freed := list.freed
	list.freed = false
	if freed && list.waits > 0 {
		blocked.mu.Lock()
		blocked.waits = slices.DeleteFunc(blocked.waits, func(w *blockedLock) bool { return w.list == list })
		blocked.mu.Unlock()
		list.waits = 0
	}
	list.mu.Unlock()
	if freed {
		list.queue.Notify(waiter.In)
	}
}

// enter notes that bl waits for by; EDEADLK if by waits, directly or not, for
// bl's own owner. Only POSIX locks are checked, as in Linux. list.mu is held.
func (bl *blockedLock) enter(by any) abi.Errno {
	blocked.mu.Lock()
	defer blocked.mu.Unlock()
	if _, posix := bl.lock.Owner.(*FDTable); posix && !bl.flock && waitsFor(by, bl.lock.Owner, 10) {
		return unix.EDEADLK
	}
	if !slices.Contains(blocked.waits, bl) {
		blocked.waits = append(blocked.waits, bl)
		bl.list.waits++
	}
	bl.by = by
	return 0
}

func waitsFor(owner, target any, depth int) bool {
	if owner == target {
		return true
	}
	if depth == 0 {
		return false
	}
	for _, w := range blocked.waits {
		if w.lock.Owner == owner && waitsFor(w.by, target, depth-1) {
			return true
		}
	}
	return false
}

// leave ends the wait. list.mu is held.
func (bl *blockedLock) leave() {
	blocked.mu.Lock()
	if i := slices.Index(blocked.waits, bl); i >= 0 {
		blocked.waits = slices.Delete(blocked.waits, i, i+1)
		bl.list.waits--
	}
	blocked.mu.Unlock()
}

// TestLock gives a lock that conflicts with l (F_GETLK).
func TestLock(fd *FileDescription, l FileLock) (FileLock, bool) {
	list := fd.Inode().Base().locks.Load()
	if list == nil {
		return FileLock{}, false
	}
	list.mu.Lock()
	defer list.mu.Unlock()
	return list.conflict(&l)
}

// dropPosixLocks drops what t owns on ino: any close does (fcntl(2)).
func dropPosixLocks(ino Inode, t *FDTable) {
	if list := ino.Base().locks.Load(); list != nil {
		list.dropRecords(t)
	}
}

func (list *lockList) dropRecords(owner any) {
	list.mu.Lock()
	for i := range list.recs {
		if list.recs[i].Owner == owner {
			list.set(FileLock{Type: unix.F_UNLCK, End: math.MaxInt64, Owner: owner})
			break
		}
	}
	list.unlock()
}

// dropOwnLocks drops the OFD and flock locks of a description that goes.
func dropOwnLocks(fd *FileDescription) {
	list := fd.Inode().Base().locks.Load()
	if list == nil {
		return
	}
	list.dropRecords(fd)
	list.mu.Lock()
	list.dropFlock(fd)
	list.unlock()
}

// dropFlock removes fd's flock lock. list.mu is held.
func (list *lockList) dropFlock(fd *FileDescription) {
	for i := range list.flock {
		if list.flock[i].fd == fd {
			list.flock = append(list.flock[:i:i], list.flock[i+1:]...)
			list.freed = true
			break
		}
	}
	list.listed()
}

// Flock is flock(2): op is LOCK_SH, LOCK_EX or LOCK_UN; with b it waits,
// without it fails with EWOULDBLOCK. pid is for /proc/locks.
func Flock(fd *FileDescription, op int, pid int32, b Blocker) abi.Errno {
	if fd.Mode&FMODE_PATH != 0 {
		return unix.EBADF
	}
	list := locksOf(fd.Path)
	switch op {
	case unix.LOCK_UN:
		list.mu.Lock()
		list.dropFlock(fd)
		list.unlock()
		return 0
	case unix.LOCK_SH, unix.LOCK_EX:
	default:
		return unix.EINVAL
	}
	fd.locked.Store(true)
	n := flockEntry{fd, op == unix.LOCK_EX, pid}
	bl := &blockedLock{lock: FileLock{Type: unix.F_RDLCK, PID: pid, Owner: fd, End: math.MaxInt64}, list: list, flock: true}
	if n.ex {
		bl.lock.Type = unix.F_WRLCK
	}
	return list.wait(b, func() (FileLock, bool) { return list.tryFlock(n) }, bl)
}

// tryFlock takes a flock lock. A change of kind first gives up what is held.
func (list *lockList) tryFlock(n flockEntry) (FileLock, bool) {
	for i := range list.flock {
		if f := &list.flock[i]; f.fd == n.fd {
			if f.ex == n.ex {
				return FileLock{}, true
			}
			list.dropFlock(n.fd)
			break
		}
	}
	for _, f := range list.flock {
		if f.ex || n.ex {
			return FileLock{Owner: f.fd}, false
		}
	}
	list.flock = append(list.flock, n)
	list.listed()
	return FileLock{}, true
}

// LockInfo is a line of /proc/locks.
type LockInfo struct {
	Kind       string // POSIX, OFDLCK, FLOCK
	Write      bool
	Blocked    bool
	PID        int32
	Dev, Ino   uint64
	Start, End int64 // End math.MaxInt64: EOF
}

// Locks lists all locks, and those waited for behind the rest.
func Locks() []LockInfo {
	lockLists.mu.Lock()
	lists := make([]*lockList, 0, len(lockLists.all))
	for l := range lockLists.all {
		lists = append(lists, l)
	}
	lockLists.mu.Unlock()
	var out []LockInfo
	for _, l := range lists {
		l.mu.Lock()
		for i := range l.recs {
			out = append(out, l.info(&l.recs[i], false))
		}
		for _, f := range l.flock {
			r := FileLock{Type: unix.F_RDLCK, PID: f.pid, Owner: f.fd, End: math.MaxInt64}
			if f.ex {
				r.Type = unix.F_WRLCK
			}
			out = append(out, l.info(&r, true))
		}
		l.mu.Unlock()
	}
	blocked.mu.Lock()
	defer blocked.mu.Unlock()
	for _, w := range blocked.waits {
		i := w.list.info(&w.lock, w.flock)
		i.Blocked = true
		out = append(out, i)
	}
	return out
}

func (l *lockList) info(r *FileLock, flock bool) LockInfo {
	i := LockInfo{Kind: "POSIX", Write: r.Type == unix.F_WRLCK, PID: r.PID, Dev: l.fs.Dev, Start: r.Start, End: r.End}
	if _, posix := r.Owner.(*FDTable); !posix {
		i.Kind = "OFDLCK"
	}
	if flock {
		i.Kind = "FLOCK"
	}
	if a, e := l.ino.Attr(); e == 0 {
		i.Ino = a.Ino
		if a.Dev != 0 {
			i.Dev = a.Dev
		}
	}
	return i
}
