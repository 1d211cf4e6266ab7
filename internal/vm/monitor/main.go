package monitor

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/virtiofs"
	"bulkhead.dev/bulkhead/internal/wire"
	"bulkhead.dev/bulkhead/internal/wire/agentconn"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// statusDead is the exit status of a sandbox whose VM has died: init was
// killed with it.
const statusDead = 128 + int(unix.SIGKILL)

// monitor is one sandbox.
type monitor struct {
	cfg     wire.VMConfig
	log     *os.File // debug log, or nil
	scratch string   // directory of its own
	held    []int    // descriptors of what Landlock leaves in reach
	born    time.Time

	machine  machine
	memory   int64  // of the guest
	rootType string // file system of the root's image
	prepared bool   // the machine's container waits for its program

	vm     hypervisor.VM
	shares []*virtiofs.Server
	conn   *agentconn.Conn
	agent  agentpb.AgentService
	nics   []nic

	first *guestContainer // cfg's
	pod   *pod            // what further containers need, or nil

	end    chan verdict // the first one counts
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	pause   bool
	members map[string]*guestContainer // further containers of a pod, by their names
	// leftover are those whose processes ended while the VM was paused.
	leftover []string
}

// verdict is why the sandbox ends.
type verdict struct {
	code int
	err  error // what to tell, if it was not the container's own end
}

// Main is the program of `bulkhead-vmm monitor`. The result is its exit code.
func Main(args []string) int {
	fs := flag.NewFlagSet("monitor", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	control := fs.Int("control-fd", -1, "")
	conf := fs.Int("config-fd", -1, "")
	ready := fs.Int("ready-fd", -1, "")
	start := fs.Bool("start", false, "")
	if err := fs.Parse(args); err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead: monitor:", err)
		return 125
	}
	_ = unix.CloseRange(3, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC)
	m := &monitor{born: time.Now(), end: make(chan verdict, 8), members: make(map[string]*guestContainer)}
	m.first = newContainer(m, agentpb.FirstContainer, &m.cfg)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	// Nothing of the caller's environment has come here; for mkfs.erofs.
	os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	caught := catchSignals()
	if err := wire.ReadConfig(*conf, &m.cfg); err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead: monitor:", err)
		return 125
	}
	if fd := m.cfg.Container.DebugLogFD; fd > 2 {
		m.log = os.NewFile(uintptr(fd), "debug log")
	}
	code, err := m.run(*control, *ready, *start, caught)
	m.destroy()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead:", err)
	}
	return code
}

// run boots the sandbox, reports, and stays until its end.
func (m *monitor) run(control, ready int, start bool, caught <-chan os.Signal) (int, error) {
	err := m.load(start)
	if rerr := wire.WriteReady(ready, err); err == nil && rerr != nil {
		err = rerr
	} else if err != nil {
		return 125, nil // reported
	}
	if err != nil {
		return 125, err
	}
	go func() {
		err := wire.ServeControl(control, m.first)
		// The one client of a socket pair is gone.
		m.finish(statusDead, ignoreEOF(err))
	}()
	go forwardSignals(caught, m.first.hasBegun, func(code int) { m.finish(code, nil) }, m.first.resizeInit, m.first.forward)
	v := <-m.end
	m.stage("the end")
	return v.code, v.err
}

// load makes everything up to the container, and starts it if start is set.
func (m *monitor) load(start bool) error {
	if n := m.cfg.Container.PreserveFDs; n > 0 {
		return fmt.Errorf("--preserve-fds=%d: a VM cannot be given open files of the host: %w", n, unix.EINVAL)
	}
	if err := m.prepareRoot(); err != nil {
		return err
	}
	if err := m.boot(); err != nil {
		return err
	}
	m.stage("the agent's first word")
	err := m.createOrEnd(start)
	m.stage("the container's making")
	return err
}

// createWait bounds the making of the container, streams and all.
const createWait = 2 * callWait

// createOrEnd makes the container, or says what has ended meanwhile.
func (m *monitor) createOrEnd(start bool) error {
	done := make(chan error, 1)
	go func() { done <- m.first.create(start, [3]int{0, 1, 2}) }()
	select {
	case err := <-done:
		return err
	case v := <-m.end:
		if v.err == nil { // init has ended already
			m.end <- v
			return <-done
		}
		return v.err
	case <-time.After(createWait):
		return fmt.Errorf("making the container in the VM: the agent has not answered within %v", createWait)
	}
}

// finish ends the sandbox, if nothing else has yet.
func (m *monitor) finish(code int, err error) {
	select {
	case m.end <- verdict{code, err}:
	default:
	}
}

func (m *monitor) debugf(format string, a ...any) {
	if m.log != nil {
		fmt.Fprintf(m.log, "monitor: "+format+"\n", a...)
	}
}

// stage notes in the debug log how far the sandbox has come, and what its
// hypervisor has used by then.
func (m *monitor) stage(name string) {
	if m.log == nil {
		return
	}
	var cpu time.Duration
	if m.vm != nil {
		st, _ := m.vm.Stats()
		cpu = st.CPU
	}
	m.debugf("%s: %v after its start, hypervisor's CPU time %v", name, time.Since(m.born).Round(time.Millisecond), cpu)
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) {
		return nil
	}
	return err
}
