// Package waiter has the wait queues on which tasks and epoll instances wait
// for events of files.
//
// Lock order: Queue.mu is a leaf. Callbacks run under it: they must not
// block, take locks that are held while queues are notified, or touch the
// same queue.
package waiter

import (
	"sync"
	"sync/atomic"
)

// Events are the bits of poll(2); epoll's and poll's are the same numbers.
const (
	In     uint32 = 0x001
	Pri    uint32 = 0x002
	Out    uint32 = 0x004
	Err    uint32 = 0x008
	Hup    uint32 = 0x010
	RdNorm uint32 = 0x040
	RdBand uint32 = 0x080
	WrNorm uint32 = 0x100
	WrBand uint32 = 0x200
	RdHup  uint32 = 0x2000
	All    uint32 = In | Pri | Out | Err | Hup | RdNorm | RdBand | WrNorm | WrBand | RdHup
)

// Listener is told of events. Notified runs under the queue's lock.
type Listener interface{ Notified(e *Entry, events uint32) }

// Sleeper is a Listener whose sleep ends in two steps: Due notes it, under the
// queue's lock, and tells whether Wake is needed, which comes behind the lock.
// Who is woken runs at once, and wants that lock.
type Sleeper interface {
	Listener
	Due() bool
	Wake()
}

// Entry is one registration. It stands in one queue at most, and may be used
// again after Unregister.
type Entry struct {
	Listener   Listener
	Data       uintptr // the listener's own, e.g. an index
	mask       uint32
	prev, next *Entry
	q          *Queue
}

// Queue is a list of entries. The zero Queue is ready to use.
type Queue struct {
	// busy tells that there are entries. A notifier that has changed what is
	// waited for, and then sees none, need not take the lock: who registers
	// later looks at the changed state afterwards.
	busy       atomic.Bool
	mu         sync.Mutex
	head, tail *Entry
}

// Register adds e, which is told of events in mask and always of Err and Hup.
func (q *Queue) Register(e *Entry, mask uint32) {
	q.mu.Lock()
	e.mask, e.q = mask|Err|Hup, q
	e.prev, e.next = q.tail, nil
	if q.tail != nil {
		q.tail.next = e
	} else {
		q.head = e
	}
	q.tail = e
	q.busy.Store(true)
	q.mu.Unlock()
}

// Unregister removes e; after it returns no callback of e runs. An entry that
// is not registered is left alone.
func (q *Queue) Unregister(e *Entry) {
	q.mu.Lock()
	if e.q == q {
		if e.prev != nil {
			e.prev.next = e.next
		} else {
			q.head = e.next
		}
		if e.next != nil {
			e.next.prev = e.prev
		} else {
			q.tail = e.prev
		}
		e.prev, e.next, e.q = nil, nil, nil
		q.busy.Store(q.head != nil)
	}
	q.mu.Unlock()
}

// Notify tells every entry whose mask meets events.
func (q *Queue) Notify(events uint32) {
	if !q.busy.Load() {
		return
	}
	var wakes [8]Sleeper
	n := 0
	q.mu.Lock()
	for e := q.head; e != nil; {
		next := e.next
		if m := e.mask & events; m != 0 {
			if s, ok := e.Listener.(Sleeper); !ok || n == len(wakes) {
				e.Listener.Notified(e, m)
			} else if s.Due() {
				wakes[n] = s
				n++
			}
		}
		e = next
	}
	q.mu.Unlock()
	for _, s := range wakes[:n] {
		s.Wake()
	}
}

// Empty tells whether nobody waits; a hint only.
func (q *Queue) Empty() bool { return !q.busy.Load() }
