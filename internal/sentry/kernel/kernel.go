package kernel

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

// pidMax is one above the highest id, as kernel.pid_max of a small machine.
const pidMax = 32768

// reservedPIDs are skipped once ids have wrapped around (RESERVED_PIDS).
const reservedPIDs = 300

// Config is what a sandbox is made with.
type Config struct {
	Hostname   string
	Domainname string
	// PidsLimit caps the tasks of the sandbox; 0: only ids limit them.
	PidsLimit int
	// Limits are what the first task starts with; zero: DefaultLimits.
	Limits *[RLIM_NLIMITS]Rlimit
	// OOMScoreAdj is the first task's.
	OOMScoreAdj int32
	// MemTotal is the memory that the guest is told of, in bytes; 0: the host's.
	MemTotal uint64
}

// Kernel is one sandbox: its tasks, groups and sessions.
type Kernel struct {
	bootMono int64 // CLOCK_MONOTONIC at boot; constant
	bootReal int64 // CLOCK_REALTIME at boot; constant
	config   Config

	// mu guards the task list: ids, parents and children, groups, sessions
	// and exit states. It comes before every ThreadGroup's sig.mu.
	mu        sync.RWMutex
	pids      map[int32]*pid
	lastPID   int32
	taskCount int
	init      *ThreadGroup
	dying     bool // init has exited, or the sandbox is being killed
	groups    tgList
	done      chan struct{} // closed when the last task is gone

	forks     atomic.Uint64 // tasks ever made, for /proc/stat
	deadUTime atomic.Int64  // CPU time of reaped processes, ns
	deadSTime atomic.Int64

	workers workers

	users userTable
	uts   utsNames
	log   Log

	// Constant once the first task runs.
	platform    *platform.Platform
	dispatch    Dispatcher
	watchCalls  bool     // every call is seen here (--strace)
	hwcap       uint64   // AT_HWCAP
	rseqAuxv    []uint64 // what the host tells of rseq(2), as in the auxiliary vector
	minSigStack uint64   // AT_MINSIGSTKSZ
}

// pid is one id and all that bears it (struct pid). Its fields are guarded by
// Kernel.mu.
type pid struct {
	task    *Task
	tg      *ThreadGroup // whose leader has the id
	pgrp    *ProcessGroup
	session *Session
}

func (p *pid) unused() bool {
	return p.task == nil && p.tg == nil && p.pgrp == nil && p.session == nil
}

// New makes a sandbox without tasks.
func New(c Config) *Kernel {
	k := &Kernel{
		bootMono: ktime.Mono(),
		bootReal: ktime.Real(),
		config:   c,
		pids:     map[int32]*pid{},
		done:     make(chan struct{}),
	}
	k.users.init()
	onlineCPUs()
	coarseRes()
	k.uts.hostname, k.uts.domainname = c.Hostname, c.Domainname
	if k.uts.domainname == "" {
		k.uts.domainname = "(none)"
	}
	return k
}

// Done is closed when the last task is gone.
func (k *Kernel) Done() <-chan struct{} { return k.done }

// BootMono gives CLOCK_MONOTONIC at boot, in nanoseconds.
func (k *Kernel) BootMono() int64 { return k.bootMono }

// BootReal gives CLOCK_REALTIME at boot, in nanoseconds.
func (k *Kernel) BootReal() int64 { return k.bootReal }

// Forks gives the number of tasks ever made.
func (k *Kernel) Forks() uint64 { return k.forks.Load() }

// Init gives the thread group with pid 1, nil before there is one.
func (k *Kernel) Init() *ThreadGroup {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.init
}

// allocPID takes a free id. The caller holds mu for writing.
func (k *Kernel) allocPID() (int32, abi.Errno) {
	if k.config.PidsLimit > 0 && k.taskCount >= k.config.PidsLimit {
		return 0, unix.EAGAIN
	}
	n := k.lastPID
	for tries := 0; tries < pidMax; tries++ {
		n++
		if n >= pidMax {
			n = reservedPIDs
		}
		if k.pids[n] == nil {
			k.lastPID = n
			k.pids[n] = &pid{}
			return n, 0
		}
	}
	return 0, unix.EAGAIN
}

// takePID takes the id that clone3's set_tid asks for. The caller holds mu for
// writing.
func (k *Kernel) takePID(n int32) abi.Errno {
	if n < 1 || n >= pidMax || (k.init == nil && n != 1) {
		return unix.EINVAL
	}
	if k.pids[n] != nil {
		return unix.EEXIST
	}
	if k.config.PidsLimit > 0 && k.taskCount >= k.config.PidsLimit {
		return unix.EAGAIN
	}
	k.pids[n] = &pid{}
	return 0
}

// putPID frees the id when nothing bears it any more. The caller holds mu for
// writing.
func (k *Kernel) putPID(n int32) {
	if p := k.pids[n]; p != nil && p.unused() {
		delete(k.pids, n)
	}
}

// Task finds a task by its thread id.
func (k *Kernel) Task(tid int32) *Task {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if p := k.pids[tid]; p != nil {
		return p.task
	}
	return nil
}

// ThreadGroupByPID finds a process by its id; zombies count.
func (k *Kernel) ThreadGroupByPID(n int32) *ThreadGroup {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if p := k.pids[n]; p != nil {
		return p.tg
	}
	return nil
}

// ThreadGroups lists all processes, zombies too, by rising id.
func (k *Kernel) ThreadGroups() []*ThreadGroup {
	k.mu.RLock()
	out := make([]*ThreadGroup, 0, k.groups.n)
	for tg := k.groups.head; tg != nil; tg = tg.allNext {
		out = append(out, tg)
	}
	k.mu.RUnlock()
	sortGroups(out)
	return out
}

// Counts gives the numbers of tasks and of processes.
func (k *Kernel) Counts() (tasks, processes int) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.taskCount, k.groups.n
}

// LastPID gives the id given out last, for /proc/loadavg.
func (k *Kernel) LastPID() int32 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.lastPID
}

// Attach gives the sandbox its platform and its table of calls, before the
// first task runs. watchCalls has the stub answer nothing by itself.
func (k *Kernel) Attach(p *platform.Platform, d Dispatcher, watchCalls bool) {
	k.platform, k.dispatch, k.watchCalls = p, d, watchCalls
	aux, _ := unix.Auxv()
	for _, a := range aux {
		switch a[0] {
		case abi.AT_HWCAP:
			k.hwcap = uint64(a[1])
		case abi.AT_MINSIGSTKSZ:
			k.minSigStack = uint64(a[1])
		case abi.AT_RSEQ_FEATURE_SIZE, abi.AT_RSEQ_ALIGN:
			k.rseqAuxv = append(k.rseqAuxv, uint64(a[0]), uint64(a[1]))
		}
	}
}
