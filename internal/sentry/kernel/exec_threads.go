package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// PrepareExec is exec's point of no return for the process (de_thread): it ends
// all other threads and waits for them, and t takes the leader's id. Then
// what exec resets is reset: dispositions, timers of timer_create(2), the
// alternate stack, the parent-death signal's exec rule, the exit signal. EAGAIN
// or EINTR: t itself is being killed, and goes no further than its exit.
func (t *Task) PrepareExec() abi.Errno {
	tg, k := t.tg, t.k
	tg.sig.mu.Lock()
	if tg.sig.groupExit || tg.sig.execTask != nil {
		tg.sig.mu.Unlock()
		return unix.EAGAIN
	}
	if len(tg.tasks) > 1 {
		tg.sig.execTask = t
		tg.sig.stopped, tg.sig.stopLeft = false, 0
		tg.killOthersLocked(t)
	}
	tg.sig.mu.Unlock()
	if e := t.awaitAlone(); e != 0 {
		return e
	}
	k.mu.Lock()
	if tg.leader != t {
		k.takeLeaderID(t)
	}
	tg.execID++
	tg.exitSignal = SIGCHLD
	tg.didExec = true
	tg.barrier.Store(false)
	k.mu.Unlock()
	t.resetSignals()
	return 0
}

// awaitAlone waits until no other thread of the group is alive.
func (t *Task) awaitAlone() abi.Errno {
	tg, k := t.tg, t.k
	for {
		k.mu.RLock()
		alone := tg.alive() == 1
		k.mu.RUnlock()
		if alone {
			return 0
		}
		if e := t.BlockUninterruptible(); e != 0 {
			tg.sig.mu.Lock()
			tg.sig.execTask = nil
			tg.sig.mu.Unlock()
			return e
		}
	}
}

// takeLeaderID makes t the leader in place of a zombie one. The caller holds
// mu.
func (k *Kernel) takeLeaderID(t *Task) {
	tg, old := t.tg, t.tg.leader
	own := t.tid
	k.pids[own].task = nil
	k.putPID(own)
	old.exitState = taskDead
	k.forget(old)
	t.tid = tg.pid
	tg.leader = t
	k.pids[tg.pid].task = t
}

// resetSignals gives the process its own table of dispositions, with handlers
// gone, and drops what does not outlive an exec.
func (t *Task) resetSignals() {
	tg := t.tg
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	h := tg.sig.handlers
	h.mu.Lock()
	shared := h.refs > 1
	if shared {
		h.refs--
	} else {
		h.reset()
	}
	h.mu.Unlock()
	if shared {
		tg.sig.handlers = h.fork(true)
	}
	tg.sig.execTask = nil
	tg.deletePosixTimersLocked()
	t.sig.alt = AltStack{}
	t.sig.restart = nil
	t.recalc()
}

// SignalQueue is notified when a signal has been queued for the process or one
// of its threads (signalfd(2)).
func (tg *ThreadGroup) SignalQueue() *waiter.Queue { return &tg.sig.fdQueue }

// hasExeced tells whether the process has run an exec since its fork.
func (tg *ThreadGroup) hasExeced() bool {
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	return tg.didExec
}
