package mm

import (
	"maps"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/platform"
)

// patchAfter is how often a site must have come by SIGSYS before it is patched:
// a patch costs as much as a few signals.
const patchAfter = 24

// maxPatches bounds the sites of an address space.
const maxPatches = 4096

// site is a call site that has come by SIGSYS. Immutable.
type site struct {
	hits   int8
	dead   bool // cannot be patched
	writes []platform.Write
	tramp  uint64
}

// patchState keeps the call sites of an address space, and the pages of
// trampolines they jump to. Guarded by the MemoryManager's mu. After a fork,
// parent and child share the maps until one changes them.
type patchState struct {
	sites  map[uint64]site
	pages  []trampolines
	shared bool

	// The last patch: the thread whose reply has it.
	by  *platform.Thread
	seq uint32
}

// trampolines is one page of them, a hidden mapping.
type trampolines struct {
	addr uint64
	used int // bytes
}

func (p *patchState) fork(from *patchState) {
	if len(from.sites) == 0 {
		return
	}
	from.shared = true
	*p = *from
	p.by = nil
}

func (p *patchState) own() {
	if p.sites == nil {
		p.sites = map[uint64]site{}
	}
	if p.shared {
		p.sites = maps.Clone(p.sites)
		p.pages = append([]trampolines(nil), p.pages...)
		p.shared = false
	}
}

// Hit notes a call of nr that came by SIGSYS from the instruction that ends at
// ip, and patches the site if it is worth it. th is the calling thread.
func (m *MemoryManager) Hit(th *platform.Thread, ip uint64, nr uint32) {
	// The call may have changed memory by the reply that is still to come: whoever has
	// mu may wait for that (settle), and we must not wait for him. There will be
	// other calls from here.
	if !m.mu.TryLock() {
		return
	}
	defer m.mu.Unlock()
	p := &m.patches
	at := ip - 2
	s := p.sites[at]
	if s.dead || s.writes != nil || len(p.sites) >= maxPatches {
		return
	}
	p.own()
	if s.hits++; s.hits < patchAfter {
		p.sites[at] = s
		return
	}
	// Pages of code are made writable for a moment: not by two threads at once.
	lo, hi := at&^uint64(pageMask)-PageSize, at&^uint64(pageMask)+2*PageSize
	if m.patching(th) || m.busy(th, lo, hi) {
		return
	}
	s.dead = true
	if w, tramp, ok := m.patch(th, at, nr); ok {
		s = site{writes: w, tramp: tramp}
		m.depart(th, lo, hi)
		m.depart(th, tramp&^uint64(pageMask), tramp&^uint64(pageMask)+PageSize)
		p.by, p.seq = th, th.Seq()
	}
	p.sites[at] = s
}

// patching tells whether another thread's patch is on its way.
func (m *MemoryManager) patching(th *platform.Thread) bool {
	p := &m.patches
	if p.by != nil && p.by.Landed(p.seq) {
		p.by = nil
	}
	return p.by != nil && p.by != th
}

// patch makes the site at jump to a trampoline.
func (m *MemoryManager) patch(th *platform.Thread, at uint64, nr uint32) ([]platform.Write, uint64, bool) {
	from, n := platform.SiteRange(at)
	v := m.find(at)
	if v == nil || v.Shared || v.Prot != unix.PROT_READ|unix.PROT_EXEC || from < v.Start {
		return nil, 0, false
	}
	n = int(min(uint64(n), v.End-from))
	code := make([]byte, n)
	if got, e := th.Process().ReadMemory(from, code); e != 0 || got != n {
		return nil, 0, false
	}
	tramp, ok := m.trampoline(th, v)
	if !ok {
		return nil, 0, false
	}
	plan, ok := platform.PlanPatch(at, nr, code, tramp)
	if !ok {
		return nil, 0, false
	}
	m.takeTrampoline(tramp)
	if !th.Poke(tramp, plan.Code[:], unix.PROT_READ|unix.PROT_EXEC) {
		return nil, 0, false
	}
	for _, w := range plan.Writes {
		th.Patch(w, v.Prot)
	}
	return plan.Writes, tramp, true
}

