// Package epoll owns epoll(7) instances.
//
// An item stands in the wait queue of the file it watches, and its callback
// puts it on the instance's ready list; a wait looks at that list alone. Items
// hold no reference to the description they watch: they go when it does.
//
// Lock order: nestMu → Instance.mu (outer instance before inner) → the locks of
// watched files; a watched file's waiter.Queue → Instance.readyMu, then the
// instance's own waiter.Queue. readyMu is a leaf and is never held while a file
// is asked for its events. vfs.SettlePosted comes before mu.
package epoll

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// Flags of an item's events beyond those of poll (epoll_ctl(2)).
const (
	flagExclusive = 1 << 28
	flagWakeUp    = 1 << 29
	flagOneShot   = 1 << 30
	flagEdge      = 1 << 31
	privateBits   = flagExclusive | flagWakeUp | flagOneShot | flagEdge

	exclusiveOK = waiter.In | waiter.Out | waiter.Err | waiter.Hup | waiter.RdNorm | waiter.RdBand |
		waiter.WrNorm | waiter.WrBand | flagExclusive | flagWakeUp | flagEdge
)

// EventSize is the size of x86-64's packed struct epoll_event.
const EventSize = 12

// maxItems caps the items of all instances (fs.epoll.max_user_watches).
const maxItems = 1 << 19

var itemCount atomic.Int64

// perCaller is a file whose events depend on who asks (signalfd).
type perCaller interface {
	ReadyFor(c vfs.Caller) uint32
	QueueFor(c vfs.Caller) *waiter.Queue
}

// key is what an item is known by: a descriptor number and what it led to.
type key struct {
	num int32
	id  uint64
}

// item is one watched description.
type item struct {
	entry  waiter.Entry
	ep     *Instance
	fd     *vfs.FileDescription // not counted
	num    int32
	queue  *waiter.Queue
	own    perCaller // nil for most
	nested *Instance // what fd is, if it is an epoll itself; constant

	events atomic.Uint32 // with Err and Hup; written under ep.mu
	data   uint64        // under ep.mu
	dead   bool          // under ep.mu

	// Under ep.readyMu.
	queued     bool
	prev, next *item
}

// Instance is an open epoll.
type Instance struct {
	vfs.FileDefaults

	lent atomic.Bool // there is a loan; written under mu

	mu         sync.Mutex
	items      map[key]*item
	closed     bool
	loan       *loan
	foreigners int // loans that somebody else ended

	readyMu    sync.Mutex
	head, tail *item
	nready     int

	q waiter.Queue

	parents map[*Instance]int // instances that watch this one; under nestMu
}

// New makes an instance.
func New() *Instance { return &Instance{items: map[key]*item{}} }

// Notified runs under the watched file's queue lock: waiter.Listener.
func (it *item) Notified(_ *waiter.Entry, events uint32) {
	want := it.events.Load()
	if want&^privateBits == 0 || events&want == 0 {
		return
	}
	it.ep.push(it)
	it.ep.q.Notify(waiter.In | waiter.RdNorm)
}

// push appends the item to the ready list, if it is not there.
func (ep *Instance) push(it *item) {
	ep.readyMu.Lock()
	if !it.queued {
		it.queued = true
		it.prev, it.next = ep.tail, nil
		if ep.tail != nil {
			ep.tail.next = it
		} else {
			ep.head = it
		}
		ep.tail = it
		ep.nready++
	}
	ep.readyMu.Unlock()
}

// pushFront puts an item back where it was.
func (ep *Instance) pushFront(it *item) {
	ep.readyMu.Lock()
	if !it.queued {
		it.queued = true
		it.prev, it.next = nil, ep.head
		if ep.head != nil {
			ep.head.prev = it
		} else {
			ep.tail = it
		}
		ep.head = it
		ep.nready++
	}
	ep.readyMu.Unlock()
}

// pop takes the first item of the ready list, nil if it is empty.
func (ep *Instance) pop() *item {
	ep.readyMu.Lock()
	it := ep.head
	if it != nil {
		ep.unlink(it)
	}
	ep.readyMu.Unlock()
	return it
}

// unlink runs under readyMu.
func (ep *Instance) unlink(it *item) {
	if !it.queued {
		return
	}
	if it.prev != nil {
		it.prev.next = it.next
	} else {
		ep.head = it.next
	}
	if it.next != nil {
		it.next.prev = it.prev
	} else {
		ep.tail = it.prev
	}
	it.prev, it.next, it.queued = nil, nil, false
	ep.nready--
}

func (ep *Instance) readyLen() int {
	ep.readyMu.Lock()
	defer ep.readyMu.Unlock()
	return ep.nready
}

