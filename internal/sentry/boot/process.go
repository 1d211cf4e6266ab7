package boot

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/bpf"
	"bulkhead.dev/bulkhead/internal/sentry/fs/dev"
	"bulkhead.dev/bulkhead/internal/sentry/fs/devpts"
	"bulkhead.dev/bulkhead/internal/sentry/fs/hostfile"
	"bulkhead.dev/bulkhead/internal/sentry/fs/tty"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/wire"
)

// outside is a process that was started from outside: init, or one of exec.
type outside struct {
	spec   wire.Process
	task   *kernel.Task
	fds    *vfs.FDTable
	fs     *vfs.FSContext
	relay  *hostfile.Relay
	pair   *tty.Pair
	tty    *hostfile.Inode // a host terminal as standard input, or nil
	status uint32
	done   chan struct{}
	host   []int         // host descriptors that make its files
	gate   chan struct{} // closed when it may run
	loaded chan abi.Errno
}

// newProcess makes a task for p with the given host descriptors as its files.
func (s *sandbox) newProcess(p *wire.Process, host []int) (*outside, error) {
	o := &outside{spec: *p, done: make(chan struct{}), gate: make(chan struct{}), loaded: make(chan abi.Errno, 1), host: host}
	if len(p.Args) == 0 {
		return nil, &wire.ControlError{Message: "process.args: empty", Errno: int(unix.EINVAL)}
	}
	creds := credentials(p)
	t, e := s.k.NewProcess(creds, path.Base(p.Args[0]))
	if e != 0 {
		return nil, failed("new process", e)
	}
	o.task = t
	t.ThreadGroup().SetExitHook(func(status uint32) {
		o.status = status
		close(o.done)
	})
	o.fs = s.root.Fork()
	umask := uint32(0022)
	if p.Umask != nil {
		umask = *p.Umask & 0777
	}
	o.fs.SetUmask(umask)
	o.fds = vfs.NewFDTable()
	if err := s.openFiles(o); err != nil {
		t.Discard()
		return nil, err
	}
	if err := o.attributes(s); err != nil {
		t.Discard()
		return nil, err
	}
	return o, nil
}

func credentials(p *wire.Process) *auth.Creds {
	groups := slices.Clone(p.GIDs)
	slices.Sort(groups)
	return &auth.Creds{
		UID: p.UID, EUID: p.UID, SUID: p.UID, FSUID: p.UID, GID: p.GID, EGID: p.GID, SGID: p.GID, FSGID: p.GID, Groups: groups,
		Permitted: auth.Caps(p.Caps.Permitted) & auth.AllCaps, Effective: auth.Caps(p.Caps.Effective) & auth.AllCaps,
		Inheritable: auth.Caps(p.Caps.Inheritable) & auth.AllCaps, Bounding: auth.Caps(p.Caps.Bounding) & auth.AllCaps,
		Ambient: auth.Caps(p.Caps.Ambient) & auth.AllCaps, NoNewPrivs: p.NoNewPrivs,
	}
}

// openFiles gives the process its standard files: a pty of the Sentry's own,
// or the host's descriptors.
func (s *sandbox) openFiles(o *outside) error {
	if o.spec.Terminal {
		return s.openTerminal(o)
	}
	given := make([]*vfs.FileDescription, len(o.host))
	for i, h := range o.host {
		f, e := standardFile(o, i, h, given)
		if e != 0 {
			return failed(fmt.Sprintf("standard file %d", i), e)
		}
		given[i] = f
		if e := o.fds.InstallAt(vfs.Internal, f, int32(i), false, 1<<20); e != 0 {
			return failed("standard files", e)
		}
		if n, ok := hostfile.IsTerminal(f); ok && i == 0 {
			n.MakeControlling(o.task)
			o.tty = n
			dev.SetConsole(n)
		}
	}
	return nil
}

// standardFile makes the description of the i-th file, or takes an earlier one
// that is the same open file.
func standardFile(o *outside, i, h int, given []*vfs.FileDescription) (*vfs.FileDescription, unix.Errno) {
	for j := range i {
		if hostfile.SameOpenFile(o.host[j], h) {
			unix.Close(h)
			o.host[i] = o.host[j] // h is no more
			given[j].IncRef()
			return given[j], 0
		}
	}
	return hostfile.New(h, o.task)
}

// openTerminal makes the pty, and copies between it and the host's terminal.
func (s *sandbox) openTerminal(o *outside) error {
	if s.pts == nil {
		// No devpts is mounted: the terminal has no name in the guest.
		pts, e := devpts.New("")
		if e != 0 {
			return failed("a devpts", e)
		}
		s.pts = pts
	}
	pair, master, e := s.pts.NewPair(o.spec.UID, o.spec.GID)
	if e != 0 {
		return failed("a terminal for the process", e)
	}
	pair.Unlock()
	o.pair = pair
	if o.relay, e = hostfile.NewRelay(o.host[0], o.host[1], pair, master); e != 0 {
		return failed("the host's terminal", e)
	}
	if o.spec.Rows != 0 && o.spec.Cols != 0 {
		o.relay.SetSize(tty.Winsize{Rows: o.spec.Rows, Cols: o.spec.Cols})
	}
	slave, e := s.pts.OpenSlave(vfs.Internal, s.root, pair.Index(), unix.O_RDWR|unix.O_NOCTTY)
	if e != 0 {
		return failed(fmt.Sprintf("/dev/pts/%d", pair.Index()), e)
	}
	last := int32(2)
	if !o.spec.TerminalStderr && len(o.host) > 2 {
		last = 1
	}
	for i := int32(0); i <= last; i++ {
		slave.IncRef()
		if e := o.fds.InstallAt(vfs.Internal, slave, i, false, 1<<20); e != 0 {
			return failed("standard files", e)
		}
	}
	slave.DecRef()
	first := 3
	if last == 1 {
		first = 2
	}
	for i := first; i < len(o.host); i++ {
		f, e := hostfile.New(o.host[i], o.task)
		if e != 0 {
			return failed("a file of the process", e)
		}
		if e := o.fds.InstallAt(vfs.Internal, f, int32(i), false, 1<<20); e != 0 {
			return failed("standard files", e)
		}
	}
	pair.Slave().MakeControlling(o.task)
	if o == s.init || s.init == nil {
		dev.SetConsole(pair.Slave())
	}
	return nil
}

