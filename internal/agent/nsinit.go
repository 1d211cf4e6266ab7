package agent

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The kernel gives PID 1 of a PID namespace no signal that it has no handler
// for, neither the terminal's nor its own (pid_namespaces(7)). Where init is to
// be an ordinary process (init_killable), PID 1 is therefore a copy of the
// agent that does nothing but hold the namespace: it ignores SIGCHLD, so that
// orphans are reaped, and sleeps in a read of the pipe that begins a script.
// Init is PID 2. The two end together.

// ordinaryInit says whether that is wanted. A user namespace has its PID
// namespace made inside it, by init alone: there the agent turns signals that
// it sends into SIGKILL, and no more is done.
func (b *builder) ordinaryInit() bool {
	ns := b.config.Namespaces
	return b.config.InitKillable && ns.GetPidOf() == "" && !ns.GetUser()
}

// makeNamespace makes the PID namespace and its PID 1.
func (b *builder) makeNamespace() error {
	s, report, start, err := newScript()
	if err != nil {
		return err
	}
	s.add("name", unix.SYS_PRCTL, unix.PR_SET_NAME, s.str("init"))
	s.add("ignoring SIGCHLD", unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), s.ignored(), 0, 8)
	s.add("setsid", unix.SYS_SETSID)
	s.add("descriptors", unix.SYS_DUP3, uintptr(s.report), childReport, unix.O_CLOEXEC).kind = opMoved
	s.add("descriptors", unix.SYS_DUP3, uintptr(s.start), childStart, unix.O_CLOEXEC)
	s.add("descriptors", unix.SYS_CLOSE_RANGE, childStart+1, 1<<32-1, 0)
	s.add("descriptors", unix.SYS_CLOSE_RANGE, 0, childReport-1, 0)
	s.report, s.start = childReport, childStart
	s.wait()
	var first *child
	err = b.a.spawn(nil, func() (_ *child, err error) {
		first, err = s.fork(unix.CLONE_NEWPID, -1, report, start)
		return first, err
	})
	s.closeChildEnds()
	if err != nil {
		report.Close()
		start.Close()
		return fmt.Errorf("PID namespace: %w", err)
	}
	b.p.namespace.Store(first)
	if err := first.reach(); err != nil {
		return fmt.Errorf("PID namespace: %w", err)
	}
	// Of all processes here the OOM killer takes what is of use to nobody last.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", first.pid), []byte("-1000"), 0); err != nil {
		return fmt.Errorf("oom_score_adj: %w", err)
	}
	return nil
}

// ignored gives the address of a struct kernel_sigaction of SIG_IGN.
func (s *script) ignored() uintptr {
	const sigIgn = 1
	return s.words([]uint32{sigIgn, 0, 0, 0, 0, 0, 0, 0})
}

// endNamespace kills PID 1, and with it whatever init has left behind.
func (p *process) endNamespace() {
	first := p.namespace.Swap(nil)
	if first == nil {
		return
	}
	first.kill()
	first.close()
	unix.Close(first.pidfd)
}
