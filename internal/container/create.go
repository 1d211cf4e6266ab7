package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// CreateOptions are the flags of `create` and `run`.
type CreateOptions struct {
	ID            string
	Bundle        string
	ConsoleSocket string
	PidFile       string
	PreserveFDs   int
	Strace        bool
	DebugLog      *os.File

	Stdin, Stdout, Stderr *os.File

	// foreground: `run` without --detach. The terminal, if config.json asks
	// for one, is the caller's.
	foreground bool
}

// creation is a container on its way.
type creation struct {
	*Container
	opts   *CreateOptions
	bundle *bundle
	launch launch
	cgroup *cgroup
	run    *running
	pty    *pty
	trees  <-chan map[string]v1Tree
	hooked bool // hooks have begun: a failure runs poststop

	// booted are limits that wait until the machine is there, or nil.
	booted *cgroups.Resources
}

// Create makes a container and leaves it ready to be started.
func (rt *Runtime) Create(o CreateOptions) error {
	c, err := rt.create(&o)
	if err != nil {
		return err
	}
	c.unlock()
	return nil
}

// create makes a container; the lock is held when it returns one.
func (rt *Runtime) create(o *CreateOptions) (c *creation, err error) {
	if err := checkID(o.ID); err != nil {
		return nil, err
	}
	trees := make(chan map[string]v1Tree, 1)
	go func() { trees <- v1Trees() }() // while config.json is read
	b, err := loadBundle(o.Bundle, rt.Wall, rt.Warn)
	if err != nil {
		return nil, err
	}
	wall := b.config.wall(rt.Wall)
	if err := CheckWall(wall); err != nil {
		return nil, err
	}
	if err := checkTerminal(o, b.config.Process.Terminal); err != nil {
		return nil, err
	}
	ct, err := rt.makeDir(o.ID)
	if err != nil {
		return nil, err
	}
	c = &creation{Container: ct, opts: o, bundle: b, trees: trees}
	c.rec.Wall = wall
	defer func() {
		if err != nil {
			c.abandon()
		}
	}()
	return c, c.make()
}

// checkTerminal refuses what cannot give the process a terminal, as runc does.
func checkTerminal(o *CreateOptions, terminal bool) error {
	switch {
	case terminal && !o.foreground && o.ConsoleSocket == "":
		return errors.New("process.terminal needs --console-socket, because nothing stays to hold the terminal")
	case terminal && o.foreground && o.ConsoleSocket != "":
		return errors.New("--console-socket is for --detach; in the foreground the terminal is the caller's")
	case !terminal && o.ConsoleSocket != "":
		return errors.New("--console-socket needs process.terminal in config.json")
	case terminal && o.foreground && !(isTerminal(o.Stdin) && isTerminal(o.Stdout)):
		return errors.New("process.terminal: stdin and stdout are not a terminal")
	}
	return nil
}

func (c *creation) make() error {
	c.fillRecord()
	netns, err := c.configure()
	if err != nil {
		return err
	}
	if netns != nil {
		defer netns.Close()
	}
	if netns == nil && os.Geteuid() == 0 && c.rec.Wall == WallSentry {
		c.launch.fresh = freshNetNS()
	}
	if err := c.openTerminal(); err != nil {
		return err
	}
	defer c.pty.close()
	if err := c.planCgroup(); err != nil {
		return err
	}
	if c.atOnce() {
		c.launch.start = true
		c.rec.Loopback, c.launch.sentry.Network.Mode = true, wire.NetworkLoopback
	}
	// From here on there is something that delete must find.
	if err := c.save(); err != nil {
		return err
	}
	listener, err := listenControl(c.dir)
	if err != nil {
		return err
	}
	defer listener.Close()
	if c.launch.pod != nil {
		defer c.launch.pod.Close()
	}
	if err := c.placeTrees(); err != nil {
		return err
	}
	if err := c.makeNursery(); err != nil {
		return err
	}
	defer c.launch.nursery.close()
	c.launch.listener = listener
	c.launch.admit = c.admit
	if c.run, err = c.launch.run(); err != nil {
		return err
	}
	if lack := c.run.plan.missing(); lack != "" {
		c.rt.Warn("%s", lack)
	}
	if err := c.run.waitReady(); err != nil {
		return err
	}
	if c.booted != nil {
		if err := c.cgroup.mgr.Set(c.booted); err != nil {
			return fmt.Errorf("linux.resources: %w", err)
		}
	}
	if err := c.showPids(); err != nil {
		return err
	}
	if err := c.pty.send(c.opts.ConsoleSocket); err != nil {
		return err
	}
	c.rec.Loaded = true
	if c.launch.start {
		return nil // which started saves
	}
	if err := c.save(); err != nil {
		return err
	}
	return writePidFile(c.opts.PidFile, c.rec.Sentry.Pid)
}