// ready asks the file for the item's events. Under ep.mu.
func (it *item) ready(c vfs.Caller) uint32 {
	want := it.events.Load()
	if want&^privateBits == 0 {
		return 0
	}
	if it.own != nil && c != nil {
		return it.own.ReadyFor(c) & want
	}
	return it.fd.Impl.Ready(it.fd) & want
}

// Collect encodes the events that hold now into dst, as many as fit, and gives
// their number: epoll_wait(2) without waiting. Level-triggered items stay on
// the ready list, behind the others, so that many ready files take turns.
func (ep *Instance) Collect(c vfs.Caller, dst []byte) int {
	vfs.SettlePosted()
	ep.foreign(c)
	if ep.readyLen() == 0 {
		return 0
	}
	ep.lock()
	defer ep.mu.Unlock()
	ahead, _ := c.(reader)
	n := 0
	for left := ep.readyLen(); left > 0 && len(dst)-n*EventSize >= EventSize; left-- {
		it := ep.pop()
		if it == nil {
			break
		}
		events := it.ready(c)
		if events == 0 {
			continue
		}
		b := dst[n*EventSize:]
		binary.LittleEndian.PutUint32(b, events)
		binary.LittleEndian.PutUint64(b[4:], it.data)
		n++
		if ahead != nil && events&waiter.In != 0 {
			ahead.ReadAhead(it.num, it.fd)
		}
		switch want := it.events.Load(); {
		case want&flagOneShot != 0:
			it.events.Store(want & privateBits)
		case want&flagEdge == 0:
			ep.push(it)
		}
	}
	return n
}

// Ready tells whether an item is ready: vfs.File, for nested instances and poll.
func (ep *Instance) Ready(*vfs.FileDescription) uint32 {
	vfs.SettlePosted()
	ep.foreign(nil)
	if ep.readyLen() == 0 {
		return 0
	}
	ep.lock()
	defer ep.mu.Unlock()
	for left := ep.readyLen(); left > 0; left-- {
		it := ep.pop()
		if it == nil {
			break
		}
		if it.ready(nil) != 0 {
			ep.pushFront(it)
			return waiter.In | waiter.RdNorm
		}
	}
	return 0
}

// Queue is where those wait who wait for the instance: vfs.File.
func (ep *Instance) Queue(*vfs.FileDescription) *waiter.Queue {
	ep.foreign(nil)
	return &ep.q
}

// WaitQueue is Queue for a call of c's on the instance itself.
func (ep *Instance) WaitQueue(c vfs.Caller) *waiter.Queue {
	ep.foreign(c)
	return &ep.q
}

// Release lets go of all items: vfs.File.
func (ep *Instance) Release(*vfs.FileDescription) {
	nestMu.Lock()
	defer nestMu.Unlock()
	ep.lock()
	defer ep.mu.Unlock()
	ep.end()
	ep.closed = true
	for _, it := range ep.items {
		ep.remove(it)
		it.unnest()
	}
}

// SeekStaysPut: lseek(2) gives 0.
func (*Instance) SeekStaysPut() {}

// FDInfo adds the lines of /proc/pid/fdinfo.
func (ep *Instance) FDInfo(b *bytes.Buffer) {
	ep.lock()
	defer ep.mu.Unlock()
	for _, it := range ep.items {
		var ino, dev uint64
		if it.fd.Path.Dentry != nil {
			if a, e := it.fd.Inode().Attr(); e == 0 {
				ino, dev = a.Ino, a.Dev
			}
		}
		fmt.Fprintf(b, "tfd: %8d events: %8x data: %16x  pos:%d ino:%x sdev:%x\n",
			it.num, it.events.Load(), it.data, it.fd.Offset(), ino, dev)
	}
}

// Target gives the ID of the description behind the nth item of a descriptor
// number (kcmp(2), KCMP_EPOLL_TFD), in the order of their IDs.
func (ep *Instance) Target(num int32, nth uint32) (id uint64, ok bool) {
	ep.lock()
	defer ep.mu.Unlock()
	var ids []uint64
	for k := range ep.items {
		if k.num == num {
			ids = append(ids, k.id)
		}
	}
	if uint64(nth) >= uint64(len(ids)) {
		return 0, false
	}
	slices.Sort(ids)
	return ids[nth], true
}

// checkFlags refuses what epoll_ctl(2) refuses of EPOLLEXCLUSIVE.
func checkFlags(events uint32, nested bool) abi.Errno {
	if events&flagExclusive != 0 && (events&^exclusiveOK != 0 || nested) {
		return unix.EINVAL
	}
	return 0
}
