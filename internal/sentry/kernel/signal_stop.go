package kernel

import "bulkhead.dev/bulkhead/internal/sentry/waiter"

// Group stops (signal(7), "stop" actions). A stop signal that one thread
// dequeues asks every thread to stop; the last one to do so tells the parent.
// SIGCONT ends the stop when it is sent, whether blocked or ignored.

// continueLocked ends a group stop. The caller holds sig.mu.
func (tg *ThreadGroup) continueLocked() {
	s := &tg.sig
	for _, t := range tg.tasks {
		t.sig.stopPending, t.sig.stopConsume, t.sig.stopTaken = false, false, false
		if t.sig.inStop {
			t.sig.inStop = false
			t.park.wake()
		}
	}
	why := int32(0)
	switch {
	case s.stopped:
		why = CLD_CONTINUED
	case s.stopLeft > 0:
		why = CLD_STOPPED // it stopped and was continued at the same moment
	}
	if why == 0 {
		return
	}
	s.stopped, s.stopLeft, s.stopSig = false, 0, 0
	s.continued, s.notify = true, why
	// Some thread tells the parent on its way out.
	for _, t := range tg.tasks {
		if !t.sig.exiting {
			t.signalWake(false)
			return
		}
	}
}

// beginStop starts a group stop for sig, which t has dequeued; false if a
// SIGCONT or an exit came first. The caller holds sig.mu.
func (t *Task) beginStop(sig int32) bool {
	s := &t.tg.sig
	if !t.sig.stopTaken || s.groupExit || s.execTask != nil {
		return false
	}
	if !s.stopped {
		s.stopSig = sig
	}
	s.stopLeft = 0
	for _, o := range t.tg.tasks {
		if o.sig.exiting || o.sig.inStop {
			continue
		}
		o.sig.stopPending, o.sig.stopConsume = true, true
		s.stopLeft++
		if o != t {
			o.signalWake(false)
		}
	}
	return true
}

// takePartInStop counts t as stopped (or gone); true if it was the last, and
// the parent is to be told. The caller holds sig.mu.
func (t *Task) takePartInStop() bool {
	s := &t.tg.sig
	consume := t.sig.stopConsume
	t.sig.stopPending, t.sig.stopConsume = false, false
	if !consume || s.stopLeft == 0 {
		return false
	}
	if s.stopLeft--; s.stopLeft > 0 || s.stopped {
		return false
	}
	s.stopped, s.continued = true, false
	return true
}

// stop stops t until it is continued or killed. The caller holds sig.mu, which
// is held again afterwards.
func (t *Task) stop() {
	s := &t.tg.sig
	last := t.takePartInStop()
	t.sig.inStop = true
	s.mu.Unlock()
	if last {
		t.tg.notifyStop(CLD_STOPPED)
	}
	for {
		s.mu.Lock()
		if !t.sig.inStop || t.killed() {
			t.sig.inStop = false
			return
		}
		s.mu.Unlock()
		t.park.sleep(0)
	}
}

// notifyStop tells the parent that the process has stopped or continued.
func (tg *ThreadGroup) notifyStop(why int32) {
	k := tg.k
	k.mu.RLock()
	defer k.mu.RUnlock()
	p := tg.parent
	if p == nil {
		return
	}
	status := int32(SIGCONT)
	if why == CLD_STOPPED {
		tg.sig.mu.Lock()
		if status = tg.sig.stopSig; status == 0 {
			status = SIGSTOP
		}
		tg.sig.mu.Unlock()
	}
	ut, st := tg.CPUTimes()
	info := childInfo(SIGCHLD, why, tg.pid, tg.leader.Creds().UID, status, ut, st)
	p.sig.mu.Lock()
	a := p.sig.handlers.get(SIGCHLD)
	if a.Handler != SIG_IGN && a.Flags&SA_NOCLDSTOP == 0 {
		p.sendLocked(&info, nil, false, nil)
	}
	p.sig.mu.Unlock()
	p.childQ.Notify(waiter.In)
}
