package kernel

import (
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

func user(t *testing.T, c *Task, uid uint32) {
	t.Helper()
	n, e := c.Creds().SetUID(uid)
	if e != 0 {
		t.Fatal(e)
	}
	c.SetCreds(n)
}

func TestNice(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	user(t, c, 1000)
	if e := c.SetNice(c, 5); e != 0 || c.Nice() != 5 {
		t.Fatal(e)
	}
	if e := c.SetNice(c, 0); e != unix.EACCES {
		t.Errorf("raising: %v", e)
	}
	c.tg.SetLimit(auth.Root(), RLIMIT_NICE, Rlimit{20, 20})
	if e := c.SetNice(c, 0); e != 0 {
		t.Errorf("within RLIMIT_NICE: %v", e)
	}
	if e := init.SetNice(c, 3); e != unix.EPERM {
		t.Errorf("another user's: %v", e)
	}
	if e := c.SetNice(init, -30); e != 0 || c.Nice() != -20 {
		t.Errorf("root: %v, %d", e, c.Nice())
	}
	if got := len(init.Select(WhichUser, 1000)); got != 1 {
		t.Errorf("%d tasks of user 1000", got)
	}
	if got := len(init.Select(WhichGroup, 0)); got != 2 {
		t.Errorf("%d tasks of the group", got)
	}
}

func TestPolicies(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	for _, p := range []SchedParams{{SCHED_FIFO, 0, false}, {SCHED_FIFO, 100, false}, {SCHED_NORMAL, 1, false}, {77, 0, false}} {
		if e := c.SetSched(init, p); e != unix.EINVAL {
			t.Errorf("%+v: %v", p, e)
		}
	}
	if e := c.SetSched(init, SchedParams{SCHED_RR, 50, true}); e != 0 {
		t.Fatal(e)
	}
	if p := fork(t, c, 0).Sched(); p != (SchedParams{}) {
		t.Errorf("reset on fork: %+v", p)
	}
	user(t, c, 1000)
	if e := c.SetSched(c, SchedParams{SCHED_RR, 60, true}); e != unix.EPERM {
		t.Errorf("past RLIMIT_RTPRIO: %v", e)
	}
	if e := c.SetSched(c, SchedParams{SCHED_RR, 40, false}); e != unix.EPERM {
		t.Errorf("taking reset-on-fork back: %v", e)
	}
	if e := c.SetSched(c, SchedParams{SCHED_RR, 40, true}); e != 0 {
		t.Errorf("lowering: %v", e)
	}
}

func TestAffinity(t *testing.T) {
	_, init := newTest(t)
	online, n := OnlineCPUs()
	if n < 1 || init.Affinity() != online {
		t.Fatalf("%d CPUs", n)
	}
	if e := init.SetAffinity(CPUSet{}); e != unix.EINVAL {
		t.Error(e)
	}
	all := CPUSet{}
	for i := range all {
		all[i] = ^uint64(0)
	}
	if e := init.SetAffinity(all); e != 0 || init.Affinity() != online {
		t.Error(e)
	}
}

func TestLimits(t *testing.T) {
	_, init := newTest(t)
	tg := init.tg
	c := auth.Root()
	if e := tg.SetLimit(c, RLIMIT_NOFILE, Rlimit{2, 1}); e != unix.EINVAL {
		t.Error(e)
	}
	if e := tg.SetLimit(c, RLIMIT_NOFILE, Rlimit{10, nrOpen + 1}); e != unix.EPERM {
		t.Error(e)
	}
	plain := &auth.Creds{}
	if e := tg.SetLimit(plain, RLIMIT_NOFILE, Rlimit{10, 100}); e != 0 {
		t.Error(e)
	}
	if e := tg.SetLimit(plain, RLIMIT_NOFILE, Rlimit{10, 101}); e != unix.EPERM {
		t.Error(e)
	}
	if fork(t, init, 0).tg.Limit(RLIMIT_NOFILE) != (Rlimit{10, 100}) {
		t.Error("not inherited")
	}
}
