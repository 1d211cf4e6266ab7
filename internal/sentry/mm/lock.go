package mm

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
)

// Locked memory is counted, and there when the call returns; it is not pinned on
// the host: a container's memory is the host's to page.

// Mlock is mlock(2) and munlock(2); fill: not MLOCK_ONFAULT.
func (m *MemoryManager) Mlock(th *platform.Thread, addr, length uint64, on, fill bool, lim uint64) abi.Errno {
	n := roundUp(length + addr&pageMask)
	addr &^= pageMask
	if addr+n < addr {
		return unix.EINVAL
	}
	if n == 0 {
		return 0
	}
	e := m.mlock(addr, n, on, lim)
	if e != 0 || !on || !fill {
		return e
	}
	return m.fill(th, addr, addr+n)
}

func (m *MemoryManager) mlock(addr, n uint64, on bool, lim uint64) abi.Errno {
	m.mu.Lock()
	defer m.mu.Unlock()
	if on && lim != ^uint64(0) {
		if lim == 0 {
			return unix.EPERM
		}
		if m.locked()+n > lim {
			return unix.ENOMEM
		}
	}
	if !m.covered(addr, addr+n) {
		return unix.ENOMEM
	}
	m.update(addr, addr+n, func(v *VMA) { v.Locked = on })
	return 0
}

// MlockAll is mlockall(2): what is there now, and what comes; MCL_ONFAULT is
// with either.
func (m *MemoryManager) MlockAll(th *platform.Thread, flags uint32, lim uint64) abi.Errno {
	m.mu.Lock()
	if lim != ^uint64(0) && flags&unix.MCL_CURRENT != 0 && m.total > lim {
		m.mu.Unlock()
		return unix.ENOMEM
	}
	m.future = flags & (unix.MCL_FUTURE | unix.MCL_ONFAULT)
	if flags&unix.MCL_CURRENT != 0 {
		for _, v := range m.vmas {
			v.Locked = true
		}
	}
	m.mu.Unlock()
	if flags&unix.MCL_CURRENT != 0 && flags&unix.MCL_ONFAULT == 0 {
		m.fill(th, 0, platform.TaskSize) // as there, what cannot be filled is passed over
	}
	return 0
}

// MunlockAll is munlockall(2).
func (m *MemoryManager) MunlockAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.future = 0
	for _, v := range m.vmas {
		v.Locked = false
	}
}

// lockNew locks a new mapping if it is to be: by MAP_LOCKED, or after mlockall.
// It gives the flags that the host is to map it with. mu is held.
func (m *MemoryManager) lockNew(v *VMA, flags uint32) uint32 {
	if v.Hidden || flags&unix.MAP_LOCKED == 0 && m.future&unix.MCL_FUTURE == 0 {
		return 0
	}
	v.Locked = true
	if flags&unix.MAP_LOCKED == 0 && m.future&unix.MCL_ONFAULT != 0 {
		return 0
	}
	return unix.MAP_POPULATE
}

// fill has the pages of [start, end) there, as a write would bring them where
// one may write.
func (m *MemoryManager) fill(th *platform.Thread, start, end uint64) abi.Errno {
	type part struct {
		span
		advice uint32
	}
	var parts []part
	m.mu.Lock()
	m.any(start, end, func(v *VMA) bool {
		p := part{span{max(start, v.Start), min(end, v.End)}, unix.MADV_POPULATE_READ}
		if v.Prot&unix.PROT_WRITE != 0 {
			p.advice = unix.MADV_POPULATE_WRITE
		}
		if v.Prot != 0 && !v.Hidden {
			parts = append(parts, p)
		}
		return false
	})
	m.mu.Unlock()
	var e abi.Errno
	for _, p := range parts {
		th.Madvise(p.start, p.end-p.start, p.advice)
		if th.Flush() != platform.KindOpFail {
			continue
		}
		switch th.Req.OpErrno { // as __mlock_posix_error_return
		case unix.EFAULT:
			e = unix.ENOMEM
		case unix.ENOMEM:
			e = unix.EAGAIN
		}
	}
	return e
}

func (m *MemoryManager) locked() uint64 {
	n := uint64(0)
	for _, v := range m.vmas {
		if v.Locked {
			n += v.End - v.Start
		}
	}
	return n
}