// trampoline finds room for one within reach of v, mapping a page if need be.
func (m *MemoryManager) trampoline(th *platform.Thread, v *VMA) (uint64, bool) {
	for i := range m.patches.pages {
		t := &m.patches.pages[i]
		if t.used+platform.TrampolineSize <= PageSize && near(t.addr, v) {
			return t.addr + uint64(t.used), true
		}
	}
	addr, ok := m.nearGap(v)
	if !ok || len(m.vmas) >= maxMaps {
		return 0, false
	}
	prot := uint32(unix.PROT_READ | unix.PROT_EXEC)
	m.settle(th, addr, addr+PageSize)
	m.insert(&VMA{Start: addr, End: addr + PageSize, Prot: prot, Hidden: true})
	m.total -= PageSize
	m.depart(th, addr, addr+PageSize)
	th.Mmap(addr, PageSize, prot, unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0)
	m.patches.pages = append(m.patches.pages, trampolines{addr: addr})
	return addr, true
}

func (m *MemoryManager) takeTrampoline(addr uint64) {
	for i := range m.patches.pages {
		if t := &m.patches.pages[i]; addr&^uint64(pageMask) == t.addr {
			t.used += platform.TrampolineSize
		}
	}
}

func near(addr uint64, v *VMA) bool {
	return distance(addr, v.Start) < platform.Reach && distance(addr, v.End) < platform.Reach
}

func distance(a, b uint64) uint64 {
	if a > b {
		return a - b
	}
	return b - a
}

// nearGap finds a free page within reach of v: below the file's first mapping,
// away from where heaps and libraries grow.
func (m *MemoryManager) nearGap(v *VMA) (uint64, bool) {
	const away = 64 << 10
	for i := m.index(v.Start); i >= 0; i-- {
		end := m.vmas[i].Start
		start := uint64(minAddr)
		if i > 0 {
			start = m.vmas[i-1].End
		}
		if end < start+3*away {
			if end < start+PageSize || end > start+PageSize && end-start < 2*PageSize {
				continue
			}
		}
		addr := end - PageSize
		if end >= start+3*away {
			addr = end - away
		}
		if addr >= start && near(addr, v) && !m.dropped(addr) {
			return addr, true
		}
	}
	return 0, false
}

// unpatchRange readies [start, end) for what takes its place: sites inside are
// forgotten, and sites whose trampolines are inside become what they were.
func (m *MemoryManager) unpatchRange(th *platform.Thread, start, end uint64) {
	p := &m.patches
	if len(p.sites) == 0 || !m.touchesPatches(start, end) {
		return
	}
	p.own()
	for at, s := range p.sites {
		inside := at >= start && at < end
		if s.tramp >= start && s.tramp < end && !inside {
			m.restore(th, at, s)
			delete(p.sites, at)
		}
		if inside {
			delete(p.sites, at)
		}
	}
	keep := p.pages[:0]
	for _, t := range p.pages {
		if t.addr >= start && t.addr < end {
			m.total += PageSize // remove takes it off again
			continue
		}
		keep = append(keep, t)
	}
	p.pages = keep
}

// unpatchMoved makes the sites in [start, end) what they were: their code is
// about to move.
func (m *MemoryManager) unpatchMoved(th *platform.Thread, start, end uint64) {
	p := &m.patches
	if len(p.sites) == 0 {
		return
	}
	p.own()
	for at, s := range p.sites {
		if at >= start && at < end {
			m.restore(th, at, s)
			delete(p.sites, at)
		}
	}
}

func (m *MemoryManager) restore(th *platform.Thread, at uint64, s site) {
	v := m.find(at)
	if v == nil {
		return
	}
	for i := len(s.writes) - 1; i >= 0; i-- {
		w := s.writes[i]
		th.Patch(platform.Write{Addr: w.Addr, Old: w.New, New: w.Old}, v.Prot)
	}
}

// touchesPatches: an executable mapping or a page of trampolines is inside.
func (m *MemoryManager) touchesPatches(start, end uint64) bool {
	return m.any(start, end, func(v *VMA) bool { return v.Hidden || v.Prot&unix.PROT_EXEC != 0 })
}
