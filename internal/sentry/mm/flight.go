package mm

import (
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/platform"
)

// flight is a change of host memory that a thread's stub has been told of, or
// will be with its reply, and that may not have happened yet.
type flight struct {
	start, end uint64
	th         *platform.Thread
	seq        uint32
}

// flightPatience is how long a stub may take to carry out an operation before
// its process is ended: it has been tampered with.
const flightPatience = 20 * time.Second

// depart notes that th's next reply changes [start, end). The caller holds mu.
func (m *MemoryManager) depart(th *platform.Thread, start, end uint64) {
	if m.users.Load() == 1 {
		return // no other thread could overtake it
	}
	m.flights = append(m.flights, flight{start, end, th, th.Seq()})
}

// settle waits until no other thread has a change of [start, end) on its way.
// The caller holds mu.
func (m *MemoryManager) settle(th *platform.Thread, start, end uint64) {
	if len(m.flights) == 0 {
		return
	}
	keep := m.flights[:0]
	for _, f := range m.flights {
		if f.th.Landed(f.seq) {
			continue
		}
		if f.th != th && f.start < end && start < f.end {
			await(f)
			continue
		}
		keep = append(keep, f)
	}
	m.flights = keep
}

// busy tells whether another thread has a change of [start, end) on its way.
// The caller holds mu.
func (m *MemoryManager) busy(th *platform.Thread, start, end uint64) bool {
	for _, f := range m.flights {
		if f.th != th && f.start < end && start < f.end && !f.th.Landed(f.seq) {
			return true
		}
	}
	return false
}

func await(f flight) {
	began := time.Now()
	for i := 0; !f.th.Landed(f.seq); i++ {
		if i < 200 {
			unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
			continue
		}
		time.Sleep(50 * time.Microsecond)
		if time.Since(began) > flightPatience {
			f.th.Process().Kill()
			return
		}
	}
}

// Forget drops what th had on its way: it is leaving.
func (m *MemoryManager) Forget(th *platform.Thread) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := m.flights[:0]
	for _, f := range m.flights {
		if f.th != th {
			keep = append(keep, f)
		}
	}
	m.flights = keep
	if m.patches.by == th {
		m.patches.by = nil
	}
}
