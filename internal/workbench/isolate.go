package workbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// innerEnv marks the process that does the work.
const innerEnv = "BULKHEAD_BENCH_INNER"

// wantsIsolation says whether the measurement moves into namespaces of its own.
// As PID 1 of a PID namespace with mounts of its own, the workbench takes every
// process and mount with it even when it is killed with SIGKILL. A client such
// as ctr needs its daemon's namespaces, and without root there is none to be had.
func wantsIsolation(p *plan) bool {
	if os.Geteuid() != 0 || os.Getenv(innerEnv) != "" {
		return false
	}
	for _, r := range p.runtimes {
		if r.Client != nil {
			return false
		}
	}
	return true
}

// toldFD is the inner process's end of a pipe whose other end is closed when it
// is to end. Signals would not do: until it has handlers, the kernel drops what
// is sent to the first process of a PID namespace (pid_namespaces(7)), or the Go
// runtime ends it half-way; so that it is in a process group of its own, too.
const toldFD = 3

// outer runs this program again inside new namespaces, and lives only to pass on
// its exit code, and that ctx has ended, by ^C say.
func outer(ctx context.Context, stderr io.Writer) (int, error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, stderr
	cmd.Env = append(os.Environ(), innerEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true,
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return exitFailed, err
	}
	defer tell.Close()
	cmd.ExtraFiles = []*os.File{told}
	started := make(chan error)
	done := make(chan error)
	go startAndWait(cmd, started, done)
	err = <-started
	told.Close()
	if err != nil {
		return exitFailed, fmt.Errorf("namespaces for the measurement: %w", err)
	}
	select {
	case <-ctx.Done():
		tell.Close()
		err = <-done
	case err = <-done:
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitOK, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), errSaid
	}
	return exitFailed, fmt.Errorf("the measurement: %w", err)
}

// untilTold ends also when the outer process says so; in that process itself,
// and without one, it is ctx.
func untilTold(ctx context.Context) context.Context {
	if os.Getenv(innerEnv) == "" || os.Getpid() != 1 {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	unix.CloseOnExec(toldFD)
	told := os.NewFile(toldFD, "pipe of the outer process")
	go func() {
		told.Read(make([]byte, 1))
		cancel()
	}()
	return ctx
}

// startAndWait keeps one thread, which the child's death signal is tied to.
func startAndWait(cmd *exec.Cmd, started, done chan<- error) {
	lockThread()
	err := cmd.Start()
	started <- err
	if err == nil {
		done <- cmd.Wait()
	}
}

// enter finishes the namespaces from inside: nothing that is mounted here shows
// outside, and /proc is that of the new PID namespace.
func enter() error {
	if os.Getenv(innerEnv) == "" || os.Getpid() != 1 {
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}
