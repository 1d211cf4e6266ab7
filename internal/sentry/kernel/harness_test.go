package kernel

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

// Tasks in these tests have no host thread, memory or files: they are driven by
// hand.

func newTest(t *testing.T) (*Kernel, *Task) {
	t.Helper()
	k := New(Config{Hostname: "box"})
	init, e := k.NewProcess(auth.Root(), "init")
	if e != 0 {
		t.Fatal(e)
	}
	return k, init
}

func fork(t *testing.T, p *Task, flags uint64) *Task {
	t.Helper()
	c, e := p.k.NewTask(p, CloneOptions{Flags: flags, ExitSignal: SIGCHLD})
	if e != 0 {
		t.Fatalf("clone: %v", e)
	}
	return c
}

const threadFlags = unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND

func thread(t *testing.T, p *Task) *Task { t.Helper(); return fork(t, p, threadFlags) }

// exit ends a task as the run loop does.
func exit(t *Task, code int32) {
	t.BeginExit()
	t.ExitNotify(ExitStatus(code))
}

// exitGroup is exit_group by a task whose group has no other thread.
func exitGroup(t *Task, code int32) {
	st := t.GroupExit(ExitStatus(code))
	t.BeginExit()
	t.ExitNotify(st)
}

// die follows an exit that a signal has brought about.
func die(tt *testing.T, t *Task) uint32 {
	tt.Helper()
	d := t.dequeueForDelivery()
	if d == nil || d.Kind != DeliverExit {
		tt.Fatalf("task %d lives: %+v", t.tid, d)
	}
	t.BeginExit()
	t.ExitNotify(d.Status)
	return d.Status
}

func handle(t *Task, sig int32, a SigAction) { t.SetAction(sig, &a) }

func (t *Task) sendTest(sig int32) { t.tg.SendSignal(KernelInfo(sig, SI_USER, 1, 0)) }

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if ok() {
			return
		}
		runtime.Gosched()
	}
	t.Fatalf("never: %s", what)
}

// asleep tells whether the task sleeps in its bed.
func asleep(t *Task) bool { return t.park.asleep() }

func wait(t *Task, flags uint32) (WaitResult, error) {
	r, e := t.Wait(WaitOptions{Flags: flags | WEXITED})
	if e != 0 {
		return r, e
	}
	return r, nil
}
