package platform

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// tick is how often the ticker looks at the pinned threads, while calls come.
const tick = 4 * time.Millisecond

// scheduler keeps the pinned threads of all processes apart: it frees those
// that compute, and moves those that wait for each other's CPU. mu is a leaf.
type scheduler struct {
	cpus     int
	all      uint64 // mask of the CPUs that may be used
	spinners atomic.Int32
	ahead    atomic.Int64 // another process works for this one up to this time-stamp
	ticking  atomic.Bool
	lastCall atomic.Uint32

	mu      sync.Mutex
	threads map[*Thread]struct{}
	uneven  int
}

var sched = newScheduler()

func newScheduler() *scheduler {
	s := &scheduler{threads: map[*Thread]struct{}{}}
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return s
	}
	for i := 0; i < 64; i++ {
		if set.IsSet(i) {
			s.all |= 1 << uint(i)
		}
	}
	// CPUs are numbered from 0 in a row, or nothing is pinned.
	s.cpus = set.Count()
	if s.cpus > 64 || s.all != 1<<uint(s.cpus)-1 && s.cpus != 64 {
		s.cpus = 0
	}
	return s
}

// mayS takes a place among the spinning pairs: half of the CPUs at most, without
// one that works ahead.
func (s *scheduler) mayS() bool {
	if s.spinners.Add(1); s.crowded() {
		s.spinners.Add(-1)
		return false
	}
	return true
}

// crowded: more spin and work ahead than there are CPUs.
func (s *scheduler) crowded() bool {
	need := 2 * int(s.spinners.Load())
	if until := s.ahead.Load(); until != 0 && rdtsc() < until {
		need++
	}
	return need > s.cpus
}

func (s *scheduler) add(t *Thread) {
	s.mu.Lock()
	s.threads[t] = struct{}{}
	s.mu.Unlock()
}

func (s *scheduler) remove(t *Thread) {
	s.mu.Lock()
	delete(s.threads, t)
	s.mu.Unlock()
}

// active starts the ticker if it rests.
func (s *scheduler) active() {
	if s.ticking.Load() || !s.ticking.CompareAndSwap(false, true) {
		return
	}
	go s.run()
}

// run ticks until nothing has happened for a while.
func (s *scheduler) run() {
	quiet := 0
	last := time.Now()
	for quiet < 5 {
		time.Sleep(tick)
		now := time.Now()
		if s.look(now.Sub(last)) {
			quiet = 0
		} else {
			quiet++
		}
		last = now
	}
	s.ticking.Store(false)
}

// look is one tick: it tells whether any thread was active.
func (s *scheduler) look(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	any := false
	demand := make([]float64, max(s.cpus, 1))
	for t := range s.threads {
		p := &t.policy
		calls, parked := p.calls.Load(), p.parked.Load()
		moved := calls != p.seenCalls
		away := float64(parked-p.seenParked) / float64(d)
		isParked := atomic.LoadUint32(&t.slot.parked) != 0
		p.seenCalls, p.seenParked = calls, parked
		p.demand = 0
		if p.mode.Load() == modeFree {
			continue
		}
		if !moved {
			if !isParked {
				s.release(t)
				any = true
			}
			continue
		}
		any = true
		p.demand = min(max(1-away, 0), 1)
		if c := int(p.cpu.Load()); c < len(demand) {
			demand[c] += p.demand
		}
	}
	s.balance(demand)
	return any
}

// release lets a thread that computes run where the kernel puts it.
func (s *scheduler) release(t *Thread) {
	if t.policy.mode.CompareAndSwap(modeHand, modeFree) {
		atomic.StoreUint32(&t.slot.yields, 0)
		pinThread(t.HostTID(), t.policy.mask())
	}
}

// balance moves a pair from a CPU where two want to run to one where none does.
func (s *scheduler) balance(demand []float64) {
	if s.cpus < 2 {
		return
	}
	hi, lo := 0, 0
	for c := range demand {
		if demand[c] > demand[hi] {
			hi = c
		}
		if demand[c] < demand[lo] {
			lo = c
		}
	}
	if demand[hi]-demand[lo] < 1.2 || demand[hi] < 1.5 {
		s.uneven = 0
		return
	}
	if s.uneven++; s.uneven < 2 {
		return
	}
	s.uneven = 0
	var best *Thread
	for t := range s.threads {
		if int(t.policy.cpu.Load()) == hi && t.policy.mode.Load() == modeHand && t.policy.demand > 0 && t.policy.may(lo) && (best == nil || t.policy.demand < best.policy.demand) {
			best = t
		}
	}
	if best != nil {
		best.policy.moveTo.Store(int32(lo) + 1)
		best.policy.stays.Store(rdtsc() + stayMicros*perMicro())
	}
}
