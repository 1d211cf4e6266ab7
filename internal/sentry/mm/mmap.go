package mm

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// MapOpts say what Mmap maps.
type MapOpts struct {
	Addr, Length uint64
	Prot, Flags  uint32
	File         *vfs.FileDescription // nil: anonymous
	Off          int64
	Name         string
	Tag          any
	Limits       *Limits // nil: none
	Hidden       bool
	Grows        bool
}

const mapTypes = unix.MAP_SHARED | unix.MAP_PRIVATE

// Mmap is mmap(2). th is the calling thread, whose stub does it.
func (m *MemoryManager) Mmap(c vfs.Caller, th *platform.Thread, o MapOpts) (uint64, abi.Errno) {
	if o.Length == 0 {
		return 0, unix.EINVAL
	}
	length := roundUp(o.Length)
	if length == 0 || length > platform.TaskSize {
		return 0, unix.ENOMEM
	}
	if o.Off&pageMask != 0 {
		return 0, unix.EINVAL
	}
	if o.Off < 0 || uint64(o.Off)+length > 1<<63-1 {
		return 0, unix.EOVERFLOW
	}
	shared := o.Flags&mapTypes != unix.MAP_PRIVATE
	v := &VMA{Prot: o.Prot & 7, Shared: shared, MayWrite: true, Name: o.Name, Tag: o.Tag, Hidden: o.Hidden, Grows: o.Grows}
	var host vfs.Mapping
	if o.File != nil {
		var e abi.Errno
		if host, e = o.File.Map(c, o.Off, int64(length), o.Prot, shared); e != 0 {
			return 0, e
		}
		if host.Anonymous {
			host.HostFD = -1
		} else {
			v.File, v.Off = o.File, o.Off
			v.MayWrite = !shared || o.File.Mode&vfs.FMODE_WRITE != 0
		}
	} else {
		host.HostFD = -1
	}
	m.mu.Lock()
	gone, addr, e := m.mapLocked(th, v, &o, length, host)
	m.mu.Unlock()
	releaseAll(gone)
	return addr, e
}

func (m *MemoryManager) mapLocked(th *platform.Thread, v *VMA, o *MapOpts, length uint64, host vfs.Mapping) ([]*VMA, uint64, abi.Errno) {
	addr, e := m.placeLocked(o, length)
	if e != 0 {
		return nil, 0, e
	}
	replaced := uint64(0)
	populate := o.Flags&unix.MAP_POPULATE | m.lockNew(v, o.Flags)
	if o.Flags&unix.MAP_FIXED != 0 {
		replaced = m.bytesIn(addr, addr+length)
	}
	if e := m.checkLimits(o.Limits, length, replaced, v); e != 0 {
		return nil, 0, e
	}
	if !o.Hidden && m.denies(v.Prot, v.Prot) {
		return nil, 0, unix.EACCES
	}
	if len(m.vmas) >= maxMaps {
		return nil, 0, unix.ENOMEM
	}
	m.settle(th, addr, addr+length)
	m.unpatchRange(th, addr, addr+length)
	gone := m.remove(addr, addr+length)
	v.Start, v.End = addr, addr+length
	v.retain()
	m.insert(v)
	flags := uint32(unix.MAP_FIXED | unix.MAP_NORESERVE | populate)
	if v.Shared {
		flags |= unix.MAP_SHARED
	} else {
		flags |= unix.MAP_PRIVATE
	}
	if host.HostFD < 0 {
		flags |= unix.MAP_ANONYMOUS
	}
	m.depart(th, addr, addr+length)
	if e := th.Mmap(addr, length, v.Prot, flags, host.HostFD, host.Offset); e != 0 {
		return append(gone, m.remove(addr, addr+length)...), 0, e
	}
	return gone, addr, 0
}

// placeLocked decides the address of a new mapping.
func (m *MemoryManager) placeLocked(o *MapOpts, length uint64) (uint64, abi.Errno) {
	if o.Flags&(unix.MAP_FIXED|unix.MAP_FIXED_NOREPLACE) == 0 {
		return m.choose(o.Addr, length, o.Flags&unix.MAP_32BIT != 0)
	}
	if o.Addr&pageMask != 0 {
		return 0, unix.EINVAL
	}
	if o.Addr > platform.TaskSize-length {
		return 0, unix.ENOMEM
	}
	if o.Addr < minAddr {
		return 0, unix.EPERM
	}
	if o.Flags&unix.MAP_FIXED_NOREPLACE != 0 && m.overlaps(o.Addr, o.Addr+length) {
		return 0, unix.EEXIST
	}
	return o.Addr, 0
}

