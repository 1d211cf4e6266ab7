// Package mm owns the guest's memory map: what is mapped where, as the guest
// and /proc see it. The pages themselves are the host's: each change here is
// carried out by the calling thread's stub, in the reply to its call.
//
// Lock order: MemoryManager.mu comes after the kernel's locks and before those
// of files. Operations of other threads that are still on their way are waited
// for under it.
package mm

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

const (
	PageSize = 4096
	pageMask = PageSize - 1

	// minAddr is vm.mmap_min_addr; maxMaps vm.max_map_count.
	minAddr = 65536
	maxMaps = 65530
)

// Limits are the rlimits that matter here, in bytes; RLIM_INFINITY for none.
type Limits struct{ AS, Data, Stack, Memlock uint64 }

// VMA is one mapping. It is guarded by its MemoryManager's mu.
type VMA struct {
	Start, End uint64
	Prot       uint32 // PROT_*
	Shared     bool
	MayWrite   bool // mprotect may add PROT_WRITE
	Locked     bool
	DontFork   bool
	WipeOnFork bool
	Hidden     bool // the Sentry's own (trampolines): not shown
	Grows      bool // the stack
	File       *vfs.FileDescription
	Off        int64  // in File
	Name       string // "[heap]", "[stack]", "/SYSV…"
	Tag        any    // the attachment's owner (System V segments)
}

// Tagger is told when a part of its mapping appears (fork) or goes.
type Tagger interface {
	Mapped()
	Unmapped()
}

// MemoryManager is one address space.
type MemoryManager struct {
	users atomic.Int32 // tasks

	mu       sync.Mutex
	vmas     []*VMA // by address, apart from each other
	brkStart uint64
	brk      uint64
	mmapTop  uint64 // searches go down from here
	total    uint64 // bytes mapped
	flights  []flight

	procMu sync.Mutex
	procs  []*platform.Process // host processes with this memory; the first lives

	patches patchState
	drops   []span // where threads drop pages by themselves

	mdwe   uint32 // PR_SET_MDWE
	future uint32 // MCL_FUTURE, MCL_ONFAULT

	fixed bool // no address is chosen at random (ADDR_NO_RANDOMIZE); constant
}

// New gives an empty address space; fixed: with every address where it always is.
func New(fixed bool) *MemoryManager {
	m := &MemoryManager{mmapTop: defaultTop, fixed: fixed}
	m.users.Store(1)
	return m
}

// IncUsers counts one more task in the address space.
func (m *MemoryManager) IncUsers() { m.users.Add(1) }

// Users gives the number of tasks in the address space.
func (m *MemoryManager) Users() int32 { return m.users.Load() }

// DecUsers counts one less; the last one lets go of the files.
func (m *MemoryManager) DecUsers() {
	if m.users.Add(-1) > 0 {
		return
	}
	m.mu.Lock()
	vmas := m.vmas
	m.vmas = nil
	m.total = 0
	m.mu.Unlock()
	for _, v := range vmas {
		v.release()
	}
}

func (v *VMA) release() {
	if v.File != nil {
		v.File.DecRef()
	}
	if t, ok := v.Tag.(Tagger); ok {
		t.Unmapped()
	}
}

func (v *VMA) retain() {
	if v.File != nil {
		v.File.IncRef()
	}
	if t, ok := v.Tag.(Tagger); ok {
		t.Mapped()
	}
}

