package kernel

import (
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

const anyBit = ^uint32(0)

// parker is one task's bed: a futex word of the Sentry's own. A wake that comes
// before the sleep is kept.
type parker struct {
	// idle: the bed of a worker, which Release may move to a slot's turn.
	idle bool
	word uint32 // atomic: 0 awake, 1 asleep, 2 a wake is due
}

// sleep waits for a wake, until deadline (CLOCK_MONOTONIC, ns; 0: for ever).
// It tells whether it was woken.
func (p *parker) sleep(deadline int64) bool {
	for {
		if atomic.CompareAndSwapUint32(&p.word, 2, 0) {
			return true
		}
		if deadline != 0 && ktime.Mono() >= deadline {
			return false
		}
		if !atomic.CompareAndSwapUint32(&p.word, 0, 1) {
			continue
		}
		platform.FutexWait(&p.word, 1, p.bit(), !p.idle, deadline)
		if !atomic.CompareAndSwapUint32(&p.word, 1, 0) {
			continue
		}
		// Timed out, or woken by the host for no reason.
		if deadline == 0 {
			continue
		}
	}
}

// wake ends the sleep, or the next one.
func (p *parker) wake() {
	if p.due() {
		p.rouse()
	}
}

// due ends the sleep but for the host's: it tells whether rouse must follow.
func (p *parker) due() bool { return atomic.SwapUint32(&p.word, 2) == 1 }

func (p *parker) rouse() { platform.FutexWake(&p.word, p.bit(), !p.idle) }

// woken tells whether a wake is waiting already.
func (p *parker) woken() bool { return atomic.LoadUint32(&p.word) == 2 }

// asleep tells whether the task sleeps; a hint.
func (p *parker) asleep() bool { return atomic.LoadUint32(&p.word) == 1 }

func (p *parker) bit() uint32 {
	if p.idle {
		return platform.SentryBit
	}
	return anyBit
}
