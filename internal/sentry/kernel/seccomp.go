package kernel

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/bpf"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// AuditArch is AUDIT_ARCH_X86_64, as seccomp filters see it.
const AuditArch = 0xc000003e

// Answers of a filter (seccomp(2)), the mightiest first.
const (
	SECCOMP_RET_KILL_PROCESS = 0x80000000
	SECCOMP_RET_KILL_THREAD  = 0x00000000
	SECCOMP_RET_TRAP         = 0x00030000
	SECCOMP_RET_ERRNO        = 0x00050000
	SECCOMP_RET_USER_NOTIF   = 0x7fc00000
	SECCOMP_RET_TRACE        = 0x7ff00000
	SECCOMP_RET_LOG          = 0x7ffc0000
	SECCOMP_RET_ALLOW        = 0x7fff0000

	seccompActionMask = 0xffff0000
	seccompDataMask   = 0x0000ffff

	// seccompMaxPath bounds the instructions of a task's filters, each with
	// four more for itself.
	seccompMaxPath = 32768
)

// Flags of SECCOMP_SET_MODE_FILTER.
const (
	SECCOMP_FILTER_FLAG_TSYNC              = 1
	SECCOMP_FILTER_FLAG_LOG                = 2
	SECCOMP_FILTER_FLAG_SPEC_ALLOW         = 4
	SECCOMP_FILTER_FLAG_NEW_LISTENER       = 8
	SECCOMP_FILTER_FLAG_TSYNC_ESRCH        = 16
	SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 32
)

// seccompState is a task's newest filter and, behind it, the older ones; or
// strict mode. It never changes once it is published, but for its users.
type seccompState struct {
	strict  bool
	program *bpf.Program
	older   *seccompState
	cost    int       // instructions of the whole path
	notify  *notifier // nil: without a listener

	users atomic.Int32 // tasks whose newest it is, and filters right before it
}

// SeccompVerdict says what becomes of a call.
type SeccompVerdict uint8

const (
	SeccompAllow    SeccompVerdict = iota
	SeccompSkip                    // the call is not made; the errno that came with it is its result
	SeccompRollback                // not made, the registers as they were before it, a signal is due
	SeccompExit                    // the thread exits with the status SIGSYS or SIGKILL
)

// SeccompActive tells whether the task has filters or strict mode.
func (t *Task) SeccompActive() bool { return t.seccomp.Load() != nil }

// SeccompMode gives 0, 1 (strict) or 2 (filters), and the number of filters.
func (t *Task) SeccompMode() (mode, filters int) {
	s := t.seccomp.Load()
	if s == nil {
		return 0, 0
	}
	if s.strict {
		return 1, 0
	}
	for f := s; f != nil; f = f.older {
		filters++
	}
	return 2, filters
}

// SeccompCheck asks the task's own filters about a call (own goroutine), whose
// instruction ends at ip. A call that is not made has the result v or the errno;
// for SeccompExit v is the status.
func (t *Task) SeccompCheck(nr uint32, args *[6]uint64, ip uint64) (verdict SeccompVerdict, v uint64, e abi.Errno) {
	s := t.seccomp.Load()
	switch {
	case s == nil:
		return SeccompAllow, 0, 0
	case s.strict:
		return t.strictCheck(nr)
	case s.always(nr):
		return SeccompAllow, 0, 0
	}
	d := bpf.MakeData(nr, AuditArch, ip, args)
	r, by := s.run(&d)
	if r&seccompActionMask != SECCOMP_RET_USER_NOTIF {
		return t.seccompAct(r, nr, ip)
	}
	if by.notify == nil {
		return SeccompSkip, 0, unix.ENOSYS
	}
	asked := d // d itself stays on the stack
	return by.notify.ask(t, &asked)
}

func (s *seccompState) always(nr uint32) bool {
	for f := s; f != nil; f = f.older {
		if !f.program.Always(nr) {
			return false
		}
	}
	return true
}

// run asks every filter; the mightiest answer counts, the newest of equals. It
// gives the filter whose it is.
func (s *seccompState) run(d *bpf.Data) (best uint32, by *seccompState) {
	best = SECCOMP_RET_ALLOW
	for f := s; f != nil; f = f.older {
		r := f.program.Run(d)
		if int32(r&seccompActionMask) < int32(best&seccompActionMask) {
			best, by = r, f
		}
	}
	return best, by
}

func (t *Task) seccompAct(r, nr uint32, ip uint64) (SeccompVerdict, uint64, abi.Errno) {
	switch r & seccompActionMask {
	case SECCOMP_RET_ALLOW, SECCOMP_RET_LOG:
		return SeccompAllow, 0, 0
	case SECCOMP_RET_ERRNO:
		return SeccompSkip, 0, abi.Errno(min(r&seccompDataMask, 4095))
	case SECCOMP_RET_TRACE:
		return SeccompSkip, 0, unix.ENOSYS // nobody traces
	case SECCOMP_RET_TRAP:
		t.ForceSignal(SysInfo(SYS_SECCOMP, ip, int32(nr), int32(r&seccompDataMask), AuditArch))
		return SeccompRollback, 0, 0
	case SECCOMP_RET_KILL_THREAD:
		if t.othersAlive() {
			return SeccompExit, SIGSYS, 0
		}
	}
	t.ForceFatal(SysInfo(SYS_SECCOMP, ip, int32(nr), int32(r&seccompDataMask), AuditArch))
	return SeccompRollback, 0, 0
}