// index gives the first VMA that ends above addr.
func (m *MemoryManager) index(addr uint64) int {
	lo, hi := 0, len(m.vmas)
	for lo < hi {
		mid := (lo + hi) / 2
		if m.vmas[mid].End > addr {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// find gives the VMA at addr, or nil.
func (m *MemoryManager) find(addr uint64) *VMA {
	if i := m.index(addr); i < len(m.vmas) && m.vmas[i].Start <= addr {
		return m.vmas[i]
	}
	return nil
}

// covered tells whether [start, end) has no hole.
func (m *MemoryManager) covered(start, end uint64) bool {
	for i := m.index(start); start < end; i++ {
		if i == len(m.vmas) || m.vmas[i].Start > start {
			return false
		}
		start = m.vmas[i].End
	}
	return true
}

// overlaps tells whether [start, end) meets a mapping.
func (m *MemoryManager) overlaps(start, end uint64) bool {
	i := m.index(start)
	return i < len(m.vmas) && m.vmas[i].Start < end
}

// split makes addr a boundary of VMAs.
func (m *MemoryManager) split(addr uint64) {
	i := m.index(addr)
	if i == len(m.vmas) || m.vmas[i].Start >= addr {
		return
	}
	v := m.vmas[i]
	hi := *v
	hi.Start = addr
	if v.File != nil {
		hi.Off += int64(addr - v.Start)
	}
	v.End = addr
	hi.retain()
	m.insertAt(i+1, &hi)
}

func (m *MemoryManager) insertAt(i int, v *VMA) {
	m.vmas = append(m.vmas, nil)
	copy(m.vmas[i+1:], m.vmas[i:])
	m.vmas[i] = v
}

// insert adds v, whose range is free, and joins it with its neighbours.
func (m *MemoryManager) insert(v *VMA) {
	i := m.index(v.Start)
	m.total += v.End - v.Start
	m.insertAt(i, v)
	m.join(i + 1)
	m.join(i)
}

// join merges vmas[i-1] and vmas[i] if they are alike.
func (m *MemoryManager) join(i int) {
	if i <= 0 || i >= len(m.vmas) {
		return
	}
	a, b := m.vmas[i-1], m.vmas[i]
	if a.End != b.Start || a.Prot != b.Prot || a.Shared != b.Shared || a.MayWrite != b.MayWrite || a.Locked != b.Locked ||
		a.DontFork != b.DontFork || a.WipeOnFork != b.WipeOnFork || a.Hidden != b.Hidden || a.Grows != b.Grows ||
		a.File != b.File || a.Name != b.Name || a.Tag != nil || b.Tag != nil || (a.Shared && a.File == nil) {
		return
	}
	if a.File != nil && a.Off+int64(a.End-a.Start) != b.Off {
		return
	}
	a.End = b.End
	m.vmas = append(m.vmas[:i], m.vmas[i+1:]...)
	b.release()
}

// remove takes every mapping out of [start, end), and gives them for release
// outside the lock.
func (m *MemoryManager) remove(start, end uint64) []*VMA {
	if !m.overlaps(start, end) {
		return nil
	}
	m.split(start)
	m.split(end)
	i := m.index(start)
	j := i
	for j < len(m.vmas) && m.vmas[j].Start < end {
		m.total -= m.vmas[j].End - m.vmas[j].Start
		j++
	}
	gone := append([]*VMA(nil), m.vmas[i:j]...)
	m.vmas = append(m.vmas[:i], m.vmas[j:]...)
	return gone
}

func releaseAll(vmas []*VMA) {
	for _, v := range vmas {
		v.release()
	}
}

// update applies f to every mapping in [start, end), whose ends it makes
// boundaries, and joins again.
func (m *MemoryManager) update(start, end uint64, f func(v *VMA)) {
	m.split(start)
	m.split(end)
	i := m.index(start)
	j := i
	for ; j < len(m.vmas) && m.vmas[j].Start < end; j++ {
		f(m.vmas[j])
	}
	for k := j; k >= i; k-- {
		m.join(k)
	}
}

// roundUp rounds n up to pages; 0 if that overflows.
func roundUp(n uint64) uint64 { return (n + pageMask) &^ uint64(pageMask) }

// Fork gives a copy for a child made by fork. th is the parent's thread, whose
// host process the child is copied from.
func (m *MemoryManager) Fork(th *platform.Thread, hostFork func() abi.Errno) (*MemoryManager, abi.Errno) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle(th, 0, platform.TaskSize)
	if e := hostFork(); e != 0 {
		return nil, e
	}
	n := New(m.fixed)
	n.brkStart, n.brk, n.mmapTop = m.brkStart, m.brk, m.mmapTop
	n.vmas = make([]*VMA, 0, len(m.vmas)+4)
	for _, v := range m.vmas {
		if v.DontFork {
			continue
		}
		c := *v
		c.Locked = false
		c.retain()
		n.vmas = append(n.vmas, &c)
		n.total += c.End - c.Start
	}
	n.patches.fork(&m.patches)
	if m.mdwe&unix.PR_MDWE_NO_INHERIT == 0 {
		n.mdwe = m.mdwe
	}
	return n, 0
}

// WipeForked has the stub of a forked child drop what MADV_WIPEONFORK marks.
func (m *MemoryManager) WipeForked(th *platform.Thread) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.vmas {
		if v.WipeOnFork {
			th.Madvise(v.Start, v.End-v.Start, 4 /* MADV_DONTNEED */)
		}
	}
}
