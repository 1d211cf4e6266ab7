package container

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a process that this one has started. Package os would do, but for
// its asking the kernel by one process more whether it has pidfds.
type child struct {
	pid int

	mu     sync.Mutex
	reaped bool // the pid may be another's by now
}

func startChild(path string, argv []string, files []*os.File, sys *syscall.SysProcAttr) (*child, error) {
	attr := &syscall.ProcAttr{Dir: "/", Env: sandboxEnv(bounds(argv)...), Sys: sys}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, err
	}
	return &child{pid: pid}, nil
}

// kill sends SIGKILL, unless the process has been waited for.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		_ = unix.Kill(c.pid, unix.SIGKILL)
	}
}

// wait waits for the end of the process and reaps it. One goroutine waits.
func (c *child) wait() (st unix.WaitStatus, err error) {
	// Without reaping first, so that kill never meets a pid that is free.
	for {
		err = unix.Waitid(unix.P_PID, c.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return st, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		_, err = unix.Wait4(c.pid, &st, 0, nil)
		if err != unix.EINTR {
			break
		}
	}
	c.reaped = true
	return st, err
}
