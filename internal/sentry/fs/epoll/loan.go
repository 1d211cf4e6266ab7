package epoll

import (
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

// loan is an instance in the hands of the one task that uses it: the task's stub
// queues what epoll_ctl(2) is to do for descriptors of which it knows whether the
// instance has them. That is done when the instance is next looked at; only the
// task itself looks while it is lent, or the loan ends.
type loan struct {
	b    vfs.CtlBorrower
	who  vfs.Caller
	self *vfs.FileDescription // the instance's own
	held vfs.CtlLoan
	fds  [vfs.CtlFDs]*vfs.FileDescription // what the stub knows; not counted: End comes before they go
}

// reader is a caller whose stub may be told what there is to read.
type reader interface {
	ReadAhead(num int32, fd *vfs.FileDescription)
}

// lock takes mu, and does what the stub has queued.
func (ep *Instance) lock() {
	ep.mu.Lock()
	if ep.loan != nil {
		ep.settle()
	}
}

// foreign ends the loan if somebody else than its task comes; c may be nil.
func (ep *Instance) foreign(c vfs.Caller) {
	if !ep.lent.Load() {
		return
	}
	ep.lock()
	if ep.loan != nil && ep.loan.who != c {
		ep.foreigners++
		ep.end()
	}
	ep.mu.Unlock()
}

// patience is how many loans to others may end before there are no more.
const patience = 8

// Lend lends the instance to b, the stub of c, who knows it as num, which is fd, if
// nobody else uses it.
func (ep *Instance) Lend(c vfs.Caller, num int32, fd *vfs.FileDescription, b vfs.CtlBorrower) bool {
	nestMu.Lock()
	defer nestMu.Unlock()
	ep.lock()
	defer ep.mu.Unlock()
	ep.end()
	if ep.closed || len(ep.parents) > 0 || !ep.q.Empty() || len(ep.items) > vfs.CtlFDs || ep.foreigners > patience {
		return false
	}
	l := &loan{b: b, who: c, self: fd}
	l.held.End = ep.EndLoan
	if !fd.HoldCtl(&l.held) {
		return false
	}
	if !b.Has(num, fd) {
		fd.LeaveCtl(&l.held)
		return false
	}
	ep.loan = l
	ep.lent.Store(true)
	b.Ready()
	for k, it := range ep.items {
		ep.tell(k.num, it.fd, true)
	}
	b.Begin()
	return true
}

// EndLoan ends the loan, if there is one.
func (ep *Instance) EndLoan() {
	ep.lock()
	ep.end()
	ep.mu.Unlock()
}

// SettleCtl does what the stub has queued.
func (ep *Instance) SettleCtl() {
	ep.lock()
	ep.mu.Unlock()
}

// The rest run under mu.

// end is the end of the loan.
func (ep *Instance) end() {
	l := ep.loan
	if l == nil {
		return
	}
	l.b.End()
	ep.settle()
	ep.loan = nil
	ep.lent.Store(false)
	l.self.LeaveCtl(&l.held)
	for _, fd := range l.fds {
		if fd != nil {
			fd.LeaveCtl(&l.held)
		}
	}
}

// tell has the stub know whether the instance has num, which is fd.
func (ep *Instance) tell(num int32, fd *vfs.FileDescription, in bool) {
	l := ep.loan
	if l == nil || num < 0 || num >= vfs.CtlFDs {
		return
	}
	known := l.hold(num, fd)
	l.b.SetCtl(num, known, in)
}

// hold notes that the stub knows num as fd; false if it may not.
func (l *loan) hold(num int32, fd *vfs.FileDescription) bool {
	if _, own := fd.Impl.(perCaller); own {
		return false
	}
	if _, nested := fd.Impl.(*Instance); nested {
		return false
	}
	if old := l.fds[num]; old != nil {
		return old == fd
	}
	if !fd.HoldCtl(&l.held) && !l.holds(fd) {
		return false
	}
	// Who closes num meanwhile looks at the holder behind that.
	if l.fds[num] = fd; !l.b.Has(num, fd) {
		l.fds[num] = nil
		if !l.holds(fd) {
			fd.LeaveCtl(&l.held)
		}
		return false
	}
	return true
}

// holds: another descriptor of fd is known.
func (l *loan) holds(fd *vfs.FileDescription) bool {
	for _, f := range l.fds {
		if f == fd {
			return true
		}
	}
	return false
}

// settle does what was queued, if it can be done: a stub that was tampered with
// harms its own instance.
func (ep *Instance) settle() {
	for range 2 * vfs.CtlFDs {
		op, ok := ep.loan.b.TakeCtl()
		if !ok {
			return
		}
		if op.FD >= 0 && op.FD < vfs.CtlFDs && op.Events&(flagExclusive|flagWakeUp) == 0 {
			if fd := ep.loan.fds[op.FD]; fd != nil {
				ep.follow(&op, fd)
			}
		}
	}
}

func (ep *Instance) follow(op *vfs.CtlOp, fd *vfs.FileDescription) {
	who := ep.loan.who
	k := key{op.FD, fd.ID}
	it := ep.items[k]
	switch {
	case op.Op == unix.EPOLL_CTL_ADD && it == nil:
		// The instance had it before: the bound on items is as it was.
		it = &item{ep: ep, fd: fd, num: op.FD, data: op.Data, queue: fd.Impl.Queue(fd)}
		it.entry.Listener = it
		it.events.Store(op.Events | waiter.Err | waiter.Hup)
		itemCount.Add(1)
		ep.add(who, k, it)
	case op.Op == unix.EPOLL_CTL_MOD && it != nil && it.events.Load()&flagExclusive == 0:
		ep.change(who, it, op.Events, op.Data)
	case op.Op == unix.EPOLL_CTL_DEL && it != nil && it.nested == nil:
		ep.remove(it)
	}
}
