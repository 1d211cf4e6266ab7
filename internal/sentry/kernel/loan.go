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

func (l *loan) Begin()                   { l.th.Lend(l.num, l.file.Settle) }
func (l *loan) End()                     { l.th.Unlend() }
func (l *loan) Posted() bool             { return l.th.Posted() }
func (l *loan) Take(buf []byte) int      { return l.th.TakePosted(buf) }
func (l *loan) Serves(c vfs.Caller) bool { t, ok := c.(*Task); return ok && t == l.t }

// loans are what a task knows of its writes (own goroutine).
type loans struct {
	last  *vfs.FileDescription // only compared
	times int
	lent  *loan
}

// WroteSmall notes a write of at most vfs.LoanMax bytes to fd, the task's num
// (own goroutine).
func (t *Task) WroteSmall(num int32, fd *vfs.FileDescription) {
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
	if !ok || t.k.watchCalls || t.SeccompActive() {
		return
	}
	t.endLoan()
	b := &loan{th: t.plat.th.Load(), num: num, file: file, t: t}
	if t.fds.Lend(num, fd, b) {
		l.lent = b
	}
}

// endLoan takes the loan back before the host thread, or what it may answer by
// itself, changes (own goroutine).
func (t *Task) endLoan() {
	b := t.plat.loans.lent
	if b == nil {
		return
	}
	t.plat.loans.lent = nil
	b.file.Recall(b)
}
