// Package fakewall has a Sentry and a Gofer for tests of the lifecycle: they
// obey the protocol of package wire, and run the guest's program on the host's
// own kernel. A test binary starts itself again as one of them.
package fakewall

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// Gofer reads its configuration and ends with its connection.
func Gofer(args []string) int {
	fs := flag.NewFlagSet("gofer", flag.ExitOnError)
	conn := fs.Int("conn-fd", -1, "")
	conf := fs.Int("config-fd", -1, "")
	fs.Parse(args)
	var cfg wire.GoferConfig
	if err := wire.ReadConfig(*conf, &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var b [1]byte
	for {
		n, err := unix.Read(*conn, b[:])
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return 0
		}
	}
}

// fake is the state of a fake Sentry.
type fake struct {
	cfg   wire.SentryConfig
	extra []*os.File

	mu    sync.Mutex
	init  *fakeProc
	execs map[string]*fakeProc
	begun chan struct{}
}

type fakeProc struct {
	cmd    *exec.Cmd
	done   chan struct{}
	status uint32
}

// Sentry runs a container's programs natively, in the namespaces that the
// launch made. The environment FAKE_BOOT of the guest tells it to fail.
func Sentry(args []string) int {
	runtime.LockOSThread() // the first thread starts nothing: it may be in a cgroup of its own
	fs := flag.NewFlagSet("sentry", flag.ExitOnError)
	control := fs.Int("control-fd", -1, "")
	gofer := fs.Int("gofer-fd", -1, "")
	conf := fs.Int("config-fd", -1, "")
	ready := fs.Int("ready-fd", -1, "")
	start := fs.Bool("start", false, "")
	fs.Parse(args)
	for _, fd := range []int{*control, *gofer, *conf, *ready} {
		unix.CloseOnExec(fd)
	}
	os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	f := &fake{execs: map[string]*fakeProc{}, begun: make(chan struct{})}
	if err := wire.ReadConfig(*conf, &f.cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for i := 0; i < f.cfg.PreserveFDs; i++ {
		f.extra = append(f.extra, os.NewFile(uintptr(f.cfg.PreserveFDBase+i), "extra"))
	}
	for _, kv := range f.cfg.Process.Env {
		switch kv {
		case "FAKE_BOOT=die":
			return 3
		case "FAKE_BOOT=refuse":
			wire.WriteReady(*ready, errors.New("the fake refuses"))
			return 1
		}
	}
	if _, err := exec.LookPath(f.cfg.Process.Args[0]); err != nil {
		wire.WriteReady(*ready, fmt.Errorf("%s: %w", f.cfg.Process.Args[0], unix.ENOENT))
		return 1
	}
	caught := make(chan os.Signal, 16)
	signal.Notify(caught, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	wire.WriteReady(*ready, nil)
	go func() {
		// The Gofer's end is the sandbox's.
		var b [1]byte
		unix.Read(*gofer, b[:])
		os.Exit(139)
	}()
	go wire.ServeControl(*control, f)
	if *start {
		if err := f.Start(wire.StartArgs{}, nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	begun := f.begun
	for {
		select {
		case s := <-caught:
			if f.init == nil {
				if s == unix.SIGTERM || s == unix.SIGINT {
					return 128 + int(s.(syscall.Signal))
				}
				continue
			}
			f.init.cmd.Process.Signal(s)
		case <-begun:
			begun = nil
			go func() {
				<-f.init.done
				wire.Answered(time.Second)
				ws := unix.WaitStatus(f.init.status)
				if ws.Signaled() {
					os.Exit(128 + int(ws.Signal()))
				}
				os.Exit(ws.ExitStatus())
			}()
		}
	}
}

func (f *fake) spawn(p wire.Process, stdin, stdout, stderr *os.File, extra []*os.File) (*fakeProc, error) {
	path, err := exec.LookPath(p.Args[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Args[0], unix.ENOENT)
	}
	cmd := &exec.Cmd{Path: path, Args: p.Args, Env: p.Env, Stdin: stdin, Stdout: stdout, Stderr: stderr, ExtraFiles: extra}
	// The Sentry leads the session of its terminal; the program reads it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: p.Terminal, Ctty: 0}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	fp := &fakeProc{cmd: cmd, done: make(chan struct{})}
	go func() {
		st, _ := cmd.Process.Wait()
		fp.status = uint32(st.Sys().(syscall.WaitStatus))
		close(fp.done)
	}()
	return fp, nil
}

func (f *fake) Start(args wire.StartArgs, fds []int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fd := range fds {
		unix.Close(fd)
	}
	if f.init != nil {
		return errors.New("already started")
	}
	p, err := f.spawn(f.cfg.Process, os.Stdin, os.Stdout, os.Stderr, f.extra)
	if err != nil {
		return err
	}
	f.init = p
	close(f.begun)
	return nil
}

func (f *fake) Exec(args wire.ExecArgs, fds []int) (wire.ExecResult, error) {
	var files []*os.File
	for _, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), "exec"))
	}
	defer func() {
		for _, file := range files {
			file.Close()
		}
	}()
	if len(files) < 3 {
		return wire.ExecResult{}, unix.EINVAL
	}
	p, err := f.spawn(args.Process, files[0], files[1], files[2], files[3:])
	if err != nil {
		return wire.ExecResult{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := fmt.Sprintf("e%d", p.cmd.Process.Pid)
	f.execs[id] = p
	return wire.ExecResult{ExecID: id, Pid: p.cmd.Process.Pid}, nil
}

func (f *fake) find(id string) (*fakeProc, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == "" {
		if f.init == nil {
			return nil, unix.ESRCH
		}
		return f.init, nil
	}
	if p := f.execs[id]; p != nil {
		return p, nil
	}
	return nil, unix.ESRCH
}

func (f *fake) Signal(args wire.SignalArgs) error {
	if args.All {
		return unix.Kill(-1, unix.Signal(args.Signal))
	}
	if args.Pid != 0 {
		return unix.Kill(args.Pid, unix.Signal(args.Signal))
	}
	p, err := f.find(args.ExecID)
	if err != nil {
		return err
	}
	return unix.Kill(p.cmd.Process.Pid, unix.Signal(args.Signal))
}

func (f *fake) Wait(args wire.WaitArgs) (wire.WaitResult, error) {
	p, err := f.find(args.ExecID)
	if err != nil {
		return wire.WaitResult{}, err
	}
	<-p.done
	return wire.WaitResult{Status: p.status}, nil
}

func (f *fake) Processes() ([]wire.ProcessInfo, error) {
	p, err := f.find("")
	if err != nil {
		return nil, nil
	}
	return []wire.ProcessInfo{{
		Pid: 1, HostPid: p.cmd.Process.Pid, StartTime: time.Now().Unix(), Threads: 1,
		Comm: "init", Args: f.cfg.Process.Args, State: "S",
	}}, nil
}

func (f *fake) Pause() error {
	if p, err := f.find(""); err == nil {
		return unix.Kill(p.cmd.Process.Pid, unix.SIGSTOP)
	}
	return nil
}

func (f *fake) Resume() error {
	if p, err := f.find(""); err == nil {
		return unix.Kill(p.cmd.Process.Pid, unix.SIGCONT)
	}
	return nil
}

func (f *fake) Stats() (wire.StatsResult, error) { return wire.StatsResult{Pids: 1}, nil }
func (f *fake) Resize(wire.ResizeArgs) error     { return nil }
func (f *fake) Update(wire.Limits) error         { return nil }
func (f *fake) Shutdown() error                  { os.Exit(137); return nil }
