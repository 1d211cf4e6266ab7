package mm

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Madvise is madvise(2).
func (m *MemoryManager) Madvise(th *platform.Thread, addr, length uint64, advice int32) abi.Errno {
	if addr&pageMask != 0 || !knownAdvice(advice) {
		return unix.EINVAL
	}
	n := roundUp(length)
	if n == 0 && length != 0 || addr+n < addr {
		return unix.EINVAL
	}
	if n == 0 {
		return 0
	}
	if addr+n > platform.TaskSize {
		return unix.ENOMEM
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	hole := !m.covered(addr, addr+n)
	m.settle(th, addr, addr+n)
	switch advice {
	case unix.MADV_DONTFORK, unix.MADV_DOFORK:
		m.update(addr, addr+n, func(v *VMA) { v.DontFork = advice == unix.MADV_DONTFORK })
	case unix.MADV_WIPEONFORK, unix.MADV_KEEPONFORK:
		if advice == unix.MADV_WIPEONFORK && m.any(addr, addr+n, func(v *VMA) bool { return v.File != nil || v.Shared }) {
			return unix.EINVAL
		}
		m.update(addr, addr+n, func(v *VMA) { v.WipeOnFork = advice == unix.MADV_WIPEONFORK })
	case unix.MADV_FREE:
		if m.any(addr, addr+n, func(v *VMA) bool { return v.File != nil || v.Shared }) {
			return unix.EINVAL
		}
	case unix.MADV_REMOVE:
		if e := m.removable(addr, addr+n); e != 0 {
			return e
		}
	case unix.MADV_NORMAL, unix.MADV_RANDOM, unix.MADV_SEQUENTIAL, unix.MADV_WILLNEED, unix.MADV_DONTDUMP, unix.MADV_DODUMP:
		if hole {
			return unix.ENOMEM
		}
		return 0
	}
	for i := m.index(addr); i < len(m.vmas) && m.vmas[i].Start < addr+n; i++ {
		v := m.vmas[i]
		s, e := max(addr, v.Start), min(addr+n, v.End)
		if v.Hidden {
			continue
		}
		if v.Locked && dropsPages(advice) {
			return unix.EINVAL
		}
		m.depart(th, s, e)
		if advice == madvDontneedLocked { // nothing is locked on the host
			th.Madvise(s, e-s, unix.MADV_DONTNEED)
			continue
		}
		th.Madvise(s, e-s, uint32(advice))
	}
	if hole {
		return unix.ENOMEM
	}
	return 0
}

// madvDontneedLocked is MADV_DONTNEED_LOCKED.
const madvDontneedLocked = 24

// removable: holes are made in files alone, by who shares them and may write.
func (m *MemoryManager) removable(start, end uint64) (e abi.Errno) {
	m.any(start, end, func(v *VMA) bool {
		switch {
		case v.Locked, v.File == nil && !v.Shared:
			e = unix.EINVAL
		case !v.Shared, v.File != nil && v.File.Mode&vfs.FMODE_WRITE == 0:
			e = unix.EACCES
		}
		return e != 0
	})
	return e
}

// dropsPages: what locked memory refuses.
func dropsPages(advice int32) bool {
	switch advice {
	case unix.MADV_DONTNEED, unix.MADV_FREE, unix.MADV_COLD, unix.MADV_PAGEOUT:
		return true
	}
	return false
}

func (m *MemoryManager) any(start, end uint64, f func(*VMA) bool) bool {
	for i := m.index(start); i < len(m.vmas) && m.vmas[i].Start < end; i++ {
		if f(m.vmas[i]) {
			return true
		}
	}
	return false
}

// knownAdvice: what a kernel without page merging and memory failure knows.
func knownAdvice(a int32) bool {
	switch a {
	case unix.MADV_NORMAL, unix.MADV_RANDOM, unix.MADV_SEQUENTIAL, unix.MADV_WILLNEED, unix.MADV_DONTNEED, unix.MADV_FREE,
		unix.MADV_REMOVE, unix.MADV_DONTFORK, unix.MADV_DOFORK, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_DONTDUMP,
		unix.MADV_DODUMP, unix.MADV_WIPEONFORK, unix.MADV_KEEPONFORK, unix.MADV_COLD, unix.MADV_PAGEOUT,
		unix.MADV_POPULATE_READ, unix.MADV_POPULATE_WRITE, madvDontneedLocked:
		return true
	}
	return false
}

// Msync is msync(2).
func (m *MemoryManager) Msync(c vfs.Caller, addr, length uint64, flags uint32) abi.Errno {
	const async, inval, sync = unix.MS_ASYNC, unix.MS_INVALIDATE, unix.MS_SYNC
	if addr&pageMask != 0 || flags&^(async|inval|sync) != 0 || flags&async != 0 && flags&sync != 0 {
		return unix.EINVAL
	}
	n := roundUp(length)
	if addr+n < addr || n == 0 && length != 0 {
		return unix.ENOMEM
	}
	m.mu.Lock()
	hole := !m.covered(addr, addr+n)
	locked := false
	var files []*vfs.FileDescription
	m.any(addr, addr+n, func(v *VMA) bool {
		locked = locked || v.Locked
		if v.Shared && v.File != nil && flags&sync != 0 {
			v.File.IncRef()
			files = append(files, v.File)
		}
		return false
	})
	m.mu.Unlock()
	var e abi.Errno
	if flags&inval != 0 && locked {
		e = unix.EBUSY
	}
	for _, f := range files {
		if x := f.Sync(c, false); x != 0 && e == 0 && x != unix.EINVAL {
			e = x
		}
		f.DecRef()
	}
	if e == 0 && hole {
		e = unix.ENOMEM
	}
	return e
}

// Anonymous calls f for each part of [start, end) that is private memory of no
// file.
func (m *MemoryManager) Anonymous(start, end uint64, f func(start, end uint64)) {
	var parts [][2]uint64
	m.mu.Lock()
	m.any(start, end, func(v *VMA) bool {
		if v.File == nil && !v.Shared {
			parts = append(parts, [2]uint64{max(start, v.Start), min(end, v.End)})
		}
		return false
	})
	m.mu.Unlock()
	for _, p := range parts {
		f(p[0], p[1])
	}
}

// Mincore tells whether [addr, addr+length) is mapped, for mincore(2).
func (m *MemoryManager) Mincore(addr, length uint64) abi.Errno {
	if addr&pageMask != 0 {
		return unix.EINVAL
	}
	n := roundUp(length)
	if addr+n < addr || addr+n > platform.TaskSize || n == 0 && length != 0 {
		return unix.ENOMEM
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.covered(addr, addr+n) {
		return unix.ENOMEM
	}
	return 0
}
