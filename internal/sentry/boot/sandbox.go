package boot

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/fs/devpts"
	"bulkhead.dev/bulkhead/internal/sentry/fs/goferfs"
	"bulkhead.dev/bulkhead/internal/sentry/fs/proc"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/syscalls"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/wire"
)

// sandbox is everything a Sentry runs. mu guards the processes that were
// started from outside.
type sandbox struct {
	cfg      wire.SentryConfig
	k        *kernel.Kernel
	platform *platform.Platform
	ns       *vfs.MountNamespace
	root     *vfs.FSContext
	pts      *devpts.Instance
	proc     *proc.Proc
	gofer    int
	files    *goferfs.Client
	limits   atomic.Pointer[wire.Limits] // as updated, or nil

	mu      sync.Mutex
	started bool
	init    *outside
	execs   map[string]*outside
	lastID  int
	log     *os.File         // --strace and debug messages, or nil
	counts  *syscalls.Counts // of calls, or nil
}

// load makes the sandbox up to, but not including, init's first instruction.
// caught is closed when the signals are.
func load(o options, args []string, caught <-chan struct{}) (*sandbox, error) {
	s := &sandbox{execs: map[string]*outside{}, gofer: o.gofer}
	if err := wire.ReadConfig(o.config, &s.cfg); err != nil {
		return nil, err
	}
	// From here on the process is in its cgroups.
	if !s.cfg.Privileges.MountNamespace && !o.enclosed {
		if err := encloseByLandlock(&s.cfg, args); err != nil {
			return nil, err
		}
	}
	// The zygote and what it forks get none of the Sentry's descriptors.
	if err := unix.CloseRange(3, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, fmt.Errorf("close_range: %w", err)
	}
	if err := enclose(&s.cfg); err != nil {
		return nil, err
	}
	kernel.OnlineCPUs() // before anything is placed on one of them
	s.k = kernel.New(s.kernelConfig())
	// The guest's files and the first host process are made side by side.
	files := make(chan error, 1)
	go func() { files <- s.mountAll() }()
	var err error
	if s.platform, err = platform.New(""); err != nil {
		return nil, err
	}
	if err := unix.Chdir("/"); err != nil {
		return nil, err
	}
	if fd := s.cfg.DebugLogFD; fd > 0 {
		if fd == 2 { // init's, which it may close: what comes last must be said, too
			if fd, err = unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3); err != nil {
				return nil, fmt.Errorf("a descriptor for the log: %w", err)
			}
		}
		s.log = os.NewFile(uintptr(fd), "debug log")
	}
	dispatch := kernel.Dispatcher(syscalls.Dispatch)
	if s.cfg.Strace && s.log != nil {
		dispatch = syscalls.Trace(s.log, dispatch)
	}
	if s.cfg.CountCalls && s.log != nil {
		s.counts = &syscalls.Counts{}
		dispatch = s.counts.Watch(dispatch)
	}
	if s.log != nil {
		s.k.CopyLog(s.log)
	}
	s.k.Attach(s.platform, dispatch, s.cfg.Strace || s.counts != nil)
	if err := <-files; err != nil {
		return nil, err
	}
	if err := s.applySysctls(); err != nil {
		return nil, err
	}
	if err := s.network(); err != nil {
		return nil, err
	}
	if s.init, err = s.newProcess(&s.cfg.Process, s.stdio()); err != nil {
		return nil, err
	}
	s.k.Init().SetUnkillable(!s.cfg.InitKillable)
	<-caught
	if err := s.confine(); err != nil {
		return nil, err
	}
	go s.watchGofer()
	return s, s.init.load(s)
}

func (s *sandbox) kernelConfig() kernel.Config {
	c := kernel.Config{Hostname: s.cfg.Hostname, Domainname: s.cfg.Domainname, PidsLimit: int(s.cfg.Limits.Pids), MemTotal: uint64(s.cfg.Limits.MemoryBytes)}
	l := kernel.DefaultLimits()
	for _, r := range s.cfg.Process.Rlimits {
		if r.Resource >= 0 && r.Resource < len(l) {
			l[r.Resource] = kernel.Rlimit{Cur: r.Soft, Max: r.Hard}
		}
	}
	c.Limits = &l
	if v := s.cfg.Process.OOMScore; v != nil {
		c.OOMScoreAdj = int32(*v)
	}
	return c
}

// stdio lists the host descriptors of init's files.
func (s *sandbox) stdio() []int {
	fds := []int{0, 1, 2}
	for i := 0; i < s.cfg.PreserveFDs; i++ {
		fds = append(fds, s.cfg.PreserveFDBase+i)
	}
	return fds
}

// finish waits for the end of the sandbox and gives the exit code.
func (s *sandbox) finish() int {
	status := s.init.wait()
	late := s.mustEnd(endLimit)
	s.k.Kill()
	select {
	case <-s.k.Done():
	case <-time.After(2 * time.Second):
	}
	if s.files != nil {
		s.files.Finish() // the Gofer ends while this process does
	}
	s.platform.Close()
	if s.init.relay != nil {
		s.init.relay.Drain(2 * time.Second)
	}
	if s.counts != nil {
		late.Stop()             // who reads it may take his time
		s.counts.WriteTo(s.log) // a log that is gone is nothing to fail for
		late.Reset(endLimit)
	}
	wire.Answered(time.Second)
	return exitCode(status)
}

// exitCode turns a wait status into an exit code, as shells do.
func exitCode(status uint32) int {
	if sig := status & 0x7f; sig != 0 {
		return 128 + int(sig)
	}
	return int(status >> 8 & 0xff)
}

// watchGofer ends the sandbox when the Gofer is gone: its files are.
func (s *sandbox) watchGofer() {
	p := []unix.PollFd{{Fd: int32(s.gofer), Events: unix.POLLRDHUP}}
	for {
		n, err := unix.Poll(p, -1)
		if err == unix.EINTR || n == 0 {
			continue
		}
		if err != nil || p[0].Revents&(unix.POLLHUP|unix.POLLRDHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
			break
		}
	}
	s.mu.Lock()
	started := s.started
	s.mu.Unlock()
	s.k.Kill()
	if started { // finish is at work; it must not wait for ever
		<-time.After(10 * time.Second)
	}
	os.Exit(128 + int(unix.SIGKILL))
}

// nextID names a process started by exec.
func (s *sandbox) nextID() string {
	s.lastID++
	return "exec-" + strconv.Itoa(s.lastID)
}

func failed(what string, e abi.Errno) error {
	if e == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w", what, e)
}
