package container

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// A process of the guest is no child of whoever called `exec --detach`, and has
// no pid that the caller could wait for. An exec-proxy stands for it on the
// host: its pid is in --pid-file, it passes signals and window sizes on, and
// it ends with the process and its exit code.
//
//	exec ── wire.ExecArgs (fd 3) ──▶ exec-proxy ── Exec, Wait ──▶ Sentry
//	exec ◀── proxyReport (fd 4) ──── exec-proxy
const (
	proxyArgsFD   = 3
	proxyReportFD = 4
	proxyExtraFD  = 5 // --preserve-fds
)

// proxyReport says whether the process runs.
type proxyReport struct {
	Error string `json:"error,omitempty"`
}

func (c *Container) execDetached(o *ExecOptions, args wire.ExecArgs) error {
	stdio := [3]*os.File{o.Stdin, o.Stdout, o.Stderr}
	var p *pty
	if args.Process.Terminal {
		var err error
		if p, err = newPty(args.Process.Rows, args.Process.Cols); err != nil {
			return err
		}
		defer p.close()
		stdio = [3]*os.File{p.slave, p.slave, p.slave}
		args.Process.TerminalStderr = true
	}
	if _, err := execFDs(stdio, o.PreserveFDs); err != nil {
		return err
	}
	argsR, argsW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer argsR.Close()
	defer argsW.Close()
	reportR, reportW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reportR.Close()
	files := []*os.File{stdio[0], stdio[1], stdio[2], argsR, reportW}
	for i := 0; i < o.PreserveFDs; i++ {
		files = append(files, os.NewFile(uintptr(3+i), "preserved"))
	}
	argv := append(append([]string{"bulkhead"}, selfExe[1:]...), "exec-proxy", "--socket="+c.path("control.sock"), fmt.Sprint("--preserve=", o.PreserveFDs))
	proxy, err := os.StartProcess(selfExe[0], argv, &os.ProcAttr{
		Files: files, Env: sandboxEnv(), Dir: "/",
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: args.Process.Terminal},
	})
	reportW.Close()
	if err != nil {
		return fmt.Errorf("starting the exec proxy: %w", err)
	}
	argsR.Close()
	if err := c.awaitProxy(o, args, p, proxy, argsW, reportR); err != nil {
		proxy.Kill()
		proxy.Wait()
		return err
	}
	return nil
}

func (c *Container) awaitProxy(o *ExecOptions, args wire.ExecArgs, p *pty, proxy *os.Process, argsW, reportR *os.File) error {
	if err := p.send(o.ConsoleSocket); err != nil {
		return err
	}
	if err := sendConfig(argsW, &args); err != nil {
		return fmt.Errorf("exec proxy: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(reportR, 64<<10))
	if err != nil || len(raw) == 0 {
		return errors.New("the exec proxy has ended at once")
	}
	var rep proxyReport
	if err := json.Unmarshal(raw, &rep); err != nil {
		return fmt.Errorf("exec proxy: %w", err)
	}
	if rep.Error != "" {
		return errors.New(rep.Error)
	}
	return writePidFile(o.PidFile, proxy.Pid)
}

// ExecProxyMain is the program of an exec-proxy. The result is its exit code.
func ExecProxyMain(argv []string) int {
	fs := flag.NewFlagSet("exec-proxy", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	socket := fs.String("socket", "", "")
	preserve := fs.Int("preserve", 0, "")
	if err := fs.Parse(argv); err != nil {
		return 255
	}
	fw := newForwarder()
	to := dialer{*socket}
	res, term, err := proxyExec(to, *preserve)
	report(err)
	if err != nil {
		return 255
	}
	fw.term = term
	fw.run(to, res.ExecID)
	var done wire.WaitResult
	if err := to.Call(wire.MethodWait, wire.WaitArgs{ExecID: res.ExecID}, nil, &done); err != nil {
		return ExitSignal + int(unix.SIGKILL) // the Sentry is gone, and all with it
	}
	return exitCode(unix.WaitStatus(done.Status))
}

func report(err error) {
	var rep proxyReport
	if err != nil {
		rep.Error = err.Error()
	}
	raw, _ := json.Marshal(&rep)
	_, _ = unix.Write(proxyReportFD, raw)
	unix.Close(proxyReportFD)
}

// proxyExec starts the process on the descriptors inherited, and lets go of
// them: a reader of the process's output sees its end when it ends.
func proxyExec(to dialer, preserve int) (res wire.ExecResult, term *hostTerminal, err error) {
	var args wire.ExecArgs
	if err := wire.ReadConfig(proxyArgsFD, &args); err != nil {
		return res, nil, err
	}
	fds := []int{0, 1, 2}
	for i := 0; i < preserve; i++ {
		fds = append(fds, proxyExtraFD+i)
	}
	if err := to.Call(wire.MethodExec, &args, fds, &res); err != nil {
		return res, nil, fmt.Errorf("exec: %w", err)
	}
	if args.Process.Terminal {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, proxyExtraFD)
		if err == nil {
			term = &hostTerminal{file: os.NewFile(uintptr(fd), "terminal")}
		}
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return res, term, nil
	}
	for _, fd := range fds {
		if fd <= 2 {
			_ = unix.Dup3(null, fd, 0)
		} else {
			unix.Close(fd)
		}
	}
	unix.Close(null)
	return res, term, nil
}
