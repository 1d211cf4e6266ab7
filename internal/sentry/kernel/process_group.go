package kernel

import "bulkhead.dev/bulkhead/internal/sentry/job"

// ProcessGroup and Session are job control's units (setpgid(2), setsid(2),
// credentials(7)). Their fields are guarded by Kernel.mu.
type ProcessGroup struct {
	id      int32
	session *Session
	head    *ThreadGroup // linked by pgNext
	n       int
}

// Session is a set of process groups that may share a controlling terminal.
type Session struct {
	id     int32
	leader *ThreadGroup // nil once it has exited
	groups int
	tty    job.Terminal // nil: none
	oldFG  int32        // the foreground group when the terminal was lost (tty_old_pgrp)
}

func (g *ProcessGroup) add(tg *ThreadGroup) {
	tg.pgrp = g
	tg.pgPrev, tg.pgNext = nil, g.head
	if g.head != nil {
		g.head.pgPrev = tg
	}
	g.head = tg
	g.n++
}

// leaveGroup takes tg out of its process group, which goes with its last
// member, as does the session with its last group. The caller holds mu for
// writing.
func (k *Kernel) leaveGroup(tg *ThreadGroup) {
	g := tg.pgrp
	if g == nil {
		return
	}
	if tg.pgPrev != nil {
		tg.pgPrev.pgNext = tg.pgNext
	} else {
		g.head = tg.pgNext
	}
	if tg.pgNext != nil {
		tg.pgNext.pgPrev = tg.pgPrev
	}
	tg.pgPrev, tg.pgNext, tg.pgrp = nil, nil, nil
	g.n--
	if g.n > 0 {
		return
	}
	if p := k.pids[g.id]; p != nil {
		p.pgrp = nil
		k.putPID(g.id)
	}
	s := g.session
	if s.groups--; s.groups > 0 {
		return
	}
	if p := k.pids[s.id]; p != nil {
		p.session = nil
		k.putPID(s.id)
	}
}

// newGroup makes the process group id within s; the id must be taken already.
// The caller holds mu for writing.
func (k *Kernel) newGroup(id int32, s *Session) *ProcessGroup {
	g := &ProcessGroup{id: id, session: s}
	s.groups++
	k.pids[id].pgrp = g
	return g
}

// isOrphaned tells whether no member of g has a parent in another group of the
// same session (POSIX), not counting ignored as a member. The caller holds mu.
func (k *Kernel) isOrphaned(g *ProcessGroup, ignored *ThreadGroup) bool {
	for m := g.head; m != nil; m = m.pgNext {
		if m == ignored || (m.leaderGone() && m.alive() == 0) || m.parent == nil {
			continue
		}
		if m.parent.pgrp != nil && m.parent.pgrp != g && m.parent.pgrp.session == g.session {
			return false
		}
	}
	return true
}

// hasStoppedJobs tells whether a member of g is stopped. The caller holds mu.
func (g *ProcessGroup) hasStoppedJobs() bool {
	for m := g.head; m != nil; m = m.pgNext {
		if m.sig.isStopped() {
			return true
		}
	}
	return false
}

// PGID and SID give the ids of the process's group and session; 0 once it is
// reaped.
func (tg *ThreadGroup) PGID() int32 {
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	return tg.pgidLocked()
}

func (tg *ThreadGroup) SID() int32 {
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	return tg.sidLocked()
}

func (tg *ThreadGroup) pgidLocked() int32 {
	if tg.pgrp == nil {
		return 0
	}
	return tg.pgrp.id
}

func (tg *ThreadGroup) sidLocked() int32 {
	if tg.pgrp == nil {
		return 0
	}
	return tg.pgrp.session.id
}
