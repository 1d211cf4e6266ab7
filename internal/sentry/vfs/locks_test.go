package vfs_test

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// sleeper is a task that can wait.
type sleeper struct{ wake chan struct{} }

func newSleeper() *sleeper { return &sleeper{make(chan struct{}, 1)} }

func (s *sleeper) Notified(*waiter.Entry, uint32) {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sleeper) Block(int64) abi.Errno {
	<-s.wake
	return 0
}

func lock(typ int16, start, end int64, owner any) vfs.FileLock {
	return vfs.FileLock{Type: typ, Start: start, End: end, Owner: owner, PID: 1}
}

func TestRecordLocks(t *testing.T) {
	w := newWorld(t)
	fd := w.open("/f", unix.O_CREAT|unix.O_RDWR)
	defer fd.DecRef()
	a, b := vfs.NewFDTable(), vfs.NewFDTable()
	const rd, wr, un = unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK
	w.want("write lock", vfs.SetLock(fd, lock(wr, 10, 19, a), nil), 0)
	w.want("a read lock over it", vfs.SetLock(fd, lock(rd, 0, math.MaxInt64, b), nil), unix.EAGAIN)
	w.want("a lock beside it", vfs.SetLock(fd, lock(wr, 20, 29, b), nil), 0)
	w.want("a part becomes a read lock", vfs.SetLock(fd, lock(rd, 12, 14, a), nil), 0)
	w.want("and can be shared", vfs.SetLock(fd, lock(rd, 13, 13, b), nil), 0)
	if l, ok := vfs.TestLock(fd, lock(wr, 0, 11, b)); !ok || l.Type != wr || l.Start != 10 || l.End != 11 {
		t.Errorf("F_GETLK: %+v %v, want the write lock from 10 to 11", l, ok)
	}
	w.want("unlock of the middle", vfs.SetLock(fd, lock(un, 11, 17, a), nil), 0)
	if l, ok := vfs.TestLock(fd, lock(wr, 15, 19, b)); !ok || l.Start != 18 || l.End != 19 {
		t.Errorf("F_GETLK: %+v %v, want the rest from 18 to 19", l, ok)
	}
	ofd := w.open("/f", unix.O_RDWR)
	w.want("an OFD lock against POSIX ones", vfs.SetLock(ofd, lock(rd, 18, 18, ofd), nil), unix.EAGAIN)
	w.want("an OFD lock", vfs.SetLock(ofd, lock(rd, 100, 200, ofd), nil), 0)
	w.want("against it", vfs.SetLock(fd, lock(wr, 150, 150, a), nil), unix.EAGAIN)
	ofd.DecRef()
	w.want("after its description is gone", vfs.SetLock(fd, lock(wr, 150, 150, a), nil), 0)
	ro := w.open("/f", unix.O_RDONLY)
	w.want("a write lock by a reader", vfs.SetLock(ro, lock(wr, 0, 0, a), nil), unix.EBADF)
	// Any close of the file drops the process's locks.
	n, _ := a.Install(ro, 0, false, 10)
	a.Close(w.c, n)
	if _, ok := vfs.TestLock(fd, lock(wr, 0, 19, b)); ok {
		t.Error("locks are left after a close")
	}
}

func TestLockWaits(t *testing.T) {
	w := newWorld(t)
	fd := w.open("/f", unix.O_CREAT|unix.O_RDWR)
	defer fd.DecRef()
	a, b := vfs.NewFDTable(), vfs.NewFDTable()
	const wr, un = unix.F_WRLCK, unix.F_UNLCK
	vfs.SetLock(fd, lock(wr, 0, 0, a), nil)
	vfs.SetLock(fd, lock(wr, 1, 1, b), nil)
	done := make(chan abi.Errno)
	go func() { done <- vfs.SetLock(fd, lock(wr, 0, 0, b), newSleeper()) }()
	for len(blockedLocks()) == 0 {
		// The other goroutine is on its way to wait.
	}
	w.want("a wait that closes a circle", vfs.SetLock(fd, lock(wr, 1, 1, a), newSleeper()), unix.EDEADLK)
	w.want("unlock", vfs.SetLock(fd, lock(un, 0, 0, a), nil), 0)
	w.want("the wait", <-done, 0)
	if n := len(blockedLocks()); n != 0 {
		t.Errorf("%d waits are left", n)
	}
}

// late is a task that has been woken, and has not come to run yet.
type late struct{ runs chan struct{} }

func (l late) Notified(*waiter.Entry, uint32) {}

func (l late) Block(int64) abi.Errno {
	<-l.runs
	return 0
}

// signalled is a task whose wait is interrupted at once.
type signalled struct{ waiter.Listener }

func (signalled) Block(int64) abi.Errno { return unix.EINTR }

// TestNoDeadlockWithWoken: who was woken waits for nobody, even before it has tried
// again: to want a lock of its is no deadlock.
func TestNoDeadlockWithWoken(t *testing.T) {
	w := newWorld(t)
	f, g := w.open("/f", unix.O_CREAT|unix.O_RDWR), w.open("/g", unix.O_CREAT|unix.O_RDWR)
	defer f.DecRef()
	defer g.DecRef()
	a, b := vfs.NewFDTable(), vfs.NewFDTable()
	const wr, un = unix.F_WRLCK, unix.F_UNLCK
	vfs.SetLock(f, lock(wr, 0, 0, b), nil)
	vfs.SetLock(g, lock(wr, 0, 0, a), nil)
	task, done := late{make(chan struct{})}, make(chan abi.Errno)
	go func() { done <- vfs.SetLock(f, lock(wr, 0, 0, a), task) }()
	for len(blockedLocks()) == 0 {
		// The other goroutine is on its way to wait.
	}
	w.want("unlock", vfs.SetLock(f, lock(un, 0, 0, b), nil), 0)
	w.want("a lock of the woken one's", vfs.SetLock(g, lock(wr, 0, 0, b), signalled{newSleeper()}), unix.EINTR)
	close(task.runs)
	w.want("the wait", <-done, 0)
	if n := len(blockedLocks()); n != 0 {
		t.Errorf("%d waits are left", n)
	}
}

func blockedLocks() (out []vfs.LockInfo) {
	for _, l := range vfs.Locks() {
		if l.Blocked {
			out = append(out, l)
		}
	}
	return out
}

func TestFlock(t *testing.T) {
	w := newWorld(t)
	a, b := w.open("/f", unix.O_CREAT|unix.O_RDWR), w.open("/f", unix.O_RDONLY)
	defer b.DecRef()
	w.want("shared", vfs.Flock(a, unix.LOCK_SH, 1, nil), 0)
	w.want("shared twice", vfs.Flock(b, unix.LOCK_SH, 1, nil), 0)
	w.want("exclusive", vfs.Flock(a, unix.LOCK_EX, 1, nil), unix.EAGAIN)
	// The failed conversion has lost the lock: flock(2).
	w.want("exclusive for the other", vfs.Flock(b, unix.LOCK_EX, 1, nil), 0)
	done := make(chan abi.Errno)
	go func() { done <- vfs.Flock(a, unix.LOCK_EX, 1, newSleeper()) }()
	w.want("unlock", vfs.Flock(b, unix.LOCK_UN, 1, nil), 0)
	w.want("the wait", <-done, 0)
	a.DecRef()
	w.want("after the description is gone", vfs.Flock(b, unix.LOCK_EX, 1, nil), 0)
}
