package platform

import "sync/atomic"

// FDOp is what a stub did to a descriptor: it closed FD, or duplicated it to To, or
// read the directory to its end.
type FDOp struct {
	FD, To  int32
	Dup     bool
	Read    bool
	Cloexec bool
}

// LendFDs has the stub close and duplicate descriptors, as the states that SetFD
// gave before allow (own goroutine). UnlendFDs ends that; as Unlend.
func (t *Thread) LendFDs() {
	atomic.StoreUint32(&t.slot.fdTail, atomic.LoadUint32(&t.slot.fdHead))
	atomic.StoreUint32(&t.slot.fdLent, 1)
}

func (t *Thread) UnlendFDs() { atomic.SwapUint32(&t.slot.fdLent, 0) }

// SetFD tells the stub of descriptor fd: FD_* of stub/layout.h, and what F_GETFL
// gives (own goroutine).
func (t *Thread) SetFD(fd int32, state uint8, flags uint32) {
	if fd >= 0 && fd < fdsMax {
		t.data[fdsAt+fd] = state
		*t.fdWord(fdOps + uint32(fd)) = flags
	}
}

// AtEnd tells the stub that the next read of directory fd gives nothing, until the
// thread's next event (own goroutine).
func (t *Thread) AtEnd(fd int32) {
	t.ended = true
	*t.fdWord(fdOps + fdsMax) = uint32(fd) + 1
}

func (t *Thread) notAtEnd() {
	t.ended = false
	*t.fdWord(fdOps + fdsMax) = 0
}

// FDsPosted tells whether there is something for TakeFD.
func (t *Thread) FDsPosted() bool {
	return atomic.LoadUint32(&t.slot.fdHead) != atomic.LoadUint32(&t.slot.fdTail)
}

// TakeFD gives what the stub did next; false: nothing more. One caller at a time.
func (t *Thread) TakeFD() (FDOp, bool) {
	for n := 0; n < fdOps; n++ {
		tail := atomic.LoadUint32(&t.slot.fdTail)
		if tail == atomic.LoadUint32(&t.slot.fdHead) {
			break
		}
		op := atomic.SwapUint32(t.fdWord(tail%fdOps), 0)
		atomic.StoreUint32(&t.slot.fdTail, tail+1)
		if op != 0 { // not withdrawn
			return FDOp{FD: int32(op >> 8 & 0xff), To: int32(op >> 16 & 0xff), Dup: op&0xff == 2, Read: op&0xff == 3, Cloexec: op>>24 != 0}, true
		}
	}
	return FDOp{}, false
}
