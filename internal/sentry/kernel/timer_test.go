package kernel

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

const ms = int64(time.Millisecond)

func pendingSig(t *Task, sig int32) func() bool {
	return func() bool {
		t.tg.sig.mu.Lock()
		defer t.tg.sig.mu.Unlock()
		return (t.sig.pending.set | t.tg.sig.shared.set).Has(sig)
	}
}

func take(t *testing.T, c *Task, sig int32) SigInfo {
	t.Helper()
	i, e := c.SigTimedWait(SigBit(sig), ktime.Mono()+int64(20*time.Second), false)
	if e != 0 {
		t.Fatalf("signal %d: %v", sig, e)
	}
	return i
}

func TestItimerReal(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	c.setBlocked(^SignalSet(0))
	c.tg.SetItimer(ITIMER_REAL, Itimer{Value: ms, Interval: ms})
	for range 3 {
		if i := take(t, c, SIGALRM); i.Code() != SI_KERNEL {
			t.Fatalf("si_code %d", i.Code())
		}
	}
	if v := c.tg.GetItimer(ITIMER_REAL); v.Interval != ms || v.Value <= 0 {
		t.Fatalf("%+v", v)
	}
	old := c.tg.SetItimer(ITIMER_REAL, Itimer{})
	if old.Interval != ms || old.Value > ms {
		t.Fatalf("%+v", old)
	}
	if v := c.tg.GetItimer(ITIMER_REAL); v != (Itimer{}) {
		t.Fatalf("%+v", v)
	}
	c.tg.SetItimer(ITIMER_REAL, Itimer{Value: 1000 * 1000 * ms})
	if f := fork(t, c, 0); f.tg.GetItimer(ITIMER_REAL) != (Itimer{}) {
		t.Fatal("a child inherits the timer")
	}
	if e := c.PrepareExec(); e != 0 || c.tg.GetItimer(ITIMER_REAL).Value == 0 {
		t.Fatal("exec stops the timer")
	}
}

func TestPosixTimer(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	c.setBlocked(^SignalSet(0))
	id, e := c.CreateTimer(unix.CLOCK_MONOTONIC, &SigEvent{Value: 0x1234567890, Signo: 40, Notify: SIGEV_SIGNAL})
	if e != 0 {
		t.Fatal(e)
	}
	if _, e := c.SetTimer(id, 0, Itimer{Value: ms, Interval: ms}); e != 0 {
		t.Fatal(e)
	}
	i := take(t, c, 40)
	if i.Code() != SI_TIMER || i.get32(16) != id || i.Value() != 0x1234567890 {
		t.Fatalf("%+v", i)
	}
	// While the signal is pending, expiries are counted and not queued.
	eventually(t, "pending", pendingSig(c, 40))
	until := ktime.Mono() + 10*ms
	eventually(t, "time passes", func() bool { return ktime.Mono() > until })
	c.tg.sig.mu.Lock()
	n := 0
	for e := c.tg.sig.shared.head; e != nil; e = e.next {
		n++
	}
	c.tg.sig.mu.Unlock()
	if n != 1 {
		t.Fatalf("%d entries are queued", n)
	}
	i = take(t, c, 40)
	over, _ := c.TimerOverrun(id)
	if over < 5 || i.get32(20) != over {
		t.Fatalf("overrun %d, %d", over, i.get32(20))
	}
	if e := c.DeleteTimer(id); e != 0 {
		t.Fatal(e)
	}
	if e := c.DeleteTimer(id); e != unix.EINVAL {
		t.Fatal(e)
	}
}

