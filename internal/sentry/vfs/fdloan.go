package vfs

import "golang.org/x/sys/unix"

// A table of one user can be lent: then the user's stub closes and duplicates
// descriptors of files that nobody misses (quiet) by itself, and the table does
// the same when it is next looked at. The stub knows the state of the first
// descriptors; while it is ahead of the table, only it changes that.

// FDState is what a stub knows of a descriptor.
type FDState uint8

const (
	FDUnknown FDState = 0
	FDFree    FDState = 1
	FDQuiet   FDState = 2  // open; it may be closed and duplicated
	FDBusy    FDState = 4  // open
	FDCloexec FDState = 8  // with one of the two
	FDFlags   FDState = 16 // with FDQuiet: the status flags are known
)

// FDOp is what a stub did: closed fd, or duplicated it to the free To, or read the
// directory whose entries it had a note of (note.go).
type FDOp struct {
	FD, To  int32
	Dup     bool
	Read    bool
	Cloexec bool
}

// FDBorrower is the stub. The table calls it under its mu.
type FDBorrower interface {
	SetFD(fd int32, s FDState, flags uint32) // of the first FDsLent
	BeginFDs()
	TakeFD() (FDOp, bool)
	EndFDs() // nothing more is done; what was can still be taken
}

// FDsLent is how many descriptors, from 0, a stub knows.
const FDsLent = 64

// LendTo lends the table, whose one user's stub b is; limit is RLIMIT_NOFILE. It
// gives false if it cannot be lent.
func (t *FDTable) LendTo(b FDBorrower, limit uint64) bool {
	t.lock()
	defer t.unlock()
	if t.users.Load() != 1 || t.locks.Load() || t.never || limit < FDsLent {
		t.recallLocked()
		return false
	}
	if t.borrower == b {
		return true
	}
	t.recallLocked()
	for fd := range int32(FDsLent) {
		s, flags := t.state(fd)
		b.SetFD(fd, s, flags)
	}
	t.borrower = b
	b.BeginFDs()
	return true
}

// Recall ends the loan; never: for good, because closing one of the descriptors
// is to be noticed at once from now on.
func (t *FDTable) Recall(never bool) {
	t.lock()
	t.recallLocked()
	t.never = t.never || never
	t.unlock()
}

// Settle does what the stub has done.
func (t *FDTable) Settle() {
	t.lock()
	t.unlock()
}

// lock takes mu and settles; unlock lets go of what was closed, behind mu.
func (t *FDTable) lock() {
	t.mu.Lock()
	if t.borrower != nil {
		t.settle()
	}
}

func (t *FDTable) unlock() {
	if len(t.gone) == 0 {
		t.mu.Unlock()
		return
	}
	var few [16]*FileDescription
	gone := append(few[:0], t.gone...)
	clear(t.gone)
	t.gone = t.gone[:0]
	t.mu.Unlock()
	for _, f := range gone {
		f.DecRef()
	}
}

// The rest run under mu.

func (t *FDTable) recallLocked() {
	b := t.borrower
	if b == nil {
		return
	}
	b.EndFDs()
	t.settle()
	t.borrower = nil
}

func (t *FDTable) settle() {
	b := t.borrower
	t.settling = true       // the stub knows already
	for range 2 * FDsLent { // a stub that was tampered with could go on for ever
		op, ok := b.TakeFD()
		if !ok {
			break
		}
		t.follow(op)
	}
	t.settling = false
}

// follow does op, if it can be done: a stub that was tampered with harms its own
// table.
func (t *FDTable) follow(op FDOp) {
	if !t.inUse(op.FD) {
		return
	}
	if op.Read {
		if f := (*t.slots.Load())[op.FD].Load(); f == t.told.fd { // or it has another
			f.readTo(t.told.end)
			t.told.fd = nil
		}
		return
	}
	if !op.Dup {
		f, _ := t.remove(op.FD)
		t.gone = append(t.gone, f)
		return
	}
	if op.To < 0 || op.To >= FDsLent || t.inUse(op.To) {
		return
	}
	f := (*t.slots.Load())[op.FD].Load()
	f.IncRef()
	t.grow(op.To)
	t.set(op.To, f, op.Cloexec)
}

// changed tells the stub of fd.
func (t *FDTable) changed(fd int32) {
	if t.borrower != nil && !t.settling && fd < FDsLent {
		s, flags := t.state(fd)
		t.borrower.SetFD(fd, s, flags)
	}
}

func (t *FDTable) state(fd int32) (s FDState, flags uint32) {
	if !t.inUse(fd) {
		return FDFree, 0
	}
	s = FDBusy
	if f := (*t.slots.Load())[fd].Load(); f.unnoticed() {
		s = FDQuiet
		// Whoever changes flags or offset looks at shown behind that.
		if f.shown.CompareAndSwap(nil, t) || f.shown.Load() == t {
			s |= FDFlags
		}
		flags = f.Flags()
	}
	if t.cloexec[fd/64]>>uint(fd%64)&1 != 0 {
		s |= FDCloexec
	}
	return s, flags
}

// Knows tells whether the stub may be told more of fd, which has number num.
func (t *FDTable) Knows(num int32, fd *FileDescription) bool {
	t.lock()
	defer t.unlock()
	return t.borrower != nil && num < FDsLent && fd.shown.Load() == t && fd.unnoticed()
}

// unnoticed: nobody waits for the description's end. A file that is open for
// writing keeps others from executing it, a pipe has another end.
func (fd *FileDescription) unnoticed() bool {
	if fd.Mode&(FMODE_WRITE|FMODE_PATH) != 0 || fd.locked.Load() || fd.lent.Load() || fd.denies || fd.Path.Dentry == nil {
		return false
	}
	switch fd.Inode().Perm().Mode & unix.S_IFMT {
	case unix.S_IFDIR, unix.S_IFREG:
		return true
	}
	return false
}
