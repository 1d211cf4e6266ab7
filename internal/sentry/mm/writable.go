package mm

import "golang.org/x/sys/unix"

// WritableLen gives how many of the n bytes from addr on are mapped for writing.
func (m *MemoryManager) WritableLen(addr, n uint64) uint64 {
	at, end := addr, addr+n
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := m.index(at); at < end && i < len(m.vmas); i++ {
		v := m.vmas[i]
		if v.Start > at || v.Prot&unix.PROT_WRITE == 0 {
			break
		}
		at = v.End
	}
	return min(at, end) - addr
}

// Writable tells whether [addr, addr+n) is mapped for writing, so far as the
// map says: a read of a file asks before it moves the offset, since a copy
// through the shared page finds a fault only at the call's end.
func (m *MemoryManager) Writable(addr, n uint64) bool {
	end := addr + n
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := m.index(addr); addr < end; i++ {
		if i == len(m.vmas) {
			return false
		}
		v := m.vmas[i]
		if v.Start > addr || v.Prot&unix.PROT_WRITE == 0 {
			return false
		}
		addr = v.End
	}
	return true
}
