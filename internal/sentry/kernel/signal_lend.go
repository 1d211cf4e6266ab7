package kernel

import "bulkhead.dev/bulkhead/internal/platform"

// While no signal waits for a task, its stub changes its mask without asking:
// the mask is lent, and stands in the slot for as long as guest code runs. Who
// sends a signal recalls it first, under sig.mu. A change that the stub makes at
// that very moment comes to the Sentry as an interrupt (stub/calls.c, sigmask).
const (
	maskKept     uint32 = iota // the stub asks
	maskLent                   // the stub may change it
	maskRecalled               // it may no longer; what it has counts until the task's next event
)

// takeMask begins an event: what the stub has is the task's (own goroutine,
// before it is no longer said to be in user mode).
func (t *Task) takeMask(th *platform.Thread) {
	if m := SignalSet(th.Mask()) &^ sigKernelOnly; m != t.sig.blocked {
		t.setBlocked(m)
	}
}

// giveMask ends an event (own goroutine, before the task is said to be in user
// mode).
func (t *Task) giveMask(th *platform.Thread) {
	if t.sig.lent.Load() == maskLent && SignalSet(th.Mask()) == t.sig.blocked {
		return
	}
	mu := &t.tg.sig.mu
	mu.Lock()
	if (t.sig.pending.set|t.tg.sig.shared.set) == 0 && !t.k.watchCalls && !t.WatchesCalls() {
		th.LendMask(uint64(t.sig.blocked))
		t.sig.lent.Store(maskLent)
	} else {
		t.keepMaskLocked(th)
	}
	mu.Unlock()
}

// keepMaskLocked ends the lending. The caller holds sig.mu, and what the stub
// had was taken or is void.
func (t *Task) keepMaskLocked(th *platform.Thread) {
	if t.sig.lent.Load() != maskKept {
		th.RecallMask()
		t.sig.lent.Store(maskKept)
	}
}

func (t *Task) keepMask(th *platform.Thread) {
	t.tg.sig.mu.Lock()
	t.keepMaskLocked(th)
	t.tg.sig.mu.Unlock()
}

// recallMask comes before a signal is queued for the task, or for its group.
// The caller holds sig.mu.
func (t *Task) recallMask() {
	if t.sig.lent.Load() != maskLent {
		return
	}
	t.sig.lent.Store(maskRecalled)
	if th := t.plat.th.Load(); th != nil {
		th.RecallMask()
	}
}

// blockedNow is the mask of any task of the group, which may be running. The
// caller holds sig.mu.
func (t *Task) blockedNow() SignalSet {
	if t.sig.lent.Load() != maskKept && t.plat.user.Load() {
		if th := t.plat.th.Load(); th != nil {
			return SignalSet(th.Mask()) &^ sigKernelOnly
		}
	}
	return t.sig.blocked
}
