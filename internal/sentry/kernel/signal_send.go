package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// SendSignal sends info's signal to the thread alone, without asking for
// permission.
func (t *Task) SendSignal(info SigInfo) abi.Errno {
	return t.tg.send(&info, t, false, nil)
}

// SendSignal sends info's signal to the process, without asking for
// permission.
func (tg *ThreadGroup) SendSignal(info SigInfo) abi.Errno {
	return tg.send(&info, nil, false, nil)
}

// SendExternal sends a signal from outside the sandbox, as a parent PID
// namespace does: pid 1 takes SIGKILL and SIGSTOP from there.
func (tg *ThreadGroup) SendExternal(sig int32) abi.Errno {
	if !validSignal(sig) {
		return unix.EINVAL
	}
	info := KernelInfo(sig, SI_USER, 0, 0)
	return tg.send(&info, nil, true, nil)
}

// send queues a signal for the thread, or for the process if it is nil.
func (tg *ThreadGroup) send(info *SigInfo, thread *Task, force bool, timer *PosixTimer) abi.Errno {
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	return tg.sendLocked(info, thread, force, timer)
}

func (tg *ThreadGroup) sendLocked(info *SigInfo, thread *Task, force bool, timer *PosixTimer) abi.Errno {
	sig := info.Signo()
	if thread != nil {
		thread.recallMask()
	} else {
		for _, t := range tg.tasks {
			t.recallMask()
		}
	}
	if !tg.prepare(sig, thread, force) {
		return 0
	}
	q := &tg.sig.shared
	if thread != nil {
		q = &thread.sig.pending
	}
	if sig < SIGRTMIN && q.set.Has(sig) && timer == nil {
		return 0
	}
	if sig != SIGKILL {
		e, err := tg.newEntry(info, thread)
		if err != 0 {
			return err
		}
		if e != nil {
			if e.timer = timer; timer != nil {
				timer.queued = true
			}
			q.push(e)
		}
	}
	q.set |= SigBit(sig)
	tg.complete(sig, thread)
	tg.sig.fdQueue.Notify(waiter.In)
	return 0
}

// newEntry makes a queue entry within RLIMIT_SIGPENDING. Without room a
// real-time signal that was queued is refused, others lose their siginfo.
func (tg *ThreadGroup) newEntry(info *SigInfo, thread *Task) (*sigEntry, abi.Errno) {
	t := thread
	if t == nil {
		t = tg.anyTask()
	}
	if t == nil {
		return nil, 0
	}
	user := t.user.Load()
	sig, code := info.Signo(), info.Code()
	over := user.signals.Add(1) > int64(min(tg.LimitCur(RLIMIT_SIGPENDING), 1<<40))
	if over && !(sig < SIGRTMIN && code >= 0) {
		user.signals.Add(-1)
		if sig >= SIGRTMIN && code != SI_USER {
			return nil, unix.EAGAIN
		}
		return nil, 0
	}
	return &sigEntry{info: *info, user: user}, 0
}

func (tg *ThreadGroup) anyTask() *Task {
	if tg.leader != nil {
		return tg.leader
	}
	if len(tg.tasks) > 0 {
		return tg.tasks[0]
	}
	return nil
}

// prepare does what a signal does before it is queued: stop signals and
// SIGCONT drop each other, and SIGCONT continues. It tells whether the signal
// is to be queued. The caller holds sig.mu.
func (tg *ThreadGroup) prepare(sig int32, thread *Task, force bool) bool {
	s := &tg.sig
	if s.groupExit {
		return false
	}
	switch {
	case sigStop.Has(sig):
		tg.flushAll(SigBit(SIGCONT))
	case sig == SIGCONT:
		tg.flushAll(sigStop)
		tg.continueLocked()
	}
	return !tg.ignores(sig, thread, force)
}

// flushAll drops the signals of set from every queue of the group. The caller
// holds sig.mu.
func (tg *ThreadGroup) flushAll(set SignalSet) {
	tg.sig.shared.flush(set)
	for _, t := range tg.tasks {
		t.sig.pending.flush(set)
	}
}

