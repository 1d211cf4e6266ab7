package kernel

import (
	"slices"
	"testing"

	"bulkhead.dev/bulkhead/internal/sentry/job"
)

func TestView(t *testing.T) {
	k, init := newTest(t)
	v := k.View()
	c := fork(t, init, 0)
	th := thread(t, init)
	handle(c, SIGUSR1, SigAction{Handler: SIG_IGN})
	handle(c, SIGUSR2, SigAction{Handler: 0x1000})
	c.SetSignalMask(SigBit(SIGHUP))
	c.sendTest(SIGHUP)
	if got := v.PIDs(0); !slices.Equal(got, []int32{1, c.tid}) {
		t.Errorf("processes %v", got)
	}
	if got := v.Task(1).Threads(); !slices.Equal(got, []int32{1, th.tid}) {
		t.Errorf("threads %v", got)
	}
	if got := v.Task(1).Children(); !slices.Equal(got, []int32{c.tid}) {
		t.Errorf("children %v", got)
	}
	s := v.Task(c.tid).Stat()
	if s.PPID != 1 || s.SID != 1 || s.Threads != 1 || s.SharedPending != 1 || s.Blocked != 1 ||
		s.Ignored != 1<<(SIGUSR1-1) || s.Caught != 1<<(SIGUSR2-1) || s.Foreground != -1 || s.State != 'R' {
		t.Errorf("child: %+v", s)
	}
	if v.Task(c.tid) != v.Task(c.tid) || v.Task(c.tid) == v.Task(1) {
		t.Error("tasks do not compare")
	}
	shown := v.Task(c.tid)
	exit(c, 0)
	if s := shown.Stat(); s.State != 'Z' || !shown.Alive() {
		t.Errorf("a zombie is %c, alive %v", s.State, shown.Alive())
	}
	if fds, _ := shown.FDs(); fds != nil {
		t.Error("a zombie has files")
	}
	if !shown.Memory().None {
		t.Error("a zombie has memory")
	}
	wait(init, 0)
	if shown.Alive() || v.Task(c.tid) != nil {
		t.Error("a reaped process is still shown")
	}
	if sys := v.System(); sys.Tasks != 2 || sys.Processes != 1 || sys.Forks != 3 {
		t.Errorf("system: %+v", sys)
	}
}

// terminal is a job.Terminal that notes what it is told.
type terminal struct {
	job.Terminal
	fg    int32
	ended []int32
}

func (t *terminal) ForegroundGroup() int32         { return t.fg }
func (t *terminal) DeviceNumber() uint32           { return 0x8801 }
func (t *terminal) SessionEnded(sid int32, _ bool) { t.ended = append(t.ended, sid) }

func TestTerminalOfASession(t *testing.T) {
	k, init := newTest(t)
	var p job.Process = init
	tty := &terminal{fg: 1}
	p.SetControllingTerminal(tty)
	if p.ControllingTerminal() != job.Terminal(tty) {
		t.Fatal("the session has no terminal")
	}
	if s := k.View().Task(1).Stat(); s.TTY != 0x8801 || s.Foreground != 1 {
		t.Errorf("stat shows terminal %#x, foreground %d", s.TTY, s.Foreground)
	}
	p.SetControllingTerminal(nil)
	if p.ControllingTerminal() != nil || !slices.Equal(tty.ended, []int32{1}) {
		t.Errorf("given up: told %v", tty.ended)
	}
	p.SetControllingTerminal(tty)
	p.JobTable().HangUp(1, 1, tty)
	if p.ControllingTerminal() != nil {
		t.Error("hung up, and still there")
	}
}