// atOnce says whether init may run as soon as it is loaded: a `run` that has
// nothing to do between create and start, and waits for the end. Its network
// namespace is new, and nobody has attached anything.
func (c *creation) atOnce() bool {
	if !c.opts.foreground || c.rec.Process.Terminal || c.opts.PidFile != "" || c.rec.Netns != "" {
		return false
	}
	if c.rec.Cgroup != nil && c.rec.Cgroup.Pids != "" {
		return false // which showPids fills in between
	}
	h := c.rec.Hooks
	return h == nil || len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer)+len(h.StartContainer) == 0
}

// fillRecord puts what is known from config.json into the record.
func (c *creation) fillRecord() {
	cfg := c.bundle.config
	c.rec.SpecVersion = cfg.Version
	c.rec.ID = c.opts.ID
	c.rec.Bundle, c.rec.Rootfs = c.bundle.dir, c.bundle.rootfs
	c.rec.Annotations = cfg.Annotations
	c.rec.Created = time.Now().UTC()
	c.rec.Owner = os.Geteuid()
	c.rec.Hooks = cfg.Hooks
	c.rec.Process = processOf(cfg.Process)
	c.rec.Limits = limitsOf(cfg.Linux.Resources)
}

// admit records the two new processes, puts them into their cgroups and runs
// the hooks of `create`.
func (c *creation) admit(r *running) (err error) {
	if c.rec.Sentry, err = processByPid(r.sentry.pid); err != nil {
		return fmt.Errorf("the Sentry has ended at once: %w", err)
	}
	if r.gofer != nil {
		if c.rec.Gofer, err = processByPid(r.gofer.pid); err != nil {
			return fmt.Errorf("the Gofer has ended at once: %w", err)
		}
	}
	if err := c.save(); err != nil {
		return err
	}
	if err := c.joinCgroup(); err != nil {
		return err
	}
	if err := c.setOOMScore(); err != nil {
		return err
	}
	return c.createHooks()
}

// createHooks runs prestart, createRuntime and createContainer. A guest has no
// namespaces of the host, so the last differs in its network namespace only.
func (c *creation) createHooks() error {
	h := c.rec.Hooks
	if h == nil {
		return nil
	}
	c.hooked = true
	// prestart is of the specification's version 1.0, and gets the state that it
	// had there: the container exists, the program does not run.
	if err := runHooks(h, "prestart", c.specState(StatusCreated), nil); err != nil {
		return err
	}
	state := c.specState(StatusCreating)
	if err := runHooks(h, "createRuntime", state, nil); err != nil {
		return err
	}
	if len(h.CreateContainer) == 0 {
		return nil
	}
	netns, err := c.openNetns()
	if err != nil {
		return err
	}
	if netns != nil {
		defer netns.Close()
	}
	return runHooks(h, "createContainer", state, netns)
}

// setOOMScore gives the sandbox process.oomScoreAdj. To lower it takes
// CAP_SYS_RESOURCE; without, it stays as it is.
func (c *creation) setOOMScore() error {
	adj := c.rec.Process.OOMScore
	if adj == nil {
		return nil
	}
	for _, pid := range []int{c.rec.Sentry.Pid, c.rec.Gofer.Pid} {
		if pid == 0 {
			continue // a VM has no Gofer
		}
		err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(*adj)), 0)
		switch {
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
			c.rt.Warn("process.oomScoreAdj: %d may not be set here: %v", *adj, err)
			return nil
		case err != nil:
			return fmt.Errorf("process.oomScoreAdj: %w", err)
		}
	}
	return nil
}

// abandon takes back what create has made before it failed.
func (c *creation) abandon() {
	if c.run != nil {
		c.run.kill()
	}
	c.pty.close()
	c.destroyProcesses()
	if c.hooked {
		if err := runHooks(c.rec.Hooks, "poststop", c.specState(StatusStopped), nil); err != nil {
			c.rt.Warn("%v", err)
		}
	}
	if err := c.remove(); err != nil {
		c.rt.Warn("%v", err)
	}
}

// listenControl makes the control socket, which only the owner may use. It is
// bound through /proc/self/fd, because a Unix address holds 107 bytes.
func listenControl(dir string) (*os.File, error) {
	ref, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer unix.Close(ref)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), filepath.Join(dir, "control.sock"))
	name := fmt.Sprintf("/proc/self/fd/%d/control.sock", ref)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		f.Close()
		return nil, fmt.Errorf("control socket %s: %w", f.Name(), err)
	}
	if err := unix.Chmod(name, 0o600); err != nil {
		f.Close()
		return nil, fmt.Errorf("control socket %s: %w", f.Name(), err)
	}
	if err := unix.Listen(fd, 128); err != nil {
		f.Close()
		return nil, fmt.Errorf("control socket %s: %w", f.Name(), err)
	}
	return f, nil
}

// writePidFile writes --pid-file in one step: who reads it never sees half a
// number.
func writePidFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(tmp, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("--pid-file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return fmt.Errorf("--pid-file: %w", err)
	}
	return nil
}

// limitsOf are the limits that the guest kernel holds too.
func limitsOf(r *specs.LinuxResources) wire.Limits { return limitsAfter(wire.Limits{}, r) }
