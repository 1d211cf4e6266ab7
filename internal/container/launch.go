package container

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// selfExe is what a Sentry and a Gofer are started from. A test names its own
// binary's fake.
var selfExe = []string{"/proc/self/exe"}

// GoferVerb is the Gofer's command. It is the program's very first, so that a
// test with a fake needs another.
var GoferVerb = "gofer"

// launch is one sandbox to be started.
type launch struct {
	sentry wire.SentryConfig
	gofer  wire.GoferConfig

	stdio [3]*os.File // init's stdin, stdout, stderr (or the host terminal)
	extra []*os.File  // init's descriptors from 3 on
	debug *os.File    // where --strace and debug messages go, or nil

	// listener is a listening control socket; nil makes a socket pair.
	listener *os.File
	start    bool // run init at once
	tie      bool // the sandbox ends with this process
	newSess  bool // of its own session and process group
	ctty     bool // the Sentry has stdin as its controlling terminal

	// netns, if not nil, is the network namespace the Sentry is put in.
	netns *os.File
	// fresh, if not nil, will have a new network namespace for the Sentry, or nil.
	fresh <-chan *os.File
	// The plans for the two processes, strongest first (see launch_ns.go).
	sentryPlans []nsPlan
	goferPlans  []nsPlan
	// admit, if not nil, is called when both processes exist and neither has
	// its configuration, without which they do nothing: to put them into
	// their cgroups and run hooks. Should this process die before it returns,
	// they end.
	admit  func(r *running) error
	cgroup bool // admit makes cgroups
	// catching, if not nil, gives the forwarder, which is waited for before the
	// configuration is sent: see aware.
	catching  chan *forwarder
	forwarder *forwarder
	// nursery, if not nil, has the cgroups that the processes are to be born
	// in; it becomes nil where that cannot be, and they have to be moved.
	nursery *nursery
	// vm, if not nil, says that a VM's monitor is to be started, and no Gofer.
	vm *wire.VMOptions
	// pod, if not nil, is the control socket of a pod's monitor, which the
	// container joins: what is started stands for it.
	pod *os.File
}

// running is a sandbox that has been started.
type running struct {
	sentry  *child
	gofer   *child
	control *wire.ControlClient // of the socket pair; nil with a listener
	ready   *os.File
	report  *bufio.Reader // of ready
	plan    nsPlan        // what the Sentry got
}

// run starts the Gofer and the Sentry. They boot side by side; the Sentry
// waits for its configuration until it has been admitted to its cgroups.
func (l *launch) run() (r *running, err error) {
	var files closer
	defer files.close()
	r = new(running)
	defer func() {
		if err != nil {
			r.kill()
		}
	}()

	if l.vm != nil {
		return r, l.runVM(r, &files)
	}
	sockets, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return r, fmt.Errorf("socket pair of Sentry and Gofer: %w", err)
	}
	sentryEnd, goferEnd := files.fd(sockets[0]), files.fd(sockets[1])

	control, readyW, err := l.contact(r, &files)
	if err != nil {
		return r, err
	}

	l.layOut()
	sentryConfR, sentryConfW, err := os.Pipe()
	if err != nil {
		return r, err
	}
	files.add(sentryConfR, sentryConfW)
	goferConfR, goferConfW, err := os.Pipe()
	if err != nil {
		return r, err
	}
	files.add(goferConfR, goferConfW)
	if err := l.begin(func() error {
		if err := l.startSentry(r, control, sentryEnd, sentryConfR, readyW); err != nil {
			return err
		}
		return l.startGofer(r, goferEnd, goferConfR)
	}); err != nil {
		return r, err
	}

	if l.admit != nil {
		if err := l.admit(r); err != nil {
			return r, err
		}
	}
	// Our own ends of what the children hold go first: should a child die,
	// the write below must fail and not wait for ever.
	goferConfR.Close()
	sentryConfR.Close()
	if err := sendConfig(goferConfW, &l.gofer); err != nil {
		return r, fmt.Errorf("configuring the Gofer: %w", err)
	}
	l.aware()
	if err := sendConfig(sentryConfW, &l.sentry); err != nil {
		return r, fmt.Errorf("configuring the Sentry: %w", err)
	}
	return r, nil
}

