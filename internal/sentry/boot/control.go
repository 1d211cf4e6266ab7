package boot

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/fs/tty"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/wire"
)

// serve answers the control connection; a single one that ends takes the
// sandbox with it.
func (s *sandbox) serve(fd int) {
	if fd < 0 {
		return
	}
	go func() {
		wire.ServeControl(fd, s)
		s.k.Kill()
	}()
}

// Start runs init: wire.ControlHandler.
func (s *sandbox) Start(args wire.StartArgs, fds []int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return &wire.ControlError{Message: "the container was started already", Errno: int(unix.EALREADY)}
	}
	if args.Network != nil {
		if err := s.lateNetwork(args.Network, fds); err != nil {
			return err
		}
	}
	s.started = true
	s.init.run()
	return nil
}

// Exec starts one more process: wire.ControlHandler.
func (s *sandbox) Exec(args wire.ExecArgs, fds []int) (wire.ExecResult, error) {
	if len(fds) < 2 || (len(fds) < 3 && !args.Process.Terminal) {
		return wire.ExecResult{}, &wire.ControlError{Message: fmt.Sprintf("exec: %d descriptors, want 3 or more", len(fds)), Errno: int(unix.EINVAL)}
	}
	if s.k.Init() == nil || s.k.Init().Exited() {
		return wire.ExecResult{}, &wire.ControlError{Message: "the container has ended", Errno: int(unix.ESRCH)}
	}
	o, err := s.newProcess(&args.Process, fds)
	if err != nil {
		return wire.ExecResult{}, err
	}
	pid := int(o.task.ThreadGroup().PID())
	if err := o.load(s); err != nil {
		return wire.ExecResult{}, err
	}
	s.mu.Lock()
	id := s.nextID()
	s.execs[id] = o
	s.mu.Unlock()
	o.run()
	return wire.ExecResult{ExecID: id, Pid: pid}, nil
}

// find gives the process of an exec id, or init.
func (s *sandbox) find(id string) (*outside, error) {
	if id == "" {
		return s.init, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.execs[id]; o != nil {
		return o, nil
	}
	return nil, &wire.ControlError{Message: fmt.Sprintf("no process %q", id), Errno: int(unix.ESRCH)}
}

// Signal sends a signal: wire.ControlHandler.
func (s *sandbox) Signal(args wire.SignalArgs) error {
	sig := int32(args.Signal)
	if sig < 0 || sig > kernel.NSIG {
		return &wire.ControlError{Message: fmt.Sprintf("signal %d", sig), Errno: int(unix.EINVAL)}
	}
	if args.All {
		for _, tg := range s.k.ThreadGroups() {
			tg.SignalFromOutside(sig)
		}
		return nil
	}
	var tg *kernel.ThreadGroup
	switch {
	case args.ExecID != "":
		o, err := s.find(args.ExecID)
		if err != nil {
			return err
		}
		tg = o.task.ThreadGroup()
	case args.Pid != 0:
		tg = s.k.ThreadGroupByPID(int32(args.Pid))
	default:
		if !args.Group && s.fromKeyboard(syscall.Signal(sig)) {
			return nil
		}
		tg = s.init.task.ThreadGroup()
	}
	if tg == nil || tg.Exited() {
		return &wire.ControlError{Message: "no such process", Errno: int(unix.ESRCH)}
	}
	if args.Group {
		tg.SignalGroupFromOutside(sig)
		return nil
	}
	if tg.IsInit() && sig == kernel.SIGKILL {
		s.k.Kill()
		return nil
	}
	tg.SignalFromOutside(sig)
	return nil
}

// Wait waits for a process: wire.ControlHandler.
func (s *sandbox) Wait(args wire.WaitArgs) (wire.WaitResult, error) {
	o, err := s.find(args.ExecID)
	if err != nil {
		return wire.WaitResult{}, err
	}
	status := o.wait()
	if args.ExecID != "" {
		if o.relay != nil {
			o.relay.Drain(grace)
		}
		s.mu.Lock()
		delete(s.execs, args.ExecID)
		s.mu.Unlock()
	}
	return wire.WaitResult{Status: status}, nil
}

// Processes lists the guest's processes: wire.ControlHandler.
func (s *sandbox) Processes() ([]wire.ProcessInfo, error) {
	var out []wire.ProcessInfo
	for _, tg := range s.k.ThreadGroups() {
		leader := tg.Leader()
		if tg.Exited() || leader == nil {
			continue
		}
		u, sys := tg.CPUTimes()
		info := wire.ProcessInfo{
			Pid: int(tg.PID()), PPid: int(tg.PPID()), UID: leader.Creds().UID, State: "S",
			StartTime: (s.k.BootReal() + tg.StartMono() - s.k.BootMono()) / 1e9,
			CPUNanos:  uint64(u + sys), Threads: len(tg.Tasks()), Comm: leader.Name(), HostPid: leader.HostPID(),
			Args: leader.CommandLine(),
		}
		out = append(out, info)
	}
	return out, nil
}

// Pause stops every task: wire.ControlHandler.
func (s *sandbox) Pause() error { s.k.Freeze(true); return nil }

// Resume lets them go on: wire.ControlHandler.
func (s *sandbox) Resume() error { s.k.Freeze(false); return nil }

// Stats counts: wire.ControlHandler.
func (s *sandbox) Stats() (wire.StatsResult, error) {
	tasks, _ := s.k.Counts()
	r := wire.StatsResult{Pids: uint64(tasks)}
	for _, tg := range s.k.ThreadGroups() {
		u, sys := tg.CPUTimes()
		r.CPUNanos += uint64(u + sys)
	}
	return r, nil
}

// Resize sets a terminal's size: wire.ControlHandler.
func (s *sandbox) Resize(args wire.ResizeArgs) error {
	o, err := s.find(args.ExecID)
	if err != nil {
		return err
	}
	if o.pair == nil {
		return &wire.ControlError{Message: "the process has no terminal", Errno: int(unix.ENOTTY)}
	}
	o.pair.Slave().SetWinsize(tty.Winsize{Rows: args.Rows, Cols: args.Cols})
	return nil
}

// Update changes limits: wire.ControlHandler.
func (s *sandbox) Update(l wire.Limits) error {
	s.limits.Store(&l)
	s.k.SetPidsLimit(int(l.Pids))
	return nil
}

// Shutdown ends the sandbox: wire.ControlHandler.
func (s *sandbox) Shutdown() error { s.k.Kill(); return nil }

// forwardSignals gives init the signals that the Sentry's process is sent.
func (s *sandbox) forwardSignals(c chan os.Signal) {
	for sig := range c {
		n, ok := sig.(syscall.Signal)
		if !ok {
			continue
		}
		if n == syscall.SIGWINCH && s.init.relay != nil {
			s.init.relay.Resize()
			continue
		}
		if s.fromKeyboard(n) {
			continue
		}
		s.init.task.ThreadGroup().SignalFromOutside(int32(n))
	}
}

// fromKeyboard gives what was typed at a host terminal that the guest has as it
// is to the foreground group: the host's terminal knows no group of the guest's,
// and has signalled the command that the user started.
func (s *sandbox) fromKeyboard(sig syscall.Signal) bool {
	t := s.init.tty
	if t == nil || !s.cfg.InitKillable || t.ForegroundGroup() == 0 {
		return false
	}
	switch sig {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH:
		t.SignalForeground(int(sig))
		return true
	}
	return false
}
