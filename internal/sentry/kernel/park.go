package kernel

import (
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

// parker is one task's bed: a futex word of the Sentry's own. A wake that comes
// before the sleep is kept.
type parker struct {
	word atomic.Uint32 // 0 awake, 1 asleep, 2 a wake is due
}

// sleep waits for a wake, until deadline (CLOCK_MONOTONIC, ns; 0: for ever).
// It tells whether it was woken.
func (p *parker) sleep(deadline int64) bool {
	for {
		if p.word.CompareAndSwap(2, 0) {
			return true
		}
		if deadline != 0 && ktime.Mono() >= deadline {
			return false
		}
		if !p.word.CompareAndSwap(0, 1) {
			continue
		}
		futexWait(&p.word, 1, deadline)
		if !p.word.CompareAndSwap(1, 0) {
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
	if p.word.Swap(2) == 1 {
		futexWake(&p.word)
	}
}

// due tells whether a wake is waiting already.
func (p *parker) due() bool { return p.word.Load() == 2 }