// contact makes the control connection and the pipe of the report. It returns
// the ends of the process to be started.
func (l *launch) contact(r *running, files *closer) (control, ready *os.File, err error) {
	control = l.listener
	if control == nil {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, nil, fmt.Errorf("control socket pair: %w", err)
		}
		r.control = wire.NewControlClient(pair[0])
		control = files.fd(pair[1])
	}
	readyR, readyW, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	r.ready = readyR
	files.add(readyW)
	return control, readyW, nil
}

// runVM starts a VM's monitor.
func (l *launch) runVM(r *running, files *closer) error {
	control, readyW, err := l.contact(r, files)
	if err != nil {
		return err
	}
	confR, confW, err := os.Pipe()
	if err != nil {
		return err
	}
	files.add(confR, confW)
	if err := l.begin(func() error { return l.startMonitor(r, control, confR, readyW) }); err != nil {
		return err
	}
	if l.admit != nil {
		if err := l.admit(r); err != nil {
			return err
		}
	}
	confR.Close()
	l.aware()
	raw, err := l.encodeVM()
	if err == nil {
		err = sendRaw(confW, raw)
	}
	if err != nil {
		return fmt.Errorf("configuring the VM's monitor: %w", err)
	}
	return nil
}

// aware waits until signals are caught. Before the sandbox has its configuration
// nothing of it runs, so that nobody can answer to its first output with a signal
// that is lost.
func (l *launch) aware() {
	if l.catching != nil {
		l.forwarder = <-l.catching
	}
}

func sendConfig(w *os.File, config any) error {
	raw, err := wire.Pack(config)
	if err != nil {
		return err
	}
	return sendRaw(w, raw)
}

func sendRaw(w *os.File, raw []byte) error {
	if _, err := w.Write(raw); err != nil {
		return err
	}
	return w.Close()
}

// sentryFiles is how many descriptors the Sentry has by the contract: 0–2, then
// control, Gofer, configuration and report.
const sentryFiles = 7

// layOut numbers the Sentry's descriptors after those: the log, then init's
// extra ones.
func (l *launch) layOut() {
	next := sentryFiles
	l.sentry.DebugLogFD = 0
	switch {
	case l.debug != nil:
		l.sentry.DebugLogFD = next
		next++
	case l.sentry.Strace, l.sentry.CountCalls:
		l.sentry.DebugLogFD = 2
	}
	l.sentry.PreserveFDs, l.sentry.PreserveFDBase = len(l.extra), next
}

// startSentry starts `bulkhead sentry`.
func (l *launch) startSentry(r *running, control, gofer, conf, ready *os.File) error {
	files := []*os.File{l.stdio[0], l.stdio[1], l.stdio[2], control, gofer, conf, ready}
	args := []string{"sentry", "--control-fd=3", "--gofer-fd=4", "--config-fd=5", "--ready-fd=6"}
	if l.start {
		args = append(args, "--start")
	}
	if l.debug != nil {
		files = append(files, l.debug)
	}
	files = append(files, l.extra...)
	p, plan, err := l.spawnSentry(args, files)
	if err != nil {
		return fmt.Errorf("starting the Sentry: %w", err)
	}
	r.sentry, r.plan = p, plan
	l.sentry.Privileges = plan.privileges(l.cgroup)
	return nil
}

// spawnSentry starts it in the network namespace that was made beside, or in
// one that it makes itself.
func (l *launch) spawnSentry(args []string, files []*os.File) (*child, nsPlan, error) {
	if l.fresh != nil {
		if ns := <-l.fresh; ns != nil {
			defer ns.Close()
			plan := l.sentryPlans[0]
			plan.flags &^= unix.CLONE_NEWNET
			plan.joined = true
			if p, plan, err := l.spawn(selfExe, args, files, []nsPlan{plan}, ns, l.ctty); err == nil {
				return p, plan, nil
			}
		}
	}
	return l.spawn(selfExe, args, files, l.sentryPlans, l.netns, l.ctty)
}

