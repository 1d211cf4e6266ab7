package pipefs

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// loan is a pipe's room in the hands of the one task that writes to it. What its
// stub has accepted always fits: at most half of the pipe is full meanwhile.
type loan struct {
	b     vfs.Borrower
	never bool // more than one task has written, or the pipe cannot be lent
	told  bool // bytes were taken: readers are told behind the lock
}

// lock takes mu, and what the stub has accepted.
func (p *Pipe) lock() {
	p.mu.Lock()
	if p.loan.b != nil {
		p.settle()
	}
}

func (p *Pipe) unlock() {
	told := p.loan.told
	p.loan.told = false
	p.mu.Unlock()
	if told {
		p.q.Notify(waiter.In | waiter.RdNorm)
	}
}

// The rest run under mu.

func (p *Pipe) settle() {
	if !p.loan.b.Posted() {
		return
	}
	var buf [vfs.LoanMax]byte
	if n := p.loan.b.Take(buf[:]); n > 0 {
		p.add(buf[:n], false)
		p.loan.told = true
	}
	p.keepRoom()
}

// keepRoom ends the loan before the pipe is too full for it.
func (p *Pipe) keepRoom() {
	if p.loan.b != nil && p.used() > uint32(len(p.ring)/2) {
		p.recall()
	}
}

// posted: there are bytes that only the stub has yet.
func (p *Pipe) posted() bool { return p.loan.b != nil && p.loan.b.Posted() }

// recall ends the loan.
func (p *Pipe) recall() {
	b := p.loan.b
	if b == nil {
		return
	}
	b.End()
	p.loan.b = nil
	var buf [vfs.LoanMax]byte
	if n := b.Take(buf[:]); n > 0 {
		p.add(buf[:n], false)
		p.loan.told = true
	}
}

// wrote comes before a write of c's that did not go by the stub.
func (p *Pipe) wrote(c vfs.Caller) {
	if b := p.loan.b; b != nil && (c == nil || !b.Serves(c)) {
		p.recall()
		p.loan.never = true
	}
}

// Lend gives the room to b: vfs.Lender. Fifos keep theirs: their writes are
// events of a name.
func (f *File) Lend(fd *vfs.FileDescription, b vfs.Borrower) bool {
	p := f.p
	p.lock()
	defer p.unlock()
	if p.loan.b != nil {
		p.recall()
		p.loan.never = true
	}
	if p.loan.never || !p.plain || !f.writes || p.readers == 0 || len(p.ring) < 4 || p.used() > uint32(len(p.ring)/2) || fd.Flags()&unix.O_DIRECT != 0 {
		return false
	}
	p.loan.b = b
	b.Begin()
	return true
}

// Recall and Settle: vfs.Lender.
func (f *File) Recall(b vfs.Borrower) {
	f.p.mu.Lock()
	if b == nil || f.p.loan.b == b {
		f.p.recall()
	}
	f.p.unlock()
}

func (f *File) Settle() {
	f.p.lock()
	f.p.unlock()
}
