package container

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// caller makes requests on behalf of a foreground command.
type caller interface {
	Call(m wire.Method, args any, fds []int, result any) error
}

// forwarder passes the signals of this process on to a process in the sandbox,
// follows the window size, and stops and continues with the sandbox.
type forwarder struct {
	to     caller
	execID string
	term   *hostTerminal // nil without one
	signal chan os.Signal
	done   chan struct{}
	later  *time.Timer
	// members, if not nil, names the sandbox's processes for a report on it.
	members func() []member

	mu      sync.Mutex
	stopped bool
}

// notForwarded are the signals that are this process's own: of its children,
// of the Go runtime, of job control (handled apart), those that mean a
// fault of its own, and SIGABRT (handled apart).
var notForwarded = map[syscall.Signal]bool{
	unix.SIGCHLD: true, unix.SIGURG: true, unix.SIGPIPE: true,
	unix.SIGTTIN: true, unix.SIGTTOU: true, unix.SIGKILL: true, unix.SIGSTOP: true,
	unix.SIGSEGV: true, unix.SIGBUS: true, unix.SIGFPE: true, unix.SIGILL: true,
	unix.SIGTRAP: true, unix.SIGSYS: true, unix.SIGPROF: true, unix.SIGABRT: true,
}

// newForwarder begins to catch signals; those that were ignored stay so. Each
// costs the Go runtime two hand-overs between threads, so that the real-time
// ones, which nobody sends to a command just started, follow a little later.
func newForwarder() *forwarder {
	f := &forwarder{signal: make(chan os.Signal, 64), done: make(chan struct{})}
	f.catch(1, 31)
	f.later = time.AfterFunc(50*time.Millisecond, func() { f.catch(35, 64) }) // 32 to 34 are the C library's
	return f
}

func (f *forwarder) catch(first, last syscall.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return
	}
	var list []os.Signal
	for s := first; s <= last; s++ {
		if !notForwarded[s] && !signal.Ignored(s) {
			list = append(list, s)
		}
	}
	signal.Notify(f.signal, list...)
}

// catchAbort catches SIGABRT, which is this process's own: see abortReport. Until
// there is a sandbox to report on, it is the Go runtime's.
func (f *forwarder) catchAbort() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.members != nil && !f.stopped && !signal.Ignored(unix.SIGABRT) {
		signal.Notify(f.signal, unix.SIGABRT)
	}
}

// run forwards to the process execID (init if it is empty) until stop.
func (f *forwarder) run(to caller, execID string) {
	f.to, f.execID = to, execID
	go func() {
		f.catchAbort()
		for {
			select {
			case s := <-f.signal:
				f.forward(s.(syscall.Signal))
			case <-f.done:
				return
			}
		}
	}()
}

func (f *forwarder) stop() {
	f.later.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	close(f.done)
	go signal.Stop(f.signal) // which hands over between threads for each; the caller's work is at its end
}

func (f *forwarder) forward(s syscall.Signal) {
	switch s {
	case unix.SIGWINCH:
		f.resize()
	case unix.SIGTSTP:
		f.suspend()
	case unix.SIGABRT:
		f.abortReport()
	default:
		// The process may just have ended; then there is no one to tell.
		_ = f.to.Call(wire.MethodSignal, wire.SignalArgs{Signal: int(s), ExecID: f.execID}, nil, nil)
	}
}

func (f *forwarder) resize() {
	if f.term == nil {
		return
	}
	rows, cols, err := windowSize(f.term.file)
	if err == nil {
		_ = f.to.Call(wire.MethodResize, wire.ResizeArgs{ExecID: f.execID, Rows: rows, Cols: cols}, nil, nil)
	}
}

// suspend stops the sandbox and then this process, as ^Z should; the shell's
// `fg` continues both.
func (f *forwarder) suspend() {
	if err := f.to.Call(wire.MethodPause, nil, nil, nil); err != nil {
		return
	}
	if f.term != nil {
		f.term.restore()
	}
	unix.Kill(unix.Getpid(), unix.SIGSTOP)
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		// SIGSTOP takes effect before kill returns; after SIGCONT the
		// terminal may take a moment to be ours again.
		if f.term == nil || inForeground(f.term.file) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if f.term != nil && inForeground(f.term.file) {
		_ = f.term.makeRaw()
	}
	_ = f.to.Call(wire.MethodResume, nil, nil, nil)
	f.resize()
}
