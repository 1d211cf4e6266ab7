package kernel

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/job"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// A Task is a job.Process: what terminals ask of their callers.
var _ job.Process = (*Task)(nil)

// JobTable gives the process table as terminals see it.
func (t *Task) JobTable() job.Table { return jobTable{t.k} }

func (t *Task) SessionID() int32      { return t.tg.SID() }
func (t *Task) ProcessGroupID() int32 { return t.tg.PGID() }
func (t *Task) SessionLeader() bool   { return t.tg.IsSessionLeader() }
func (t *Task) GroupOrphaned() bool   { return t.inOrphanedGroup() }

// SignalDeaf tells whether the task blocks sig or ignores it.
func (t *Task) SignalDeaf(sig int) bool { return t.ignoresOrBlocks(int32(sig)) }

// GroupSession gives the session of process group pgid, 0 if there is none.
func (t *Task) GroupSession(pgid int32) int32 { return t.k.GroupSession(pgid) }

// ControllingTerminal gives the session's terminal, nil for none.
func (t *Task) ControllingTerminal() job.Terminal {
	tty, _ := t.tg.ControllingTTY().(job.Terminal)
	return tty
}

// SetControllingTerminal gives the session a terminal; nil gives it up.
func (t *Task) SetControllingTerminal(tty job.Terminal) {
	if tty == nil {
		t.tg.DropControllingTTY()
		return
	}
	t.tg.SetControllingTTY(tty)
}

// InstallFD gives the task a new descriptor for fd, whose reference it takes
// over on success.
func (t *Task) InstallFD(fd *vfs.FileDescription, cloexec bool) (int32, abi.Errno) {
	return t.fds.Install(fd, 0, cloexec, t.tg.LimitCur(RLIMIT_NOFILE))
}

// jobTable is the job.Table.
type jobTable struct{ k *Kernel }

// SignalGroup sends sig to group pgid of session sid.
func (j jobTable) SignalGroup(sid, pgid int32, sig int) {
	if j.k.GroupSession(pgid) == sid {
		j.k.SignalGroup(pgid, int32(sig))
	}
}

// HangUp takes a terminal that has hung up, and tells the session's leader.
func (j jobTable) HangUp(sid, fg int32, tty job.Terminal) {
	j.k.DropSessionTTY(sid, tty, fg)
	leader := j.k.SessionLeader(sid)
	if leader == nil {
		return
	}
	leader.SendSignal(KernelInfo(SIGHUP, SI_KERNEL, 0, 0))
	leader.SendSignal(KernelInfo(SIGCONT, SI_KERNEL, 0, 0))
}

// TakeTerminal takes a terminal that another session has stolen.
func (j jobTable) TakeTerminal(sid int32, tty job.Terminal) { j.k.DropSessionTTY(sid, tty, 0) }
