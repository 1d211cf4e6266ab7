package kernel

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Resource limits (getrlimit(2)).
const (
	RLIMIT_CPU = iota
	RLIMIT_FSIZE
	RLIMIT_DATA
	RLIMIT_STACK
	RLIMIT_CORE
	RLIMIT_RSS
	RLIMIT_NPROC
	RLIMIT_NOFILE
	RLIMIT_MEMLOCK
	RLIMIT_AS
	RLIMIT_LOCKS
	RLIMIT_SIGPENDING
	RLIMIT_MSGQUEUE
	RLIMIT_NICE
	RLIMIT_RTPRIO
	RLIMIT_RTTIME
	RLIM_NLIMITS
)

// RLIM_INFINITY is no limit.
const RLIM_INFINITY = ^uint64(0)

// nrOpen is fs.nr_open: RLIMIT_NOFILE's ceiling.
const nrOpen = 1 << 20

// Rlimit is one limit.
type Rlimit struct{ Cur, Max uint64 }

// DefaultLimits are those of a first process, as Linux gives them.
func DefaultLimits() [RLIM_NLIMITS]Rlimit {
	var l [RLIM_NLIMITS]Rlimit
	for i := range l {
		l[i] = Rlimit{RLIM_INFINITY, RLIM_INFINITY}
	}
	l[RLIMIT_STACK].Cur = 8 << 20
	l[RLIMIT_CORE] = Rlimit{0, RLIM_INFINITY}
	l[RLIMIT_NPROC] = Rlimit{pidMax, pidMax}
	l[RLIMIT_NOFILE] = Rlimit{1024, 1 << 20}
	l[RLIMIT_MEMLOCK] = Rlimit{8 << 20, 8 << 20}
	l[RLIMIT_SIGPENDING] = Rlimit{pidMax, pidMax}
	l[RLIMIT_MSGQUEUE] = Rlimit{819200, 819200}
	l[RLIMIT_NICE] = Rlimit{0, 0}
	l[RLIMIT_RTPRIO] = Rlimit{0, 0}
	return l
}

// limits are a process's. They are read without a lock; writers hold the
// process's sig.mu.
type limits struct {
	v [RLIM_NLIMITS]struct{ cur, max atomic.Uint64 }
}

func (l *limits) get(n int) Rlimit {
	return Rlimit{l.v[n].cur.Load(), l.v[n].max.Load()}
}

func (l *limits) set(n int, r Rlimit) {
	l.v[n].cur.Store(r.Cur)
	l.v[n].max.Store(r.Max)
}

// Limit gives the limit n (RLIMIT_*).
func (tg *ThreadGroup) Limit(n int) Rlimit { return tg.limits.get(n) }

// LimitCur gives the soft limit n.
func (tg *ThreadGroup) LimitCur(n int) uint64 { return tg.limits.v[n].cur.Load() }

// SetLimit is prlimit(2)'s setting half; c are the caller's credentials.
func (tg *ThreadGroup) SetLimit(c *auth.Creds, n int, r Rlimit) abi.Errno {
	if r.Cur > r.Max {
		return unix.EINVAL
	}
	if n == RLIMIT_NOFILE && r.Max > nrOpen {
		return unix.EPERM
	}
	tg.sig.mu.Lock()
	if r.Max > tg.limits.v[n].max.Load() && !c.Capable(auth.CAP_SYS_RESOURCE) {
		tg.sig.mu.Unlock()
		return unix.EPERM
	}
	tg.limits.set(n, r)
	tg.sig.mu.Unlock()
	if n == RLIMIT_NOFILE && r.Cur < vfs.FDsLent {
		tg.recallFDs()
	}
	if n == RLIMIT_CPU && r.Cur != RLIM_INFINITY {
		tg.watchCPULimit()
	}
	return 0
}

// FSizeLimit is the vfs.Caller's: RLIMIT_FSIZE's soft limit.
func (t *Task) FSizeLimit() uint64 { return t.tg.LimitCur(RLIMIT_FSIZE) }

// SignalXFSZ is the vfs.Caller's: a write has gone past RLIMIT_FSIZE.
func (t *Task) SignalXFSZ() {
	t.SendSignal(KernelInfo(SIGXFSZ, SI_USER, t.tg.pid, t.Creds().UID))
}

// TGID is the vfs.Caller's: the process id.
func (t *Task) TGID() int32 { return t.tg.pid }
