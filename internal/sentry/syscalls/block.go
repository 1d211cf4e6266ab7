package syscalls

import (
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/epoll"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// How a call waits for a file: it tries; on EAGAIN of a blocking description it
// calls startWait, and tries again before each sleep:
//
//	n, e := fd.Read(t, b)
//	if e == unix.EAGAIN && blocks(fd) {
//		w := startWait(t, fd, waiter.In)
//		for {
//			if n, e = fd.Read(t, b); e != unix.EAGAIN {
//				break
//			}
//			if e = w.sleep(); e != 0 {
//				break
//			}
//		}
//		w.end()
//	}
//
// Nothing is allocated: the registration comes from a pool.

// waitFor is one registration of a task in a file's queue.
type waitFor struct {
	t        *kernel.Task
	queue    *waiter.Queue
	entry    waiter.Entry
	deadline int64 // CLOCK_MONOTONIC; 0 none
	timed    bool  // a socket's timeout: EAGAIN at its end, EINTR for a signal
}

var waits = sync.Pool{New: func() any { return new(waitFor) }}

// callerFile is a file whose events depend on who asks: signalfd.
type callerFile interface {
	ReadyFor(c vfs.Caller) uint32
	QueueFor(c vfs.Caller) *waiter.Queue
}

// Timeouts is a file with SO_RCVTIMEO and SO_SNDTIMEO, in nanoseconds, 0 none.
type Timeouts interface {
	RecvTimeout() int64
	SendTimeout() int64
}

// blocks tells whether calls on fd wait.
func blocks(fd *vfs.FileDescription) bool { return fd.Flags()&unix.O_NONBLOCK == 0 }

// readyOf and queueOf ask the file on the task's behalf.
func readyOf(t *kernel.Task, fd *vfs.FileDescription) uint32 {
	if f, ok := fd.Impl.(callerFile); ok {
		return f.ReadyFor(t)
	}
	return fd.Impl.Ready(fd)
}

func queueOf(t *kernel.Task, fd *vfs.FileDescription) *waiter.Queue {
	switch f := fd.Impl.(type) {
	case callerFile:
		return f.QueueFor(t)
	case *epoll.Instance:
		return f.WaitQueue(t)
	}
	return fd.Impl.Queue(fd)
}

// startWait registers the task for events of fd. Sockets' own timeouts count
// from here.
func startWait(t *kernel.Task, fd *vfs.FileDescription, events uint32) *waitFor {
	w := waits.Get().(*waitFor)
	w.t, w.queue, w.deadline, w.timed = t, queueOf(t, fd), 0, false
	if s, ok := fd.Impl.(Timeouts); ok {
		d := s.RecvTimeout()
		if events&waiter.Out != 0 {
			d = s.SendTimeout()
		}
		if d > 0 {
			w.deadline, w.timed = deadlineIn(d), true
		}
	}
	if w.queue != nil {
		w.entry.Listener = t
		w.queue.Register(&w.entry, events)
	}
	return w
}

// deadlineIn is the monotonic time ns from now, without overflow.
func deadlineIn(ns int64) int64 {
	d := ktime.Mono() + ns
	if d < 0 {
		return 1<<63 - 1
	}
	return d
}

// until sets the deadline of a call with a timeout of its own.
func (w *waitFor) until(deadline int64) *waitFor {
	w.deadline, w.timed = deadline, false
	return w
}

// sleep waits for an event: 0 woken, ERESTARTSYS (EINTR with a socket's
// timeout), ETIMEDOUT (EAGAIN with a socket's timeout).
func (w *waitFor) sleep() abi.Errno {
	if w.queue == nil {
		return unix.EAGAIN
	}
	e := w.t.Block(w.deadline)
	if w.timed {
		switch e {
		case unix.ETIMEDOUT:
			return unix.EAGAIN
		case abi.ERESTARTSYS:
			return unix.EINTR
		}
	}
	return e
}

// end takes the registration back.
func (w *waitFor) end() {
	if w.queue != nil {
		w.queue.Unregister(&w.entry)
	}
	w.t, w.queue, w.entry.Listener = nil, nil, nil
	waits.Put(w)
}
