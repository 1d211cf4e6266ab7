package mm

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
)

// AddProcess notes that a host process has this memory; RemoveProcess that it
// has not any more.
func (m *MemoryManager) AddProcess(p *platform.Process) {
	m.procMu.Lock()
	m.procs = append(m.procs, p)
	m.procMu.Unlock()
}

func (m *MemoryManager) RemoveProcess(p *platform.Process) {
	m.procMu.Lock()
	defer m.procMu.Unlock()
	for i, x := range m.procs {
		if x == p {
			m.procs = append(m.procs[:i:i], m.procs[i+1:]...)
			return
		}
	}
}

func (m *MemoryManager) process() *platform.Process {
	m.procMu.Lock()
	defer m.procMu.Unlock()
	if len(m.procs) == 0 {
		return nil
	}
	return m.procs[0]
}

// Read copies guest memory at addr into dst, from any goroutine. It gives how
// much could be read.
func (m *MemoryManager) Read(addr uint64, dst []byte) (int, abi.Errno) {
	p := m.process()
	if p == nil {
		return 0, unix.EFAULT
	}
	return p.ReadMemory(addr, dst)
}

// Write copies src to guest memory at addr.
func (m *MemoryManager) Write(addr uint64, src []byte) (int, abi.Errno) {
	p := m.process()
	if p == nil {
		return 0, unix.EFAULT
	}
	return p.WriteMemory(addr, src)
}

// Region is one line of /proc/PID/maps.
type Region struct {
	Start, End      uint64
	Prot            uint32
	Shared          bool
	Off             uint64
	Dev, Ino        uint64
	Path            string
	Locked          bool
	Anonymous       bool
	Stack, Heap     bool
	DontFork, Wipes bool
}

// Regions calls f for each mapping by rising address. file tells how a file is
// shown.
func (m *MemoryManager) Regions(f func(v VMA) bool) {
	m.mu.Lock()
	list := make([]VMA, 0, len(m.vmas))
	for _, v := range m.vmas {
		if !v.Hidden {
			c := *v
			if c.File != nil {
				c.File.IncRef()
			}
			list = append(list, c)
		}
	}
	m.mu.Unlock()
	more := true
	for _, v := range list {
		if more {
			more = f(v)
		}
		if v.File != nil {
			v.File.DecRef()
		}
	}
}

// Sizes are what /proc/PID/status and statm show, in bytes.
type Sizes struct{ Total, Data, Stack, Exec, Locked, Shared uint64 }

// Sizes counts the mappings.
func (m *MemoryManager) Sizes() Sizes {
	m.mu.Lock()
	defer m.mu.Unlock()
	var s Sizes
	for _, v := range m.vmas {
		if v.Hidden {
			continue
		}
		n := v.End - v.Start
		s.Total += n
		switch {
		case v.Grows:
			s.Stack += n
		case !v.Shared && v.Prot&unix.PROT_WRITE != 0:
			s.Data += n
		case v.File != nil && v.Prot&unix.PROT_EXEC != 0:
			s.Exec += n
		}
		if v.Locked {
			s.Locked += n
		}
		if v.Shared {
			s.Shared += n
		}
	}
	return s
}

// At gives the mapping at addr, for System V's shmdt and messages.
func (m *MemoryManager) At(addr uint64) (VMA, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.find(addr); v != nil {
		return *v, true
	}
	return VMA{}, false
}

// ProcessOf gives a host process of the address space, or nil.
func (m *MemoryManager) Host() *platform.Process { return m.process() }
