package kernel

import (
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// loanAfter is how many small writes to one description in a row make a task's
// stub accept the next ones (vfs.Borrower).
const loanAfter = 4

// loan is a task's: vfs.Borrower.
type loan struct {
	th   *platform.Thread
	num  int32
	file vfs.Lender
	t    *Task
}

func (l *loan) Begin()                   { l.th.OnPosted(l.t.settlePosted); l.th.Lend(l.num) }
func (l *loan) End()                     { l.th.Unlend() }
func (l *loan) Posted() bool             { return l.th.Posted() }
func (l *loan) Take(buf []byte) int      { return l.th.TakePosted(buf) }
func (l *loan) Pending() bool            { return l.th.Posted() }
func (l *loan) SettlePosts()             { l.file.Settle() }
func (l *loan) Serves(c vfs.Caller) bool { t, ok := c.(*Task); return ok && t == l.t }

// loans are what a task knows of its writes (own goroutine).
type loans struct {
	last  *vfs.FileDescription // only compared
	times int
	lent  *loan

	fdCalls int  // closes and duplicates since the task was last asked for a loan
	fds     bool // its table is lent to its stub

	note   *vfs.NoteHolder // while the table is lent
	opened int32           // the directory that was opened last
	walks  int             // directories that were read after they were opened, in a row
	told   bool            // its entries are in the note

	socks *sockLoans // nil until sockets are used
}

// settlePosted takes what the stub has left (own goroutine).
func (t *Task) settlePosted() {
	if l := t.plat.loans.lent; l != nil {
		l.file.Settle()
	}
	if t.plat.loans.fds {
		t.fds.Settle()
	}
	if s := t.plat.loans.socks; s != nil {
		s.settle()
	}
}

// WroteSmall notes a write of at most vfs.LoanMax bytes to fd, the task's num
// (own goroutine).
func (t *Task) WroteSmall(num int32, fd *vfs.FileDescription) {
	if s, ok := fd.Impl.(vfs.BoxLender); ok {
		t.wroteSocket(num, fd, s)
		return
	}
	l := &t.plat.loans
	if l.last != fd {
		l.last, l.times = fd, 0
		return
	}
	if l.times++; l.times < loanAfter {
		return
	}
	l.times = 0
	file, ok := fd.Impl.(vfs.Lender)
	if !ok || t.k.watchCalls || t.WatchesCalls() {
		return
	}
	t.endPipe()
	b := &loan{th: t.plat.th.Load(), num: num, file: file, t: t}
	if t.fds.Lend(num, fd, b) {
		l.lent = b
		vfs.AddPoster(b)
	}
}

// loanAfterFDs is how many closes and duplicates make a task's table lent.
const loanAfterFDs = 16

// UsedFDs notes one (own goroutine).
func (t *Task) UsedFDs() {
	l := &t.plat.loans
	if l.fdCalls++; l.fdCalls < loanAfterFDs {
		return
	}
	l.fdCalls = 0
	if t.k.watchCalls || t.WatchesCalls() {
		return
	}
	th := t.plat.th.Load()
	th.OnPosted(t.settlePosted)
	l.fds = t.fds.LendTo(fdLoan{th}, t.tg.LimitCur(RLIMIT_NOFILE))
	if l.fds && l.note == nil {
		l.note = vfs.NewNoteHolder(th.DropNote)
	}
}

// ReadToEnd notes that a read of directory fd, the task's num, has given all that
// was left (own goroutine).
func (t *Task) ReadToEnd(num int32, fd *vfs.FileDescription) {
	l := &t.plat.loans
	if !l.fds || !t.fds.Knows(num, fd) {
		return
	}
	if num == l.opened {
		l.walks++
	}
	t.plat.th.Load().AtEnd(num)
}

// fdLoan is a task's stub: vfs.FDBorrower.
type fdLoan struct{ th *platform.Thread }

func (l fdLoan) SetFD(fd int32, s vfs.FDState, flags uint32) { l.th.SetFD(fd, uint8(s), flags) }
func (l fdLoan) BeginFDs()                                   { l.th.LendFDs() }
func (l fdLoan) EndFDs()                                     { l.th.UnlendFDs() }
func (l fdLoan) TakeFD() (vfs.FDOp, bool) {
	op, ok := l.th.TakeFD()
	return vfs.FDOp(op), ok
}

// endLoan takes the loan back before the host thread, or what it may answer by
// itself, changes (own goroutine).
func (t *Task) endLoan() {
	l := &t.plat.loans
	if l.fds {
		l.fds = false
		t.fds.Recall(false)
	}
	if l.note != nil { // the slot may go: nobody drops its note any more
		l.note.End()
		l.note = nil
	}
	if l.socks != nil {
		l.socks.end()
	}
	t.endPipe()
}

// endPipe ends the loan of a pipe.
func (t *Task) endPipe() {
	l := &t.plat.loans
	b := l.lent
	if b == nil {
		return
	}
	l.lent = nil
	b.file.Recall(b)
	vfs.RemovePoster(b)
}

// recallFDs ends the loans of the process's tables for good.
func (tg *ThreadGroup) recallFDs() {
	for _, t := range tg.liveTasks() {
		t.mu.Lock()
		if t.fds != nil {
			t.fds.Recall(true)
		}
		t.mu.Unlock()
	}
}
