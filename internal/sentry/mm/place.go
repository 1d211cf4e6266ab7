package mm

import (
	"crypto/rand"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
)

// Where things go, as on Linux: programs low, mappings from below the stack
// downwards.
const (
	stackTopMax = platform.TaskSize - 0x1000
	stackGap    = 128 << 20 // between stack and mappings at least
	defaultTop  = stackTopMax - 1<<30
	pieBase     = 0x555555554000
	randomPages = 1 << 18 // of address randomisation
)

// randomPage gives a random number of bytes, whole pages, below n pages.
func (m *MemoryManager) randomPage(n uint64) uint64 {
	if m.fixed {
		return 0
	}
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:]) % n * PageSize
}

// choose finds length free bytes: at hint if that is free, else downwards from
// the top; low: below 2 GiB (MAP_32BIT). The caller holds mu.
func (m *MemoryManager) choose(hint, length uint64, low bool) (uint64, abi.Errno) {
	if length == 0 || length > platform.TaskSize-minAddr {
		return 0, unix.ENOMEM
	}
	if hint != 0 && !low {
		hint &^= pageMask
		if hint >= minAddr && hint <= platform.TaskSize-length && !m.overlaps(hint, hint+length) {
			return hint, 0
		}
	}
	top := m.mmapTop
	if low {
		top = 0x80000000
	}
	if a, ok := m.below(top, length); ok {
		return a, 0
	}
	if a, ok := m.below(platform.TaskSize-PageSize, length); ok && !low {
		return a, 0
	}
	return 0, unix.ENOMEM
}

// below finds the highest gap of length bytes that ends at or below top.
func (m *MemoryManager) below(top, length uint64) (uint64, bool) {
	end := top
	for i := m.index(top); ; i-- {
		if i < len(m.vmas) && m.vmas[i].Start < end {
			end = m.vmas[i].Start
		}
		start := uint64(minAddr)
		if i > 0 {
			start = max(start, m.vmas[i-1].End)
		}
		if end > start && end-start >= length {
			return end - length, true
		}
		if i == 0 {
			return 0, false
		}
		end = min(end, m.vmas[i-1].Start)
	}
}
