package mqueue

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// PrioMax is one above the highest priority (MQ_PRIO_MAX).
const PrioMax = 32768

// Attr is struct mq_attr without its flags.
type Attr struct{ MaxMsg, MsgSize, CurMsgs int64 }

// message is a message of a queue; it does not change.
type message struct {
	prio uint32
	text []byte
}

// Queue is a message queue.
type Queue struct {
	attr Attr // constant, but for CurMsgs
	q    waiter.Queue

	mu        sync.Mutex
	messages  []*message // the highest priority first, in order of arrival
	bytes     int
	senders   []*call
	receivers []*call
	notify    *Notify
}

// call is a send or a receive that waits.
type call struct {
	b    vfs.Blocker
	m    *message // to be sent, or received
	done bool
}

func (c *call) finish() {
	c.done = true
	c.b.Notified(nil, 0)
}

// Notify is a registration by mq_notify(3).
type Notify struct {
	PID    int32 // whose it is
	Signal int32
	Kind   int32 // SIGEV_*
	// FD is the description that it was registered through.
	FD *vfs.FileDescription
	// Deliver tells the process of a message from pid and uid; Removed, that
	// the registration is gone before there was one. Either may be nil.
	Deliver func(pid int32, uid uint32)
	Removed func()
}

// insert queues m behind its equals. The caller holds mu.
func (q *Queue) insert(m *message) {
	i, _ := slices.BinarySearchFunc(q.messages, m, func(have, m *message) int {
		if have.prio >= m.prio {
			return -1
		}
		return 1
	})
	q.messages = slices.Insert(q.messages, i, m)
	q.bytes += len(m.text)
}

func (q *Queue) full() bool { return int64(len(q.messages)) >= q.attr.MaxMsg }

// put takes m in: to a receiver that waits, or into the queue. It gives the
// registration that is to be told.
func (q *Queue) put(m *message) *Notify {
	if len(q.receivers) > 0 {
		r := q.receivers[0]
		q.receivers = slices.Delete(q.receivers, 0, 1)
		r.m = m
		r.finish()
		return nil
	}
	q.insert(m)
	q.q.Notify(waiter.In | waiter.RdNorm)
	if len(q.messages) > 1 {
		return nil
	}
	n := q.notify
	q.notify = nil
	return n
}

// take gives the first message, and lets a sender in that waits.
func (q *Queue) take() *message {
	m := q.messages[0]
	q.messages = slices.Delete(q.messages, 0, 1)
	q.bytes -= len(m.text)
	if len(q.senders) > 0 {
		s := q.senders[0]
		q.senders = slices.Delete(q.senders, 0, 1)
		q.insert(s.m)
		s.finish()
	} else {
		q.q.Notify(waiter.Out | waiter.WrNorm)
	}
	return m
}

// Send is mq_timedsend(2); deadline is CLOCK_MONOTONIC, 0 for none. past tells
// that it is over already: then a send that would wait fails with ETIMEDOUT.
func (f *File) Send(c vfs.Caller, fd *vfs.FileDescription, b vfs.Blocker, text []byte, prio uint32, deadline int64, past bool) abi.Errno {
	q := f.q
	if fd.Mode&vfs.FMODE_WRITE == 0 {
		return unix.EBADF
	}
	if int64(len(text)) > q.attr.MsgSize {
		return unix.EMSGSIZE
	}
	m := &message{prio, slices.Clone(text)}
	q.mu.Lock()
	if !q.full() {
		n := q.put(m)
		q.mu.Unlock()
		if n != nil && n.Deliver != nil {
			n.Deliver(c.TGID(), c.Creds().UID)
		}
		return 0
	}
	if e := mayWait(fd, past); e != 0 {
		q.mu.Unlock()
		return e
	}
	w := &call{b: b, m: m}
	q.senders = append(q.senders, w)
	q.mu.Unlock()
	return q.wait(w, &q.senders, deadline)
}

func mayWait(fd *vfs.FileDescription, past bool) abi.Errno {
	if fd.Flags()&unix.O_NONBLOCK != 0 {
		return unix.EAGAIN
	}
	if past {
		return unix.ETIMEDOUT
	}
	return 0
}

func (q *Queue) wait(w *call, in *[]*call, deadline int64) abi.Errno {
	for {
		e := w.b.Block(deadline)
		q.mu.Lock()
		if w.done {
			q.mu.Unlock()
			return 0
		}
		if e != 0 {
			*in = slices.DeleteFunc(*in, func(x *call) bool { return x == w })
			q.mu.Unlock()
			return e
		}
		q.mu.Unlock()
	}
}

// Receive is mq_timedreceive(2): the oldest message of the highest priority.
func (f *File) Receive(fd *vfs.FileDescription, b vfs.Blocker, room uint64, deadline int64, past bool) (text []byte, prio uint32, e abi.Errno) {
	q := f.q
	if fd.Mode&vfs.FMODE_READ == 0 {
		return nil, 0, unix.EBADF
	}
	if room < uint64(q.attr.MsgSize) {
		return nil, 0, unix.EMSGSIZE
	}
	q.mu.Lock()
	if len(q.messages) > 0 {
		m := q.take()
		q.mu.Unlock()
		return m.text, m.prio, 0
	}
	if e := mayWait(fd, past); e != 0 {
		q.mu.Unlock()
		return nil, 0, e
	}
	w := &call{b: b}
	q.receivers = append(q.receivers, w)
	q.mu.Unlock()
	if e := q.wait(w, &q.receivers, deadline); e != 0 {
		return nil, 0, e
	}
	return w.m.text, w.m.prio, 0
}

// SetNotify is mq_notify(2) with a registration: EBUSY while there is one.
func (f *File) SetNotify(n *Notify) abi.Errno {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	if f.q.notify != nil {
		return unix.EBUSY
	}
	f.q.notify = n
	return 0
}

// DropNotify ends pid's registration, if it has one.
func (q *Queue) DropNotify(pid int32) {
	q.drop(func(n *Notify) bool { return n.PID == pid })
}

func (q *Queue) drop(which func(*Notify) bool) {
	q.mu.Lock()
	n := q.notify
	if n == nil || !which(n) {
		q.mu.Unlock()
		return
	}
	q.notify = nil
	q.mu.Unlock()
	if n.Removed != nil {
		n.Removed()
	}
}

// MessageQueue gives the queue behind the file.
func (f *File) MessageQueue() *Queue { return f.q }

// Attr gives the queue's attributes.
func (q *Queue) Attr() Attr {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.attr
	a.CurMsgs = int64(len(q.messages))
	return a
}
