package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

// NewProcess makes the first task of a process that is started from outside:
// pid 1, or one that joins the sandbox later (its ppid is 0). The caller sets
// mm, fds and fs before the task runs. It leads a new session.
func (k *Kernel) NewProcess(creds *auth.Creds, name string) (*Task, abi.Errno) {
	t := &Task{k: k, name: commName(name)}
	t.startMono = ktime.Mono()
	t.timerSlack.Store(defaultTimerSlack)
	t.sched.init()
	user := k.users.get(creds.UID)

	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dying {
		return nil, unix.ENOMEM
	}
	id, e := k.allocPID()
	if e != 0 {
		return nil, e
	}
	tg := &ThreadGroup{k: k, pid: id, startMono: t.startMono, exitSignal: SIGCHLD}
	tg.sig.handlers = newHandlers()
	tg.setFirstLimits()
	tg.dumpable.Store(1)
	tg.oomAdj.Store(k.config.OOMScoreAdj)
	t.tg, t.tid, tg.leader = tg, id, t
	t.creds.Store(creds)
	t.user.Store(user)
	user.tasks.Add(1)
	tg.tasks = []*Task{t}

	p := k.pids[id]
	p.task, p.tg = t, tg
	s := &Session{id: id, leader: tg}
	p.session = s
	k.newGroup(id, s).add(tg)
	k.groups.add(tg)
	k.taskCount++
	k.forks.Add(1)
	if k.init == nil {
		k.init = tg
		tg.sig.unkillable = true
	}
	return t, 0
}

func (tg *ThreadGroup) setFirstLimits() {
	l := tg.k.config.Limits
	if l == nil {
		d := DefaultLimits()
		l = &d
	}
	for i, r := range l {
		tg.limits.set(i, r)
	}
}

// SetExitHook asks for a call when the process has exited, with its status as
// wait4(2) shows it; for processes that are started from outside. It is called
// with locks held, and must not block.
func (tg *ThreadGroup) SetExitHook(f func(status uint32)) {
	tg.k.mu.Lock()
	tg.exitHook = f
	tg.k.mu.Unlock()
}

// NewTask makes the child of a clone(2): it takes part in signals, waiting and
// job control at once, but does not run. The caller sets its mm, fds, fs and
// platform, starts it, or takes it back by Discard.
func (k *Kernel) NewTask(parent *Task, o CloneOptions) (*Task, abi.Errno) {
	creds := parent.Creds()
	t := &Task{k: k}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !o.forkWanted(parent) {
		return nil, unix.EINVAL
	}
	if e := k.mayFork(parent, creds); e != 0 {
		return nil, e
	}
	id, e := o.SetTID, abi.Errno(0)
	if id != 0 {
		e = k.takePID(id)
	} else {
		id, e = k.allocPID()
	}
	if e != 0 {
		return nil, e
	}
	t.tid = id
	t.inherit(parent, creds, &o)
	if o.Flags&unix.CLONE_THREAD != 0 {
		e = k.addThread(parent, t)
	} else {
		e = k.addProcess(parent, t, &o)
	}
	if e != 0 {
		k.putPID(id)
		return nil, e
	}
	k.pids[id].task = t
	k.taskCount++
	k.forks.Add(1)
	t.user.Load().tasks.Add(1)
	return t, 0
}

// mayFork checks RLIMIT_NPROC and that the sandbox is not ending.
func (k *Kernel) mayFork(parent *Task, c *auth.Creds) abi.Errno {
	if k.dying {
		return unix.ENOMEM
	}
	over := uint64(parent.user.Load().tasks.Load()) >= parent.tg.LimitCur(RLIMIT_NPROC)
	if over && c.UID != 0 && !c.Capable(auth.CAP_SYS_RESOURCE) && !c.Capable(auth.CAP_SYS_ADMIN) {
		return unix.EAGAIN
	}
	return 0
}

