package kernel

import (
	"testing"

	"bulkhead.dev/bulkhead/internal/sentry/job"
)

// fakeTTY is a terminal that records what it is told.
type fakeTTY struct {
	fg    int32
	ended int32 // the session that gave it up
}

func (f *fakeTTY) DeviceNumber() uint32                { return 0x8800 }
func (f *fakeTTY) TTYName() string                     { return "pts/0" }
func (f *fakeTTY) ForegroundGroup() int32              { return f.fg }
func (f *fakeTTY) SessionEnded(sid int32, exited bool) { f.ended = sid }

var _ job.Terminal = (*fakeTTY)(nil)

func shellWithTTY(t *testing.T, init *Task) (*Task, *fakeTTY) {
	sh := fork(t, init, 0)
	sh.SetSID()
	tty := &fakeTTY{fg: sh.tid}
	sh.SetControllingTerminal(tty)
	return sh, tty
}

func TestSessionLeaderExitGivesUpTerminal(t *testing.T) {
	_, init := newTest(t)
	sh, tty := shellWithTTY(t, init)
	c := fork(t, sh, 0)
	if c.ControllingTerminal() != job.Terminal(tty) || !sh.SessionLeader() || c.SessionLeader() {
		t.Fatal("the session does not share the terminal")
	}
	j := jobOf(t, sh)
	handle(j, SIGHUP, SigAction{Handler: 0x1000})
	tty.fg = j.tid
	exitGroup(sh, 0)
	if !pendingSig(j, SIGHUP)() {
		t.Fatal("the foreground group is not told")
	}
	if tty.ended != sh.tg.pid || c.ControllingTerminal() != nil {
		t.Fatal("the terminal was not given up")
	}
}

func TestHangUp(t *testing.T) {
	k, init := newTest(t)
	sh, tty := shellWithTTY(t, init)
	j := jobOf(t, sh)
	handle(sh, SIGHUP, SigAction{Handler: 0x1000})
	handle(j, SIGHUP, SigAction{Handler: 0x1000})
	k.HangUp(sh.tg.SID(), j.tid, tty)
	if !pendingSig(sh, SIGHUP)() || sh.ControllingTerminal() != nil {
		t.Fatal("the leader is not told")
	}
	if pendingSig(j, SIGHUP)() {
		t.Fatal("the foreground group is told too early")
	}
	exitGroup(sh, 0)
	if !pendingSig(j, SIGHUP)() {
		t.Fatal("the former foreground group is not told when the leader exits")
	}
}

func TestGroupSignals(t *testing.T) {
	k, init := newTest(t)
	sh, _ := shellWithTTY(t, init)
	j := jobOf(t, sh)
	handle(j, SIGINT, SigAction{Handler: 0x1000})
	k.SignalGroup(1, j.tid, SIGINT)
	if j.interrupted() {
		t.Fatal("a group of another session was reached")
	}
	k.SignalGroup(sh.tg.SID(), j.tid, SIGINT)
	if !j.interrupted() || sh.interrupted() {
		t.Fatal("^C goes astray")
	}
	if j.GroupOrphaned() || !sh.GroupOrphaned() {
		t.Error("orphaned groups")
	}
	if j.SignalDeaf(SIGTTOU) {
		t.Error("deaf without reason")
	}
	handle(j, SIGTTOU, SigAction{Handler: SIG_IGN})
	if !j.SignalDeaf(SIGTTOU) {
		t.Error("not deaf to what it ignores")
	}
}
