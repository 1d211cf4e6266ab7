package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// ExecOptions are the flags of `exec`.
type ExecOptions struct {
	ID            string
	Args          []string
	ProcessFile   string // --process
	Cwd           string
	Env           []string
	Tty           bool
	User          string // uid[:gid]
	GIDs          []string
	Caps          []string
	NoNewPrivs    bool
	Detach        bool
	PidFile       string
	ConsoleSocket string
	PreserveFDs   int
	IgnorePaused  bool
	ProcessLabel  string
	AppArmor      string

	Stdin, Stdout, Stderr *os.File
}

// Exec runs one more process in a container. In the foreground it waits for the
// process and returns its exit code.
func (rt *Runtime) Exec(o ExecOptions) (int, error) {
	c, err := rt.open(o.ID)
	if err != nil {
		return 0, err
	}
	switch status := c.status(); {
	case status == StatusRunning, status == StatusCreated:
	case status == StatusPaused && o.IgnorePaused:
	case status == StatusPaused:
		return 0, errors.New("cannot exec in a paused container (use --ignore-paused to override)")
	default:
		return 0, fmt.Errorf("cannot exec in a %s container", status)
	}
	proc, err := c.execProcess(&o)
	if err != nil {
		return 0, err
	}
	switch {
	case proc.Terminal && o.Detach && o.ConsoleSocket == "":
		return 0, errors.New("a terminal with --detach needs --console-socket, because nothing stays to hold it")
	case proc.Terminal && !o.Detach && o.ConsoleSocket != "":
		return 0, errors.New("--console-socket is for --detach; in the foreground the terminal is the caller's")
	case !proc.Terminal && o.ConsoleSocket != "":
		return 0, errors.New("--console-socket needs --tty")
	}
	args := wire.ExecArgs{Process: *proc, IgnorePaused: o.IgnorePaused}
	if o.Detach {
		return 0, c.execDetached(&o, args)
	}
	return c.execForeground(&o, args)
}

// execProcess makes the process from --process, or from the container's own
// with the flags over it.
func (c *Container) execProcess(o *ExecOptions) (*wire.Process, error) {
	if o.AppArmor != "" || o.ProcessLabel != "" {
		c.rt.Warn("--apparmor and --process-label have no effect: they confine what a process asks of the host's kernel")
	}
	if o.ProcessFile != "" {
		return c.processFromFile(o.ProcessFile, o.Tty)
	}
	if len(o.Args) == 0 {
		return nil, errors.New("process args cannot be empty")
	}
	p := c.rec.Process
	p.Args, p.Terminal, p.TerminalStderr, p.Rows, p.Cols = o.Args, o.Tty, false, 0, 0
	p.Env = append(append([]string(nil), p.Env...), o.Env...)
	if o.Cwd != "" {
		p.Cwd = o.Cwd
	}
	if !strings.HasPrefix(p.Cwd, "/") {
		return nil, fmt.Errorf("--cwd %q is not an absolute path", p.Cwd)
	}
	p.NoNewPrivs = p.NoNewPrivs || o.NoNewPrivs
	if err := execUser(&p, o.User, o.GIDs); err != nil {
		return nil, err
	}
	mask, unknown := capMask(o.Caps)
	if len(unknown) > 0 {
		c.rt.Warn("--cap: no capability is called %q; it is left out", unknown)
	}
	for _, set := range []*uint64{&p.Caps.Bounding, &p.Caps.Effective, &p.Caps.Permitted} {
		*set |= mask
	}
	if c.rec.Process.Caps.Ambient != 0 {
		p.Caps.Inheritable, p.Caps.Ambient = p.Caps.Inheritable|mask, p.Caps.Ambient|mask
	}
	for _, s := range append(append([]string(nil), p.Args...), p.Env...) {
		if strings.ContainsRune(s, 0) {
			return nil, errors.New("an argument or variable contains a NUL byte")
		}
	}
	return &p, nil
}

func (c *Container) processFromFile(path string, tty bool) (*wire.Process, error) {
	raw, err := readLimited(path)
	if err != nil {
		return nil, fmt.Errorf("--process: %w", err)
	}
	var p specs.Process
	if err := decodeJSON(raw, &p, c.rt.Warn); err != nil {
		return nil, fmt.Errorf("--process %s: %w", path, err)
	}
	p.Terminal = p.Terminal || tty
	ck := &checker{warn: c.rt.Warn}
	ck.process("process", &p)
	if err := ck.err(); err != nil {
		return nil, fmt.Errorf("--process %s: %w", path, err)
	}
	out := processOf(&p)
	if a := p.ExecCPUAffinity; a != nil {
		out.CPUs, _ = parseCPUList(a.Final)
	}
	return &out, nil
}