// inherit copies what a child has of its parent's task.
func (t *Task) inherit(p *Task, creds *auth.Creds, o *CloneOptions) {
	t.name = p.name
	t.creds.Store(creds)
	t.user.Store(p.user.Load())
	t.startMono = ktime.Mono()
	t.personality, t.mceKill, t.ioFlusher = p.personality, p.mceKill, p.ioFlusher
	t.timerSlack.Store(p.timerSlack.Load())
	t.nice.Store(p.nice.Load())
	t.ioprio.Store(p.ioprio.Load())
	t.sched.fork(&p.sched)
	if t.sched.takeReset() {
		t.nice.Store(max(0, t.nice.Load()))
	}
	if o.Flags&unix.CLONE_VM == 0 || o.Flags&unix.CLONE_VFORK != 0 {
		t.sig.alt = p.sig.alt
	}
	t.sig.blocked = p.sig.blocked
	if p.sig.hasSaved {
		t.sig.blocked = p.sig.savedMask
	}
}

// addThread puts t into its parent's group. The caller holds mu.
func (k *Kernel) addThread(parent, t *Task) abi.Errno {
	tg := parent.tg
	t.tg = tg
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	if tg.sig.groupExit || tg.sig.execTask != nil || parent.interrupted() {
		return abi.ERESTARTNOINTR
	}
	t.inheritFilters(parent)
	tg.threaded.Store(true)
	tg.tasks = append(tg.tasks, t)
	return 0
}

// addProcess makes t the leader of a new group. The caller holds mu.
func (k *Kernel) addProcess(parent, t *Task, o *CloneOptions) abi.Errno {
	p := parent.tg
	tg := &ThreadGroup{k: k, pid: t.tid, startMono: t.startMono, leader: t, exitSignal: o.ExitSignal}
	tg.tasks = []*Task{t}
	p.sig.mu.Lock()
	if parent.interrupted() {
		p.sig.mu.Unlock()
		return abi.ERESTARTNOINTR
	}
	tg.sig.handlers = p.sig.handlers
	t.inheritFilters(parent)
	tg.limits.copy(&p.limits)
	p.sig.mu.Unlock()
	switch h := tg.sig.handlers; {
	case o.Flags&unix.CLONE_SIGHAND != 0:
		h.mu.Lock()
		h.refs++
		h.mu.Unlock()
	default:
		tg.sig.handlers = h.fork(o.Flags&unix.CLONE_CLEAR_SIGHAND != 0)
	}
	tg.dumpable.Store(p.dumpable.Load())
	tg.oomAdj.Store(p.oomAdj.Load())
	tg.noTHP.Store(p.noTHP.Load())
	tg.barrier.Store(p.barrier.Load())
	tg.info = p.Info()
	tg.hasSubreaper = p.hasSubreaper || p.subreaper
	t.tg = tg

	tg.parent, tg.parentTask, tg.parentExecID = p, parent, p.execID
	if o.Flags&unix.CLONE_PARENT != 0 {
		tg.parent, tg.parentTask, tg.parentExecID = p.parent, p.parentTask, p.parentExecID
		tg.exitSignal = p.exitSignal
	}
	tg.parent.children.add(tg)
	p.pgrp.add(tg)
	k.pids[t.tid].tg = tg
	k.groups.add(tg)
	if tg.LimitCur(RLIMIT_CPU) != RLIM_INFINITY {
		tg.watchCPULimit()
	}
	return 0
}

func (l *limits) copy(from *limits) {
	for i := range l.v {
		l.set(i, from.get(i))
	}
}

// Discard takes back a task that NewTask or NewProcess made and that never
// ran.
func (t *Task) Discard() {
	k, tg := t.k, t.tg
	k.mu.Lock()
	defer k.mu.Unlock()
	t.exitState = taskDead
	t.seccomp.Load().drop()
	k.forget(t)
	if tg.leader == t {
		k.forgetGroup(tg)
	}
	k.checkDone()
}

// commName cuts a name to what comm holds.
func commName(s string) string {
	if len(s) > 15 {
		s = s[:15]
	}
	return s
}

// SetName sets comm (own goroutine).
func (t *Task) SetName(s string) {
	t.mu.Lock()
	t.name = commName(s)
	t.mu.Unlock()
}

// Name gives comm.
func (t *Task) Name() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.name
}
