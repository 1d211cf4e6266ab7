package kernel

import (
	"bulkhead.dev/bulkhead/internal/abi"
)

// dequeueForDelivery does what signals ask of the task before it goes on in
// user mode. It blocks while the task is stopped. nil: nothing is left to do.
// The run loop calls it when interrupted() holds or a call has returned with a
// temporary mask, and again after each handler frame it has built, until nil.
func (t *Task) dequeueForDelivery() *Delivery {
	tg := t.tg
	tg.sig.mu.Lock()
	for {
		if why := tg.sig.notify; why != 0 {
			tg.sig.notify = 0
			tg.sig.mu.Unlock()
			tg.notifyStop(why)
			tg.sig.mu.Lock()
			continue
		}
		if d := t.exitDue(); d != nil {
			tg.sig.mu.Unlock()
			return d
		}
		if t.sig.stopPending {
			t.stop()
			continue
		}
		sig, e := t.dequeue(t.sig.blocked)
		if sig == 0 {
			break
		}
		if d := t.act(sig, e); d != nil {
			tg.sig.mu.Unlock()
			return d
		}
	}
	if t.sig.hasSaved {
		t.sig.hasSaved = false
		t.setBlockedLocked(t.sig.savedMask)
	}
	t.recalc()
	again := t.interrupted()
	tg.sig.mu.Unlock()
	if again {
		return t.dequeueForDelivery()
	}
	return nil
}

// exitDue tells whether the task is to exit. The caller holds sig.mu.
func (t *Task) exitDue() *Delivery {
	s := &t.tg.sig
	switch {
	case s.groupExit:
		return t.exitDelivery(s.exitStatus)
	case s.execTask != nil && s.execTask != t:
		return t.exitDelivery(0)
	case t.killed():
		return t.exitDelivery(SIGKILL)
	}
	return nil
}

func (t *Task) exitDelivery(status uint32) *Delivery {
	t.sig.delivery = Delivery{Kind: DeliverExit, Status: status}
	return &t.sig.delivery
}

// dequeue takes the next signal that is not in mask: faults of the task first,
// then its own, then the group's, each by number. sig 0: none. The caller
// holds sig.mu.
func (t *Task) dequeue(mask SignalSet) (int32, *sigEntry) {
	own := &t.sig.pending
	if sig, e := own.takeFault(mask); e != nil {
		return sig, e
	}
	q, set := own, own.set&^mask
	if set == 0 {
		q = &t.tg.sig.shared
		set = q.set &^ mask
	}
	if set == 0 {
		return 0, nil
	}
	sig := set.first()
	if f := set & sigSynchronous; f != 0 {
		sig = f.first()
	}
	if set.Has(SIGKILL) {
		sig = SIGKILL
	}
	e := q.take(sig)
	if e == nil {
		i := KernelInfo(sig, SI_USER, 0, 0)
		e = &sigEntry{info: i}
	}
	if e.timer != nil {
		e.timer.delivered(&e.info)
	}
	if sigStop.Has(sig) {
		t.sig.stopTaken = true
	}
	return sig, e
}

// takeFault takes a pending fault: a synchronous signal from the kernel.
func (q *sigQueue) takeFault(mask SignalSet) (int32, *sigEntry) {
	set := q.set & sigSynchronous &^ mask
	if set == 0 {
		return 0, nil
	}
	for e := q.head; e != nil; e = e.next {
		if sig := e.info.Signo(); set.Has(sig) && e.info.Code() > SI_USER {
			return sig, q.take(sig)
		}
	}
	return 0, nil
}

// act does the action of a dequeued signal; nil: look for the next one. The
// caller holds sig.mu.
func (t *Task) act(sig int32, e *sigEntry) *Delivery {
	s := &t.tg.sig
	a := s.handlers.get(sig)
	switch {
	case a.Handler == SIG_IGN:
		return nil
	case a.Handler != SIG_DFL:
		return t.handlerDelivery(sig, e, a)
	case sigIgnoredDfl.Has(sig):
		return nil
	case s.unkillable && !sigKernelOnly.Has(sig):
		return nil
	case sigStop.Has(sig):
		t.stopFor(sig)
		return nil
	}
	s.groupExitOrJoin(t, uint32(sig))
	return t.exitDelivery(s.exitStatus)
}

// groupExitOrJoin begins a group exit, unless one is on its way.
func (s *tgSignals) groupExitOrJoin(t *Task, status uint32) {
	if !s.groupExit {
		t.tg.groupExitLocked(status, t)
	}
	t.sig.work.Or(workSignal | workKilled)
}

