package kernel

import (
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// SignalHandlers is a table of dispositions, shared by the tasks that were
// cloned with CLONE_SIGHAND. mu is a leaf below tgSignals.mu.
type SignalHandlers struct {
	mu      sync.Mutex
	refs    int
	actions [NSIG + 1]SigAction
}

func newHandlers() *SignalHandlers { return &SignalHandlers{refs: 1} }

func (h *SignalHandlers) get(sig int32) SigAction {
	h.mu.Lock()
	a := h.actions[sig]
	h.mu.Unlock()
	return a
}

func (h *SignalHandlers) handler(sig int32) uint64 {
	h.mu.Lock()
	a := h.actions[sig].Handler
	h.mu.Unlock()
	return a
}

// fork copies the table; with clear all but the ignored signals go back to
// their defaults, as exec and CLONE_CLEAR_SIGHAND do.
func (h *SignalHandlers) fork(clear bool) *SignalHandlers {
	n := newHandlers()
	h.mu.Lock()
	n.actions = h.actions
	h.mu.Unlock()
	if clear {
		n.reset()
	}
	return n
}

func (h *SignalHandlers) reset() {
	for i := range h.actions {
		if h.actions[i].Handler == SIG_IGN {
			h.actions[i] = SigAction{Handler: SIG_IGN}
			continue
		}
		h.actions[i] = SigAction{}
	}
}

// sigEntry is one queued signal.
type sigEntry struct {
	next  *sigEntry
	info  SigInfo
	user  *userCounts // whose RLIMIT_SIGPENDING it counts for
	timer *PosixTimer // the timer that it tells of
}

// sigQueue holds pending signals: set says which, the list has their siginfo
// where there was room for one.
type sigQueue struct {
	set        SignalSet
	head, tail *sigEntry
}

func (q *sigQueue) push(e *sigEntry) {
	e.next = nil
	if q.tail != nil {
		q.tail.next = e
	} else {
		q.head = e
	}
	q.tail = e
}

// take removes the first entry of sig; it clears sig's bit when no more
// follows. The entry is nil if its siginfo was lost.
func (q *sigQueue) take(sig int32) *sigEntry {
	var found, prev *sigEntry
	more := false
	for e, p := q.head, (*sigEntry)(nil); e != nil; p, e = e, e.next {
		if e.info.Signo() != sig {
			continue
		}
		if found == nil {
			found, prev = e, p
			continue
		}
		more = true
		break
	}
	if !more {
		q.set &^= SigBit(sig)
	}
	if found != nil {
		q.unlink(found, prev)
		found.uncharge()
	}
	return found
}

func (q *sigQueue) unlink(e, prev *sigEntry) {
	if prev != nil {
		prev.next = e.next
	} else {
		q.head = e.next
	}
	if q.tail == e {
		q.tail = prev
	}
	e.next = nil
}

// flush drops all signals of set.
func (q *sigQueue) flush(set SignalSet) {
	if q.set&set == 0 {
		return
	}
	q.set &^= set
	var prev *sigEntry
	for e := q.head; e != nil; {
		next := e.next
		if set.Has(e.info.Signo()) {
			q.unlink(e, prev)
			e.uncharge()
		} else {
			prev = e
		}
		e = next
	}
}

func (e *sigEntry) uncharge() {
	if e.user != nil {
		e.user.signals.Add(-1)
		e.user = nil
	}
	if e.timer != nil {
		e.timer.queued = false // sig.mu is the timer's too
	}
}

// tgSignals is a process's signal state. mu guards all of it, and the part of
// each thread's taskSignals that says so.
type tgSignals struct {
	mu       sync.Mutex
	handlers *SignalHandlers
	shared   sigQueue
	fdQueue  waiter.Queue // signalfd and sigtimedwait of others; a leaf

	groupExit  bool   // all threads are leaving
	exitStatus uint32 // with this status, as wait4(2) shows it
	execTask   *Task  // the thread that is ending the others for its exec
	unkillable bool   // pid 1: ignores what it has no handler for

	stopped   bool  // the whole group is stopped
	stopLeft  int   // threads that have yet to stop
	stopSig   int32 // what stopped it; 0 once waited for
	continued bool  // continued, and not waited for
	notify    int32 // CLD_STOPPED or CLD_CONTINUED that the parent is to be told

	turn   int // where the search for a thread begins
	timers tgTimers
}

func (s *tgSignals) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// Bits of taskSignals.work.
const (
	workSignal = 1 // dequeueForDelivery has something to do
	workKilled = 2 // the task is to exit
)

// taskSignals is a task's signal state.
type taskSignals struct {
	work atomic.Uint32 // read without a lock; written under tg.sig.mu

	lent atomic.Uint32 // maskKept, …; written under tg.sig.mu

	// Guarded by tg.sig.mu; the masks are written by the own goroutine alone,
	// which reads them freely.
	pending     sigQueue
	blocked     SignalSet
	realBlocked SignalSet // the mask during sigtimedwait
	stopPending bool      // has to take part in a group stop
	stopConsume bool      // and counts in stopLeft
	stopTaken   bool      // has dequeued a stop signal, and no SIGCONT came since
	inStop      bool      // stopped
	exiting     bool      // takes no more signals

	// Own goroutine.
	savedMask SignalSet
	hasSaved  bool
	alt       AltStack
	delivery  Delivery
	restart   func(*Task) (uint64, abi.Errno)
}

// interrupted tells whether a signal or a stop is to be handled before the
// task goes on.
func (t *Task) interrupted() bool { return t.sig.work.Load() != 0 }

// killed tells whether the task is to exit.
func (t *Task) killed() bool { return t.sig.work.Load()&workKilled != 0 }

// Interrupted is interrupted for handlers of calls.
func (t *Task) Interrupted() bool { return t.interrupted() }

// Killed is killed for handlers of calls.
func (t *Task) Killed() bool { return t.killed() }

// recalc sets work from what is pending. The caller holds tg.sig.mu.
func (t *Task) recalc() {
	s := &t.sig
	w := s.work.Load() & workKilled
	if s.stopPending || (s.pending.set|t.tg.sig.shared.set)&^s.blocked != 0 || t.tg.sig.notify != 0 {
		w |= workSignal
	}
	s.work.Store(w)
}

// signalWake makes t look at its signals. The caller holds tg.sig.mu.
func (t *Task) signalWake(fatal bool) {
	w := uint32(workSignal)
	if fatal {
		w |= workKilled
		t.sig.inStop = false
	}
	t.sig.work.Or(w)
	t.park.wake()
	t.plat.kick()
	if fatal {
		t.killSoon()
	}
}
