package platform

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Area is the memory that the Sentry shares with the threads of one guest
// address space: a memfd of slots.
type Area struct {
	fd int // the memfd; constant
	// ours and theirs are the ends of the socket pair that descriptors for
	// mappings go through; theirs is -1 once it was handed over.
	ours, theirs int

	// fdMu is held from sending a descriptor until it was taken, when more
	// than one thread takes from the socket.
	fdMu sync.Mutex

	mu    sync.Mutex
	slots []*Thread // by index; nil: free
	mem   [][]byte  // the slots that are mapped; they stay so
	inUse int
	// forked is the thread that a fork made, if it keeps the private area of
	// another slot than its own: that of slot forkedAt.
	forked   *Thread
	forkedAt int
}

func newArea() (*Area, error) {
	fd, err := unix.MemfdCreate("bulkhead-slots", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create for slots: %w", err)
	}
	if err := unix.Ftruncate(fd, slotSize*maxSlots); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("ftruncate of slots: %w", err)
	}
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("socketpair for mappings: %w", err)
	}
	return &Area{fd: fd, ours: p[0], theirs: p[1]}, nil
}

// handedOver closes what only the guest's process still needs.
func (a *Area) handedOver() {
	if a.theirs >= 0 {
		unix.Close(a.theirs)
		a.theirs = -1
	}
}

// newThread maps a free slot.
func (a *Area) newThread(p *Process) (*Thread, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := 0
	for i < maxSlots && !a.reusable(i) {
		i++
	}
	if i == maxSlots {
		return nil, unix.EAGAIN
	}
	mem, err := a.slotMemory(i)
	if err != nil {
		return nil, err
	}
	t := &Thread{proc: p, area: a, index: i, mem: mem, outAt: inMax, inherited: -1}
	t.bind()
	*t.slot = slot{}
	a.slots[i] = t
	a.inUse++
	return t, nil
}

// slotMemory maps a slot. The caller holds mu.
func (a *Area) slotMemory(i int) ([]byte, error) {
	for len(a.slots) <= i {
		a.slots, a.mem = append(a.slots, nil), append(a.mem, nil)
	}
	if a.mem[i] == nil {
		mem, err := unix.Mmap(a.fd, int64(i)*slotSize, slotSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return nil, fmt.Errorf("mapping slot %d: %w", i, err)
		}
		a.mem[i] = mem
	}
	return a.mem[i], nil
}

// keepsPrivate notes that t, just forked, runs on the private area that the
// thread from had: no thread may be given that slot's while t lives.
func (a *Area) keepsPrivate(t, from *Thread) {
	at := from.private()
	a.mu.Lock()
	if at != t.index {
		a.forked, a.forkedAt = t, at
	}
	a.mu.Unlock()
}

// private is the index of the private area that t's host thread runs on.
func (t *Thread) private() int {
	t.area.mu.Lock()
	defer t.area.mu.Unlock()
	if t.area.forked == t {
		return t.area.forkedAt
	}
	return t.index
}

// reusable: nobody has the slot, or its last host thread has left its stack.
func (a *Area) reusable(i int) bool {
	if f := a.forked; f != nil && a.forkedAt == i {
		if a.slots[f.index] == f && !(f.freed && f.gone()) {
			return false
		}
		a.forked = nil
	}
	if i >= len(a.slots) {
		return true
	}
	t := a.slots[i]
	if t == nil {
		return true
	}
	if !t.freed || !t.gone() {
		return false
	}
	a.slots[i] = nil
	return true
}

// free gives t's slot back; the last one closes the area.
func (a *Area) free(t *Thread) {
	a.mu.Lock()
	if a.slots[t.index] == t && !t.freed {
		t.freed = true
		a.inUse--
		if !t.leaving {
			a.slots[t.index] = nil
		}
	}
	last := a.inUse == 0
	a.mu.Unlock()
	if last {
		a.close()
	}
}

func (a *Area) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fd < 0 || a.inUse > 0 {
		return
	}
	for i, m := range a.mem {
		a.slots[i] = nil
		if m != nil {
			unix.Munmap(m)
		}
	}
	a.mem = nil
	unix.Close(a.fd)
	unix.Close(a.ours)
	a.fd, a.ours = -1, -1
	if a.theirs >= 0 {
		unix.Close(a.theirs)
		a.theirs = -1
	}
}

// sendFDs hands descriptors to the guest's process; OP_RECVFD takes them.
func (a *Area) sendFDs(fds ...int) error {
	return unix.Sendmsg(a.ours, []byte{0}, unix.UnixRights(fds...), nil, 0)
}