func (l *launch) startGofer(r *running, conn, conf *os.File) error {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("starting the Gofer: %w", err)
	}
	defer null.Close()
	files := []*os.File{null, null, null, conn, conf}
	l.gofer.DebugLogFD = 0
	if l.debug != nil {
		l.gofer.DebugLogFD = len(files)
		files = append(files, l.debug)
	}
	p, plan, err := l.spawn(selfExe, []string{GoferVerb, "--conn-fd=3", "--config-fd=4"}, files, l.goferPlans, nil, false)
	if err != nil {
		return fmt.Errorf("starting the Gofer: %w", err)
	}
	r.gofer = p
	l.gofer.Privileges = plan.privileges(l.cgroup)
	return nil
}

// begin runs f, which starts processes, on the starter's thread and in the
// nursery. If that thread cannot leave it again f has failed, whatever it has
// started.
func (l *launch) begin(f func() error) error {
	return onStarter(func() error {
		if l.nursery == nil {
			return f()
		}
		err := l.nursery.enter()
		if err != nil {
			if err := l.nursery.leave(); err != nil {
				return err
			}
			l.nursery = nil
			return f()
		}
		err = f()
		if e := l.nursery.leave(); e != nil {
			err = e
		}
		return err
	})
}

// spawn starts a program, this one again but for a VM, by the first plan that
// the host permits. It is called on the starter's thread.
func (l *launch) spawn(exe, args []string, files []*os.File, plans []nsPlan, netns *os.File, ctty bool) (*child, nsPlan, error) {
	argv := append(append([]string{"bulkhead"}, exe[1:]...), args...)
	var failed []string
	for _, plan := range plans {
		p, err := visit(netns, func() (*child, error) {
			return l.bear(exe[0], argv, files, l.sysProcAttr(plan, ctty))
		})
		if err == nil {
			return p, plan, nil
		}
		if p != nil {
			p.kill()
			p.wait()
		}
		if !isRefusal(err) {
			return nil, plan, err
		}
		failed = append(failed, fmt.Sprintf("%s: %v", plan.name, err))
	}
	return nil, nsPlan{}, fmt.Errorf("no way to start a process: %s", strings.Join(failed, "; "))
}

// bear starts a child, in the nursery's v2 cgroup too if the kernel can do that.
// That it cannot is no reason for a lesser plan.
func (l *launch) bear(path string, argv []string, files []*os.File, sys *syscall.SysProcAttr) (*child, error) {
	if n := l.nursery; n != nil && n.v2 >= 0 {
		with := *sys
		with.UseCgroupFD, with.CgroupFD = true, n.v2
		if p, err := startChild(path, argv, files, &with); err == nil {
			return p, nil
		}
		n.late = true
	}
	return startChild(path, argv, files, sys)
}

func (l *launch) sysProcAttr(plan nsPlan, ctty bool) *syscall.SysProcAttr {
	attr := plan.attr()
	if l.tie {
		attr.Pdeathsig = syscall.SIGKILL
	}
	attr.Setsid = l.newSess
	if ctty {
		attr.Setctty, attr.Ctty = true, 0
	}
	return attr
}

// bounds are what the Go runtime of a command is told from its start: said
// later, each would stop all threads. The Sentry collects no garbage until it
// has some megabytes (boot's tuneGC takes over then); its tasks that sleep in
// the host's kernel hold a P for a moment, so that it has some to spare.
func bounds(argv []string) []string {
	switch {
	case slices.Contains(argv, "sentry"):
		return []string{"GOGC=off", "GOMEMLIMIT=" + strconv.Itoa(wire.SentryFirstGC), "GOMAXPROCS=" + strconv.Itoa(runtime.NumCPU()+8)}
	case slices.Contains(argv, GoferVerb):
		return []string{"GOMEMLIMIT=33554432", "GOMAXPROCS=" + strconv.Itoa(wire.GoferProcs)}
	}
	return nil
}

