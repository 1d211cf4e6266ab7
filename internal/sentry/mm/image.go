package mm

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Placement is a mapping that exec makes at a fixed place of an address space
// that does not run yet.
type Placement struct {
	Start, End uint64
	Prot       uint32
	File       *vfs.FileDescription // nil: zeroes
	Off        int64
	Held       bool // the stub has the descriptor of File from the Placement before
}

// Place maps p, over whatever is there. The descriptor of a file stays with the
// stub until ReleaseFD.
func (m *MemoryManager) Place(c vfs.Caller, th *platform.Thread, p Placement) abi.Errno {
	if p.Start < minAddr || p.End > platform.TaskSize || p.Start >= p.End {
		return unix.ENOMEM
	}
	v := &VMA{Start: p.Start, End: p.End, Prot: p.Prot, MayWrite: true}
	if p.File == nil {
		m.add(v)
		return th.Mmap(v.Start, v.End-v.Start, v.Prot, unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, -1, 0)
	}
	host, e := p.File.Map(c, p.Off, int64(p.End-p.Start), p.Prot, false)
	if e != 0 {
		return e
	}
	v.File, v.Off = p.File, p.Off
	v.retain()
	m.add(v)
	if !p.Held {
		if e := th.HoldFD(host.HostFD); e != 0 {
			return e
		}
	}
	th.MmapHeld(v.Start, v.End-v.Start, v.Prot, unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_NORESERVE, host.Offset)
	return 0
}

func (m *MemoryManager) add(v *VMA) {
	m.mu.Lock()
	gone := m.remove(v.Start, v.End)
	m.insert(v)
	m.mu.Unlock()
	releaseAll(gone)
}

// PlaceStack maps a stack of size bytes and gives its top.
func (m *MemoryManager) PlaceStack(c vfs.Caller, th *platform.Thread, size uint64, prot uint32) (uint64, abi.Errno) {
	size = roundUp(size)
	top := stackTopMax - m.randomPage(1<<14)
	v := &VMA{Start: top - size, End: top, Prot: prot, MayWrite: true, Grows: true, Name: "[stack]"}
	m.mu.Lock()
	if m.overlaps(v.Start, v.End) {
		m.mu.Unlock()
		return 0, unix.ENOMEM
	}
	m.insert(v)
	m.mu.Unlock()
	return top, th.Mmap(v.Start, size, prot, unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, -1, 0)
}

// PIEBase chooses where a position-independent program goes.
func (m *MemoryManager) PIEBase(length, align uint64) uint64 {
	return (pieBase + m.randomPage(randomPages)) &^ (align - 1)
}

// Find gives a free place for length bytes.
func (m *MemoryManager) Find(length, align uint64) (uint64, abi.Errno) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mmapTop == defaultTop {
		m.mmapTop -= m.randomPage(randomPages)
	}
	a, e := m.choose(0, length+align-PageSize, false)
	return (a + align - 1) &^ (align - 1), e
}

// BrkAfter chooses where the heap of a program that ends at end begins.
func (m *MemoryManager) BrkAfter(end uint64) uint64 {
	return roundUp(end) + m.randomPage(1<<13)
}