// ignores tells whether a signal that is sent now has no effect. Blocked
// signals are never ignored. The caller holds sig.mu.
func (tg *ThreadGroup) ignores(sig int32, thread *Task, force bool) bool {
	t := thread
	if t == nil {
		t = tg.anyTask()
	}
	if t != nil && (t.blockedNow() | t.sig.realBlocked).Has(sig) {
		return false
	}
	h := tg.sig.handlers.handler(sig)
	if tg.sig.unkillable && h == SIG_DFL && !(force && sigKernelOnly.Has(sig)) {
		return true
	}
	return h == SIG_IGN || (h == SIG_DFL && sigIgnoredDfl.Has(sig))
}

// wants tells whether t is fit to take a signal of the group now.
func (t *Task) wants(sig int32) bool {
	s := &t.sig
	if s.exiting || t.blockedNow().Has(sig) {
		return false
	}
	if sig == SIGKILL {
		return true
	}
	return !s.inStop && s.work.Load() == 0
}

// complete picks a thread for a queued signal and wakes it; a fatal signal
// ends the group at once. The caller holds sig.mu.
func (tg *ThreadGroup) complete(sig int32, thread *Task) {
	t := tg.target(sig, thread)
	if t == nil {
		return
	}
	s := &tg.sig
	fatal := sig == SIGKILL || (!(sigIgnoredDfl | sigStop | sigCore).Has(sig) && s.handlers.handler(sig) == SIG_DFL && !s.unkillable)
	if fatal && !s.groupExit && !t.sig.realBlocked.Has(sig) {
		tg.groupExitLocked(uint32(sig), nil)
		return
	}
	t.signalWake(sig == SIGKILL)
}

func (tg *ThreadGroup) target(sig int32, thread *Task) *Task {
	if thread != nil {
		if thread.wants(sig) {
			return thread
		}
		return nil
	}
	if l := tg.leader; l != nil && l.wants(sig) {
		return l
	}
	n := len(tg.tasks)
	for i := range n {
		t := tg.tasks[(tg.sig.turn+i)%n]
		if t.wants(sig) {
			tg.sig.turn = (tg.sig.turn + i) % n
			return t
		}
	}
	return nil
}

// groupExitLocked begins the end of every thread but except (nil: of all)
// with a status as wait4(2) shows it. The caller holds sig.mu.
func (tg *ThreadGroup) groupExitLocked(status uint32, except *Task) {
	s := &tg.sig
	s.groupExit, s.exitStatus = true, status
	s.stopped, s.stopLeft, s.stopSig, s.continued, s.notify = false, 0, 0, false, 0
	tg.killOthersLocked(except)
}

func (tg *ThreadGroup) killOthersLocked(except *Task) {
	for _, t := range tg.tasks {
		t.sig.stopPending, t.sig.stopConsume = false, false
		if t == except || t.sig.exiting {
			continue
		}
		t.sig.pending.set |= SigBit(SIGKILL)
		t.signalWake(true)
	}
}

// ForceSignal sends a signal that the task cannot block or ignore: a fault, or
// seccomp's trap (own goroutine).
func (t *Task) ForceSignal(info SigInfo) {
	tg, sig := t.tg, info.Signo()
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	h := tg.sig.handlers
	h.mu.Lock()
	a := &h.actions[sig]
	if t.sig.blocked.Has(sig) || a.Handler == SIG_IGN {
		a.Handler = SIG_DFL
		t.sig.blocked &^= SigBit(sig)
	}
	dfl := a.Handler == SIG_DFL
	h.mu.Unlock()
	if dfl {
		tg.sig.unkillable = false
	}
	tg.sendLocked(&info, t, false, nil)
	t.recalc()
}

// ForceFatal sends a signal that ends the process whatever its handler is: a
// frame of SIGSEGV's own handler could not be built (own goroutine).
func (t *Task) ForceFatal(info SigInfo) {
	h := t.tg.sig.handlers
	h.mu.Lock()
	h.actions[info.Signo()].Handler = SIG_DFL
	h.mu.Unlock()
	t.ForceSignal(info)
}