// sandboxEnv is the environment of Sentry and Gofer themselves: nothing of the
// caller's, only the Go runtime's bounds that keep the process small.
func sandboxEnv(bounds ...string) []string {
	env := append([]string{"GOTRACEBACK=single"}, bounds...)
	for _, name := range []string{"GODEBUG", "GOCOVERDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// isRefusal says whether a clone failed because this host or user may not make
// such namespaces, so that a lesser plan should be tried.
func isRefusal(err error) bool {
	for _, e := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// errNoReport is a Sentry that ended without a word.
var errNoReport = errors.New("the Sentry ended while it loaded the sandbox")

// waitReady waits until the sandbox is loaded, or for why it could not be.
func (r *running) waitReady() error {
	err := r.readReady()
	if err == errNoReport {
		return fmt.Errorf("%w%s", err, r.obituary())
	}
	return err
}

// maxReady bounds the Ready message.
const maxReady = 64 << 10

// readReady reads the Sentry's Ready message, one line.
func (r *running) readReady() error {
	r.report = bufio.NewReader(io.LimitReader(r.ready, maxReady))
	raw, err := r.report.ReadBytes('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("the Sentry's report: %w", err)
	}
	if len(raw) == 0 {
		return errNoReport
	}
	if string(raw) == wire.ReadyOK {
		return nil
	}
	if raw[0] != '{' {
		return crashed(raw, r.report)
	}
	var msg wire.Ready
	if err := json.Unmarshal(raw, &msg); err != nil {
		return fmt.Errorf("the Sentry's report: %w", err)
	}
	if !msg.OK {
		return &bootError{msg}
	}
	return nil
}

// lastWords is what the Sentry's own crash has left behind its report: an error,
// or nil if it did not crash. The Sentry has ended.
func (r *running) lastWords() error {
	if r.report == nil {
		return nil
	}
	first, _ := r.report.ReadBytes('\n')
	if len(first) == 0 {
		return nil
	}
	return crashed(first, r.report)
}

func crashed(first []byte, rest io.Reader) error {
	raw, _ := io.ReadAll(rest)
	return fmt.Errorf("the sandbox's kernel crashed, and the container with it; this is a fault of bulkhead's, please report it: %s%s", first, bytes.TrimSpace(raw))
}

// obituary waits for the Sentry, which has closed its pipes, and says how it
// ended.
func (r *running) obituary() string {
	st, err := r.sentry.wait()
	switch {
	case err != nil:
		return ""
	case st.Signaled():
		return fmt.Sprintf(" (signal %d)", st.Signal())
	}
	return fmt.Sprintf(" (exit status %d)", st.ExitStatus())
}

// bootError is a Ready message that says no.
type bootError struct{ wire.Ready }

func (e *bootError) Error() string { return e.Ready.Error }

func (e *bootError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return unix.Errno(e.Errno)
}

// kill ends what has been started and reaps it.
func (r *running) kill() {
	for _, p := range []*child{r.sentry, r.gofer} {
		if p != nil {
			p.kill()
			p.wait()
		}
	}
	r.closeFiles()
}

func (r *running) closeFiles() {
	if r.control != nil {
		r.control.Close()
		r.control = nil
	}
	if r.ready != nil {
		r.ready.Close()
	}
}

// closer closes descriptors that only children need.
type closer struct{ files []*os.File }

func (c *closer) add(f ...*os.File) { c.files = append(c.files, f...) }

func (c *closer) fd(fd int) *os.File {
	f := os.NewFile(uintptr(fd), "fd "+strconv.Itoa(fd))
	c.add(f)
	return f
}

func (c *closer) close() {
	for _, f := range c.files {
		f.Close()
	}
}
