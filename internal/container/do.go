package container

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// Exit codes of `do` beside the command's own, as env(1), nohup(1) and
// timeout(1) have them.
const (
	ExitTimeout  = 124 // --timeout ran out
	ExitFailure  = 125 // the sandbox could not be made
	ExitCannot   = 126 // the command was found and could not be executed
	ExitNotFound = 127 // the command was not found
	ExitSignal   = 128 // plus the signal that ended the command
)

// DoOptions describe one command in a sandbox without a bundle.
type DoOptions struct {
	RootDir string   // host directory to be the root; "" is /
	Volumes []string // SRC:DST[:ro]
	Workdir string   // "" is the current directory, if the root has it
	Env     []string // K=V, or K to take the caller's
	User    string   // "" is the caller; else NAME|UID[:GROUP|GID]
	Memory  int64    // bytes, 0 for no limit
	Pids    int64    // 0 for no limit
	Timeout time.Duration
	Strace  bool
	// CountCalls writes how often each call was made to DebugLog, or to stderr.
	CountCalls bool
	DebugLog   string
	Args       []string
	// VM, if not nil, runs the command behind the VM wall.
	VM *wire.VMOptions

	Stdin, Stdout, Stderr *os.File
}

// Do runs one command in a new sandbox and returns its exit code. It writes
// nothing to the disk and leaves nothing behind. Errors are those of making the
// sandbox; the exit code is right in any case.
func Do(o DoOptions) (int, error) {
	l, err := o.launch()
	if err != nil {
		return ExitFailure, err
	}
	if o.DebugLog != "" {
		log, err := os.OpenFile(o.DebugLog, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return ExitFailure, fmt.Errorf("--debug-log: %w", err)
		}
		defer log.Close()
		l.debug = log
	}
	cg, err := doCgroup(o.hostLimits())
	if err != nil {
		fmt.Fprintf(o.Stderr, "bulkhead: no cgroup for --memory and --pids (%v); the guest kernel alone holds them\n", err)
	}
	if cg != nil {
		defer cg.remove()
		l.cgroup = true
		l.admit = func(r *running) error {
			if r.gofer == nil {
				return cg.admit(r.sentry.pid)
			}
			return errors.Join(cg.admit(r.gofer.pid), cg.admit(r.sentry.pid))
		}
	}

	onTerminal := o.terminal(&l.sentry.Process)
	l.catching = make(chan *forwarder, 1)
	go func() { l.catching <- newForwarder() }() // while the processes are started
	r, err := l.run()
	fw := l.forwarder
	if err != nil {
		if fw == nil {
			fw = <-l.catching
		}
		fw.stop()
		return ExitFailure, err
	}
	defer r.closeFiles()
	if onTerminal {
		if fw.term, err = openTerminal(o.Stdin); err != nil {
			r.kill()
			return ExitFailure, err
		}
		defer fw.term.restore()
	}
	if lack := r.plan.missing(); lack != "" {
		adoptOrphans()
		fmt.Fprintf(o.Stderr, "bulkhead: %s\n", lack)
	}
	fw.members = r.members
	fw.run(r.control, "")
	limit := r.limitTime(o.Timeout)
	status, err := r.sentry.wait()
	fw.stop()
	limit.stop()
	fw.term.restore()
	r.reapGofer()
	if err != nil {
		return ExitFailure, fmt.Errorf("waiting for the Sentry: %w", err)
	}
	return doExitCode(r, status, limit.passed.Load())
}

// terminal says whether the command's stdin and stdout both are a terminal that
// this process may use, and tells the process so. Otherwise the three
// descriptors are passed as they are.
func (o *DoOptions) terminal(p *wire.Process) bool {
	if !isTerminal(o.Stdin) || !isTerminal(o.Stdout) || !inForeground(o.Stdin) {
		return false
	}
	p.Terminal, p.TerminalStderr = true, isTerminal(o.Stderr)
	if rows, cols, err := windowSize(o.Stdin); err == nil {
		p.Rows, p.Cols = rows, cols
	}
	return true
}

// killAfter is how long a command may take to end after SIGTERM.
const killAfter = time.Second

// deadline ends a sandbox whose time has run out.
type deadline struct {
	first, second *time.Timer
	passed        atomic.Bool
}

// limitTime ends the sandbox after d: SIGTERM to everything inside, then
// SIGKILL to the Sentry. 0 is no limit.
func (r *running) limitTime(d time.Duration) *deadline {
	out := new(deadline)
	if d <= 0 {
		return out
	}
	control := r.control
	out.second = time.AfterFunc(d+killAfter, func() { r.sentry.kill() })
	out.first = time.AfterFunc(d, func() {
		out.passed.Store(true)
		_ = control.Call(wire.MethodSignal, wire.SignalArgs{Signal: int(unix.SIGTERM), All: true}, nil, nil)
	})
	return out
}

func (d *deadline) stop() {
	if d.first != nil {
		d.first.Stop()
		d.second.Stop()
	}
}

// reapGofer ends the Gofer of a sandbox whose Sentry has ended, and whatever
// the Sentry left behind where no PID namespace ended it.
func (r *running) reapGofer() {
	if r.gofer != nil {
		r.gofer.kill()
		_, _ = r.gofer.wait()
	}
	if r.plan.flags&unix.CLONE_NEWPID == 0 {
		reapOrphans()
	}
}

func doExitCode(r *running, st unix.WaitStatus, timedOut bool) (int, error) {
	if timedOut {
		return ExitTimeout, nil
	}
	err := r.readReady()
	crash := r.lastWords()
	var boot *bootError
	switch {
	case crash != nil:
		return ExitFailure, crash
	case st.Signaled():
		return ExitSignal + int(st.Signal()), nil
	case errors.As(err, &boot):
		return bootExitCode(boot), err
	case err != nil && st.ExitStatus() != 0:
		return ExitFailure, fmt.Errorf("%w (exit status %d)", err, st.ExitStatus())
	}
	return st.ExitStatus(), nil
}

func bootExitCode(e *bootError) int {
	switch unix.Errno(e.Errno) {
	case unix.ENOENT:
		return ExitNotFound
	case unix.EACCES, unix.ENOEXEC, unix.EISDIR, unix.ENOTDIR, unix.ELOOP, unix.EPERM:
		return ExitCannot
	}
	return ExitFailure
}
