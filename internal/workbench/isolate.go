package workbench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
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

// outer runs this program again inside new namespaces, and lives only to pass on
// its exit code: a ^C goes to both, and the inner one acts on it.
func outer(stderr io.Writer) (int, error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, stderr
	cmd.Env = append(os.Environ(), innerEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	started := make(chan error)
	done := make(chan error)
	go startAndWait(cmd, started, done)
	if err := <-started; err != nil {
		return exitFailed, fmt.Errorf("namespaces for the measurement: %w", err)
	}
	interrupted := false
	for {
		select {
		case s := <-signals:
			interrupted = true
			if s != os.Interrupt { // that one the terminal has sent to both
				cmd.Process.Signal(s)
			}
		case err := <-done:
			if err != nil && interrupted { // it may have had no time to say so itself
				return exitInterrupted, errSaid
			}
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() >= 0 {
				return exit.ExitCode(), errSaid
			}
			if err != nil {
				return exitFailed, fmt.Errorf("the measurement: %w", err)
			}
			return exitOK, nil
		}
	}
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
