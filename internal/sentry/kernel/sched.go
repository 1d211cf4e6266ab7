package kernel

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

// Scheduling policies (sched(7)).
const (
	SCHED_NORMAL   = 0
	SCHED_FIFO     = 1
	SCHED_RR       = 2
	SCHED_BATCH    = 3
	SCHED_IDLE     = 5
	SCHED_DEADLINE = 6

	SCHED_RESET_ON_FORK = 0x40000000
)

// cpuWords is the size of a CPU mask: 1024 CPUs.
const cpuWords = 16

// CPUSet is a CPU affinity mask.
type CPUSet [cpuWords]uint64

// schedState is what sched_setscheduler(2) and its like set. The host's
// scheduler runs the guest's threads all alike: the settings are kept, shown
// and inherited, and decide nothing. mu is a leaf.
type schedState struct {
	mu       sync.Mutex
	policy   int32
	priority int32
	reset    bool // SCHED_RESET_ON_FORK
	affinity CPUSet
	pinned   bool // affinity was set
}

func (s *schedState) init() {}

func (s *schedState) fork(p *schedState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.policy, s.priority, s.reset = p.policy, p.priority, p.reset
	s.affinity, s.pinned = p.affinity, p.pinned
}

// takeReset applies SCHED_RESET_ON_FORK to a new task's state.
func (s *schedState) takeReset() bool {
	if !s.reset {
		return false
	}
	s.reset = false
	if s.policy == SCHED_FIFO || s.policy == SCHED_RR {
		s.policy, s.priority = SCHED_NORMAL, 0
	}
	return true
}

// onlineCPUs is the set of CPUs that the Sentry may use at its start, and
// their number.
var onlineCPUs = sync.OnceValues(func() (CPUSet, int) {
	var host unix.CPUSet
	var s CPUSet
	if unix.SchedGetaffinity(0, &host) != nil {
		s[0] = 1
		return s, 1
	}
	n := 0
	for i := range cpuWords * 64 {
		if host.IsSet(i) {
			s[i/64] |= 1 << (i % 64)
			n++
		}
	}
	return s, n
})

// OnlineCPUs gives the CPUs that guests see, and how many they are.
func OnlineCPUs() (CPUSet, int) { return onlineCPUs() }

// Affinity gives the CPUs that the task may use.
func (t *Task) Affinity() CPUSet {
	t.sched.mu.Lock()
	defer t.sched.mu.Unlock()
	if t.sched.pinned {
		return t.sched.affinity
	}
	s, _ := onlineCPUs()
	return s
}

// SetAffinity is sched_setaffinity(2) past its copying: EINVAL for a mask
// without an online CPU.
func (t *Task) SetAffinity(s CPUSet) abi.Errno {
	online, _ := onlineCPUs()
	any := uint64(0)
	for i := range s {
		s[i] &= online[i]
		any |= s[i]
	}
	if any == 0 {
		return unix.EINVAL
	}
	t.sched.mu.Lock()
	t.sched.affinity, t.sched.pinned = s, true
	t.sched.mu.Unlock()
	if th := t.plat.th.Load(); th != nil {
		th.Allow(s[0]) // the platform places threads on the first 64 CPUs
	}
	return 0
}

// allow confines a new host thread as its task is.
func (t *Task) allow(th *platform.Thread) {
	t.sched.mu.Lock()
	s, pinned := t.sched.affinity, t.sched.pinned
	t.sched.mu.Unlock()
	if pinned {
		th.Allow(s[0])
	}
}

// SchedParams are a task's settings.
type SchedParams struct {
	Policy, Priority int32
	Reset            bool
}

// Sched gives the task's scheduling settings.
func (t *Task) Sched() SchedParams {
	t.sched.mu.Lock()
	defer t.sched.mu.Unlock()
	return SchedParams{t.sched.policy, t.sched.priority, t.sched.reset}
}

// isRealTime tells whether a policy has static priorities.
func isRealTime(policy int32) bool { return policy == SCHED_FIFO || policy == SCHED_RR }

// SetSched sets target's scheduling; policy -1 keeps it. by is the caller.
func (t *Task) SetSched(by *Task, p SchedParams) abi.Errno {
	if p.Policy == -1 {
		cur := t.Sched()
		p.Policy, p.Reset = cur.Policy, cur.Reset
	}
	switch p.Policy {
	case SCHED_NORMAL, SCHED_BATCH, SCHED_IDLE:
		if p.Priority != 0 {
			return unix.EINVAL
		}
	case SCHED_FIFO, SCHED_RR:
		if p.Priority < 1 || p.Priority > 99 {
			return unix.EINVAL
		}
	case SCHED_DEADLINE:
		return unix.EPERM
	default:
		return unix.EINVAL
	}
	if e := t.maySetSched(by, p); e != 0 {
		return e
	}
	t.sched.mu.Lock()
	t.sched.policy, t.sched.priority, t.sched.reset = p.Policy, p.Priority, p.Reset
	t.sched.mu.Unlock()
	return 0
}

func (t *Task) maySetSched(by *Task, p SchedParams) abi.Errno {
	c, cur := by.Creds(), t.Sched()
	if c.Capable(auth.CAP_SYS_NICE) {
		return 0
	}
	if !sameOwner(c, t.Creds()) {
		return unix.EPERM
	}
	if isRealTime(p.Policy) {
		limit := t.tg.LimitCur(RLIMIT_RTPRIO)
		if p.Policy != cur.Policy && limit == 0 {
			return unix.EPERM
		}
		if p.Priority > cur.Priority && uint64(p.Priority) > limit {
			return unix.EPERM
		}
	}
	if cur.Policy == SCHED_IDLE && p.Policy != SCHED_IDLE && !t.mayNice(t.nice.Load()) {
		return unix.EPERM
	}
	if cur.Reset && !p.Reset {
		return unix.EPERM
	}
	return 0
}

// sameOwner is the check of sched_setscheduler(2) and setpriority(2).
func sameOwner(c, target *auth.Creds) bool { return c.EUID == target.EUID || c.EUID == target.UID }

// mayNice tells whether RLIMIT_NICE lets the task's nice value become n.
func (t *Task) mayNice(n int32) bool { return uint64(20-n) <= t.tg.LimitCur(RLIMIT_NICE) }

// Nice gives the nice value.
func (t *Task) Nice() int32 { return t.nice.Load() }

// SetNice is setpriority(2) for one task; by is the caller.
func (t *Task) SetNice(by *Task, n int32) abi.Errno {
	c := by.Creds()
	n = min(max(n, -20), 19)
	capable := c.Capable(auth.CAP_SYS_NICE)
	if !sameOwner(c, t.Creds()) && !capable {
		return unix.EPERM
	}
	if n < t.nice.Load() && !capable && !t.mayNice(n) {
		return unix.EACCES
	}
	t.nice.Store(n)
	return 0
}

// IOPrio and SetIOPrio are ioprio_get(2)'s and ioprio_set(2)'s value.
func (t *Task) IOPrio() int32     { return t.ioprio.Load() }
func (t *Task) SetIOPrio(v int32) { t.ioprio.Store(v) }
