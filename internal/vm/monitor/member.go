package monitor

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/confine"
	"bulkhead.dev/bulkhead/internal/vm/filters"
	"bulkhead.dev/bulkhead/internal/wire"
)

// member stands on the host for a container in a pod's VM: its pid is the
// container's, it passes requests and signals on to the pod's monitor, and ends
// with init's status.
type member struct {
	cfg    wire.VMConfig
	socket int // the pod's control socket, O_PATH
	begun  atomic.Bool
	end    chan verdict
}

// MemberMain is the program of `bulkhead-vmm member`. The result is its exit code.
func MemberMain(args []string) int {
	fs := flag.NewFlagSet("member", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	control := fs.Int("control-fd", -1, "")
	conf := fs.Int("config-fd", -1, "")
	ready := fs.Int("ready-fd", -1, "")
	socket := fs.Int("pod-fd", -1, "")
	start := fs.Bool("start", false, "")
	if err := fs.Parse(args); err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead: member:", err)
		return 125
	}
	_ = unix.CloseRange(3, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC)
	m := &member{socket: *socket, end: make(chan verdict, 8)}
	caught := catchSignals()
	if err := wire.ReadConfig(*conf, &m.cfg); err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead: member:", err)
		return 125
	}
	err := m.join(*start)
	if rerr := wire.WriteReady(*ready, err); err != nil {
		return 125 // reported
	} else if rerr != nil {
		err = rerr
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead: member:", err)
		return 125
	}
	go func() { m.finish(statusDead, ignoreEOF(wire.ServeControl(*control, m))) }()
	go forwardSignals(caught, m.begun.Load, func(code int) { m.finish(code, nil) }, m.resizeInit, func(sig int) { _ = m.Signal(wire.SignalArgs{Signal: sig}) })
	v := <-m.end
	if v.err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead:", v.err)
	}
	return v.code
}

// join gives up what is not needed any more, and has the container made.
func (m *member) join(start bool) error {
	if n := m.cfg.Container.PreserveFDs; n > 0 {
		return fmt.Errorf("--preserve-fds=%d: a VM cannot be given open files of the host: %w", n, unix.EINVAL)
	}
	if err := m.confine(); err != nil {
		return err
	}
	life, err := wire.DialControlFD(m.socket)
	if err != nil {
		return fmt.Errorf("the pod's monitor: %w", err)
	}
	if err := life.Call(wire.MethodJoin, wire.JoinArgs{Name: m.cfg.VM.Member, Config: m.cfg, Start: start}, []int{0, 1, 2}, nil); err != nil {
		return err
	}
	go func() {
		life.Ended()
		m.finish(statusDead, errors.New("the pod's VM has ended"))
	}()
	if start {
		m.runs()
	}
	return nil
}

// confine leaves a relay: no capability, no file, sockets of this host alone.
func (m *member) confine() error {
	if err := confine.NoNewPrivs(); err != nil {
		return err
	}
	if err := keepCapabilities(0); err != nil {
		return err
	}
	if _, err := confine.AllPaths(nil); err != nil {
		return fmt.Errorf("leaving the host's files: %w", err)
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0)) // as the monitor
	if err := filters.Member().Install(); err != nil {
		return fmt.Errorf("the member's filter: %w", err)
	}
	return nil
}

func (m *member) finish(code int, err error) {
	select {
	case m.end <- verdict{code, err}:
	default:
	}
}

// call asks the pod's monitor, on a connection of its own: some answers take as
// long as a process lives.
func (m *member) call(method wire.Method, args any, fds []int, result any) error {
	c, err := wire.DialControlFD(m.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	c.Container = m.cfg.VM.Member
	return c.Call(method, args, fds, result)
}

// runs begins to wait for init.
func (m *member) runs() {
	m.begun.Store(true)
	go func() {
		res, err := m.Wait(wire.WaitArgs{})
		if err != nil {
			m.finish(statusDead, err)
			return
		}
		m.finish(exitCode(res.Status), nil)
	}()
}

func (m *member) resizeInit() {
	if !m.cfg.Container.Process.Terminal {
		return
	}
	if ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		_ = m.Resize(wire.ResizeArgs{Rows: ws.Row, Cols: ws.Col})
	}
}

// The methods of wire.ControlHandler.

func (m *member) Start(args wire.StartArgs, fds []int) error {
	for _, fd := range fds {
		unix.Close(fd)
	}
	if m.begun.Load() {
		return &wire.ControlError{Message: "the container has been started already", Errno: int(unix.EBUSY)}
	}
	if err := m.call(wire.MethodStart, wire.StartArgs{}, nil, nil); err != nil {
		m.finish(127, nil)
		return err
	}
	m.runs()
	return nil
}

func (m *member) Exec(args wire.ExecArgs, fds []int) (res wire.ExecResult, err error) {
	err = m.call(wire.MethodExec, args, fds, &res)
	for _, fd := range fds {
		unix.Close(fd)
	}
	return res, err
}

func (m *member) Wait(args wire.WaitArgs) (res wire.WaitResult, err error) {
	err = m.call(wire.MethodWait, args, nil, &res)
	return res, err
}

func (m *member) Processes() (list []wire.ProcessInfo, err error) {
	err = m.call(wire.MethodProcesses, nil, nil, &list)
	return list, err
}

func (m *member) Stats() (res wire.StatsResult, err error) {
	err = m.call(wire.MethodStats, nil, nil, &res)
	return res, err
}

func (m *member) Signal(args wire.SignalArgs) error {
	return m.call(wire.MethodSignal, args, nil, nil)
}
func (m *member) Resize(args wire.ResizeArgs) error {
	return m.call(wire.MethodResize, args, nil, nil)
}
func (m *member) Update(limits wire.Limits) error {
	return m.call(wire.MethodUpdate, limits, nil, nil)
}
func (m *member) Pause() error  { return m.call(wire.MethodPause, nil, nil, nil) }
func (m *member) Resume() error { return m.call(wire.MethodResume, nil, nil, nil) }

// Shutdown ends the container with its process here.
func (m *member) Shutdown() error {
	m.finish(statusDead, nil)
	return nil
}
