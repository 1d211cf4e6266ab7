package syscalls

import (
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// asyncIO stands in the queue of a description with O_ASYNC, and sends its
// owner a signal when the file becomes ready: fcntl(2), "Managing signals".
type asyncIO struct {
	entry waiter.Entry
	k     *kernel.Kernel
	fd    *vfs.FileDescription // not counted: DescriptionGone ends this
	queue *waiter.Queue
	num   int32 // the descriptor that O_ASYNC was set through
	uid   uint32
	euid  uint32 // whose right to send counts

	events atomic.Uint32 // to be told of
}

var (
	asyncMu sync.Mutex
	asyncs  = map[*vfs.FileDescription]*asyncIO{} // under asyncMu
)

// setAsync turns signals on or off.
func setAsync(t *kernel.Task, num int32, fd *vfs.FileDescription, on bool) {
	asyncMu.Lock()
	defer asyncMu.Unlock()
	old := asyncs[fd]
	switch {
	case on && old == nil:
		q := queueOf(t, fd)
		if q == nil {
			return
		}
		s := &asyncIO{k: t.Kernel(), fd: fd, queue: q, num: num, uid: t.Creds().UID, euid: t.Creds().EUID}
		s.entry.Listener = s
		asyncs[fd] = s
		fd.Watch(s)
		q.Register(&s.entry, waiter.All)
	case !on && old != nil:
		old.end()
		fd.Unwatch(old)
	}
}

// end runs under asyncMu.
func (s *asyncIO) end() {
	delete(asyncs, s.fd)
	s.queue.Unregister(&s.entry)
}

// DescriptionGone is vfs.ReleaseWatcher's.
func (s *asyncIO) DescriptionGone(fd *vfs.FileDescription) {
	asyncMu.Lock()
	defer asyncMu.Unlock()
	if asyncs[fd] == s {
		s.end()
	}
}

// Notified runs under the file's queue lock, where no signal may be sent: that
// is left to a goroutine, one at a time.
func (s *asyncIO) Notified(_ *waiter.Entry, events uint32) {
	if s.events.Or(events) == 0 {
		go s.send()
	}
}

func (s *asyncIO) send() {
	events := s.events.Swap(0)
	o := s.fd.Async()
	if o == nil || o.ID == 0 {
		return
	}
	s.sendIO(o, events)
}

// sendIO sends SIGIO, or F_SETSIG's signal with what has happened, to the owner.
func (s *asyncIO) sendIO(o *vfs.AsyncOwner, events uint32) {
	info := kernel.KernelInfo(kernel.SIGIO, kernel.SI_KERNEL, 0, 0)
	if o.Signal != 0 {
		info = kernel.PollInfo(o.Signal, pollCode(events), uint64(events), s.num)
	}
	s.k.SendOwner(o.Type, o.ID, s.uid, s.euid, info)
}

// pollCode is the si_code for events.
func pollCode(events uint32) int32 {
	switch {
	case events&waiter.In != 0:
		return kernel.POLL_IN
	case events&waiter.Out != 0:
		return kernel.POLL_OUT
	case events&waiter.Pri != 0:
		return kernel.POLL_PRI
	case events&waiter.Err != 0:
		return kernel.POLL_ERR
	}
	return kernel.POLL_HUP
}

// setOwner is F_SETOWN: ESRCH if there is no such task or group.
func setOwner(t *kernel.Task, fd *vfs.FileDescription, o vfs.AsyncOwner) abi.Errno {
	k, known := t.Kernel(), o.ID == 0
	switch {
	case known:
	case o.Type == ownerTID:
		known = k.Task(o.ID) != nil
	case o.Type == ownerPID:
		known = k.ThreadGroupByPID(o.ID) != nil
	default:
		known = t.GroupSession(o.ID) != 0
	}
	if !known {
		return unix.ESRCH
	}
	fd.SetAsync(&o)
	return 0
}
