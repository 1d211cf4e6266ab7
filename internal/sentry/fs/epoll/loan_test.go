package epoll

import (
	"testing"

	"bulkhead.dev/bulkhead/internal/sentry/fs/eventfd"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

// stub queues operations as a task's does: vfs.CtlBorrower.
type stub struct {
	lent   bool
	known  map[int32]bool // and whether the instance has it
	ops    []vfs.CtlOp
	closed map[int32]bool
}

func (s *stub) Ready() { s.known = map[int32]bool{} }
func (s *stub) Begin() { s.lent = true }
func (s *stub) End()   { s.lent = false }
func (s *stub) SetCtl(fd int32, known, in bool) {
	if delete(s.known, fd); known {
		s.known[fd] = in
	}
}
func (s *stub) Has(fd int32, _ *vfs.FileDescription) bool { return !s.closed[fd] }
func (s *stub) TakeCtl() (op vfs.CtlOp, ok bool) {
	if len(s.ops) == 0 {
		return op, false
	}
	op, s.ops = s.ops[0], s.ops[1:]
	return op, true
}

func (s *stub) ctl(op, fd int32, events uint32, data uint64) {
	s.ops = append(s.ops, vfs.CtlOp{Op: op, FD: fd, Events: events, Data: data})
}

func lentInstance(t *testing.T) (*Instance, *stub, *eventfd.File, *vfs.FileDescription) {
	t.Helper()
	ep, s, f := New(), &stub{}, eventfd.New(1, false)
	fd := describe(f)
	ep.Add(nil, 3, fd, waiter.In, 30)
	if !ep.Lend(nil, 9, describe(ep), s) || !s.lent || !s.known[3] {
		t.Fatal("not lent")
	}
	return ep, s, f, fd
}

// TestQueuedIsDone: by the next look.
func TestQueuedIsDone(t *testing.T) {
	ep, s, f, fd := lentInstance(t)
	s.ctl(unix.EPOLL_CTL_DEL, 3, 0, 0)
	if g := collect(ep, 8); len(g) != 0 {
		t.Errorf("deleted, got %v", g)
	}
	s.ctl(unix.EPOLL_CTL_ADD, 3, waiter.In, 31)
	s.ctl(unix.EPOLL_CTL_MOD, 3, waiter.In|flagEdge, 32)
	if g := collect(ep, 8); len(g) != 1 || g[0].data != 32 {
		t.Errorf("added, got %v", g)
	}
	add(f, 1)
	s.ctl(unix.EPOLL_CTL_DEL, 3, 0, 0)
	s.ctl(unix.EPOLL_CTL_ADD, 3, waiter.In|flagOneShot, 33)
	if g := collect(ep, 8); len(g) != 1 || g[0].data != 33 {
		t.Errorf("added again, got %v", g)
	}
	s.ctl(unix.EPOLL_CTL_DEL, 3, 0, 0)
	if e := ep.Modify(nil, 3, fd, waiter.In, 1); e != unix.ENOENT {
		t.Error("a call by the Sentry", e)
	}
	if !s.lent {
		t.Error("the task's own calls end the loan")
	}
	if e := ep.Add(nil, 3, fd, waiter.In, 1); e != 0 || !s.known[3] {
		t.Error("added by the Sentry", e, s.known)
	}
}

// TestCtlLoanEnds: when somebody else looks, and before a descriptor goes.
func TestCtlLoanEnds(t *testing.T) {
	for what, look := range map[string]func(ep *Instance, fd *vfs.FileDescription){
		"poll":             func(ep *Instance, _ *vfs.FileDescription) { ep.Ready(nil) },
		"waiting":          func(ep *Instance, _ *vfs.FileDescription) { ep.Queue(nil) },
		"another instance": func(ep *Instance, _ *vfs.FileDescription) { New().Add(nil, 9, describe(ep), waiter.In, 1) },
		"release":          func(ep *Instance, _ *vfs.FileDescription) { ep.Release(nil) },
		"another task":     func(ep *Instance, _ *vfs.FileDescription) { ep.WaitQueue(nil) },
	} {
		ep, s, _, fd := lentInstance(t)
		s.ctl(unix.EPOLL_CTL_DEL, 3, 0, 0)
		ep.loan.who = other{}
		look(ep, fd)
		if s.lent || len(s.ops) != 0 || ep.lent.Load() {
			t.Errorf("%s: lent %v, queued %v", what, s.lent, s.ops)
		}
	}
	ep, s, _, _ := lentInstance(t)
	tab := vfs.NewFDTable()
	fd := describe(eventfd.New(0, false))
	num, _ := tab.Install(fd, 5, false, 64)
	if e := ep.Add(nil, num, fd, waiter.In, 1); e != 0 || !s.known[num] {
		t.Fatal("not known", e)
	}
	s.ctl(unix.EPOLL_CTL_MOD, num, waiter.In, 2)
	tab.Close(nil, num)
	if s.lent || len(s.ops) != 0 {
		t.Error("lent though a descriptor was closed")
	}
}

type other struct{ vfs.Caller }

// TestCtlOfTampered: what a stub that was tampered with queues harms nobody.
func TestCtlOfTampered(t *testing.T) {
	ep, s, _, _ := lentInstance(t)
	inner := New()
	ep.Add(nil, 4, describe(inner), waiter.In, 1)
	if s.known[4] {
		t.Error("an instance is known to the stub")
	}
	for _, op := range []int32{0, 1, 2, 3, 4, -1} {
		for _, fd := range []int32{-1, 0, 3, 4, 127, 128, 1 << 20} {
			s.ctl(op, fd, waiter.In, 1)
			s.ctl(op, fd, flagExclusive|waiter.In, 1)
		}
	}
	collect(ep, 8)
	if ep.items[key{4, 0}] != nil || len(ep.items) > 2 {
		t.Error(ep.items)
	}
	for range 10000 {
		s.ctl(unix.EPOLL_CTL_MOD, 3, waiter.In, 1)
	}
	if ep.SettleCtl(); len(s.ops) == 0 {
		t.Error("a look never ends")
	}
}

// TestNotLent: an instance that others use.
func TestNotLent(t *testing.T) {
	s := &stub{closed: map[int32]bool{9: true}}
	if New().Lend(nil, 9, describe(New()), s) {
		t.Error("its descriptor was closed")
	}
	ep := New()
	var e waiter.Entry
	e.Listener = ignore{}
	ep.q.Register(&e, waiter.In)
	if s.closed = nil; ep.Lend(nil, 9, describe(ep), s) {
		t.Error("somebody waits")
	}
	ep.q.Unregister(&e)
	New().Add(nil, 9, describe(ep), waiter.In, 1)
	outer := New()
	outer.Add(nil, 9, describe(ep), waiter.In, 1)
	if ep.Lend(nil, 9, describe(ep), s) {
		t.Error("it is in another")
	}
	for range 20 {
		if ep = outer; ep.Lend(nil, 9, describe(ep), s) {
			ep.foreign(other{})
		}
	}
	if ep.Lend(nil, 9, describe(ep), s) {
		t.Error("two use it all the time")
	}
}

type ignore struct{}

func (ignore) Notified(*waiter.Entry, uint32) {}
