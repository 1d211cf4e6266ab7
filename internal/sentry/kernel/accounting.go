package kernel

import (
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

// Usage is what a task, a process or its children have used (getrusage(2)).
type Usage struct {
	UTime, STime         int64 // CPU time, ns
	MinFaults, MajFaults int64
	InBlock, OutBlock    int64
	Voluntary, Forced    int64 // context switches
	MaxRSS               int64 // KiB
}

func (u *Usage) add(o *Usage) {
	u.UTime += o.UTime
	u.STime += o.STime
	u.MinFaults += o.MinFaults
	u.MajFaults += o.MajFaults
	u.InBlock += o.InBlock
	u.OutBlock += o.OutBlock
	u.Voluntary += o.Voluntary
	u.Forced += o.Forced
	u.MaxRSS = max(u.MaxRSS, o.MaxRSS)
}

// tgAccounting is what a process has gathered. mu is a leaf.
type tgAccounting struct {
	running atomic.Int32 // tasks that were started and have not exited

	mu       sync.Mutex
	dead     Usage // of threads that have exited
	children Usage // of children that were waited for
}

func (a *tgAccounting) addChild(c *ThreadGroup) {
	own := c.Usage()
	c.acct.mu.Lock()
	kids := c.acct.children
	c.acct.mu.Unlock()
	a.mu.Lock()
	a.children.add(&own)
	a.children.add(&kids)
	a.mu.Unlock()
}

// acctExit moves t's usage to its process (own goroutine).
func (t *Task) acctExit() {
	a := &t.tg.acct
	a.mu.Lock()
	a.dead.add(&t.final)
	t.acctDone.Store(true)
	a.mu.Unlock()
}

// Usage gives what the task has used itself.
func (t *Task) Usage() Usage {
	if t.plat.th.Load() != nil {
		return Usage{UTime: t.guestTime(), STime: t.seatTime()}
	}
	t.tg.acct.mu.Lock()
	defer t.tg.acct.mu.Unlock()
	return t.final
}

// Usage gives what the process has used, exited threads included.
func (tg *ThreadGroup) Usage() Usage { return tg.usageOf(tg.liveTasks()) }

// usageLocked is Usage under sig.mu.
func (tg *ThreadGroup) usageLocked() Usage { return tg.usageOf(tg.tasks) }

func (tg *ThreadGroup) usageOf(tasks []*Task) Usage {
	tg.acct.mu.Lock()
	defer tg.acct.mu.Unlock()
	u := tg.acct.dead
	u.UTime += groupClock(tasks)
	for _, t := range tasks {
		switch {
		case t.acctDone.Load():
		case t.plat.th.Load() != nil:
			u.STime += t.seatTime()
		default:
			u.add(&t.final)
		}
	}
	return u
}

// liveTasks gives the group's tasks without Kernel.mu: the slice is replaced,
// never changed in place, when a task leaves.
func (tg *ThreadGroup) liveTasks() []*Task {
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	return tg.tasks
}

// ChildrenUsage gives what the children that were waited for had used.
func (tg *ThreadGroup) ChildrenUsage() Usage {
	tg.acct.mu.Lock()
	defer tg.acct.mu.Unlock()
	return tg.acct.children
}

// CPUTimes gives the process's CPU time in user mode and in calls, ns.
func (tg *ThreadGroup) CPUTimes() (user, sys int64) {
	u := tg.Usage()
	return u.UTime, u.STime
}

// CPUTime gives the task's CPU time as CLOCK_THREAD_CPUTIME_ID counts it.
func (t *Task) CPUTime() int64 {
	u := t.Usage()
	return u.UTime + u.STime
}

// CPUTime gives the process's CPU time as CLOCK_PROCESS_CPUTIME_ID counts it.
func (tg *ThreadGroup) CPUTime() int64 {
	u := tg.Usage()
	return u.UTime + u.STime
}

// Ticks gives the clock ticks since boot, for times(2).
func (k *Kernel) Ticks() int64 { return (ktime.Mono() - k.bootMono) / nsPerTick }