func TestPosixTimerTargets(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	t2 := thread(t, c)
	c.setBlocked(^SignalSet(0))
	t2.setBlocked(^SignalSet(0))
	if _, e := c.CreateTimer(unix.CLOCK_MONOTONIC, &SigEvent{Signo: 40, Notify: SIGEV_THREAD_ID, TID: 999}); e != unix.EINVAL {
		t.Errorf("no such thread: %v", e)
	}
	if _, e := c.CreateTimer(99, nil); e != unix.EINVAL {
		t.Errorf("no such clock: %v", e)
	}
	if _, e := c.CreateTimer(unix.CLOCK_MONOTONIC_RAW, nil); e != unix.EOPNOTSUPP {
		t.Errorf("raw clock: %v", e)
	}
	if _, e := c.CreateTimer(unix.CLOCK_MONOTONIC, &SigEvent{Signo: 65}); e != unix.EINVAL {
		t.Errorf("signal 65: %v", e)
	}
	id, e := c.CreateTimer(unix.CLOCK_REALTIME, &SigEvent{Signo: 41, Notify: SIGEV_THREAD_ID, TID: t2.tid})
	if e != 0 {
		t.Fatal(e)
	}
	c.SetTimer(id, timerAbsolute, Itimer{Value: ktime.Real() - ms}) // past: at once
	eventually(t, "signal", func() bool {
		c.tg.sig.mu.Lock()
		defer c.tg.sig.mu.Unlock()
		return t2.sig.pending.set.Has(41)
	})
	none, _ := c.CreateTimer(unix.CLOCK_MONOTONIC, &SigEvent{Notify: SIGEV_NONE})
	c.SetTimer(none, 0, Itimer{Value: ms})
	if v, _ := c.GetTimer(none); v.Value <= 0 || v.Value > ms {
		t.Errorf("%+v", v)
	}
	eventually(t, "expired", func() bool { v, _ := c.GetTimer(none); return v.Value == 0 })
	dflt, _ := c.CreateTimer(unix.CLOCK_MONOTONIC, nil)
	c.SetTimer(dflt, 0, Itimer{Value: ms})
	if i := take(t, c, SIGALRM); i.Value() != uint64(dflt) {
		t.Errorf("value %d of timer %d", i.Value(), dflt)
	}
}

func TestExecAndExitEndTimers(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	id, _ := c.CreateTimer(unix.CLOCK_MONOTONIC, nil)
	c.SetTimer(id, 0, Itimer{Value: 1000 * 1000 * ms})
	c.PrepareExec()
	if _, e := c.GetTimer(id); e != unix.EINVAL {
		t.Errorf("after exec: %v", e)
	}
	c.tg.SetItimer(ITIMER_REAL, Itimer{Value: 1000 * 1000 * ms})
	exit(c, 0)
	if c.tg.sig.timers.real.t != nil {
		t.Error("a timer of a zombie runs")
	}
}

func TestCPUTimers(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	c.setBlocked(^SignalSet(0))
	tg := c.tg
	use := func(u Usage) int64 {
		tg.sig.mu.Lock()
		defer tg.sig.mu.Unlock()
		return tg.fireCPUTimers(&u)
	}
	tg.sig.timers.ended = true // the test looks at the clocks itself
	tg.SetItimer(ITIMER_VIRTUAL, Itimer{Value: 10 * ms, Interval: 10 * ms})
	tg.SetItimer(ITIMER_PROF, Itimer{Value: 15 * ms})
	if left := use(Usage{UTime: 8 * ms, STime: 2 * ms}); left != 2*ms {
		t.Errorf("left %d", left)
	}
	use(Usage{UTime: 10 * ms, STime: 6 * ms})
	if !pendingSig(c, SIGVTALRM)() || !pendingSig(c, SIGPROF)() {
		t.Error("timers did not fire")
	}
	if tg.sig.timers.virt.at != 20*ms || tg.sig.timers.prof.at != 0 {
		t.Error("the next period is wrong")
	}
	tg.sig.timers.virt = cpuAlarm{}
	tg.limits.set(RLIMIT_CPU, Rlimit{1, 3})
	use(Usage{UTime: 1100 * ms})
	if !pendingSig(c, SIGXCPU)() || tg.LimitCur(RLIMIT_CPU) != 2 {
		t.Error("no SIGXCPU")
	}
	use(Usage{UTime: 3100 * ms})
	if !c.killed() {
		t.Error("the hard limit does not kill")
	}
}

func TestClocks(t *testing.T) {
	_, init := newTest(t)
	for _, id := range []int32{unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_TAI, unix.CLOCK_PROCESS_CPUTIME_ID, unix.CLOCK_THREAD_CPUTIME_ID, ^int32(0)<<3 | clockSched} {
		if _, e := init.ClockGet(id); e != 0 {
			t.Errorf("clock %d: %v", id, e)
		}
		if _, e := init.ClockRes(id); e != 0 {
			t.Errorf("resolution of clock %d: %v", id, e)
		}
	}
	for _, id := range []int32{10, 12, 99, -1, ^int32(4000)<<3 | clockSched} {
		if _, e := init.ClockGet(id); e != unix.EINVAL {
			t.Errorf("clock %d: %v", id, e)
		}
	}
	if _, e := init.SleepClock(unix.CLOCK_THREAD_CPUTIME_ID); e != unix.EOPNOTSUPP {
		t.Error(e)
	}
}
