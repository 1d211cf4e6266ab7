package kernel

import (
	"slices"
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Exit states of a task.
const (
	taskAlive  = iota
	taskZombie // exited, not yet reaped
	taskDead   // reaped
)

// ThreadGroup is a process: the tasks that share a pid.
type ThreadGroup struct {
	k         *Kernel // constant
	pid       int32   // constant
	startMono int64   // CLOCK_MONOTONIC at its making; constant

	// Guarded by Kernel.mu.
	leader           *Task
	parent           *ThreadGroup // nil: started from outside the sandbox (ppid 0)
	parentTask       *Task        // the thread of parent that made it
	children         childList
	sibPrev, sibNext *ThreadGroup
	allPrev, allNext *ThreadGroup
	pgrp             *ProcessGroup
	pgPrev, pgNext   *ThreadGroup
	exitSignal       int32 // told to the parent; 0 none
	parentExecID     uint32
	execID           uint32 // rises with each exec
	subreaper        bool   // PR_SET_CHILD_SUBREAPER
	hasSubreaper     bool   // an ancestor is one
	didExec          bool   // for setpgid
	reaped           bool
	exitHook         func(status uint32)

	// tasks changes under both Kernel.mu and sig.mu: either one suffices to
	// read it. Zombie leaders stay in it.
	tasks []*Task

	// childQ is notified when a child may have become waitable.
	childQ waiter.Queue
	// exitQ is notified when the process has become a zombie (pidfds).
	exitQ  waiter.Queue
	exited atomic.Bool // a zombie without threads, or reaped

	sig tgSignals

	limits   limits
	acct     tgAccounting
	dumpable atomic.Int32 // PR_SET_DUMPABLE: 0, 1 or 2
	oomAdj   atomic.Int32
	noTHP    atomic.Bool // PR_SET_THP_DISABLE
	threaded atomic.Bool // has or had more than one thread
	barrier  atomic.Bool // MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED

	// infoMu guards what exec sets and /proc reads.
	infoMu sync.Mutex
	info   ExecInfo
}

// ExecInfo is what the last exec left for /proc and others.
type ExecInfo struct {
	Exe     string   // path of the program
	Auxv    []uint64 // the pairs given to it
	ArgsLo  uint64   // [ArgsLo, ArgsHi) has the argument strings
	ArgsHi  uint64
	EnvLo   uint64
	EnvHi   uint64
	StartSP uint64
}

// PID gives the process id (constant).
func (tg *ThreadGroup) PID() int32 { return tg.pid }

// StartMono gives CLOCK_MONOTONIC at the making of the process.
func (tg *ThreadGroup) StartMono() int64 { return tg.startMono }

// Kernel gives the sandbox.
func (tg *ThreadGroup) Kernel() *Kernel { return tg.k }

// Leader gives the task whose tid is the pid; a zombie it may be.
func (tg *ThreadGroup) Leader() *Task {
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	return tg.leader
}

// Tasks lists the tasks that are not reaped, by rising tid.
func (tg *ThreadGroup) Tasks() []*Task {
	tg.k.mu.RLock()
	out := slices.Clone(tg.tasks)
	slices.SortFunc(out, func(a, b *Task) int { return int(a.tid) - int(b.tid) })
	tg.k.mu.RUnlock()
	return out
}

// Children lists the child processes that are not reaped.
func (tg *ThreadGroup) Children() []*ThreadGroup {
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	var out []*ThreadGroup
	for c := tg.children.head; c != nil; c = c.sibNext {
		out = append(out, c)
	}
	return out
}

// PPID gives the parent's pid, 0 for none inside.
func (tg *ThreadGroup) PPID() int32 {
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	return tg.ppidLocked()
}

func (tg *ThreadGroup) ppidLocked() int32 {
	if tg.parent == nil {
		return 0
	}
	return tg.parent.pid
}

// Info gives what the last exec left.
func (tg *ThreadGroup) Info() ExecInfo {
	tg.infoMu.Lock()
	defer tg.infoMu.Unlock()
	return tg.info
}

// SetInfo records what exec did.
func (tg *ThreadGroup) SetInfo(i ExecInfo) {
	tg.infoMu.Lock()
	tg.info = i
	tg.infoMu.Unlock()
}

// Dumpable and SetDumpable are PR_GET_DUMPABLE's and PR_SET_DUMPABLE's value.
func (tg *ThreadGroup) Dumpable() int32     { return tg.dumpable.Load() }
func (tg *ThreadGroup) SetDumpable(v int32) { tg.dumpable.Store(v) }

// OOMScoreAdj and SetOOMScoreAdj are /proc/PID/oom_score_adj's value.
func (tg *ThreadGroup) OOMScoreAdj() int32     { return tg.oomAdj.Load() }
func (tg *ThreadGroup) SetOOMScoreAdj(v int32) { tg.oomAdj.Store(v) }

// Exited tells whether every thread has exited.
func (tg *ThreadGroup) Exited() bool { return tg.exited.Load() }

// ExitQueue is notified when the process has exited.
func (tg *ThreadGroup) ExitQueue() *waiter.Queue { return &tg.exitQ }

// IsInit tells whether the process is the sandbox's pid 1.
func (tg *ThreadGroup) IsInit() bool { return tg.pid == 1 }

// childList and tgList are intrusive lists, guarded by Kernel.mu.
type childList struct{ head, tail *ThreadGroup }

func (l *childList) add(c *ThreadGroup) {
	c.sibPrev, c.sibNext = l.tail, nil
	if l.tail != nil {
		l.tail.sibNext = c
	} else {
		l.head = c
	}
	l.tail = c
}

func (l *childList) remove(c *ThreadGroup) {
	if c.sibPrev != nil {
		c.sibPrev.sibNext = c.sibNext
	} else {
		l.head = c.sibNext
	}
	if c.sibNext != nil {
		c.sibNext.sibPrev = c.sibPrev
	} else {
		l.tail = c.sibPrev
	}
	c.sibPrev, c.sibNext = nil, nil
}

type tgList struct {
	head, tail *ThreadGroup
	n          int
}

func (l *tgList) add(g *ThreadGroup) {
	g.allPrev, g.allNext = l.tail, nil
	if l.tail != nil {
		l.tail.allNext = g
	} else {
		l.head = g
	}
	l.tail = g
	l.n++
}

func (l *tgList) remove(g *ThreadGroup) {
	if g.allPrev != nil {
		g.allPrev.allNext = g.allNext
	} else {
		l.head = g.allNext
	}
	if g.allNext != nil {
		g.allNext.allPrev = g.allPrev
	} else {
		l.tail = g.allPrev
	}
	g.allPrev, g.allNext = nil, nil
	l.n--
}

func sortGroups(s []*ThreadGroup) {
	slices.SortFunc(s, func(a, b *ThreadGroup) int { return int(a.pid) - int(b.pid) })
}

// NoTHP and SetNoTHP are PR_GET_THP_DISABLE's and PR_SET_THP_DISABLE's value.
func (tg *ThreadGroup) NoTHP() bool     { return tg.noTHP.Load() }
func (tg *ThreadGroup) SetNoTHP(v bool) { tg.noTHP.Store(v) }
