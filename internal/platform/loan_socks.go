package platform

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// What a stub knows of lent sockets and of a lent epoll (struct socks).
const (
	BoxFDs = 128 // of the first descriptors
	Boxes  = 24  // so many sockets at a time
	BoxMax = boxMax

	noteTaken = 0x10000
)

// The words of a box.
const (
	boxLoan   = 0
	boxPosted = 4
	boxNote   = 8
	boxOut    = 16
	boxIn     = 16 + boxMax
)

// Of struct socks, behind the boxes of descriptors.
const (
	ctlStates = BoxFDs
	ctlHead   = 2 * BoxFDs
	ctlTail   = ctlHead + 4
)

// What the stub knows of a descriptor and the epoll that it was lent.
const (
	CtlUnknown uint8 = 0
	CtlOut     uint8 = 1
	CtlIn      uint8 = 2
)

func (t *Thread) box(i, at int) *uint32 { return t.sockWord(boxesAt + i*boxSize + at) }

// useSocks readies the memory (own goroutine).
func (t *Thread) useSocks(settle func()) {
	t.settle = settle
	if !t.boxed {
		clear(t.socks)
		t.boxed = true
		atomic.StoreUint32(&t.slot.boxes, 1)
	}
}

// LendBox has the stub accept small writes to fd, which has box i from now on, and
// answer reads from what NoteBox leaves there (own goroutine). EndBox ends that, once: as
// Unlend, by anybody as long as the slot is not freed. So may those below be called.
func (t *Thread) LendBox(i int, fd int32, settle func()) {
	t.useSocks(settle)
	atomic.StoreUint32(t.box(i, boxPosted), 0)
	atomic.StoreUint32(t.box(i, boxNote), 0)
	t.socks[fd] = uint8(i + 1)
	t.boxesLent.Add(1)
	atomic.StoreUint32(t.box(i, boxLoan), uint32(fd)+1)
}

func (t *Thread) EndBox(i int) {
	atomic.SwapUint32(t.box(i, boxLoan), 0)
	t.boxesLent.Add(-1)
}

// BoxPosted tells whether a write was accepted and not taken yet.
func (t *Thread) BoxPosted(i int) bool { return atomic.LoadUint32(t.box(i, boxPosted)) != 0 }

// TakeBox is TakePosted of box i.
func (t *Thread) TakeBox(i int, buf []byte) int {
	n := atomic.LoadUint32(t.box(i, boxPosted))
	if n == 0 || n > boxMax || int(n) > len(buf) {
		return 0
	}
	at := boxesAt + i*boxSize + boxOut
	copy(buf, t.socks[at:at+int(n)])
	if !atomic.CompareAndSwapUint32(t.box(i, boxPosted), n, 0) {
		return 0
	}
	return int(n)
}

// NoteBox leaves b, at most BoxMax bytes, for the next read. BoxTaken tells whether
// it was read; DropBox takes it back, and tells that too.
func (t *Thread) NoteBox(i int, b []byte) {
	at := boxesAt + i*boxSize + boxIn
	n := copy(t.socks[at:at+boxMax], b)
	atomic.StoreUint32(t.box(i, boxNote), uint32(n))
}

func (t *Thread) BoxTaken(i int) bool { return atomic.LoadUint32(t.box(i, boxNote))&noteTaken != 0 }

func (t *Thread) DropBox(i int) bool {
	return atomic.SwapUint32(t.box(i, boxNote), 0)&noteTaken != 0
}

// BoxBits tells in which boxes something was posted; TakeBoxBits clears that.
func (t *Thread) BoxBits() uint32     { return atomic.LoadUint32(&t.slot.boxBits) }
func (t *Thread) TakeBoxBits() uint32 { return atomic.SwapUint32(&t.slot.boxBits, 0) }

// EachBox calls f for each of TakeBoxBits.
func EachBox(mask uint32, f func(i int)) {
	for mask &= 1<<Boxes - 1; mask != 0; mask &= mask - 1 {
		f(bits.TrailingZeros32(mask))
	}
}

// LendCtl has the stub do epoll_ctl of the instance at ep, as the states that
// SetCtl gave before allow (own goroutine). EndCtl ends that: by anybody.
func (t *Thread) LendCtl(ep int32, settle func()) {
	t.useSocks(settle)
	atomic.StoreUint32(t.sockWord(ctlTail), atomic.LoadUint32(t.sockWord(ctlHead)))
	atomic.StoreUint32(&t.slot.ctlLent, uint32(ep)+1)
}

func (t *Thread) EndCtl() { atomic.SwapUint32(&t.slot.ctlLent, 0) }

// ReadyCtl readies the states: all are unknown (own goroutine).
func (t *Thread) ReadyCtl(settle func()) {
	t.useSocks(settle)
	clear(t.socks[ctlStates : ctlStates+BoxFDs])
}

// SetCtl tells the stub of descriptor fd (own goroutine).
func (t *Thread) SetCtl(fd int32, state uint8) { t.socks[ctlStates+int(fd)] = state }

// CtlOp is what a stub did: EPOLL_CTL_* of FD.
type CtlOp struct {
	Op     int32
	FD     int32
	Events uint32
	Data   uint64
}

// CtlPosted tells whether there is something for TakeCtl.
func (t *Thread) CtlPosted() bool {
	return atomic.LoadUint32(t.sockWord(ctlHead)) != atomic.LoadUint32(t.sockWord(ctlTail))
}

// TakeCtl gives what the stub did next; false: nothing more. One caller at a time.
func (t *Thread) TakeCtl() (CtlOp, bool) {
	for range ctlOps {
		tail := atomic.LoadUint32(t.sockWord(ctlTail))
		if tail == atomic.LoadUint32(t.sockWord(ctlHead)) {
			break
		}
		at := ctlAt + int(tail%ctlOps)*16
		word := atomic.SwapUint32(t.sockWord(at), 0)
		op := CtlOp{Op: int32(word >> 16), FD: int32(word&0xffff) - 1, Events: atomic.LoadUint32(t.sockWord(at + 4)),
			Data: binary.LittleEndian.Uint64(t.socks[at+8:])}
		atomic.StoreUint32(t.sockWord(ctlTail), tail+1)
		if word != 0 { // not withdrawn
			return op, true
		}
	}
	return CtlOp{}, false
}

// sockPosted tells whether the own goroutine has to settle (own goroutine).
func (t *Thread) sockPosted() bool { return t.BoxBits() != 0 || t.CtlPosted() }
