package kernel

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// SigTimedWait is sigtimedwait(2): it takes a pending signal of set, or waits
// for one until deadline (CLOCK_MONOTONIC, ns; 0: for ever). poll: it does not
// wait. EAGAIN: none came; EINTR: another signal did.
func (t *Task) SigTimedWait(set SignalSet, deadline int64, poll bool) (SigInfo, abi.Errno) {
	set &^= sigKernelOnly
	if i, ok := t.takeSignal(set); ok || poll {
		return i, either(ok, unix.EAGAIN)
	}
	s := &t.tg.sig
	// The signals of set are let through while the task sleeps, and marked as
	// waited for, so that they are not ignored and do not kill.
	s.mu.Lock()
	t.sig.realBlocked = t.sig.blocked
	t.sig.blocked &^= set
	t.recalc()
	s.mu.Unlock()
	e := abi.Errno(0)
	for e == 0 {
		e = t.Block(deadline)
	}
	s.mu.Lock()
	t.sig.blocked = t.sig.realBlocked
	t.sig.realBlocked = 0
	t.recalc()
	s.mu.Unlock()
	if i, ok := t.takeSignal(set); ok {
		return i, 0
	}
	if e == unix.ETIMEDOUT {
		return SigInfo{}, unix.EAGAIN
	}
	return SigInfo{}, unix.EINTR
}

func either(ok bool, e abi.Errno) abi.Errno {
	if ok {
		return 0
	}
	return e
}

// takeSignal dequeues a pending signal of set.
func (t *Task) takeSignal(set SignalSet) (SigInfo, bool) {
	s := &t.tg.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	if (t.sig.pending.set|s.shared.set)&set == 0 {
		return SigInfo{}, false
	}
	sig, e := t.dequeue(^set)
	t.recalc()
	if sig == 0 {
		return SigInfo{}, false
	}
	return e.info, true
}

// SignalfdTake, SignalfdPending and SignalfdQueue are what signalfd(2) files
// ask of the task that reads or polls them (signalfd.Signals).
func (t *Task) SignalfdTake(mask uint64, out *[128]byte) bool {
	i, ok := t.takeSignal(SignalSet(mask) &^ sigKernelOnly)
	if ok {
		i.signalfd(out)
	}
	return ok
}

func (t *Task) SignalfdPending(mask uint64) bool {
	s := &t.tg.sig
	s.mu.Lock()
	defer s.mu.Unlock()
	return (t.sig.pending.set|s.shared.set)&SignalSet(mask)&^sigKernelOnly != 0
}

func (t *Task) SignalfdQueue() *waiter.Queue { return &t.tg.sig.fdQueue }

// Layouts of siginfo_t's union.
const (
	layoutKill = iota
	layoutTimer
	layoutPoll
	layoutFault
	layoutChild
	layoutQueue
	layoutSys
)

// layout tells which part of the union holds (siginfo_layout).
func (i *SigInfo) layout() int {
	sig, code := i.Signo(), i.Code()
	if code > SI_USER && code < SI_KERNEL {
		switch sig {
		case SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP:
			return layoutFault
		case SIGCHLD:
			return layoutChild
		case SIGSYS:
			return layoutSys
		}
		return layoutPoll
	}
	switch {
	case code == SI_TIMER:
		return layoutTimer
	case code == SI_SIGIO:
		return layoutPoll
	case code < 0:
		return layoutQueue
	}
	return layoutKill
}

// signalfd encodes struct signalfd_siginfo.
func (i *SigInfo) signalfd(out *[128]byte) {
	*out = [128]byte{}
	put := func(off int, v int32) { binary.LittleEndian.PutUint32(out[off:], uint32(v)) }
	put64 := func(off int, v uint64) { binary.LittleEndian.PutUint64(out[off:], v) }
	put(0, i.Signo())
	put(4, i.get32(4))
	put(8, i.Code())
	switch i.layout() {
	case layoutKill:
		put(12, i.get32(16))
		put(16, i.get32(20))
	case layoutTimer:
		put(24, i.get32(16))
		put(32, i.get32(20))
		put(44, i.get32(24))
		put64(48, i.get64(24))
	case layoutPoll:
		put(28, i.get32(16))
		put(20, i.get32(24))
	case layoutFault:
		put64(72, i.get64(16))
	case layoutChild:
		put(12, i.get32(16))
		put(16, i.get32(20))
		put(40, i.get32(24))
		put64(56, i.get64(32))
		put64(64, i.get64(40))
	case layoutQueue:
		put(12, i.get32(16))
		put(16, i.get32(20))
		put(44, i.get32(24))
		put64(48, i.get64(24))
	case layoutSys:
		put64(88, i.get64(16))
		put(84, i.get32(24))
		put(96, i.get32(28))
	}
}