func (t *Task) strictCheck(nr uint32) (SeccompVerdict, uint64, abi.Errno) {
	switch nr {
	case unix.SYS_READ, unix.SYS_WRITE, unix.SYS_EXIT, unix.SYS_RT_SIGRETURN:
		return SeccompAllow, 0, 0
	}
	return SeccompExit, SIGKILL, 0
}

func (t *Task) othersAlive() bool {
	t.k.mu.RLock()
	defer t.k.mu.RUnlock()
	return t.tg.alive() > 1
}

// SetSeccompStrict is SECCOMP_SET_MODE_STRICT.
func (t *Task) SetSeccompStrict() abi.Errno {
	if s := t.seccomp.Load(); s != nil && !s.strict {
		return unix.EINVAL
	}
	t.seccomp.Store(&seccompState{strict: true})
	t.refreshCreds(false)
	return 0
}

// AddSeccompFilter is SECCOMP_SET_MODE_FILTER past its copying. With TSYNC the
// result is the tid of a thread that cannot follow, or 0; with NEW_LISTENER the
// listener's descriptor.
func (t *Task) AddSeccompFilter(code []bpf.Instruction, flags uint32) (uint64, abi.Errno) {
	c := t.Creds()
	if !c.NoNewPrivs && !c.Capable(auth.CAP_SYS_ADMIN) {
		return 0, unix.EACCES
	}
	p, ok := bpf.New(code, AuditArch)
	if !ok {
		return 0, unix.EINVAL
	}
	n := &seccompState{program: p, cost: p.Len() + 4}
	n.users.Store(1)
	if flags&SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
		return t.attachFilter(n, flags)
	}
	d := vfs.NewAnonBare("seccomp notify", n.listen(flags), unix.O_RDWR)
	fd, e := t.InstallFD(d, true)
	if e != 0 {
		d.DecRef()
		return 0, unix.EMFILE
	}
	if _, e = t.attachFilter(n, flags); e != 0 {
		t.fds.Close(t, fd)
		return 0, e
	}
	return uint64(fd), 0
}

// attachFilter makes n the task's newest filter.
func (t *Task) attachFilter(n *seccompState, flags uint32) (uint64, abi.Errno) {
	t.tg.sig.mu.Lock()
	defer t.tg.sig.mu.Unlock()
	old := t.seccomp.Load()
	n.older = old
	if old != nil {
		if old.strict {
			return 0, unix.EINVAL
		}
		if n.notify != nil && old.listened() {
			return 0, unix.EBUSY
		}
		n.cost += old.cost
	}
	if n.cost-4 > seccompMaxPath {
		return 0, unix.ENOMEM
	}
	if flags&SECCOMP_FILTER_FLAG_TSYNC == 0 {
		t.seccomp.Store(n)
		t.refreshCreds(false)
		return 0, 0
	}
	return t.syncFilters(old, n, flags)
}

// syncFilters gives all threads the new filter, if each has none or one of
// those before it. The caller holds sig.mu.
func (t *Task) syncFilters(old, n *seccompState, flags uint32) (uint64, abi.Errno) {
	for _, o := range t.tg.tasks {
		if o == t || o.sig.exiting || o.seccomp.Load().isAncestorOf(old) {
			continue
		}
		if flags&SECCOMP_FILTER_FLAG_TSYNC_ESRCH != 0 {
			return 0, unix.ESRCH
		}
		return uint64(o.tid), 0
	}
	nnp := t.Creds().NoNewPrivs
	for _, o := range t.tg.tasks {
		if o.sig.exiting && o != t {
			continue
		}
		if o == t {
			o.seccomp.Store(n)
		} else {
			o.seccomp.Swap(n.hold()).drop()
		}
		o.refreshCreds(nnp)
		if o != t {
			o.plat.kick()
		}
	}
	return 0, 0
}

// inheritFilters gives a new task its parent's. The caller holds the parent's
// sig.mu, so that no TSYNC comes between.
func (t *Task) inheritFilters(p *Task) {
	s := p.seccomp.Load()
	if s == nil {
		return
	}
	t.seccomp.Store(s.hold())
	if p.Creds().NoNewPrivs && !t.Creds().NoNewPrivs {
		t.refreshCreds(true)
	}
}

// isAncestorOf tells whether s is nothing, or stands in of's path.
func (s *seccompState) isAncestorOf(of *seccompState) bool {
	if s == nil {
		return true
	}
	for f := of; f != nil; f = f.older {
		if f == s {
			return true
		}
	}
	return false
}

// refreshCreds publishes the credentials anew, with no_new_privs if it is
// asked for: the run loop then tells the stub that filters want to see every
// call.
func (t *Task) refreshCreds(noNewPrivs bool) {
	for {
		c := t.Creds()
		n := c.Clone()
		n.NoNewPrivs = n.NoNewPrivs || noNewPrivs
		if t.creds.CompareAndSwap(c, n) {
			return
		}
	}
}
