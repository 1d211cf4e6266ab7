// Package drive owns everything the workbench does to containers: bundles, the
// calls of a runtime's command line, their time limits, and the certainty that
// nothing is left running, mounted or held in a cgroup afterwards.
//
// A Launcher's commands run one after another or at once; it has no locks, its
// thread is owned by one goroutine. Sweep may only be called while no command
// of this process's is running.
package drive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Launcher starts a runtime's commands from a thread of its own, in a mount
// namespace of its own, so that what a runtime needs hidden is hidden from it
// alone and costs it nothing at start.
type Launcher struct {
	jobs chan func()
}

// unified is what crun 1.8 looks at to call a machine's cgroups "hybrid".
const unified = "/sys/fs/cgroup/unified/cgroup.controllers"

// NewLauncher makes a launcher. Without root it shares the caller's mounts.
func NewLauncher(hideUnified bool) (*Launcher, error) {
	l := &Launcher{jobs: make(chan func())}
	ready := make(chan error)
	go l.loop(hideUnified, ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	return l, nil
}

// loop never unlocks its thread: the namespaces end with it.
func (l *Launcher) loop(hideUnified bool, ready chan<- error) {
	runtime.LockOSThread()
	err := privateMounts(hideUnified)
	ready <- err
	if err != nil {
		return
	}
	for job := range l.jobs {
		job()
	}
}

func privateMounts(hideUnified bool) error {
	if os.Geteuid() != 0 {
		return nil
	}
	err := unix.Unshare(unix.CLONE_NEWNS)
	if errors.Is(err, unix.EPERM) && !hideUnified {
		return nil // root without CAP_SYS_ADMIN: the runtimes say what they miss
	}
	if err != nil {
		return fmt.Errorf("a mount namespace for the runtimes: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if _, err := os.Stat(unified); !hideUnified || err != nil {
		return nil
	}
	if err := unix.Mount("/dev/null", unified, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("hide %s: %w", unified, err)
	}
	return nil
}

// Close ends the launcher's thread.
func (l *Launcher) Close() { close(l.jobs) }

// start starts cmd in a process group of its own, from the launcher's thread:
// the death signal of prctl(2) is tied to that thread.
func (l *Launcher) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	cmd.WaitDelay = waitDelay
	done := make(chan error)
	l.jobs <- func() { done <- startOwn(cmd) }
	return <-done
}

// waitDelay is how long a command's pipes may stay open after its end: a
// runtime that leaks them must not hang the workbench.
const waitDelay = 2 * time.Second

func killGroup(p *os.Process) error {
	if err := syscall.Kill(-p.Pid, syscall.SIGKILL); err != nil {
		return p.Kill()
	}
	return nil
}

// run runs a command to its end and returns its output and how long it took.
func (l *Launcher) run(ctx context.Context, argv []string, env []string) (Outcome, error) {
	var stdout, stderr buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &stdout, &stderr, env
	begin := time.Now()
	err := l.start(cmd)
	if err == nil {
		err = waitOwn(cmd)
	}
	out := Outcome{Wall: time.Since(begin), Stdout: stdout.String(), Stderr: stderr.String()}
	if cmd.ProcessState != nil {
		out.Exit = cmd.ProcessState.ExitCode()
	}
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		return out, fmt.Errorf("%s: %w", argv[0], err)
	}
	return out, nil
}