// execUser sets --user and --additional-gids.
func execUser(p *wire.Process, user string, gids []string) error {
	if user != "" {
		uid, gid, both := strings.Cut(user, ":")
		n, err := strconv.ParseUint(uid, 10, 32)
		if err != nil {
			return fmt.Errorf("--user %q: want UID or UID:GID", user)
		}
		p.UID = uint32(n)
		if both {
			if n, err = strconv.ParseUint(gid, 10, 32); err != nil {
				return fmt.Errorf("--user %q: want UID or UID:GID", user)
			}
			p.GID = uint32(n)
		}
	}
	for _, g := range gids {
		n, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return fmt.Errorf("--additional-gids %q is not a number", g)
		}
		p.GIDs = append(p.GIDs, uint32(n))
	}
	return nil
}

// execForeground runs the process on the caller's descriptors and waits.
func (c *Container) execForeground(o *ExecOptions, args wire.ExecArgs) (int, error) {
	var term *hostTerminal
	if args.Process.Terminal {
		if !isTerminal(o.Stdin) || !isTerminal(o.Stdout) {
			return 0, errors.New("--tty: stdin and stdout are not a terminal")
		}
		args.Process.TerminalStderr = isTerminal(o.Stderr)
		if rows, cols, err := windowSize(o.Stdin); err == nil {
			args.Process.Rows, args.Process.Cols = rows, cols
		}
		var err error
		if term, err = openTerminal(o.Stdin); err != nil {
			return 0, err
		}
	}
	defer term.restore()
	fw := newForwarder()
	fw.term = term
	defer fw.stop()
	fds, err := execFDs([3]*os.File{o.Stdin, o.Stdout, o.Stderr}, o.PreserveFDs)
	if err != nil {
		return 0, err
	}
	res, err := c.sandbox().Exec(args, fds)
	if err != nil {
		return 0, fmt.Errorf("exec: %w", err)
	}
	if err := writePidFile(o.PidFile, os.Getpid()); err != nil {
		return 0, err
	}
	fw.members = c.members
	fw.run(dialer{c.path("control.sock")}, res.ExecID)
	return c.waitExec(res.ExecID)
}

// waitExec waits for an exec'ed process; one whose Sentry dies was killed.
func (c *Container) waitExec(id string) (int, error) {
	st, err := c.sandbox().Wait(id)
	if err == nil {
		return exitCode(st), nil
	}
	var refusal *wire.ControlError
	if !errors.As(err, &refusal) && c.rec.Sentry.wait(endWait) {
		return ExitSignal + int(unix.SIGKILL), nil
	}
	return 0, err
}

// execFDs are the descriptors of an exec'ed process: the streams, then those
// that --preserve-fds counts from 3.
func execFDs(stdio [3]*os.File, preserve int) ([]int, error) {
	var fds []int
	for _, f := range stdio {
		fds = append(fds, int(f.Fd()))
	}
	if preserve < 0 || preserve > wire.MaxControlFDs-3 {
		return nil, fmt.Errorf("--preserve-fds=%d: at most %d can be passed", preserve, wire.MaxControlFDs-3)
	}
	for i := 0; i < preserve; i++ {
		var st unix.Stat_t
		if err := unix.Fstat(3+i, &st); err != nil {
			return nil, fmt.Errorf("--preserve-fds=%d: descriptor %d: %w", preserve, 3+i, err)
		}
		fds = append(fds, 3+i)
	}
	return fds, nil
}

// hookInside runs a startContainer hook as a process of the container, as
// root, with the state on its stdin.
func (c *Container) hookInside(hook *specs.Hook, state *specs.State) error {
	raw, err := marshalState(state)
	if err != nil {
		return err
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer inR.Close()
	go func() {
		inW.Write(raw)
		inW.Close()
	}()
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer outR.Close()
	p := c.rec.Process
	p.Args, p.Env, p.Cwd, p.Terminal = hook.Args, hook.Env, "/", false
	if len(p.Args) == 0 {
		p.Args = []string{hook.Path}
	}
	p.Program = hook.Path
	res, err := c.sandbox().Exec(wire.ExecArgs{Process: p}, []int{int(inR.Fd()), int(outW.Fd()), int(outW.Fd())})
	outW.Close()
	if err != nil {
		return err
	}
	return c.awaitHook(hook, res.ExecID, outR)
}

func (c *Container) awaitHook(hook *specs.Hook, id string, out *os.File) error {
	kept := &tail{max: hookOutput}
	copied := make(chan struct{})
	go func() {
		io.Copy(kept, out)
		close(copied)
	}()
	type result struct {
		st  unix.WaitStatus
		err error
	}
	done := make(chan result, 1)
	go func() {
		st, err := c.sandbox().Wait(id)
		done <- result{st, err}
	}()
	var res result
	select {
	case res = <-done:
	case <-timeoutOf(hook):
		_ = c.sandbox().Signal(wire.SignalArgs{Signal: int(unix.SIGKILL), ExecID: id})
		<-done
		return fmt.Errorf("did not end within %d s", *hook.Timeout)
	}
	if res.err != nil {
		return res.err
	}
	if code := exitCode(res.st); code != 0 {
		_ = out.SetReadDeadline(time.Now().Add(hookGrace))
		<-copied
		return fmt.Errorf("exit status %d: %s", code, strings.TrimSpace(string(kept.buf)))
	}
	return nil
}
