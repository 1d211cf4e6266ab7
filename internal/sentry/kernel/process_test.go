package kernel

import (
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

func TestForkExitWait(t *testing.T) {
	k, init := newTest(t)
	if init.tid != 1 || !init.tg.IsInit() {
		t.Fatalf("init is %d", init.tid)
	}
	c := fork(t, init, 0)
	if c.tid != 2 || c.tg.PPID() != 1 || c.tg.PGID() != 1 || c.tg.SID() != 1 {
		t.Fatalf("child %d of %d", c.tid, c.tg.PPID())
	}
	if r, err := wait(init, WNOHANG); err != nil || r.PID != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	exit(c, 3)
	if tasks, _ := k.Counts(); tasks != 2 {
		t.Fatalf("%d tasks with a zombie", tasks)
	}
	r, err := wait(init, WNOWAIT)
	if err != nil || r.Status != 3<<8 {
		t.Fatalf("%+v %v", r, err)
	}
	if r, err = wait(init, 0); err != nil || r.PID != 2 || r.Value != 3 || r.Code != CLD_EXITED {
		t.Fatalf("%+v %v", r, err)
	}
	if _, err = wait(init, 0); err != unix.ECHILD {
		t.Fatalf("%v", err)
	}
	if tasks, procs := k.Counts(); tasks != 1 || procs != 1 || len(k.pids) != 1 {
		t.Fatalf("left: %d tasks, %d processes, %d ids", tasks, procs, len(k.pids))
	}
}

func TestWaitBlocks(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	got := make(chan WaitResult)
	go func() { r, _ := wait(init, 0); got <- r }()
	eventually(t, "asleep", func() bool { return asleep(init) })
	exit(c, 1)
	if r := <-got; r.PID != c.tid {
		t.Fatalf("%+v", r)
	}
	fork(t, init, 0)
	handle(init, SIGUSR1, SigAction{Handler: 0x1000})
	failed := make(chan error)
	go func() { _, err := wait(init, 0); failed <- err }()
	eventually(t, "asleep", func() bool { return asleep(init) })
	init.sendTest(SIGUSR1)
	if err := <-failed; err != abi.ERESTARTSYS {
		t.Fatal(err)
	}
}

func TestWaitSelects(t *testing.T) {
	_, init := newTest(t)
	a, b := fork(t, init, 0), fork(t, init, 0)
	b.SetPGID(0, 0)
	cl, e := init.k.NewTask(init, CloneOptions{ExitSignal: 0})
	if e != 0 {
		t.Fatal(e)
	}
	exit(a, 0)
	exit(b, 0)
	exit(cl, 0)
	try := func(o WaitOptions) int32 {
		o.Flags |= WEXITED | WNOHANG | WNOWAIT
		r, e := init.Wait(o)
		if e != 0 {
			return -int32(e)
		}
		return r.PID
	}
	for name, c := range map[string]struct {
		o    WaitOptions
		want int32
	}{
		"pid":        {WaitOptions{PID: b.tid}, b.tid},
		"group":      {WaitOptions{PGID: b.tid}, b.tid},
		"own group":  {WaitOptions{PGID: 1}, a.tid},
		"no pid":     {WaitOptions{PID: 99}, -int32(unix.ECHILD)},
		"pidfd":      {WaitOptions{Group: a.tg}, a.tid},
		"clone only": {WaitOptions{Flags: WCLONE}, cl.tid},
		"clone pid":  {WaitOptions{PID: cl.tid}, -int32(unix.ECHILD)},
		"all":        {WaitOptions{PID: cl.tid, Flags: WALL}, cl.tid},
		"no exits":   {WaitOptions{PID: a.tid}, a.tid},
	} {
		if got := try(c.o); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestWaitNoThread(t *testing.T) {
	_, init := newTest(t)
	p := fork(t, init, 0)
	p2 := thread(t, p)
	c := fork(t, p2, 0)
	exit(c, 0)
	if _, e := p.Wait(WaitOptions{Flags: WEXITED | WNOTHREAD | WNOHANG}); e != unix.ECHILD {
		t.Fatal(e)
	}
	if r, e := p.Wait(WaitOptions{Flags: WEXITED}); e != 0 || r.PID != c.tid {
		t.Fatal(r, e)
	}
}

func TestAutoReap(t *testing.T) {
	k, init := newTest(t)
	for _, a := range []SigAction{{Handler: SIG_IGN}, {Handler: 0x1000, Flags: SA_NOCLDWAIT}} {
		handle(init, SIGCHLD, a)
		c := fork(t, init, 0)
		exit(c, 0)
		if tasks, _ := k.Counts(); tasks != 1 {
			t.Errorf("%+v leaves a zombie", a)
		}
		if _, err := wait(init, 0); err != unix.ECHILD {
			t.Error(err)
		}
	}
}

func TestReparenting(t *testing.T) {
	_, init := newTest(t)
	sub := fork(t, init, 0)
	mid := fork(t, sub, 0)
	low := fork(t, mid, 0)
	low2 := fork(t, mid, 0)
	exit(low2, 0)
	sub.tg.SetSubreaper(true)
	exit(mid, 0)
	if low.tg.PPID() != sub.tid || low2.tg.PPID() != sub.tid {
		t.Fatalf("parents %d, %d", low.tg.PPID(), low2.tg.PPID())
	}
	exit(sub, 0)
	if low.tg.PPID() != 1 {
		t.Fatalf("parent %d", low.tg.PPID())
	}
}

func TestReparentToThread(t *testing.T) {
	_, init := newTest(t)
	p := fork(t, init, 0)
	p2 := thread(t, p)
	c := fork(t, p, 0)
	c.SetPdeathSignal(SIGUSR1)
	handle(c, SIGUSR1, SigAction{Handler: 0x1000})
	exit(p, 0)
	if c.tg.PPID() != p.tid || c.tg.parentTask != p2 {
		t.Fatal("not given to the other thread")
	}
	if !c.interrupted() {
		t.Fatal("no parent-death signal")
	}
	if _, err := wait(init, WNOHANG); err != nil {
		t.Fatal(err)
	}
	exit(p2, 5)
	r, err := wait(init, 0)
	if err != nil || r.PID != p.tid || r.Status != 5<<8 { // the last one's status
		t.Fatalf("%+v %v", r, err)
	}
}

func TestInitExitKillsAll(t *testing.T) {
	k, init := newTest(t)
	a := fork(t, init, 0)
	b := fork(t, a, 0)
	end := []chan uint32{running(a), running(b)}
	exitGroup(init, 0)
	for _, c := range end {
		if st := <-c; st != SIGKILL {
			t.Errorf("status %#x", st)
		}
	}
	<-k.Done()
	if len(k.pids) != 0 {
		t.Errorf("%d ids left", len(k.pids))
	}
	if _, e := k.NewProcess(auth.Root(), "late"); e != unix.ENOMEM {
		t.Errorf("a new process: %v", e)
	}
}

func TestJoinedProcess(t *testing.T) {
	k, _ := newTest(t)
	p, e := k.NewProcess(auth.Root(), "exec")
	if e != 0 || p.tg.PPID() != 0 || p.tg.SID() != p.tid {
		t.Fatal(e)
	}
	var status uint32
	p.tg.SetExitHook(func(s uint32) { status = s })
	exitGroup(p, 7)
	if status != 7<<8 {
		t.Fatalf("status %#x", status)
	}
	if tasks, _ := k.Counts(); tasks != 1 {
		t.Fatal("it leaves a zombie")
	}
}

func TestExecEndsThreads(t *testing.T) {
	k, init := newTest(t)
	c := fork(t, init, 0)
	t2, t3 := thread(t, c), thread(t, c)
	handle(c, SIGUSR1, SigAction{Handler: 0x1000})
	handle(c, SIGUSR2, SigAction{Handler: SIG_IGN})
	t3.SetAltStack(AltStack{SP: 0x1000, Size: 8192}, 0)
	e1, e2 := running(c), running(t2)
	if e := t3.PrepareExec(); e != 0 {
		t.Fatal(e)
	}
	<-e1
	<-e2
	if t3.tid != c.tg.pid || c.tg.Leader() != t3 || k.Task(c.tg.pid) != t3 {
		t.Fatalf("tid %d", t3.tid)
	}
	if a, _ := t3.SetAction(SIGUSR1, nil); a.Handler != SIG_DFL {
		t.Error("a handler is left")
	}
	if a, _ := t3.SetAction(SIGUSR2, nil); a.Handler != SIG_IGN {
		t.Error("an ignored signal is not ignored any more")
	}
	if a := t3.AltStack(0); a.Flags != SS_DISABLE {
		t.Error("the alternate stack is left")
	}
	if t3.interrupted() {
		t.Error("something is pending")
	}
	if tasks, _ := k.Counts(); tasks != 2 {
		t.Errorf("%d tasks", tasks)
	}
	exitGroup(t3, 4)
	if r, err := wait(init, 0); err != nil || r.Status != 4<<8 {
		t.Fatalf("%+v %v", r, err)
	}
}

func TestExecResetsExitSignal(t *testing.T) {
	_, init := newTest(t)
	c, e := init.k.NewTask(init, CloneOptions{ExitSignal: SIGUSR1})
	if e != 0 {
		t.Fatal(e)
	}
	c.PrepareExec()
	handle(init, SIGCHLD, SigAction{Handler: 0x1000})
	exit(c, 0)
	if d := init.dequeueForDelivery(); d == nil || d.Sig != SIGCHLD {
		t.Fatalf("%+v", d)
	}
}

func TestCloneFlags(t *testing.T) {
	_, init := newTest(t)
	for _, f := range []uint64{
		unix.CLONE_THREAD, unix.CLONE_SIGHAND, unix.CLONE_THREAD | unix.CLONE_VM, unix.CLONE_PARENT,
		unix.CLONE_VM | unix.CLONE_SIGHAND | unix.CLONE_CLEAR_SIGHAND,
	} {
		if _, e := init.k.NewTask(init, CloneOptions{Flags: f}); e != unix.EINVAL {
			t.Errorf("flags %#x: %v", f, e)
		}
	}
	c := fork(t, init, 0)
	s := fork(t, c, unix.CLONE_PARENT)
	if s.tg.PPID() != 1 {
		t.Error("CLONE_PARENT")
	}
	handle(c, SIGUSR1, SigAction{Handler: 0x1000})
	sh := fork(t, c, unix.CLONE_VM|unix.CLONE_SIGHAND)
	handle(sh, SIGUSR1, SigAction{Handler: 0x2000})
	if a, _ := c.SetAction(SIGUSR1, nil); a.Handler != 0x2000 {
		t.Error("CLONE_SIGHAND does not share")
	}
	cl := fork(t, c, unix.CLONE_CLEAR_SIGHAND)
	if a, _ := cl.SetAction(SIGUSR1, nil); a.Handler != SIG_DFL {
		t.Error("CLONE_CLEAR_SIGHAND")
	}
	st, e := init.k.NewTask(init, CloneOptions{SetTID: 500, ExitSignal: SIGCHLD})
	if e != 0 || st.tid != 500 {
		t.Errorf("set_tid: %v", e)
	}
	if _, e = init.k.NewTask(init, CloneOptions{SetTID: 500}); e != unix.EEXIST {
		t.Errorf("set_tid twice: %v", e)
	}
}

func TestProcessLimits(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	n, e := c.Creds().SetUID(1000)
	if e != 0 {
		t.Fatal(e)
	}
	c.SetCreds(n)
	c.tg.SetLimit(c.Creds(), RLIMIT_NPROC, Rlimit{2, 2})
	fork(t, c, 0)
	if _, e := c.k.NewTask(c, CloneOptions{}); e != unix.EAGAIN {
		t.Errorf("third process: %v", e)
	}
	k := New(Config{PidsLimit: 2})
	p, _ := k.NewProcess(auth.Root(), "init")
	q := fork(t, p, 0)
	if _, e := k.NewTask(p, CloneOptions{}); e != unix.EAGAIN {
		t.Errorf("past the pids limit: %v", e)
	}
	exit(q, 0)
	wait(p, 0)
	fork(t, p, 0)
}

func TestPIDsWrapAround(t *testing.T) {
	k, init := newTest(t)
	k.lastPID = pidMax - 2
	a := fork(t, init, 0)
	b := fork(t, init, 0)
	if a.tid != pidMax-1 || b.tid != reservedPIDs {
		t.Fatalf("%d, %d", a.tid, b.tid)
	}
}

func TestDiscard(t *testing.T) {
	k, init := newTest(t)
	fork(t, init, 0).Discard()
	thread(t, init).Discard()
	if tasks, procs := k.Counts(); tasks != 1 || procs != 1 || len(k.pids) != 1 || k.users.get(0).tasks.Load() != 1 {
		t.Fatal("something is left")
	}
	if _, err := wait(init, 0); err != unix.ECHILD {
		t.Fatal(err)
	}
}

func TestSessionsAndGroups(t *testing.T) {
	_, init := newTest(t)
	sh := fork(t, init, 0)
	if _, e := sh.SetSID(); e != 0 {
		t.Fatal(e)
	}
	if _, e := sh.SetSID(); e != unix.EPERM {
		t.Errorf("setsid by a leader: %v", e)
	}
	if e := sh.SetPGID(0, 0); e != unix.EPERM {
		t.Errorf("setpgid by a session's leader: %v", e)
	}
	c := fork(t, sh, 0)
	if e := sh.SetPGID(c.tid, c.tid); e != 0 || c.tg.PGID() != c.tid {
		t.Fatal(e)
	}
	d := fork(t, sh, 0)
	if e := sh.SetPGID(d.tid, c.tid); e != 0 || d.tg.PGID() != c.tid {
		t.Fatal(e)
	}
	if e := sh.SetPGID(d.tid, 1); e != unix.EPERM {
		t.Errorf("group of another session: %v", e)
	}
	if e := sh.SetPGID(1, 0); e != unix.ESRCH {
		t.Errorf("not a child: %v", e)
	}
	if e := sh.SetPGID(d.tid, -1); e != unix.EINVAL {
		t.Errorf("negative group: %v", e)
	}
	d.PrepareExec()
	if e := sh.SetPGID(d.tid, d.tid); e != unix.EACCES {
		t.Errorf("after its exec: %v", e)
	}
	if _, e := c.SetSID(); e != unix.EPERM {
		t.Errorf("setsid by a group's leader: %v", e)
	}
	if id, e := init.GetSID(d.tid); e != 0 || id != sh.tid {
		t.Errorf("getsid %d %v", id, e)
	}
	if _, e := init.GetPGID(4000); e != unix.ESRCH {
		t.Errorf("getpgid: %v", e)
	}
	if e := init.Kill(-c.tid, SIGKILL); e != 0 {
		t.Fatal(e)
	}
	die(t, c)
	die(t, d)
	if e := init.Kill(-c.tid, 0); e != 0 {
		t.Errorf("a group of zombies: %v", e)
	}
	wait(sh, 0)
	wait(sh, 0)
	if e := init.Kill(-c.tid, 0); e != unix.ESRCH {
		t.Errorf("a group that is gone: %v", e)
	}
}

func TestKillPermission(t *testing.T) {
	_, init := newTest(t)
	a, b := fork(t, init, 0), fork(t, init, 0)
	for i, c := range []*Task{a, b} {
		n, e := c.Creds().SetUID(uint32(1000 + i))
		if e != 0 {
			t.Fatal(e)
		}
		c.SetCreds(n)
	}
	if e := a.Kill(b.tid, 0); e != unix.EPERM {
		t.Errorf("another user's process: %v", e)
	}
	if e := a.Kill(b.tid, SIGCONT); e != 0 {
		t.Errorf("SIGCONT in one session: %v", e)
	}
	if e := a.Kill(a.tid, 65); e != unix.EINVAL {
		t.Errorf("signal 65: %v", e)
	}
	if e := a.Kill(4000, 65); e != unix.ESRCH {
		t.Errorf("signal 65 to nobody: %v", e)
	}
	if e := init.Kill(b.tid, 0); e != 0 {
		t.Errorf("root: %v", e)
	}
	if e := a.Kill(-1, SIGCONT); e != 0 {
		t.Errorf("kill(-1): %v", e)
	}
	info := ValueInfo(0, SI_QUEUE, a.tid, 1000, 9)
	if e := a.Sigqueue(a.tid, 40, &info); e != 0 {
		t.Errorf("sigqueue: %v", e)
	}
	forged := KernelInfo(0, SI_KERNEL, 0, 0)
	if e := init.Sigqueue(b.tid, 40, &forged); e != unix.EPERM {
		t.Errorf("forged siginfo: %v", e)
	}
}

func TestPidFD(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	p := NewPidFD(c.tg, nil)
	if p.Ready(nil) != 0 || p.PID() != c.tid {
		t.Fatal("ready while it runs")
	}
	if e := init.PidFDSendSignal(p, SIGKILL, nil, 0); e != 0 {
		t.Fatal(e)
	}
	die(t, c)
	if p.Ready(nil)&1 == 0 {
		t.Fatal("not ready after its exit")
	}
	wait(init, 0)
	if p.Ready(nil)&0x10 == 0 || p.PID() != -1 {
		t.Fatal("no hang-up after it was reaped")
	}
	if e := init.PidFDSendSignal(p, 0, nil, 0); e != unix.ESRCH {
		t.Fatal(e)
	}
}

// TestPidsLimit: the kernel's own limit is exact, for threads as for processes, a
// zombie counts until it is waited for, and a change holds at once.
func TestPidsLimit(t *testing.T) {
	k, init := newTest(t)
	k.SetPidsLimit(3)
	another := func(flags uint64) (*Task, abi.Errno) {
		return k.NewTask(init, CloneOptions{Flags: flags, ExitSignal: SIGCHLD})
	}
	thread(t, init)
	c := fork(t, init, 0)
	for _, flags := range []uint64{0, threadFlags} {
		if _, e := another(flags); e != unix.EAGAIN {
			t.Errorf("a fourth task, flags %#x: %v", flags, e)
		}
	}
	exit(c, 0)
	if _, e := another(0); e != unix.EAGAIN {
		t.Errorf("beside a zombie: %v", e)
	}
	if _, err := wait(init, 0); err != nil {
		t.Fatal(err)
	}
	fork(t, init, 0)
	if _, e := another(0); e != unix.EAGAIN {
		t.Errorf("a fourth again: %v", e)
	}
	k.SetPidsLimit(4)
	fork(t, init, 0)
	if _, e := another(threadFlags); e != unix.EAGAIN {
		t.Errorf("a fifth: %v", e)
	}
	k.SetPidsLimit(0)
	thread(t, init)
}
