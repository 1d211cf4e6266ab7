package platform

import "sync/atomic"

// OnPosted has settle called, by who waits for the thread, when the stub has left
// something (own goroutine).
func (t *Thread) OnPosted(settle func()) { t.settle = settle }

// Lend has the stub accept small writes to fd. Unlend ends that: by anybody, as
// long as the slot is not freed.
func (t *Thread) Lend(fd int32) {
	atomic.StoreUint32(&t.slot.loan, uint32(fd)+1)
}

func (t *Thread) Unlend() { atomic.SwapUint32(&t.slot.loan, 0) }

// Posted tells whether the stub has accepted a write that was not taken yet.
func (t *Thread) Posted() bool { return atomic.LoadUint32(&t.slot.posted) != 0 }

// TakePosted copies it to buf, and gives its length; 0 if there is none, or it was
// withdrawn. One caller at a time.
func (t *Thread) TakePosted(buf []byte) int {
	n := atomic.LoadUint32(&t.slot.posted)
	if n == 0 || n > postMax || int(n) > len(buf) {
		return 0
	}
	copy(buf, t.data[postAt:postAt+n])
	if !atomic.CompareAndSwapUint32(&t.slot.posted, n, 0) {
		return 0
	}
	return int(n)
}

// asked tells whether it is the Sentry's turn; what was posted is seen to.
func (t *Thread) asked() bool {
	turn := atomic.LoadUint32(&t.slot.turn)
	if turn == turnPosted {
		// Before the look: a write that is posted later sets it again.
		atomic.CompareAndSwapUint32(&t.slot.turn, turnPosted, turnGuest)
	}
	if turn&1 != 0 && t.settle != nil && (t.Posted() || t.FDsPosted() || t.boxed && t.sockPosted()) {
		t.settle()
	}
	if turn == turnRequest {
		if atomic.LoadUint32(&t.slot.note) != 0 {
			t.DropNote()
		}
		if t.ended {
			t.notAtEnd()
		}
	}
	return turn == turnRequest
}
