// Package pipefs owns pipes and fifos: pipe(7), fifo(7).
//
// A pipe is a ring of page-sized slots, as in Linux, so that PIPE_BUF
// atomicity, packets (O_DIRECT), what a full pipe is, and moving data by
// splice and tee come out the same. Pages are taken when bytes arrive and go
// back to a pool when they are read; a pipe keeps one for its next write, so
// that small messages cost no allocation.
//
// Lock order: Pipe.mu (two pipes: by id) → waiter.Queue. A splice holds
// Pipe.mu while it reads or writes the other file.
package pipefs

import (
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

const (
	// PageSize is a slot's size, and PIPE_BUF.
	PageSize = 4096

	defaultSlots = 16      // 64 KiB
	smallSlots   = 2       // a new pipe's once the sandbox has softPages
	maxSlots     = 1 << 8  // pipe-max-size, 1 MiB, without CAP_SYS_RESOURCE
	topSlots     = 1 << 13 // what even a privileged guest may ask, 32 MiB
	softPages    = 1 << 14 // pipe-user-pages-soft
	hardPages    = 1 << 16 // the sandbox's pipes together, whoever asks
)

var (
	pages atomic.Int64 // the slots of all pipes
	ids   atomic.Uint64
)

// page is a slot's memory; tee(2) makes two slots share one.
type page struct {
	refs atomic.Int32
	b    [PageSize]byte
}

var pool = sync.Pool{New: func() any { return new(page) }}

func newPage() *page {
	p := pool.Get().(*page)
	p.refs.Store(1)
	return p
}

// slot is one buffer of the ring.
type slot struct {
	p      *page
	off, n int
	packet bool // a read takes it whole, and the rest of it is lost
	merge  bool // a later write may be added to it
}

// Pipe is the object behind both ends.
type Pipe struct {
	id    uint64 // constant; orders locks
	mu    sync.Mutex
	ring  []slot // a power of two
	head  uint32 // next slot to fill
	tail  uint32 // oldest slot
	spare *page

	readers, writers int32
	// opens count every opening of an end: a fifo's open waits for the other
	// side's to change.
	readOpens, writeOpens uint64

	plain bool // of pipe(2), not a fifo
	loan  loan

	q waiter.Queue
}

// New makes a pipe without ends.
func New() *Pipe { return &Pipe{id: ids.Add(1)} }

// The rest are helpers under mu.

// setUp readies the ring for the first end.
func (p *Pipe) setUp() {
	if p.ring != nil {
		return
	}
	n := int64(defaultSlots)
	if pages.Add(n) > softPages {
		pages.Add(smallSlots - n)
		n = smallSlots
	}
	p.ring = make([]slot, n)
}

func (p *Pipe) used() uint32      { return p.head - p.tail }
func (p *Pipe) empty() bool       { return p.head == p.tail }
func (p *Pipe) full() bool        { return p.used() >= uint32(len(p.ring)) }
func (p *Pipe) at(i uint32) *slot { return &p.ring[i&uint32(len(p.ring)-1)] }

func (p *Pipe) getPage() *page {
	if s := p.spare; s != nil {
		p.spare = nil
		return s
	}
	return newPage()
}

func (p *Pipe) putPage(g *page) {
	if g.refs.Add(-1) != 0 {
		return
	}
	if p.spare == nil {
		g.refs.Store(1)
		p.spare = g
		return
	}
	pool.Put(g)
}

// pop drops the oldest slot.
func (p *Pipe) pop() {
	s := p.at(p.tail)
	p.putPage(s.p)
	*s = slot{}
	p.tail++
}

// bytes is what FIONREAD tells.
func (p *Pipe) bytes() int {
	n := 0
	for i := p.tail; i != p.head; i++ {
		n += p.at(i).n
	}
	return n
}

// drain frees everything once neither end is open.
func (p *Pipe) drain() {
	for !p.empty() {
		p.pop()
	}
	if p.spare != nil {
		pool.Put(p.spare)
		p.spare = nil
	}
	pages.Add(-int64(len(p.ring)))
	p.ring, p.head, p.tail = nil, 0, 0
}

// read fills dst and tells whether a full pipe now has room.
func (p *Pipe) read(dst []byte) (n int, freed bool, e abi.Errno) {
	if len(dst) == 0 {
		return 0, false, 0
	}
	p.lock()
	defer p.unlock()
	wasFull := p.full()
	for n < len(dst) && !p.empty() {
		s := p.at(p.tail)
		k := copy(dst[n:], s.p.b[s.off:s.off+s.n])
		n += k
		s.off += k
		s.n -= k
		if s.packet {
			p.pop()
			break
		}
		if s.n == 0 {
			p.pop()
		}
	}
	if n == 0 && p.writers != 0 {
		return 0, false, unix.EAGAIN
	}
	return n, wasFull && !p.full(), 0
}

// write adds src. Up to PIPE_BUF bytes go in whole or not at all; of more, as
// much as there is room for.
func (p *Pipe) write(c vfs.Caller, src []byte, packet bool) (n int, e abi.Errno) {
	if len(src) == 0 {
		return 0, 0
	}
	p.lock()
	defer p.unlock()
	p.wrote(c)
	if p.readers == 0 {
		return 0, unix.EPIPE
	}
	n = p.add(src, packet)
	p.keepRoom()
	if n == 0 {
		return 0, unix.EAGAIN
	}
	return n, 0
}

// add puts in of src what there is room for. The caller holds mu.
func (p *Pipe) add(src []byte, packet bool) (n int) {
	if !packet {
		n = p.appendLast(src)
	}
	for n < len(src) {
		if p.full() {
			break
		}
		g := p.getPage()
		k := copy(g.b[:], src[n:])
		*p.at(p.head) = slot{p: g, n: k, packet: packet, merge: !packet}
		p.head++
		n += k
	}
	return n
}

// appendLast adds the part of src beyond whole pages to the newest slot, if it
// all fits there.
func (p *Pipe) appendLast(src []byte) int {
	k := len(src) & (PageSize - 1)
	if k == 0 || p.empty() {
		return 0
	}
	s := p.at(p.head - 1)
	end := s.off + s.n
	if !s.merge || s.p.refs.Load() != 1 || end+k > PageSize {
		return 0
	}
	copy(s.p.b[end:], src[:k])
	s.n += k
	return k
}

// resize gives the ring n slots, a power of two.
func (p *Pipe) resize(n int) abi.Errno {
	p.lock()
	defer p.unlock()
	p.recall()
	used := p.used()
	if int(used) > n {
		return unix.EBUSY
	}
	if grow := int64(n - len(p.ring)); pages.Add(grow) > hardPages && grow > 0 {
		pages.Add(-grow)
		return unix.EPERM
	}
	ring := make([]slot, n)
	for i := range used {
		ring[i] = *p.at(p.tail + i)
	}
	p.ring, p.tail, p.head = ring, 0, used
	return 0
}
