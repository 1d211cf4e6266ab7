package kernel

import (
	"slices"

	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// The end of a task, in the order in which the run loop calls it:
//
//	BeginExit    no more signals come to it
//	(the caller lets go of memory, files and so on, and of the host thread)
//	ExitNotify   it becomes a zombie, its children get a new parent, and its
//	             own parent is told
//
// WaitStatus values are as wait4(2) shows them: exit code << 8 | signal.

// ExitStatus gives the status of exit(2)'s code.
func ExitStatus(code int32) uint32 { return uint32(code&0xff) << 8 }

// GroupExit begins exit_group(2): every other thread of the group is killed.
// It gives the status that holds; an exit that began earlier wins.
func (t *Task) GroupExit(status uint32) uint32 {
	tg := t.tg
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	switch {
	case tg.sig.groupExit:
		status = tg.sig.exitStatus
	case tg.sig.execTask != nil && tg.sig.execTask != t:
		status = 0
	default:
		tg.groupExitLocked(status, t)
	}
	t.sig.work.Or(workSignal | workKilled)
	return status
}

// BeginExit takes t out of signal delivery: signals of the group that it might
// have taken go to other threads, and it counts as stopped in a group stop.
func (t *Task) BeginExit() {
	tg := t.tg
	tg.sig.mu.Lock()
	t.sig.exiting = true
	told := false
	if len(tg.tasks) > 1 && !tg.sig.groupExit {
		t.retarget(^t.sig.blocked)
		told = t.sig.stopPending && t.takePartInStop()
	}
	tg.sig.mu.Unlock()
	t.seccomp.Load().drop() // no TSYNC changes them any more
	if told {
		tg.notifyStop(CLD_STOPPED)
	}
}

// ExitNotify makes t a zombie with its status, and tells those who are to know.
// It is the last that a task does.
func (t *Task) ExitNotify(status uint32) {
	k, tg := t.k, t.tg
	t.leaveTerminal()
	t.acctExit()

	k.mu.Lock()
	defer k.mu.Unlock()
	t.exitState = taskZombie
	last := tg.alive() == 0
	if last {
		tg.settleStatus(status)
	}
	if last && tg == k.init {
		k.initDies()
	}
	k.reparent(t)
	if last {
		k.orphanOwnGroup(tg)
		tg.stopTimers()
		tg.runExitHooks()
	}
	if t != tg.leader {
		k.releaseTask(t)
	}
	if last {
		k.groupZombie(tg)
	} else {
		tg.exitQ.Notify(waiter.In) // pidfds of threads
		if ex := tg.sig.execWaiter(); ex != nil {
			ex.park.wake()
		}
	}
	k.checkDone()
}

// groupZombie tells of the end of tg's last thread. The caller holds mu.
func (k *Kernel) groupZombie(tg *ThreadGroup) {
	tg.exited.Store(true)
	if tg.exitHook != nil {
		tg.exitHook(tg.waitStatus())
		tg.exitHook = nil
	}
	reap := k.notifyParent(tg)
	tg.exitQ.Notify(waiter.In | waiter.Hup)
	if reap {
		k.reap(tg)
	}
}

// settleStatus makes the last thread's status the process's, unless the group
// was ended as a whole.
func (tg *ThreadGroup) settleStatus(status uint32) {
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	if !tg.sig.groupExit {
		tg.sig.groupExit, tg.sig.exitStatus = true, status
	}
}

// alive counts the threads that have not exited. The caller holds k.mu.
func (tg *ThreadGroup) alive() int {
	n := 0
	for _, t := range tg.tasks {
		if t.exitState == taskAlive {
			n++
		}
	}
	return n
}

// leaderGone tells whether the leader has exited. The caller holds k.mu.
func (tg *ThreadGroup) leaderGone() bool { return tg.leader.exitState != taskAlive }

// waitStatus is the process's status for wait4(2). The caller holds k.mu.
func (tg *ThreadGroup) waitStatus() uint32 {
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	return tg.sig.exitStatus
}

// notifyParent sends the exit signal; true if the parent does not want a
// zombie (SIGCHLD ignored or SA_NOCLDWAIT), or there is none. The caller holds
// mu.
func (k *Kernel) notifyParent(tg *ThreadGroup) (reap bool) {
	p := tg.parent
	if p == nil {
		return true
	}
	sig := tg.exitSignal
	if sig != SIGCHLD && tg.parentExecID != p.execID {
		sig = SIGCHLD
	}
	info := tg.exitInfo(sig)
	p.sig.mu.Lock()
	if sig == SIGCHLD {
		a := p.sig.handlers.get(SIGCHLD)
		if a.Handler == SIG_IGN || a.Flags&SA_NOCLDWAIT != 0 {
			reap = true
			if a.Handler == SIG_IGN {
				sig = 0
			}
		}
	}
	if validSignal(sig) {
		p.sendLocked(&info, nil, false, nil)
	}
	p.sig.mu.Unlock()
	p.childQ.Notify(waiter.In)
	return reap
}

// exitInfo is the siginfo of SIGCHLD and of waitid(2).
func (tg *ThreadGroup) exitInfo(sig int32) SigInfo {
	st := tg.waitStatus()
	code, val := int32(CLD_EXITED), int32(st>>8)&0xff
	if st&0x7f != 0 {
		code, val = CLD_KILLED, int32(st&0x7f)
		if st&0x80 != 0 {
			code = CLD_DUMPED
		}
	}
	u, s := tg.CPUTimes()
	return childInfo(sig, code, tg.pid, tg.leader.Creds().UID, val, u, s)
}

// reparent gives t's children to another thread of its group, to the nearest
// subreaper or to init. The caller holds mu.
func (k *Kernel) reparent(t *Task) {
	tg := t.tg
	if tg.children.head == nil {
		return
	}
	to, toTask := k.reaperFor(t)
	for c := tg.children.head; c != nil; {
		next := c.sibNext
		if c.parentTask == t || to != tg {
			k.newParent(c, t, to, toTask)
		}
		c = next
	}
}

// newParent moves c from the group of the exiting task t to group to.
func (k *Kernel) newParent(c *ThreadGroup, t *Task, to *ThreadGroup, toTask *Task) {
	tg := t.tg
	for _, m := range c.tasks {
		if sig := m.pdeath.Load(); sig != 0 && c.parentTask == t {
			info := KernelInfo(sig, SI_USER, 0, 0)
			c.send(&info, nil, false, nil)
		}
	}
	c.parentTask = toTask
	if to == tg {
		return
	}
	tg.children.remove(c)
	c.parent = to
	c.exitSignal = SIGCHLD
	if to != nil {
		to.children.add(c)
		c.parentExecID = to.execID
	}
	if c.alive() == 0 {
		if k.notifyParent(c) {
			k.reap(c)
		}
		return
	}
	k.orphanedBy(c, tg)
}

// reaperFor finds who takes the children of t. The caller holds mu.
func (k *Kernel) reaperFor(t *Task) (*ThreadGroup, *Task) {
	if o := t.tg.aliveTask(); o != nil {
		return t.tg, o
	}
	if t.tg.hasSubreaper {
		for g := t.tg.parent; g != nil; g = g.parent {
			if !g.subreaper {
				continue
			}
			if o := g.aliveTask(); o != nil {
				return g, o
			}
		}
	}
	if k.init != nil && k.init != t.tg && !k.dying {
		return k.init, k.init.aliveTask()
	}
	return nil, nil
}

func (tg *ThreadGroup) aliveTask() *Task {
	if tg.leader.exitState == taskAlive {
		return tg.leader
	}
	for _, t := range tg.tasks {
		if t.exitState == taskAlive {
			return t
		}
	}
	return nil
}

// orphanedBy does what POSIX asks when c's group becomes an orphaned one by the
// exit of its parent old: SIGHUP and SIGCONT if it has stopped members.
func (k *Kernel) orphanedBy(c, old *ThreadGroup) {
	if old.pgrp == nil || c.pgrp == nil || old.pgrp == c.pgrp || old.pgrp.session != c.pgrp.session {
		return
	}
	if k.isOrphaned(c.pgrp, nil) && c.pgrp.hasStoppedJobs() {
		k.wakeOrphans(c.pgrp)
	}
}

// orphanOwnGroup is orphanedBy for the exiting process's own group.
func (k *Kernel) orphanOwnGroup(tg *ThreadGroup) {
	p := tg.parent
	if p == nil || p.pgrp == nil || tg.pgrp == nil || p.pgrp == tg.pgrp || p.pgrp.session != tg.pgrp.session {
		return
	}
	if k.isOrphaned(tg.pgrp, tg) && tg.pgrp.hasStoppedJobs() {
		k.wakeOrphans(tg.pgrp)
	}
}

func (k *Kernel) wakeOrphans(g *ProcessGroup) {
	for _, sig := range []int32{SIGHUP, SIGCONT} {
		info := KernelInfo(sig, SI_KERNEL, 0, 0)
		for m := g.head; m != nil; m = m.pgNext {
			m.send(&info, nil, false, nil)
		}
	}
}

// releaseTask takes a thread out of its group. The caller holds mu.
func (k *Kernel) releaseTask(t *Task) {
	t.exitState = taskDead
	k.forget(t)
}

// forget takes t out of all tables but its group's own.
func (k *Kernel) forget(t *Task) {
	tg := t.tg
	tg.sig.mu.Lock()
	if i := slices.Index(tg.tasks, t); i >= 0 {
		tg.tasks = slices.Delete(slices.Clone(tg.tasks), i, i+1)
	}
	t.sig.pending.flush(^SignalSet(0))
	tg.sig.mu.Unlock()
	if p := k.pids[t.tid]; p != nil && p.task == t {
		p.task = nil
		k.putPID(t.tid)
	}
	t.user.Load().tasks.Add(-1)
	k.taskCount--
}

// forgetGroup takes a group without tasks out of all tables.
func (k *Kernel) forgetGroup(tg *ThreadGroup) {
	tg.reaped = true
	tg.exited.Store(true)
	if tg.parent != nil {
		tg.parent.children.remove(tg)
	}
	if s := tg.pgrp; s != nil && s.session.leader == tg {
		s.session.leader = nil
	}
	k.leaveGroup(tg)
	k.groups.remove(tg)
	if p := k.pids[tg.pid]; p != nil {
		p.tg = nil
		k.putPID(tg.pid)
	}
	tg.sig.mu.Lock()
	tg.sig.shared.flush(^SignalSet(0))
	tg.sig.mu.Unlock()
}

// reap ends a zombie. The caller holds mu.
func (k *Kernel) reap(tg *ThreadGroup) {
	if p := tg.parent; p != nil {
		p.acct.addChild(tg)
	}
	u, s := tg.CPUTimes()
	k.deadUTime.Add(u)
	k.deadSTime.Add(s)
	k.releaseTask(tg.leader)
	k.forgetGroup(tg)
}

// initDies ends the sandbox with its pid 1. The caller holds mu.
func (k *Kernel) initDies() {
	k.dying = true
	for tg := k.groups.head; tg != nil; tg = tg.allNext {
		if tg == k.init {
			continue
		}
		info := KernelInfo(SIGKILL, SI_KERNEL, 0, 0)
		tg.send(&info, nil, true, nil)
	}
}

// Kill ends every task of the sandbox.
func (k *Kernel) Kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dying = true
	for tg := k.groups.head; tg != nil; tg = tg.allNext {
		info := KernelInfo(SIGKILL, SI_KERNEL, 0, 0)
		tg.send(&info, nil, true, nil)
	}
	k.checkDone()
}

// checkDone closes done when the last task is gone and none can come. The
// caller holds mu.
func (k *Kernel) checkDone() {
	if k.taskCount > 0 || !k.dying {
		return
	}
	select {
	case <-k.done:
	default:
		close(k.done)
	}
}

func (s *tgSignals) execWaiter() *Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.execTask
}

// Reboot ends pid 1, and with it the sandbox, with the status of sig.
func (k *Kernel) Reboot(sig int32) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.init == nil {
		return
	}
	k.init.sig.mu.Lock()
	defer k.init.sig.mu.Unlock()
	if !k.init.sig.groupExit {
		k.init.groupExitLocked(uint32(sig), nil)
	}
}

// Alone tells whether the task is the only one of its process, and for vm too
// whether nobody shares its memory.
func (t *Task) Alone(vm bool) bool {
	t.k.mu.RLock()
	alone := len(t.tg.tasks) == 1
	t.k.mu.RUnlock()
	return alone && (!vm || t.mm == nil || t.mm.Users() <= 1)
}
