package vfs

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A connected socket can be lent as a pipe is (loan.go), with a box in the memory of
// a task's stub: the stub leaves one small write there, and answers a read from
// what the socket noted there; the socket sends what was written, and drops what was
// read, when it is next looked at. An epoll instance is lent in the same way: the
// stub queues what epoll_ctl(2) is to do.

// Box is the stub's. The lender calls it under the lock that guards what it
// concerns: the receiver's queue for posted writes, the socket's own for the note.
type Box interface {
	Begin()
	End() // nothing more is accepted or read; what was can still be taken
	Posted() bool
	Take(buf []byte) int // of BoxMax bytes
	Note(b []byte)       // at most BoxMax bytes that the next read gives
	Taken() bool         // it was read
	Drop() bool          // takes it back; true: it was read
}

// BoxMax is how much a box has of each, in bytes.
const BoxMax = 256

// BoxLender is a File that may be lent with a box.
type BoxLender interface {
	LendBox(fd *FileDescription, b Box) bool
	RecallBox(b Box) // ends b's loan; nil: whoever's
	SettleBox()      // sends what was posted
	NoteBox(b Box)   // notes what there is to read, if b has the socket
}

// LendBox has l, which is fd's, lent to b, the stub of a task whose table has fd at num.
func (t *FDTable) LendBox(num int32, fd *FileDescription, l BoxLender, b Box) bool {
	fd.lent.Store(true)
	if !l.LendBox(fd, b) {
		return false
	}
	if !t.Has(num, fd) { // whoever closes num meanwhile looks at lent behind that
		l.RecallBox(b)
		return false
	}
	return true
}

// Has tells whether num is fd.
func (t *FDTable) Has(num int32, fd *FileDescription) bool {
	slots := *t.slots.Load()
	return uint32(num) < uint32(len(slots)) && slots[num].Load() == fd
}

// CtlFDs is of how many descriptors, from 0, a stub knows whether an epoll has them.
const CtlFDs = 128

// CtlOp is EPOLL_CTL_* of FD, as a stub did it.
type CtlOp struct {
	Op     int32
	FD     int32
	Events uint32
	Data   uint64
}

// CtlBorrower is the stub that an epoll instance is lent to. The instance calls it
// under its lock.
type CtlBorrower interface {
	Ready() // all descriptors are unknown
	SetCtl(fd int32, known, in bool)
	Begin()
	End()
	TakeCtl() (CtlOp, bool)
	Has(fd int32, d *FileDescription) bool // fd is d, for the task
}

// CtlLoan is a loan of an epoll instance, for the descriptions that the stub knows:
// End, before one of their descriptors goes.
type CtlLoan struct{ End func() }

// HoldCtl notes l; false if there is another.
func (fd *FileDescription) HoldCtl(l *CtlLoan) bool { return fd.ctl.CompareAndSwap(nil, l) }

// LeaveCtl ends that.
func (fd *FileDescription) LeaveCtl(l *CtlLoan) { fd.ctl.CompareAndSwap(l, nil) }

// uncontrol ends the loan of an epoll whose stub knows a descriptor of fd.
func (fd *FileDescription) uncontrol() {
	if l := fd.ctl.Load(); l != nil {
		l.End()
	}
}

// Poster is a stub that was lent something.
type Poster interface {
	Pending() bool // something was posted, or is being settled
	SettlePosts()
}

// posters are all of them. An epoll looks at them before its list of ready files,
// for a file with a write that nobody has looked at is not there.
var posters struct {
	some atomic.Bool
	mu   sync.RWMutex // held while they are asked; their slots stay
	all  []Poster
}

// AddPoster and RemovePoster take no lock but their own (see SettlePosted).
func AddPoster(p Poster) {
	posters.mu.Lock()
	posters.all = append(posters.all, p)
	posters.some.Store(true)
	posters.mu.Unlock()
}

func RemovePoster(p Poster) {
	posters.mu.Lock()
	if i := slices.Index(posters.all, p); i >= 0 {
		posters.all = slices.Delete(posters.all, i, i+1)
	}
	posters.some.Store(len(posters.all) > 0)
	posters.mu.Unlock()
}

// SettlePosted has done what any stub has posted. The caller holds no lock.
func SettlePosted() {
	if !posters.some.Load() {
		return
	}
	posters.mu.RLock()
	for _, p := range posters.all {
		if p.Pending() {
			p.SettlePosts()
		}
	}
	posters.mu.RUnlock()
}
