package platform

import "sync/atomic"

// policy decides how a thread's two sides wait for each other.
type policy struct{}

// wait returns when it is the Sentry's turn (true) or the host thread is dead.
func (p *policy) wait(t *Thread) bool {
	s := t.slot
	for {
		if t.dead.Load() {
			return false
		}
		if atomic.LoadUint32(&s.turn) == turnRequest {
			return true
		}
		atomic.StoreUint32(&s.sentrySleeps, 1)
		now := atomic.LoadUint32(&s.turn)
		if now != turnRequest && !t.dead.Load() {
			futexWait(&s.turn, now, bitsetSentry)
		}
		atomic.StoreUint32(&s.sentrySleeps, 0)
	}
}