func (m *MemoryManager) bytesIn(start, end uint64) uint64 {
	n := uint64(0)
	for i := m.index(start); i < len(m.vmas) && m.vmas[i].Start < end; i++ {
		n += min(end, m.vmas[i].End) - max(start, m.vmas[i].Start)
	}
	return n
}

func (m *MemoryManager) checkLimits(l *Limits, add, replaced uint64, v *VMA) abi.Errno {
	if l == nil {
		return 0
	}
	if l.AS != ^uint64(0) && m.total-replaced+add > l.AS {
		return unix.ENOMEM
	}
	if l.Data != ^uint64(0) && v.Prot&unix.PROT_WRITE != 0 && !v.Shared && m.data()+add > l.Data {
		return unix.ENOMEM
	}
	if v.Locked && m.locked()+add > l.Memlock {
		return unix.EAGAIN
	}
	return 0
}

// data counts private writable bytes, as VmData.
func (m *MemoryManager) data() uint64 {
	n := uint64(0)
	for _, v := range m.vmas {
		if !v.Shared && !v.Grows && v.Prot&unix.PROT_WRITE != 0 {
			n += v.End - v.Start
		}
	}
	return n
}

// Munmap is munmap(2).
func (m *MemoryManager) Munmap(th *platform.Thread, addr, length uint64) abi.Errno {
	if addr&pageMask != 0 || length == 0 {
		return unix.EINVAL
	}
	length = roundUp(length)
	if length == 0 || addr > platform.TaskSize || length > platform.TaskSize-addr {
		return unix.EINVAL
	}
	m.mu.Lock()
	m.settle(th, addr, addr+length)
	m.unpatchRange(th, addr, addr+length)
	gone := m.remove(addr, addr+length)
	if len(gone) > 0 {
		m.depart(th, addr, addr+length)
		th.Munmap(addr, length)
	}
	m.mu.Unlock()
	releaseAll(gone)
	return 0
}

// Mprotect is mprotect(2).
func (m *MemoryManager) Mprotect(c vfs.Caller, th *platform.Thread, addr, length uint64, prot uint32) abi.Errno {
	const grows = unix.PROT_GROWSDOWN | unix.PROT_GROWSUP
	if addr&pageMask != 0 || prot&grows == grows || prot&^(7|8|grows) != 0 {
		return unix.EINVAL
	}
	if length == 0 {
		return 0
	}
	length = roundUp(length)
	if length == 0 || addr > platform.TaskSize || length > platform.TaskSize-addr {
		return unix.ENOMEM
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	start, end := addr, addr+length
	if prot&grows != 0 {
		v := m.find(addr)
		if v == nil {
			return unix.ENOMEM
		}
		if prot&unix.PROT_GROWSDOWN == 0 || !v.Grows {
			return unix.EINVAL
		}
		start = v.Start
	}
	prot &= 7
	m.settle(th, start, end)
	// What lies before a hole or a refusal is changed all the same.
	stop, e := m.protectable(c, start, end, prot)
	if stop == start {
		return e
	}
	m.update(start, stop, func(v *VMA) { v.Prot = prot })
	m.depart(th, start, stop)
	th.Mprotect(start, stop-start, prot)
	return e
}

// protectable gives how far [start, end) can have prot, and why not further.
func (m *MemoryManager) protectable(c vfs.Caller, start, end uint64, prot uint32) (uint64, abi.Errno) {
	at := start
	for i := m.index(start); at < end; i++ {
		if i == len(m.vmas) || m.vmas[i].Start > at || m.vmas[i].Hidden {
			return at, unix.ENOMEM
		}
		v := m.vmas[i]
		if prot&unix.PROT_WRITE != 0 && !v.MayWrite {
			return at, unix.EACCES
		}
		if m.denies(v.Prot, prot) || prot&unix.PROT_EXEC != 0 && v.File != nil && NoExec(v.File) {
			return at, unix.EACCES
		}
		at = min(v.End, end)
	}
	return at, 0
}

// NoExec tells whether a file lies on a mount whose programs may not be run.
func NoExec(f *vfs.FileDescription) bool {
	return f.Path.Mount != nil && f.Path.Mount.Flags()&unix.MS_NOEXEC != 0
}
