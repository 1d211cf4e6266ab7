package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// Values of sigprocmask(2)'s how.
const (
	SIG_BLOCK   = 0
	SIG_UNBLOCK = 1
	SIG_SETMASK = 2
)

// SignalMask gives the blocked signals (own goroutine).
func (t *Task) SignalMask() SignalSet { return t.sig.blocked }

// SetSignalMask installs a mask (own goroutine).
func (t *Task) SetSignalMask(m SignalSet) { t.setBlocked(m) }

func (t *Task) setBlocked(m SignalSet) {
	t.tg.sig.mu.Lock()
	t.setBlockedLocked(m)
	t.tg.sig.mu.Unlock()
}

// setBlockedLocked installs a mask. Signals of the group that only t could
// have taken, and that it blocks from now on, go to another thread.
func (t *Task) setBlockedLocked(m SignalSet) {
	m &^= sigKernelOnly
	newly := m &^ t.sig.blocked
	t.sig.blocked = m
	if newly != 0 && len(t.tg.tasks) > 1 && t.sig.work.Load() != 0 {
		t.retarget(newly)
	}
	t.recalc()
}

// retarget hands the pending signals of the group that are in set, and that t
// may have been woken for, to other threads. The caller holds sig.mu.
func (t *Task) retarget(set SignalSet) {
	set &= t.tg.sig.shared.set
	if set == 0 {
		return
	}
	for _, o := range t.tg.tasks {
		if o == t || o.sig.exiting {
			continue
		}
		mine := set &^ o.blockedNow()
		if mine == 0 {
			continue
		}
		set &^= mine
		if o.sig.work.Load() == 0 {
			o.signalWake(false)
		}
		if set == 0 {
			return
		}
	}
}

// ChangeMask is sigprocmask(2) past its copying; it gives the old mask.
func (t *Task) ChangeMask(how int32, set SignalSet) (SignalSet, abi.Errno) {
	old := t.sig.blocked
	switch how {
	case SIG_BLOCK:
		t.setBlocked(old | set)
	case SIG_UNBLOCK:
		t.setBlocked(old &^ set)
	case SIG_SETMASK:
		t.setBlocked(set)
	default:
		return old, unix.EINVAL
	}
	return old, 0
}

// SetTempMask installs a mask for the length of one call (ppoll(2), pselect(2),
// epoll_pwait(2), sigsuspend(2)). A handler that ends the call runs under it,
// and its frame restores the mask of before.
func (t *Task) SetTempMask(m SignalSet) {
	t.sig.savedMask, t.sig.hasSaved = t.sig.blocked, true
	t.setBlocked(m)
}

// RestoreMask ends SetTempMask, unless the call was interrupted: then the
// delivery of the signal does.
func (t *Task) RestoreMask(interrupted bool) {
	if !t.sig.hasSaved || interrupted {
		return
	}
	t.sig.hasSaved = false
	t.setBlocked(t.sig.savedMask)
}

// SigSuspend is sigsuspend(2): it always ends with ERESTARTNOHAND.
func (t *Task) SigSuspend(m SignalSet) abi.Errno {
	t.SetTempMask(m)
	for t.Block(0) == 0 {
	}
	return abi.ERESTARTNOHAND
}

// Pause is pause(2).
func (t *Task) Pause() abi.Errno {
	for t.Block(0) == 0 {
	}
	return abi.ERESTARTNOHAND
}

// PendingSignals gives the blocked signals that wait (sigpending(2)).
func (t *Task) PendingSignals() SignalSet {
	t.tg.sig.mu.Lock()
	defer t.tg.sig.mu.Unlock()
	return (t.sig.pending.set | t.tg.sig.shared.set) & t.sig.blocked
}

// SetAction is sigaction(2) past its copying: it installs a if it is given, and
// gives the old action.
func (t *Task) SetAction(sig int32, a *SigAction) (SigAction, abi.Errno) {
	if !validSignal(sig) || (a != nil && sigKernelOnly.Has(sig)) {
		return SigAction{}, unix.EINVAL
	}
	tg := t.tg
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	h := tg.sig.handlers
	h.mu.Lock()
	old := h.actions[sig]
	if a != nil {
		n := *a
		n.Flags &= saKnown
		n.Mask &^= sigKernelOnly
		h.actions[sig] = n
	}
	h.mu.Unlock()
	if a != nil && (a.Handler == SIG_IGN || (a.Handler == SIG_DFL && sigIgnoredDfl.Has(sig))) {
		tg.flushAll(SigBit(sig))
		for _, o := range tg.tasks {
			o.recalcKeep()
		}
	}
	return old, 0
}

// recalcKeep is recalc for another's task: a wake that is on its way stays,
// and does no harm.
func (t *Task) recalcKeep() {
	if t.sig.work.Load()&workKilled == 0 {
		t.recalc()
	}
}

// AltStack gives the alternate stack with SS_ONSTACK or SS_DISABLE as
// sigaltstack(2) shows it; sp is the caller's stack pointer.
func (t *Task) AltStack(sp uint64) AltStack { return t.frameAltStack(sp) }

// minSigStack is MINSIGSTKSZ.
const minSigStack = 2048

// SetAltStack is sigaltstack(2)'s setting half.
func (t *Task) SetAltStack(n AltStack, sp uint64) abi.Errno {
	if t.onAltStack(sp) {
		return unix.EPERM
	}
	if n == t.sig.alt {
		return 0
	}
	mode := n.Flags &^ SS_AUTODISARM
	if mode != 0 && mode != SS_DISABLE && mode != SS_ONSTACK {
		return unix.EINVAL
	}
	if mode == SS_DISABLE {
		n.SP, n.Size = 0, 0
	} else if n.Size < minSigStack {
		return unix.ENOMEM
	}
	t.sig.alt = n
	return 0
}

// RestoreAltStack is what rt_sigreturn(2) does with uc_stack: errors are
// ignored, and it is set even while in use by SS_AUTODISARM's rule.
func (t *Task) RestoreAltStack(n AltStack, sp uint64) { t.SetAltStack(n, sp) }
