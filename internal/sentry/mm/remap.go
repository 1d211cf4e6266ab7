package mm

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
)

const mremapDontUnmap = 4

// Mremap is mremap(2).
func (m *MemoryManager) Mremap(th *platform.Thread, old, oldLen, newLen uint64, flags uint32, to uint64, lim *Limits) (uint64, abi.Errno) {
	const fixed, may = unix.MREMAP_FIXED, unix.MREMAP_MAYMOVE
	switch {
	case flags&^(fixed|may|mremapDontUnmap) != 0, flags&fixed != 0 && flags&may == 0, old&pageMask != 0,
		flags&mremapDontUnmap != 0 && (flags&may == 0 || roundUp(oldLen) != roundUp(newLen)):
		return 0, unix.EINVAL
	}
	oldLen, newLen = roundUp(oldLen), roundUp(newLen)
	if newLen == 0 || newLen > platform.TaskSize || oldLen > platform.TaskSize {
		return 0, unix.EINVAL
	}
	if flags&fixed != 0 && (to&pageMask != 0 || to > platform.TaskSize-newLen || to < minAddr || (old < to+newLen && to < old+oldLen)) {
		return 0, unix.EINVAL
	}
	m.mu.Lock()
	gone, addr, e := m.remapLocked(th, old, oldLen, newLen, flags, to, lim)
	m.mu.Unlock()
	releaseAll(gone)
	return addr, e
}

func (m *MemoryManager) remapLocked(th *platform.Thread, old, oldLen, newLen uint64, flags uint32, to uint64, lim *Limits) ([]*VMA, uint64, abi.Errno) {
	v := m.find(old)
	if v == nil || v.Hidden {
		return nil, 0, unix.EFAULT
	}
	move := flags&(unix.MREMAP_FIXED|mremapDontUnmap) != 0
	if oldLen == 0 {
		if !v.Shared || flags&unix.MREMAP_MAYMOVE == 0 {
			return nil, 0, unix.EINVAL
		}
		move = true
	}
	m.settle(th, 0, platform.TaskSize)
	if !move && newLen <= oldLen {
		// Shrinking may span mappings.
		if newLen == oldLen {
			if !m.covered(old, old+oldLen) {
				return nil, 0, unix.EFAULT
			}
			return nil, old, 0
		}
		gone := m.remove(old+newLen, old+oldLen)
		m.depart(th, old+newLen, old+oldLen)
		th.Munmap(old+newLen, oldLen-newLen)
		return gone, old, 0
	}
	if oldLen > v.End-old {
		return nil, 0, unix.EFAULT
	}
	if v.Tag != nil && newLen > oldLen {
		return nil, 0, unix.EINVAL
	}
	if flags&mremapDontUnmap != 0 && (v.File != nil && v.Shared) {
		return nil, 0, unix.EINVAL
	}
	if newLen > oldLen {
		if e := m.checkLimits(lim, newLen-oldLen, 0, v); e != 0 {
			return nil, 0, e
		}
	}
	end := old + oldLen
	if !move && end == v.End && end+(newLen-oldLen) <= platform.TaskSize && !m.overlaps(end, end+(newLen-oldLen)) {
		m.depart(th, old, old+newLen)
		th.Mremap(old, oldLen, newLen, 0, 0)
		m.total += newLen - oldLen
		v.End += newLen - oldLen
		m.join(m.index(v.Start) + 1)
		return nil, old, 0
	}
	if flags&unix.MREMAP_MAYMOVE == 0 {
		return nil, 0, unix.ENOMEM
	}
	return m.move(th, v, old, oldLen, newLen, flags, to)
}

// move moves [old, old+oldLen) of v to a place of newLen bytes.
func (m *MemoryManager) move(th *platform.Thread, v *VMA, old, oldLen, newLen uint64, flags uint32, to uint64) ([]*VMA, uint64, abi.Errno) {
	var gone []*VMA
	if flags&unix.MREMAP_FIXED != 0 {
		m.unpatchRange(th, to, to+newLen)
		gone = m.remove(to, to+newLen)
	} else {
		var e abi.Errno
		if to, e = m.choose(to, newLen, false); e != 0 {
			return nil, 0, e
		}
	}
	m.unpatchMoved(th, old, old+oldLen)
	if v = m.find(old); v == nil {
		return gone, 0, unix.EFAULT
	}
	n := *v
	if v.File != nil {
		n.Off += int64(old - v.Start)
	}
	n.Start, n.End = to, to+newLen
	n.retain()
	m.insert(&n)
	host := uint32(unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED)
	if oldLen != 0 && flags&mremapDontUnmap == 0 {
		gone = append(gone, m.remove(old, old+oldLen)...)
	}
	if flags&mremapDontUnmap != 0 {
		host |= mremapDontUnmap
	}
	m.depart(th, old, old+max(oldLen, PageSize))
	m.depart(th, to, to+newLen)
	th.Mremap(old, oldLen, newLen, host, to)
	return gone, to, 0
}

// Brk is brk(2): it gives the new break, or the old one if it could not be
// moved.
func (m *MemoryManager) Brk(th *platform.Thread, addr uint64, lim *Limits) uint64 {
	m.mu.Lock()
	gone, now := m.brkLocked(th, addr, lim)
	m.mu.Unlock()
	releaseAll(gone)
	return now
}

func (m *MemoryManager) brkLocked(th *platform.Thread, addr uint64, lim *Limits) ([]*VMA, uint64) {
	if addr < m.brkStart || addr > platform.TaskSize-PageSize {
		return nil, m.brk
	}
	if lim != nil && lim.Data != ^uint64(0) && addr-m.brkStart > lim.Data {
		return nil, m.brk
	}
	from, to := roundUp(m.brk), roundUp(addr)
	switch {
	case to > from:
		v := &VMA{Start: from, End: to, Prot: unix.PROT_READ | unix.PROT_WRITE, MayWrite: true, Name: "[heap]"}
		if m.overlaps(from, to+PageSize) || m.checkLimits(lim, to-from, 0, v) != 0 {
			return nil, m.brk
		}
		m.settle(th, from, to)
		m.insert(v)
		m.depart(th, from, to)
		th.Mmap(from, to-from, v.Prot, unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, -1, 0)
	case to < from:
		m.settle(th, to, from)
		gone := m.remove(to, from)
		m.depart(th, to, from)
		th.Munmap(to, from-to)
		m.brk = addr
		return gone, addr
	}
	m.brk = addr
	return nil, addr
}

// SetBrk sets where the heap begins (exec).
func (m *MemoryManager) SetBrk(start uint64) {
	m.mu.Lock()
	m.brkStart, m.brk = start, start
	m.mu.Unlock()
}
