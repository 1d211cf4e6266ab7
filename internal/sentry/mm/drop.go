package mm

// span is a range of addresses.
type span struct{ start, end uint64 }

// maxDrops bounds the ranges that stubs were told of.
const maxDrops = 256

// Droppable gives the private anonymous memory around addr, a stack and its
// guard: a thread may drop pages there (MADV_DONTNEED) without asking. From
// then on nothing of the Sentry's own is put there. 0, 0 if it must ask.
func (m *MemoryManager) Droppable(addr uint64) (lo, hi uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.find(addr)
	if v == nil || !v.plain() {
		return 0, 0
	}
	s := span{v.Start, v.End}
	if g := m.find(v.Start - 1); g != nil && g.plain() {
		s.start = g.Start
	}
	for _, d := range m.drops {
		if d.start <= s.start && s.end <= d.end {
			return s.start, s.end
		}
	}
	if len(m.drops) == maxDrops {
		return 0, 0
	}
	m.drops = append(m.drops, s)
	return s.start, s.end
}

// plain: dropped pages are zeros, and nobody else sees it.
func (v *VMA) plain() bool {
	return v.File == nil && !v.Shared && !v.Locked && !v.Hidden && v.Tag == nil
}

// dropped tells whether a thread may drop the page at addr by itself.
func (m *MemoryManager) dropped(addr uint64) bool {
	for _, d := range m.drops {
		if addr >= d.start && addr < d.end {
			return true
		}
	}
	return false
}
