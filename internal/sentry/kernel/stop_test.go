package kernel

import "testing"

// running starts the run loop's part that matters: it stops and continues with
// the task's signals, and ends when the task is to exit.
func running(t *Task) (ended chan uint32) {
	ended = make(chan uint32, 1)
	go func() {
		for {
			if d := t.dequeueForDelivery(); d != nil && d.Kind == DeliverExit {
				t.BeginExit()
				t.ExitNotify(d.Status)
				ended <- d.Status
				return
			}
			t.Block(0)
		}
	}()
	return ended
}

func stopped(tg *ThreadGroup) func() bool { return func() bool { return tg.sig.isStopped() } }

func TestStopAndContinue(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	t2 := thread(t, c)
	e1, e2 := running(c), running(t2)
	c.sendTest(SIGSTOP)
	r, err := wait(init, WSTOPPED)
	if err != nil || r.Status != SIGSTOP<<8|0x7f || r.Code != CLD_STOPPED || r.PID != c.tid {
		t.Fatalf("%+v %v", r, err)
	}
	if !c.tg.sig.isStopped() {
		t.Fatal("told before all had stopped")
	}
	if r, _ := wait(init, WSTOPPED|WNOHANG); r.PID != 0 {
		t.Fatalf("told twice: %+v", r)
	}
	c.sendTest(SIGCONT)
	r, err = wait(init, WCONTINUED)
	if err != nil || r.Status != 0xffff || r.Code != CLD_CONTINUED {
		t.Fatalf("%+v %v", r, err)
	}
	c.sendTest(SIGSTOP)
	eventually(t, "stopped again", stopped(c.tg))
	c.sendTest(SIGKILL)
	<-e1
	<-e2
	if r, err := wait(init, 0); err != nil || r.Status != SIGKILL {
		t.Fatalf("%+v %v", r, err)
	}
}

func TestContinueDropsStops(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	c.sendTest(SIGTSTP)
	c.sendTest(SIGSTOP)
	c.sendTest(SIGCONT)
	if c.sig.pending.set|c.tg.sig.shared.set != 0 {
		t.Fatal("stop signals outlive SIGCONT")
	}
	handle(c, SIGCONT, SigAction{Handler: 0x1000})
	c.sendTest(SIGCONT)
	c.setBlocked(SigBit(SIGSTOP)) // cannot be
	c.sendTest(SIGSTOP)
	if c.tg.sig.shared.set.Has(SIGCONT) {
		t.Fatal("SIGCONT outlives SIGSTOP")
	}
}

func TestStopSignalsChild(t *testing.T) {
	_, init := newTest(t)
	handle(init, SIGCHLD, SigAction{Handler: 0x1000, Flags: SA_SIGINFO})
	c := fork(t, init, 0)
	end := running(c)
	c.sendTest(SIGSTOP)
	eventually(t, "SIGCHLD", init.interrupted)
	d := init.dequeueForDelivery()
	if d.Sig != SIGCHLD || d.Info.Code() != CLD_STOPPED || d.Info.Status() != SIGSTOP || d.Info.PID() != c.tid {
		t.Fatalf("%+v", d)
	}
	handle(init, SIGCHLD, SigAction{Handler: 0x1000, Flags: SA_NOCLDSTOP})
	c.sendTest(SIGCONT)
	if _, err := wait(init, WCONTINUED); err != nil {
		t.Fatal(err)
	}
	if init.tg.sig.shared.set.Has(SIGCHLD) {
		t.Fatal("SA_NOCLDSTOP has no effect")
	}
	c.sendTest(SIGKILL)
	<-end
}

// job makes a child in a process group of its own.
func jobOf(t *testing.T, p *Task) *Task {
	t.Helper()
	c := fork(t, p, 0)
	if e := c.SetPGID(0, 0); e != 0 {
		t.Fatal(e)
	}
	return c
}

func TestTerminalStopInOrphanedGroup(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	if _, e := c.SetSID(); e != 0 { // its parent is of another session: its group is orphaned
		t.Fatal(e)
	}
	c.sendTest(SIGTSTP)
	if d := c.dequeueForDelivery(); d != nil || c.tg.sig.isStopped() {
		t.Fatal("SIGTSTP stops an orphaned group")
	}
	// Init may be a shell, too: it counts like any parent.
	for _, shell := range []*Task{init, fork(t, init, 0)} {
		j := jobOf(t, shell)
		end := running(j)
		j.sendTest(SIGTTIN)
		if r, err := wait(shell, WSTOPPED); err != nil || r.Value != SIGTTIN {
			t.Fatalf("%+v %v", r, err)
		}
		j.sendTest(SIGKILL)
		<-end
	}
}

func TestOrphanedStoppedGroupGetsHangup(t *testing.T) {
	_, init := newTest(t)
	shell := fork(t, init, 0)
	if _, e := shell.SetSID(); e != 0 {
		t.Fatal(e)
	}
	j := jobOf(t, shell)
	end := running(j)
	j.sendTest(SIGSTOP)
	eventually(t, "stopped", stopped(j.tg))
	exitGroup(shell, 0)
	if st := <-end; st != SIGHUP {
		t.Fatalf("status %#x", st)
	}
	if j.tg.PPID() != 1 && !j.tg.Exited() {
		t.Fatal("not given to init")
	}
}

func TestThreadExitCountsAsStopped(t *testing.T) {
	_, init := newTest(t)
	c := fork(t, init, 0)
	t2 := thread(t, c)
	end := running(c)
	c.tg.SendSignal(KernelInfo(SIGSTOP, SI_USER, 0, 0))
	eventually(t, "leader stopped", func() bool {
		c.tg.sig.mu.Lock()
		defer c.tg.sig.mu.Unlock()
		return c.sig.inStop
	})
	if c.tg.sig.isStopped() {
		t.Fatal("stopped while a thread runs")
	}
	exit(t2, 0)
	if !c.tg.sig.isStopped() {
		t.Fatal("not stopped when the last running thread has gone")
	}
	c.sendTest(SIGKILL)
	<-end
}
