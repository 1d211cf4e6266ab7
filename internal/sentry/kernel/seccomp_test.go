package kernel

import (
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/bpf"
)

// onNr is a filter that answers r for call nr, and lets all others through.
func onNr(nr, r uint32) []bpf.Instruction {
	return []bpf.Instruction{
		{Code: 0x20, K: 0}, {Code: 0x15, JF: 1, K: nr}, {Code: 0x06, K: r}, {Code: 0x06, K: SECCOMP_RET_ALLOW},
	}
}

func check(t *Task, nr uint32) (SeccompVerdict, int) {
	v, st, e := t.SeccompCheck(nr, &[6]uint64{}, 0x400000)
	return v, int(st) + int(e)
}

func TestSeccompActions(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	for nr, r := range map[uint32]uint32{
		1: SECCOMP_RET_ERRNO | 13, 2: SECCOMP_RET_LOG, 3: SECCOMP_RET_TRACE, 4: SECCOMP_RET_TRAP | 7,
		5: SECCOMP_RET_ERRNO | 0xffff, 6: SECCOMP_RET_USER_NOTIF,
	} {
		if _, e := c.AddSeccompFilter(onNr(nr, r), 0); e != 0 {
			t.Fatal(e)
		}
	}
	for nr, want := range map[uint32]struct {
		v SeccompVerdict
		e int
	}{
		0: {SeccompAllow, 0}, 1: {SeccompSkip, 13}, 2: {SeccompAllow, 0}, 3: {SeccompSkip, int(unix.ENOSYS)},
		5: {SeccompSkip, 4095}, 6: {SeccompSkip, int(unix.ENOSYS)},
	} {
		if v, e := check(c, nr); v != want.v || e != want.e {
			t.Errorf("call %d: %d, %d", nr, v, e)
		}
	}
	handle(c, SIGSYS, SigAction{Handler: 0x1000, Flags: SA_SIGINFO})
	if v, _ := check(c, 4); v != SeccompRollback {
		t.Fatalf("trap: %d", v)
	}
	d := c.dequeueForDelivery()
	if d == nil || d.Sig != SIGSYS || d.Info.Code() != SYS_SECCOMP || d.Info.get32(4) != 7 || d.Info.get32(24) != 4 ||
		d.Info.Addr() != 0x400000 || uint32(d.Info.get32(28)) != AuditArch {
		t.Fatalf("%+v", d)
	}
	c.handlerStarted(d, true)
	if c.dequeueForDelivery() != nil {
		t.Fatal("a second delivery")
	}
	if mode, n := c.SeccompMode(); mode != 2 || n != 6 {
		t.Errorf("mode %d, %d filters", mode, n)
	}
	if f := fork(t, c, 0); f.seccomp.Load() != c.seccomp.Load() {
		t.Error("a child does not inherit the filters")
	}
}

func TestSeccompKill(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	c.AddSeccompFilter(onNr(1, SECCOMP_RET_KILL_THREAD), 0)
	c.AddSeccompFilter(onNr(2, SECCOMP_RET_KILL_PROCESS), 0)
	t2 := thread(t, c)
	if v, st := check(t2, 1); v != SeccompExit || st != SIGSYS {
		t.Fatalf("thread: %d, %d", v, st)
	}
	exit(t2, 0)
	if v, _ := check(c, 1); v != SeccompRollback {
		t.Fatalf("last thread: %d", v)
	}
	if st := die(t, c); st != SIGSYS {
		t.Fatalf("status %#x", st)
	}
	p := fork(t, init, 0)
	p.AddSeccompFilter(onNr(2, SECCOMP_RET_KILL_PROCESS), 0)
	q := thread(t, p)
	handle(p, SIGSYS, SigAction{Handler: 0x1000})
	check(p, 2)
	if st := die(t, p); st != SIGSYS || !q.killed() {
		t.Fatalf("status %#x", st)
	}
}

func TestSeccompPrecedence(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	c.AddSeccompFilter(onNr(1, SECCOMP_RET_ERRNO|1), 0)
	c.AddSeccompFilter(onNr(1, SECCOMP_RET_ERRNO|2), 0)
	c.AddSeccompFilter(onNr(1, SECCOMP_RET_LOG), 0)
	if v, e := check(c, 1); v != SeccompSkip || e != 2 {
		t.Fatalf("%d, %d", v, e)
	}
}

func TestSeccompRules(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	n, _ := c.Creds().SetUID(1000)
	c.SetCreds(n)
	if _, e := c.AddSeccompFilter(onNr(1, 0), 0); e != unix.EACCES {
		t.Errorf("without no_new_privs: %v", e)
	}
	n = n.Clone()
	n.NoNewPrivs = true
	c.SetCreds(n)
	if _, e := c.AddSeccompFilter(onNr(1, 0)[:3], 0); e != unix.EINVAL {
		t.Errorf("bad program: %v", e)
	}
	t2 := thread(t, c)
	if _, e := c.AddSeccompFilter(onNr(1, 0), SECCOMP_FILTER_FLAG_TSYNC); e != 0 || t2.seccomp.Load() != c.seccomp.Load() {
		t.Errorf("TSYNC: %v", e)
	}
	t2.AddSeccompFilter(onNr(3, 0), 0)
	if tid, e := c.AddSeccompFilter(onNr(2, 0), SECCOMP_FILTER_FLAG_TSYNC); e != 0 || int32(tid) != t2.tid {
		t.Errorf("TSYNC of a thread with a filter of its own: %d %v", tid, e)
	}
	if _, e := c.AddSeccompFilter(onNr(2, 0), SECCOMP_FILTER_FLAG_TSYNC|SECCOMP_FILTER_FLAG_TSYNC_ESRCH); e != unix.ESRCH {
		t.Error(e)
	}
	if e := c.SetSeccompStrict(); e != unix.EINVAL {
		t.Errorf("strict behind filters: %v", e)
	}
	s := fork(t, init, 0)
	s.SetSeccompStrict()
	if v, _ := check(s, unix.SYS_WRITE); v != SeccompAllow {
		t.Error("strict refuses write")
	}
	if v, st := check(s, unix.SYS_OPEN); v != SeccompExit || st != SIGKILL {
		t.Error("strict lets open through")
	}
}