// stopFor begins the group stop of a stop signal's default action; terminal
// stops do nothing in an orphaned group. The caller holds sig.mu.
func (t *Task) stopFor(sig int32) {
	s := &t.tg.sig
	if sig != SIGSTOP {
		s.mu.Unlock()
		orphaned := t.inOrphanedGroup()
		s.mu.Lock()
		if orphaned {
			return
		}
	}
	t.beginStop(sig)
}

func (t *Task) inOrphanedGroup() bool {
	k := t.k
	k.mu.RLock()
	defer k.mu.RUnlock()
	return t.tg.pgrp != nil && k.isOrphaned(t.tg.pgrp, nil)
}

func (t *Task) handlerDelivery(sig int32, e *sigEntry, a SigAction) *Delivery {
	if a.Flags&SA_RESETHAND != 0 {
		h := t.tg.sig.handlers
		h.mu.Lock()
		h.actions[sig].Handler = SIG_DFL
		h.mu.Unlock()
	}
	d := &t.sig.delivery
	d.Kind, d.Sig, d.Info, d.Action, d.Status = DeliverHandler, sig, e.info, a, 0
	d.SaveMask = t.sig.blocked
	if t.sig.hasSaved {
		d.SaveMask = t.sig.savedMask
	}
	d.NewMask = t.sig.blocked | a.Mask
	if a.Flags&SA_NODEFER == 0 {
		d.NewMask |= SigBit(sig)
	}
	d.NewMask &^= sigKernelOnly
	return d
}

// handlerStack gives the stack pointer from which the frame of d is built,
// given the interrupted one: the top of the alternate stack where the handler
// asks for it (SA_ONSTACK) and the task is not on it already.
func (t *Task) handlerStack(d *Delivery, sp uint64) uint64 {
	a := &t.sig.alt
	if d.Action.Flags&SA_ONSTACK == 0 || a.Size == 0 || t.onAltStack(sp) {
		return sp
	}
	return a.SP + a.Size
}

// onAltStack tells whether sp is on the alternate stack. With SS_AUTODISARM
// the stack is never thought to be in use.
func (t *Task) onAltStack(sp uint64) bool {
	a := &t.sig.alt
	return a.Flags&SS_AUTODISARM == 0 && a.Size != 0 && a.Contains(sp)
}

// frameAltStack gives the uc_stack of a frame; sp is the interrupted stack
// pointer.
func (t *Task) frameAltStack(sp uint64) AltStack {
	a := t.sig.alt
	if a.Size == 0 {
		a.Flags = SS_DISABLE
	} else if t.onAltStack(sp) {
		a.Flags |= SS_ONSTACK
	}
	return a
}

// handlerStarted ends a delivery: ok says that the frame stands. If it does
// not, the task gets SIGSEGV.
func (t *Task) handlerStarted(d *Delivery, ok bool) {
	if !ok {
		info := KernelInfo(SIGSEGV, SI_KERNEL, 0, 0)
		if d.Sig == SIGSEGV {
			t.ForceFatal(info)
			return
		}
		t.ForceSignal(info)
		return
	}
	t.sig.hasSaved = false
	t.setBlocked(d.NewMask)
	if t.sig.alt.Flags&SS_AUTODISARM != 0 {
		t.sig.alt = AltStack{Flags: SS_DISABLE}
	}
}

// restartDecision says how a call that returned e goes on, given the handler
// that is about to run (nil: none), as signal(7) tells.
func restartDecision(e abi.Errno, d *Delivery) Restart {
	switch e {
	case abi.ERESTARTNOINTR:
		return RestartSame
	case abi.ERESTARTSYS:
		if d != nil && d.Action.Flags&SA_RESTART == 0 {
			return RestartEINTR
		}
		return RestartSame
	case abi.ERESTARTNOHAND:
		if d != nil {
			return RestartEINTR
		}
		return RestartSame
	case abi.ERESTART_RESTARTBLOCK:
		if d != nil {
			return RestartEINTR
		}
		return RestartBlock
	}
	return RestartNone
}

// SetRestart keeps what restart_syscall(2) does after the call that is ending
// with ERESTART_RESTARTBLOCK.
func (t *Task) SetRestart(f func(*Task) (uint64, abi.Errno)) abi.Errno {
	t.sig.restart = f
	return abi.ERESTART_RESTARTBLOCK
}

// RestartSyscall is restart_syscall(2).
func (t *Task) RestartSyscall() (uint64, abi.Errno) {
	f := t.sig.restart
	if f == nil {
		return 0, abi.Errno(4) // EINTR
	}
	t.sig.restart = nil
	return f(t)
}
