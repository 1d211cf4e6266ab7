package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

// SetCreds publishes new credentials (own goroutine). Where they change what
// the process is towards others, it becomes undumpable and forgets its
// parent-death signal.
func (t *Task) SetCreds(n *auth.Creds) {
	old := t.Creds()
	if old.Loses(n) {
		t.tg.dumpable.Store(0)
		t.pdeath.Store(0)
	}
	if old.UID != n.UID {
		u := t.k.users.get(n.UID)
		u.tasks.Add(1)
		t.user.Swap(u).tasks.Add(-1)
	}
	for {
		cur := t.Creds()
		if cur.NoNewPrivs && !n.NoNewPrivs { // seccomp's TSYNC came between
			n = n.Clone()
			n.NoNewPrivs = true
		}
		if t.creds.CompareAndSwap(cur, n) {
			return
		}
	}
}

// ExecCreds publishes the credentials that auth.ExecCreds has found, behind
// PrepareExec. readable: the caller may read the program.
func (t *Task) ExecCreds(n *auth.Creds, secure, readable bool) {
	t.SetCreds(n)
	dumpable := int32(1)
	if n.EUID != n.UID || n.EGID != n.GID || !readable {
		dumpable = 0
	}
	t.tg.dumpable.Store(dumpable)
	if secure {
		t.pdeath.Store(0)
	}
}

// OverProcessLimit tells whether the user has more processes than RLIMIT_NPROC
// after a set*uid(2): exec then fails with EAGAIN.
func (t *Task) OverProcessLimit() bool {
	c := t.Creds()
	return c.UID != 0 && !c.Capable(auth.CAP_SYS_RESOURCE) && !c.Capable(auth.CAP_SYS_ADMIN) &&
		uint64(t.user.Load().tasks.Load()) > t.tg.LimitCur(RLIMIT_NPROC)
}

// PdeathSignal and SetPdeathSignal are PR_GET_PDEATHSIG's and
// PR_SET_PDEATHSIG's.
func (t *Task) PdeathSignal() int32       { return t.pdeath.Load() }
func (t *Task) SetPdeathSignal(sig int32) { t.pdeath.Store(sig) }

// TimerSlack and SetTimerSlack are PR_GET_TIMERSLACK's and
// PR_SET_TIMERSLACK's, in nanoseconds; 0 sets the default.
func (t *Task) TimerSlack() int64 { return t.timerSlack.Load() }

func (t *Task) SetTimerSlack(ns int64) {
	if ns <= 0 {
		ns = defaultTimerSlack
	}
	t.timerSlack.Store(ns)
}

// Personality and SetPersonality are personality(2)'s (own goroutine).
func (t *Task) Personality() uint32     { return t.personality }
func (t *Task) SetPersonality(p uint32) { t.personality = p }

// MCEKill and IOFlusher are PR_MCE_KILL's and PR_SET_IO_FLUSHER's (own goroutine).
func (t *Task) MCEKill() uint32      { return unix.PR_MCE_KILL_DEFAULT - t.mceKill }
func (t *Task) SetMCEKill(v uint32)  { t.mceKill = unix.PR_MCE_KILL_DEFAULT - v }
func (t *Task) IOFlusher() bool      { return t.ioFlusher }
func (t *Task) SetIOFlusher(on bool) { t.ioFlusher = on }

// Flags of personality(2).
const (
	MMAP_PAGE_ZERO     = 0x0100000
	ADDR_NO_RANDOMIZE  = 0x0040000
	ADDR_COMPAT_LAYOUT = 0x0200000
	READ_IMPLIES_EXEC  = 0x0400000
	STICKY_TIMEOUTS    = 0x4000000

	perClearOnSetID = READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT | MMAP_PAGE_ZERO
)

// execPersonality is what a program starts with: less, if it gains rights.
func (t *Task) execPersonality(secure bool) uint32 {
	if secure {
		return t.personality &^ perClearOnSetID
	}
	return t.personality
}
