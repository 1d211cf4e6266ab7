package kernel

import (
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/bpf"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// listening gives t a filter that asks about call 7, and its listener.
func listening(t *testing.T, task *Task) *SeccompListener {
	t.Helper()
	p, ok := bpf.New(onNr(7, SECCOMP_RET_USER_NOTIF), AuditArch)
	if !ok {
		t.Fatal("bad program")
	}
	s := &seccompState{program: p, cost: p.Len() + 4}
	s.users.Store(1)
	l := s.listen(0)
	if _, e := task.attachFilter(s, SECCOMP_FILTER_FLAG_NEW_LISTENER); e != 0 {
		t.Fatal(e)
	}
	return l
}

type asked struct {
	verdict SeccompVerdict
	v       uint64
	e       abi.Errno
}

// askIn makes call 7 on a goroutine of the task's own.
func askIn(task *Task) chan asked {
	out := make(chan asked, 1)
	go func() {
		verdict, v, e := task.SeccompCheck(7, &[6]uint64{}, 0)
		out <- asked{verdict, v, e}
	}()
	return out
}

// take receives the one notification that waits.
func (n *notifier) take(t *testing.T) *notification {
	t.Helper()
	var c *notification
	eventually(t, "a notification", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, x := range n.list {
			if x.state == notifyAsked {
				x.state, c = notifySent, x
				return true
			}
		}
		return false
	})
	return c
}

func (n *notifier) answer(c *notification, r NotifyReply) {
	n.mu.Lock()
	c.state, c.reply = notifyReplied, r
	n.mu.Unlock()
	rouse(c.task)
}

func TestListenerAnswers(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	l := listening(t, c)
	for _, k := range []struct {
		r    NotifyReply
		want asked
	}{
		{NotifyReply{Val: 77}, asked{SeccompSkip, 77, 0}},
		{NotifyReply{Error: -5}, asked{SeccompSkip, ^uint64(4), 0}},
		{NotifyReply{Continue: true}, asked{SeccompAllow, 0, 0}},
	} {
		out := askIn(c)
		n := l.n.take(t)
		if ev := l.Ready(nil); ev != waiter.Out|waiter.WrNorm {
			t.Errorf("events %x", ev)
		}
		l.n.answer(n, k.r)
		if got := <-out; got != k.want {
			t.Errorf("%+v: %+v", k.r, got)
		}
	}
	if len(l.n.list) != 0 {
		t.Errorf("%d are left", len(l.n.list))
	}
}

func TestListenerInterrupted(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	l := listening(t, c)
	handle(c, SIGUSR1, SigAction{Handler: 0x1000})
	out := askIn(c)
	l.n.take(t)
	c.sendTest(SIGUSR1)
	if got := <-out; got.e != abi.ERESTARTSYS || len(l.n.list) != 0 {
		t.Errorf("%+v, %d left", got, len(l.n.list))
	}
}

func TestListenerCloses(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	l := listening(t, c)
	if !c.seccomp.Load().listened() {
		t.Error("nobody listens")
	}
	out := askIn(c)
	l.n.take(t)
	l.Release(nil)
	want := asked{SeccompSkip, ^uint64(unix.ENOSYS - 1), 0}
	if got := <-out; got != want {
		t.Errorf("%+v", got)
	}
	if got := <-askIn(c); got.e != unix.ENOSYS {
		t.Errorf("%+v", got)
	}
	if c.seccomp.Load().listened() {
		t.Error("somebody listens")
	}
}

func TestListenerHangsUp(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	l := listening(t, c)
	child := fork(t, c, 0)
	child.AddSeccompFilter(onNr(8, 0), 0) // holds the one before it
	exitGroup(c, 0)
	if l.Ready(nil) != 0 {
		t.Error("a child is left")
	}
	exitGroup(child, 0)
	if l.Ready(nil) != waiter.Hup {
		t.Errorf("events %x", l.Ready(nil))
	}
}

func TestListenerWithThreads(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	l := listening(t, c)
	other := thread(t, c)
	if _, e := c.AddSeccompFilter(onNr(8, 0), SECCOMP_FILTER_FLAG_TSYNC); e != 0 || other.seccomp.Load() != c.seccomp.Load() {
		t.Fatal(e)
	}
	exit(other, 0)
	if l.Ready(nil) != 0 {
		t.Error("a thread is left")
	}
	exitGroup(c, 0)
	if l.Ready(nil) != waiter.Hup {
		t.Errorf("events %x", l.Ready(nil))
	}
}

func TestUserDispatch(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	handle(c, SIGSYS, SigAction{Handler: 0x1000, Flags: SA_SIGINFO})
	if e := c.SetUserDispatch(PR_SYS_DISPATCH_INCLUSIVE_ON, 0x1000, 0x1000, 0); e != 0 || !c.WatchesCalls() {
		t.Fatal(e)
	}
	if c.UserDispatched(1, 0x0fff) || c.UserDispatched(1, 0x2000) {
		t.Error("outside of what is included")
	}
	if !c.UserDispatched(39, 0x1000) {
		t.Fatal("inside")
	}
	d := c.dequeueForDelivery()
	if d == nil || d.Sig != SIGSYS || d.Info.Code() != SYS_USER_DISPATCH || d.Info.get32(24) != 39 || d.Info.Addr() != 0x1000 {
		t.Fatalf("%+v", d)
	}
	c.handlerStarted(d, true)
	if f := fork(t, c, 0); f.WatchesCalls() {
		t.Error("a child inherits it")
	}
	if e := c.SetUserDispatch(PR_SYS_DISPATCH_OFF, 0, 0, 0); e != 0 || c.WatchesCalls() {
		t.Error(e)
	}
}
