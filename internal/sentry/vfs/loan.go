package vfs

// A pipe's room can be lent: then a task's stub accepts small writes to one
// descriptor in the pipe's name, and goes on; the pipe takes what was accepted
// when it is next looked at, by anybody, or the task next comes to the Sentry.
// To every observer such a write has happened when the stub accepted it.

// Borrower is the stub that accepts. The lender calls it under its own lock.
type Borrower interface {
	Begin()               // writes may be accepted from now on
	Posted() bool         // something was accepted and not taken yet
	Take(buf []byte) int  // takes it; buf has room for LoanMax bytes
	End()                 // nothing more is accepted; what was can still be taken
	Serves(c Caller) bool // the stub is c's
}

// LoanMax is how much a stub accepts at once, in bytes.
const LoanMax = 512

// Lender is a File that may lend its room.
type Lender interface {
	Lend(fd *FileDescription, b Borrower) bool
	Recall(b Borrower) // ends b's loan; nil: whoever's
	Settle()           // takes what was accepted
}

// Lend has fd lend its room to b, the stub of a task whose table has fd at num.
func (t *FDTable) Lend(num int32, fd *FileDescription, b Borrower) bool {
	l, ok := fd.Impl.(Lender)
	if !ok {
		return false
	}
	fd.lent.Store(true)
	if !l.Lend(fd, b) {
		return false
	}
	// Whoever closes num meanwhile looks at lent behind that.
	if !t.Has(num, fd) {
		l.Recall(b)
		return false
	}
	return true
}

// recall ends a loan of fd, if there is one: its descriptor may be closed, or its
// flags change.
func (fd *FileDescription) recall() {
	if !fd.lent.Load() {
		return
	}
	switch l := fd.Impl.(type) {
	case Lender:
		l.Recall(nil)
	case BoxLender:
		l.RecallBox(nil)
	}
}

// hide ends the loan of the table whose stub knows flags and offset of fd, which
// were changed.
func (fd *FileDescription) hide() {
	if t := fd.shown.Load(); t != nil {
		t.Recall(false)
	}
}
