package container

import (
	"errors"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// Run creates and starts a container. In the foreground it waits for its end,
// deletes it unless keep is set, and returns its exit code.
func (rt *Runtime) Run(o CreateOptions, detach, keep bool) (int, error) {
	o.foreground = !detach
	var fw chan *forwarder
	if !detach {
		fw = make(chan *forwarder, 1)
		go func() { fw <- newForwarder() }() // while the container is made
	}
	c, err := rt.create(&o)
	if err != nil {
		if fw != nil {
			(<-fw).stop()
		}
		return 1, err
	}
	if detach {
		err := c.start()
		if err != nil {
			c.delete()
		}
		c.unlock()
		return 0, err
	}
	return c.foreground(<-fw, keep)
}

// foreground starts a created container and stays with it.
func (c *creation) foreground(fw *forwarder, keep bool) (int, error) {
	fail := func(err error) (int, error) {
		fw.stop()
		c.delete()
		c.unlock()
		return 1, err
	}
	if c.rec.Process.Terminal {
		var err error
		if fw.term, err = openTerminal(c.opts.Stdin); err != nil {
			return fail(err)
		}
		defer fw.term.restore()
	}
	begin := c.start
	if c.launch.start {
		begin = c.noteStarted
	}
	if err := begin(); err != nil {
		return fail(err)
	}
	fw.members = c.run.members
	fw.run(dialer{c.path("control.sock")}, "")
	c.unlock()
	status, err := c.run.sentry.wait()
	fw.stop()
	fw.term.restore()
	c.run.reapGofer()
	if err != nil {
		return 1, err
	}
	code := exitCode(status)
	crash := c.run.lastWords()
	if keep {
		return code, crash
	}
	again, err := c.rt.openLocked(c.rec.ID)
	if err != nil {
		return code, crash // deleted by another
	}
	defer again.unlock()
	return code, errors.Join(crash, again.delete())
}

// exitCode is a shell's view of a wait status.
func exitCode(st unix.WaitStatus) int {
	if st.Signaled() {
		return ExitSignal + int(st.Signal())
	}
	return st.ExitStatus()
}

// dialer is a caller with a connection for each call.
type dialer struct{ socket string }

func (d dialer) Call(m wire.Method, args any, fds []int, result any) error {
	c, err := wire.DialControl(d.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Call(m, args, fds, result)
}
