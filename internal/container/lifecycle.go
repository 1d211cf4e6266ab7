package container

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// endWait is how long a killed process may take to be gone.
const endWait = 10 * time.Second

// Start runs the init process of a container that was created.
func (rt *Runtime) Start(id string) error {
	c, err := rt.openLocked(id)
	if err != nil {
		return err
	}
	defer c.unlock()
	return c.start()
}

func (c *Container) start() error {
	switch status := c.status(); status {
	case StatusCreated:
	case StatusStopped:
		return errors.New("cannot start a container that has stopped")
	case StatusRunning, StatusPaused:
		return errors.New("cannot start an already running container")
	default:
		return fmt.Errorf("cannot start a container in the state %s", status)
	}
	net, fds, err := c.takeNetwork()
	if err != nil {
		return err
	}
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	if err := c.startHooks(); err != nil {
		c.stop()
		return err
	}
	if err := c.sandbox().Start(net, fds); err != nil {
		return fmt.Errorf("starting the container: %w", err)
	}
	return c.noteStarted()
}

// noteStarted is what follows the start of init.
func (c *Container) noteStarted() error {
	c.rec.Started = true
	if err := c.save(); err != nil {
		return err
	}
	if err := runHooks(c.rec.Hooks, "poststart", c.specState(StatusRunning), nil); err != nil {
		c.stop()
		return err
	}
	return nil
}

// startHooks runs startContainer: programs of the container, inside it.
func (c *Container) startHooks() error {
	for i, hook := range hooksOf(c.rec.Hooks, "startContainer") {
		if err := c.hookInside(&hook, c.specState(StatusCreated)); err != nil {
			return fmt.Errorf("hooks.startContainer[%d] (%s): %w", i, hook.Path, err)
		}
	}
	return nil
}

// Kill sends a signal to a container's init, or to every process in it.
func (rt *Runtime) Kill(id string, sig unix.Signal, all bool) error {
	c, err := rt.open(id)
	if err != nil {
		return err
	}
	if c.status() == StatusStopped {
		// While it is made, a thread of its maker visits its cgroups.
		if all && sig == unix.SIGKILL && c.rec.Sentry.Pid > 0 {
			c.openCgroup().killAll()
			return nil
		}
		return errors.New("container not running")
	}
	if sig == unix.SIGKILL {
		// Whatever state the Sentry is in: it ends, and everything inside
		// with it.
		fd := c.rec.Sentry.pidfd()
		if fd < 0 {
			return errors.New("container not running")
		}
		defer unix.Close(fd)
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
			return fmt.Errorf("killing the container: %w", err)
		}
		if all {
			c.openCgroup().killAll()
		}
		return nil
	}
	if c.status() == StatusCreated {
		// There is no process inside yet: the Sentry stands for it.
		return c.signalCreated(sig)
	}
	err = c.sandbox().Signal(wire.SignalArgs{Signal: int(sig), All: all})
	var refusal *wire.ControlError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &refusal) && c.rec.Sentry.wait(time.Second):
		return nil // it ended by the signal before it could answer
	}
	return fmt.Errorf("signal %d: %w", sig, err)
}

// signalCreated treats a signal as the waiting init process would: one that
// ends a process ends the container.
func (c *Container) signalCreated(sig unix.Signal) error {
	switch sig {
	case 0, unix.SIGCHLD, unix.SIGURG, unix.SIGWINCH, unix.SIGCONT, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		return nil
	}
	c.rec.Sentry.kill(endWait)
	return nil
}

// stop ends a container whose start has failed.
func (c *Container) stop() {
	c.rec.Sentry.kill(endWait)
}

// Delete removes what is left of a container that has stopped, or of any if
// force is set.
func (rt *Runtime) Delete(id string, force bool) error {
	c, err := rt.openLocked(id)
	if err != nil {
		if errors.Is(err, ErrNotExist) {
			if rt.removeHalfMade(id) || force {
				return nil
			}
		}
		return err
	}
	defer c.unlock()
	switch status := c.status(); status {
	case StatusStopped, StatusCreated:
	default:
		if !force {
			return fmt.Errorf("cannot delete container %s that is not stopped: %s", id, status)
		}
	}
	return c.delete()
}

// delete ends everything, runs poststop and removes the directory.
func (c *Container) delete() error {
	ended := c.destroyProcesses()
	state := c.specState(StatusStopped)
	if !ended {
		return errors.New("processes of the container do not end; try again")
	}
	if err := c.remove(); err != nil {
		return err
	}
	if err := runHooks(c.rec.Hooks, "poststop", state, nil); err != nil {
		c.rt.Warn("%v", err)
	}
	return nil
}

// destroyProcesses ends the Sentry, the Gofer and whatever else is in the
// container's cgroups. It says whether all are gone.
func (c *Container) destroyProcesses() bool {
	ended := c.rec.Sentry.kill(endWait)
	ended = c.rec.Gofer.kill(endWait) && ended
	if cg := c.openCgroup(); !cg.removeEmpty() {
		cg.killAll()
	}
	return ended
}

// remove takes the trees out of the pod, and removes the cgroups and the state
// directory.
func (c *Container) remove() error {
	if err := c.leavePod(); err != nil {
		return err
	}
	if err := c.openCgroup().remove(); err != nil {
		return err
	}
	if err := c.removeExactPids(); err != nil {
		return fmt.Errorf("removing the cgroup: %w", err)
	}
	return c.removeDir()
}

// removeDir removes the state directory, the state first: what is left without
// is half made, and removed as such.
func (c *Container) removeDir() error {
	for _, name := range []string{"state.json", "control.sock", "lock"} {
		_ = unix.Unlink(c.path(name))
	}
	if unix.Rmdir(c.dir) == nil {
		return nil
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return nil
}

// removeHalfMade removes a state directory whose create was killed before it
// had written a state, and so before it had started anything.
func (rt *Runtime) removeHalfMade(id string) bool {
	if checkID(id) != nil {
		return false
	}
	c := &Container{rt: rt, dir: rt.Root + "/" + id}
	if _, err := os.Lstat(c.dir); err != nil {
		return false
	}
	if err := c.flock(os.O_CREATE); err != nil { // killed before it had a lock
		return false
	}
	defer c.unlock()
	if errors.Is(c.load(), ErrNotExist) {
		return os.RemoveAll(c.dir) == nil
	}
	return false
}

// Pause stops every process of a container.
func (rt *Runtime) Pause(id string) error {
	return rt.setPaused(id, StatusRunning, true, Sandbox.Pause)
}

// Resume lets the processes of a paused container go on.
func (rt *Runtime) Resume(id string) error {
	return rt.setPaused(id, StatusPaused, false, Sandbox.Resume)
}

func (rt *Runtime) setPaused(id, from string, paused bool, f func(Sandbox) error) error {
	c, err := rt.openLocked(id)
	if err != nil {
		return err
	}
	defer c.unlock()
	if status := c.status(); status != from {
		return fmt.Errorf("container not %s: %s", from, status)
	}
	if err := f(c.sandbox()); err != nil {
		return err
	}
	c.rec.Paused = paused
	return c.save()
}
