package kernel

import (
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

func TestHandlerDelivery(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	handle(c, SIGUSR1, SigAction{Handler: 0x1000, Flags: SA_SIGINFO | SA_RESTART, Mask: SigBit(SIGUSR2)})
	if c.interrupted() {
		t.Fatal("interrupted without a signal")
	}
	c.sendTest(SIGUSR1)
	if !c.interrupted() || c.killed() {
		t.Fatal("signal not noticed")
	}
	d := c.dequeueForDelivery()
	if d == nil || d.Kind != DeliverHandler || d.Sig != SIGUSR1 || d.Action.Handler != 0x1000 || d.Info.PID() != 1 {
		t.Fatalf("delivery %+v", d)
	}
	if want := SigBit(SIGUSR1) | SigBit(SIGUSR2); d.NewMask != want || d.SaveMask != 0 {
		t.Fatalf("masks %#x, %#x", d.NewMask, d.SaveMask)
	}
	c.handlerStarted(d, true)
	c.sendTest(SIGUSR2)
	c.sendTest(SIGUSR1)
	if d := c.dequeueForDelivery(); d != nil || c.interrupted() {
		t.Fatalf("blocked signals were delivered: %+v", d)
	}
	if c.PendingSignals() != SigBit(SIGUSR1)|SigBit(SIGUSR2) {
		t.Fatalf("pending %#x", c.PendingSignals())
	}
}

func TestHandlerFlags(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	handle(c, SIGUSR1, SigAction{Handler: 0x1000, Flags: SA_NODEFER | SA_RESETHAND})
	c.sendTest(SIGUSR1)
	d := c.dequeueForDelivery()
	if d.NewMask != 0 {
		t.Errorf("SA_NODEFER: mask %#x", d.NewMask)
	}
	if a, _ := c.SetAction(SIGUSR1, nil); a.Handler != SIG_DFL {
		t.Errorf("SA_RESETHAND: handler %#x", a.Handler)
	}
	if _, e := c.SetAction(SIGKILL, &SigAction{Handler: SIG_IGN}); e != unix.EINVAL {
		t.Errorf("SIGKILL's action: %v", e)
	}
	if _, e := c.SetAction(65, nil); e != unix.EINVAL {
		t.Errorf("signal 65: %v", e)
	}
}

func TestRealTimeQueue(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	for s := int32(SIGUSR1); s <= 40; s++ {
		handle(c, s, SigAction{Handler: 0x1000, Flags: SA_NODEFER})
	}
	for i := range 3 {
		c.tg.SendSignal(ValueInfo(36, SI_QUEUE, 1, 0, uint64(i)))
		c.tg.SendSignal(ValueInfo(34, SI_QUEUE, 1, 0, uint64(10+i)))
		c.sendTest(SIGUSR2)
	}
	var got []uint64
	for d := c.dequeueForDelivery(); d != nil; d = c.dequeueForDelivery() {
		v := uint64(d.Sig)*100 + d.Info.Value()
		got = append(got, v)
		c.handlerStarted(d, true)
	}
	want := []uint64{1200, 3410, 3411, 3412, 3600, 3601, 3602}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestSigpendingLimit(t *testing.T) {
	k, init := newTest(t)
	c := fork(t, init, 0)
	c.setBlocked(^SignalSet(0))
	c.tg.SetLimit(auth.Root(), RLIMIT_SIGPENDING, Rlimit{2, 2})
	for i := range 3 {
		e := c.tg.SendSignal(ValueInfo(40, SI_QUEUE, 1, 0, 0))
		if (i < 2) != (e == 0) {
			t.Errorf("signal %d: %v", i, e)
		}
	}
	if e := c.tg.SendSignal(KernelInfo(SIGUSR1, SI_USER, 1, 0)); e != 0 {
		t.Errorf("kill past the limit: %v", e)
	}
	if n := k.users.get(0).signals.Load(); n != 3 {
		t.Errorf("%d signals counted", n)
	}
	c.sendTest(SIGKILL)
	die(t, c)
	wait(init, 0)
	if n := k.users.get(0).signals.Load(); n != 0 {
		t.Errorf("%d signals counted when it is gone", n)
	}
}

func TestFatalSignalEndsGroup(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	t2 := thread(t, c)
	c.sendTest(SIGTERM)
	if !c.killed() || !t2.killed() {
		t.Fatal("not both threads are killed")
	}
	die(t, t2)
	die(t, c)
	if r, err := wait(init, 0); err != nil || r.PID != c.tid || r.Status != SIGTERM || r.Code != CLD_KILLED {
		t.Fatalf("%+v %v", r, err)
	}
}

func TestCoreSignalStatus(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	c.sendTest(SIGQUIT)
	if st := die(t, c); st != SIGQUIT {
		t.Fatalf("status %#x", st)
	}
}

func TestInitIsProtected(t *testing.T) {
	_, init := newTest(t)
	for _, s := range []int32{SIGKILL, SIGSTOP, SIGTERM, SIGQUIT, 40} {
		init.sendTest(s)
		if d := init.dequeueForDelivery(); d != nil || init.killed() {
			t.Fatalf("signal %d: %+v", s, d)
		}
	}
	handle(init, SIGTERM, SigAction{Handler: 0x1000})
	init.sendTest(SIGTERM)
	if d := init.dequeueForDelivery(); d == nil || d.Kind != DeliverHandler {
		t.Fatal("its handler does not run")
	}
	init.tg.SendExternal(SIGKILL)
	if d := init.dequeueForDelivery(); d == nil || d.Kind != DeliverExit {
		t.Fatal("SIGKILL from outside has no effect")
	}
}

func TestForcedSignal(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	handle(c, SIGSEGV, SigAction{Handler: 0x1000})
	c.setBlocked(SigBit(SIGSEGV))
	c.ForceSignal(FaultInfo(SIGSEGV, SEGV_MAPERR, 0x10))
	d := c.dequeueForDelivery()
	if d == nil || d.Kind != DeliverExit || d.Status != SIGSEGV {
		t.Fatalf("blocked fault: %+v", d)
	}
	c2 := fork(t, init, 0)
	handle(c2, SIGSEGV, SigAction{Handler: 0x1000, Flags: SA_SIGINFO})
	handle(c2, SIGHUP, SigAction{Handler: 0x1000})
	c2.sendTest(SIGHUP)
	c2.ForceSignal(FaultInfo(SIGSEGV, SEGV_MAPERR, 0x10))
	if d := c2.dequeueForDelivery(); d.Sig != SIGSEGV || d.Info.Addr() != 0x10 || d.Info.Code() != SEGV_MAPERR {
		t.Fatalf("fault is not first: %+v", d)
	}
	c2.handlerStarted(&c2.sig.delivery, false) // no room for its frame
	if d := c2.dequeueForDelivery(); d.Kind != DeliverExit || d.Status != SIGSEGV {
		t.Fatalf("after a bad frame: %+v", d)
	}
}

func TestIgnoredSignals(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	handle(c, SIGUSR1, SigAction{Handler: SIG_IGN})
	for _, s := range []int32{SIGUSR1, SIGCHLD, SIGWINCH, SIGURG, SIGCONT} {
		c.sendTest(s)
		if c.interrupted() || c.PendingSignals() != 0 {
			t.Errorf("signal %d was queued", s)
		}
	}
	c.setBlocked(SigBit(SIGUSR1) | SigBit(SIGUSR2))
	c.sendTest(SIGUSR1)
	c.sendTest(SIGUSR2)
	if c.PendingSignals() != SigBit(SIGUSR1)|SigBit(SIGUSR2) {
		t.Error("a blocked ignored signal is not queued")
	}
	handle(c, SIGUSR2, SigAction{Handler: SIG_IGN})
	if c.PendingSignals() != SigBit(SIGUSR1) {
		t.Error("SIG_IGN does not drop what is pending")
	}
}

func TestTempMask(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	handle(c, SIGUSR1, SigAction{Handler: 0x1000})
	c.setBlocked(SigBit(SIGUSR1))
	c.sendTest(SIGUSR1)
	if e := c.SigSuspend(0); e != abi.ERESTARTNOHAND {
		t.Fatal(e)
	}
	d := c.dequeueForDelivery()
	if d == nil || d.SaveMask != SigBit(SIGUSR1) {
		t.Fatalf("%+v", d)
	}
	if restartDecision(abi.ERESTARTNOHAND, d) != RestartEINTR {
		t.Error("sigsuspend does not end with EINTR")
	}
	c.handlerStarted(d, true)
	if c.dequeueForDelivery() != nil || c.sig.hasSaved {
		t.Error("the mask is still temporary")
	}
	c.SetTempMask(SigBit(SIGHUP))
	c.RestoreMask(false)
	if c.SignalMask() != SigBit(SIGUSR1) {
		t.Errorf("mask %#x", c.SignalMask())
	}
	c.SetTempMask(0) // no signal comes: the way out restores it
	if c.dequeueForDelivery() != nil || c.SignalMask() != SigBit(SIGUSR1) {
		t.Errorf("mask %#x", c.SignalMask())
	}
}

func TestRestartDecisions(t *testing.T) {
	restart := &Delivery{Action: SigAction{Flags: SA_RESTART}}
	plain := &Delivery{}
	for _, c := range []struct {
		e    abi.Errno
		d    *Delivery
		want Restart
	}{
		{unix.EINTR, nil, RestartNone},
		{0, plain, RestartNone},
		{abi.ERESTARTSYS, nil, RestartSame},
		{abi.ERESTARTSYS, restart, RestartSame},
		{abi.ERESTARTSYS, plain, RestartEINTR},
		{abi.ERESTARTNOINTR, plain, RestartSame},
		{abi.ERESTARTNOHAND, nil, RestartSame},
		{abi.ERESTARTNOHAND, restart, RestartEINTR},
		{abi.ERESTART_RESTARTBLOCK, nil, RestartBlock},
		{abi.ERESTART_RESTARTBLOCK, restart, RestartEINTR},
	} {
		if got := restartDecision(c.e, c.d); got != c.want {
			t.Errorf("%d with %+v: %d, want %d", c.e, c.d, got, c.want)
		}
	}
}

func TestSigTimedWait(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	c.setBlocked(SigBit(SIGUSR1))
	if _, e := c.SigTimedWait(SigBit(SIGUSR1), 0, true); e != unix.EAGAIN {
		t.Fatal(e)
	}
	c.sendTest(SIGUSR1)
	if i, e := c.SigTimedWait(SigBit(SIGUSR1), 0, true); e != 0 || i.Signo() != SIGUSR1 {
		t.Fatal(e)
	}
	got := make(chan int32)
	go func() {
		i, _ := c.SigTimedWait(SigBit(SIGUSR1), 0, false)
		got <- i.Signo()
	}()
	eventually(t, "asleep", func() bool { return asleep(c) })
	c.sendTest(SIGUSR1)
	if s := <-got; s != SIGUSR1 {
		t.Fatalf("signal %d", s)
	}
	if c.SignalMask() != SigBit(SIGUSR1) || c.interrupted() {
		t.Error("mask or state has changed")
	}
	if _, e := c.SigTimedWait(SigBit(SIGUSR1), 1, false); e != unix.EAGAIN {
		t.Errorf("timeout: %v", e)
	}
	handle(c, SIGHUP, SigAction{Handler: 0x1000})
	c.sendTest(SIGHUP)
	if _, e := c.SigTimedWait(SigBit(SIGUSR1), 0, false); e != unix.EINTR {
		t.Errorf("other signal: %v", e)
	}
}

func TestGroupSignalPicksThread(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	t2 := thread(t, c)
	handle(c, SIGUSR1, SigAction{Handler: 0x1000})
	c.setBlocked(SigBit(SIGUSR1))
	c.sendTest(SIGUSR1)
	if c.interrupted() || !t2.interrupted() {
		t.Fatal("the thread that does not block it is not woken")
	}
	// It blocks it too, before it takes it; then the leader lets it in.
	t2.setBlocked(SigBit(SIGUSR1))
	c.setBlocked(0)
	if d := c.dequeueForDelivery(); d == nil || d.Sig != SIGUSR1 {
		t.Fatalf("%+v", d)
	}
}

func TestBlockingHandsOverSignals(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	t2 := thread(t, c)
	handle(c, SIGUSR1, SigAction{Handler: 0x1000})
	c.sendTest(SIGUSR1)
	if t2.interrupted() {
		t.Fatal("both were woken")
	}
	c.setBlocked(SigBit(SIGUSR1))
	if !t2.interrupted() {
		t.Fatal("nobody takes the signal")
	}
}

func TestThreadSignal(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	t2 := thread(t, c)
	handle(c, SIGUSR1, SigAction{Handler: 0x1000})
	if e := init.Tgkill(c.tid, t2.tid, SIGUSR1); e != 0 {
		t.Fatal(e)
	}
	if c.interrupted() {
		t.Fatal("the leader got it")
	}
	if d := t2.dequeueForDelivery(); d == nil || d.Info.Code() != SI_TKILL || d.Info.PID() != init.tid {
		t.Fatalf("%+v", d)
	}
	if e := init.Tgkill(init.tid, t2.tid, 0); e != unix.ESRCH {
		t.Errorf("wrong group: %v", e)
	}
}

func TestSignalfdEncoding(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	c.setBlocked(^SignalSet(0))
	c.tg.SendSignal(ValueInfo(40, SI_QUEUE, 7, 8, 0x1122334455667788))
	var b [128]byte
	if !c.SignalfdPending(1<<39) || !c.SignalfdTake(1<<39, &b) || c.SignalfdTake(1<<39, &b) {
		t.Fatal("not taken once")
	}
	i := SigInfo(b)
	if i.get32(0) != 40 || i.get32(8) != SI_QUEUE || i.get32(12) != 7 || i.get32(16) != 8 || i.get64(48) != 0x1122334455667788 || i.get32(44) != 0x55667788 {
		t.Fatalf("% x", b[:64])
	}
}

func TestAltStack(t *testing.T) {
	_, init := newTest(t)
	if e := init.SetAltStack(AltStack{SP: 0x1000, Size: 100}, 0); e != unix.ENOMEM {
		t.Errorf("small stack: %v", e)
	}
	if e := init.SetAltStack(AltStack{SP: 0x10000, Size: 8192, Flags: 4}, 0); e != unix.EINVAL {
		t.Errorf("bad flags: %v", e)
	}
	if a := init.AltStack(0); a.Flags != SS_DISABLE {
		t.Errorf("%+v", a)
	}
	if e := init.SetAltStack(AltStack{SP: 0x10000, Size: 8192}, 0); e != 0 {
		t.Fatal(e)
	}
	d := &Delivery{Action: SigAction{Flags: SA_ONSTACK}}
	if sp := init.handlerStack(d, 0x7000); sp != 0x12000 {
		t.Errorf("sp %#x", sp)
	}
	if sp := init.handlerStack(d, 0x11000); sp != 0x11000 {
		t.Errorf("already on it: sp %#x", sp)
	}
	if e := init.SetAltStack(AltStack{Flags: SS_DISABLE}, 0x11000); e != unix.EPERM {
		t.Errorf("changed while in use: %v", e)
	}
	if a := init.AltStack(0x11000); a.Flags != SS_ONSTACK {
		t.Errorf("%+v", a)
	}
}