// attributes sets what exec keeps: limits, seccomp, scheduling.
func (o *outside) attributes(s *sandbox) error {
	t := o.task
	for _, r := range o.spec.Rlimits {
		if e := t.ThreadGroup().SetLimit(auth.Root(), r.Resource, kernel.Rlimit{Cur: r.Soft, Max: r.Hard}); e != 0 {
			return failed(fmt.Sprintf("process.rlimits: resource %d", r.Resource), e)
		}
	}
	if v := o.spec.OOMScore; v != nil {
		t.ThreadGroup().SetOOMScoreAdj(int32(*v))
	}
	if v := o.spec.IOPriority; v != nil {
		t.SetIOPrio(int32(*v))
	}
	if s.cfg.Personality != 0 {
		t.SetPersonality(s.cfg.Personality)
	}
	if f := s.cfg.Seccomp; f != nil && !o.spec.NoSeccomp {
		code := make([]bpf.Instruction, len(f.Filter))
		for i, b := range f.Filter {
			code[i] = bpf.Instruction{Code: uint16(b[0]), JT: uint8(b[1]), JF: uint8(b[2]), K: b[3]}
		}
		if e := t.AddFirstSeccompFilter(code, f.Flags); e != 0 {
			return failed("linux.seccomp", e)
		}
	}
	return nil
}

// load has the task load its program. It returns when the program is loaded
// or cannot be; the program waits for run.
func (o *outside) load(s *sandbox) error {
	p := &o.spec
	if err := o.enterDirectory(); err != nil {
		o.discard()
		return err
	}
	file, err := o.lookup()
	if err != nil {
		o.discard()
		return err
	}
	x := &kernel.ExecArgs{At: vfs.At{FS: o.fs}, Path: file, How: vfs.LookupFollow, Argv: p.Args, Envv: p.Env}
	o.task.StartProgram(o.fds, o.fs, x, func(e abi.Errno) {
		o.loaded <- e
		if e == 0 {
			<-o.gate
		}
	})
	if e := <-o.loaded; e != 0 {
		return &wire.ControlError{Message: fmt.Sprintf("exec %s: %v", file, e), Errno: int(e)}
	}
	return nil
}

func (o *outside) discard() {
	o.fds.DecRef(vfs.Internal)
	o.fs.DecRef()
	o.task.Discard()
}

// run lets the loaded program run.
func (o *outside) run() { close(o.gate) }

// wait gives the process's wait status.
func (o *outside) wait() uint32 {
	<-o.done
	return o.status
}

func (o *outside) enterDirectory() error {
	cwd := o.spec.Cwd
	if cwd == "" {
		cwd = "/"
	}
	e := vfs.Chdir(callerOf(o), o.fs, cwd)
	if e != 0 {
		return &wire.ControlError{Message: fmt.Sprintf("process.cwd: %s: %v", cwd, e), Errno: int(e)}
	}
	return nil
}

// callerOf is the process as a vfs.Caller before its task has files.
func callerOf(o *outside) vfs.Caller { return early{vfs.Internal, o.task.Creds()} }

type early struct {
	vfs.Caller
	creds *auth.Creds
}

func (e early) Creds() *auth.Creds { return e.creds }

// lookup finds the program: a name without a slash in PATH, as execvp(3) does.
func (o *outside) lookup() (string, error) {
	file := o.spec.Program
	if file == "" {
		file = o.spec.Args[0]
	}
	if strings.Contains(file, "/") {
		return file, nil
	}
	if file == "" {
		return "", &wire.ControlError{Message: "process.args[0]: empty", Errno: int(unix.ENOENT)}
	}
	best := abi.Errno(unix.ENOENT)
	for _, dir := range strings.Split(searchPath(o.spec.Env), ":") {
		if dir == "" {
			dir = "."
		}
		name := dir + "/" + file
		f, e := vfs.OpenExec(callerOf(o), vfs.At{FS: o.fs}, name, vfs.LookupFollow)
		if e == 0 {
			f.DecRef()
			return name, nil
		}
		if e == unix.EACCES {
			best = e
		}
	}
	why := "not found in PATH"
	if best == unix.EACCES {
		why = "permission denied"
	}
	return "", &wire.ControlError{Message: fmt.Sprintf("exec: %q: %s", file, why), Errno: int(best)}
}

// searchPath gives PATH, or what shells take without one.
func searchPath(env []string) string {
	for _, e := range slices.Backward(env) {
		if p, ok := strings.CutPrefix(e, "PATH="); ok {
			return p
		}
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

// grace is how long a killed sandbox may take.
const grace = 2 * time.Second
