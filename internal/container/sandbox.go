package container

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// Sandbox is a running wall with one container behind it. The methods may be
// called from several goroutines; each is one request to the wall.
type Sandbox interface {
	// Start runs the init process of a sandbox that was made without it.
	Start(net *wire.Network, fds []int) error
	// Exec runs one more process; fds are its stdin, stdout, stderr, 3, ….
	// The caller keeps its descriptors.
	Exec(args wire.ExecArgs, fds []int) (wire.ExecResult, error)
	// Signal sends a signal to init, to an exec'ed process or to all.
	Signal(args wire.SignalArgs) error
	// Wait blocks until a process has ended: init if execID is empty.
	Wait(execID string) (unix.WaitStatus, error)
	// Processes lists the processes inside.
	Processes() ([]wire.ProcessInfo, error)
	// Pause stops every process inside; Resume lets them go on.
	Pause() error
	Resume() error
	// Stats counts what the host's cgroups cannot.
	Stats() (wire.StatsResult, error)
	// Resize sets the window size of a process's terminal.
	Resize(args wire.ResizeArgs) error
	// Update changes the limits held inside.
	Update(limits wire.Limits) error
	// Shutdown ends every process and the wall's own.
	Shutdown() error
}

// Wall names a kind of sandbox.
type Wall string

// The walls.
const (
	WallSentry Wall = "sentry" // a userspace kernel
	WallVM     Wall = "vm"     // a micro-VM
)

// WallAnnotation in config.json chooses the wall of one container, over the
// command line.
const WallAnnotation = "dev.bulkhead.wall"

// wall is what a configuration asks for, else the default.
func (cfg *Config) wall(otherwise Wall) Wall {
	if w := cfg.Annotations[WallAnnotation]; w != "" {
		return Wall(w)
	}
	return otherwise
}

// sentrySandbox speaks the control protocol to a Sentry: every call has a
// connection of its own, so that none waits behind another.
type sentrySandbox struct {
	socket string
}

func (s *sentrySandbox) call(m wire.Method, args any, fds []int, result any) error {
	c, err := wire.DialControl(s.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Call(m, args, fds, result)
}

func (s *sentrySandbox) Start(net *wire.Network, fds []int) error {
	if net != nil && net.Mode == wire.NetworkLoopback {
		net = nil // nothing is taken over: a Start without arguments
	}
	return s.call(wire.MethodStart, wire.StartArgs{Network: net}, fds, nil)
}

func (s *sentrySandbox) Exec(args wire.ExecArgs, fds []int) (res wire.ExecResult, err error) {
	err = s.call(wire.MethodExec, args, fds, &res)
	return res, err
}

func (s *sentrySandbox) Signal(args wire.SignalArgs) error {
	return s.call(wire.MethodSignal, args, nil, nil)
}

func (s *sentrySandbox) Wait(execID string) (unix.WaitStatus, error) {
	var res wire.WaitResult
	err := s.call(wire.MethodWait, wire.WaitArgs{ExecID: execID}, nil, &res)
	return unix.WaitStatus(res.Status), err
}

func (s *sentrySandbox) Processes() (list []wire.ProcessInfo, err error) {
	err = s.call(wire.MethodProcesses, nil, nil, &list)
	return list, err
}

func (s *sentrySandbox) Pause() error  { return s.call(wire.MethodPause, nil, nil, nil) }
func (s *sentrySandbox) Resume() error { return s.call(wire.MethodResume, nil, nil, nil) }

func (s *sentrySandbox) Stats() (res wire.StatsResult, err error) {
	err = s.call(wire.MethodStats, nil, nil, &res)
	return res, err
}

func (s *sentrySandbox) Resize(args wire.ResizeArgs) error {
	return s.call(wire.MethodResize, args, nil, nil)
}

func (s *sentrySandbox) Update(limits wire.Limits) error {
	return s.call(wire.MethodUpdate, limits, nil, nil)
}

func (s *sentrySandbox) Shutdown() error { return s.call(wire.MethodShutdown, nil, nil, nil) }
