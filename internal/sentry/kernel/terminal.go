package kernel

import "bulkhead.dev/bulkhead/internal/sentry/job"

// A Task is the job.Process that terminals ask, a Kernel their job.Table.
var (
	_ job.Process = (*Task)(nil)
	_ job.Table   = (*Kernel)(nil)
)

// ControllingTTY gives the terminal of the process's session, nil for none.
func (tg *ThreadGroup) ControllingTTY() job.Terminal {
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	if tg.pgrp == nil {
		return nil
	}
	return tg.pgrp.session.tty
}

// JobTable, SessionID, ProcessGroupID and the rest are job.Process's.
func (t *Task) JobTable() job.Table               { return t.k }
func (t *Task) SessionID() int32                  { return t.tg.SID() }
func (t *Task) ProcessGroupID() int32             { return t.tg.PGID() }
func (t *Task) ControllingTerminal() job.Terminal { return t.tg.ControllingTTY() }

// SessionLeader tells whether the process leads its session.
func (t *Task) SessionLeader() bool {
	t.k.mu.RLock()
	defer t.k.mu.RUnlock()
	return t.tg.leadsSession()
}

func (tg *ThreadGroup) leadsSession() bool {
	return tg.pgrp != nil && tg.pgrp.session.leader == tg
}

// SetControllingTerminal gives the session its terminal; nil gives it up, as
// TIOCNOTTY by the session's leader does.
func (t *Task) SetControllingTerminal(tty job.Terminal) {
	if tty == nil {
		t.tg.dropTerminal(false)
		return
	}
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	if t.tg.pgrp != nil {
		t.tg.pgrp.session.tty = tty
	}
}

// GroupSession gives the session of process group pgid, 0 if there is no such
// group.
func (t *Task) GroupSession(pgid int32) int32 {
	t.k.mu.RLock()
	defer t.k.mu.RUnlock()
	if p := t.k.pids[pgid]; p != nil && p.pgrp != nil {
		return p.pgrp.session.id
	}
	return 0
}

// GroupOrphaned tells whether the process's own group is orphaned.
func (t *Task) GroupOrphaned() bool { return t.inOrphanedGroup() }

// SignalDeaf tells whether the thread blocks sig or its process ignores it.
func (t *Task) SignalDeaf(sig int) bool {
	t.tg.sig.mu.Lock()
	defer t.tg.sig.mu.Unlock()
	return t.sig.blocked.Has(int32(sig)) || t.tg.sig.handlers.handler(int32(sig)) == SIG_IGN
}

// SignalGroup is job.Table's: a signal of the kernel's own to every member of
// process group pgid, if it is in session sid.
func (k *Kernel) SignalGroup(sid, pgid int32, sig int) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if p := k.pids[pgid]; p != nil && p.pgrp != nil && p.pgrp.session.id == sid {
		p.pgrp.signal(int32(sig))
	}
}

// signal sends a signal of the kernel's own to every member. The caller holds
// Kernel.mu.
func (g *ProcessGroup) signal(sig int32) {
	info := KernelInfo(sig, SI_KERNEL, 0, 0)
	for m := g.head; m != nil; m = m.pgNext {
		m.send(&info, nil, false, nil)
	}
}

// HangUp is job.Table's: the terminal has hung up, and is taken from the
// session; its leader gets SIGHUP and SIGCONT.
func (k *Kernel) HangUp(sid, fg int32, tty job.Terminal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.sessionWith(sid, tty)
	if s == nil {
		return
	}
	s.tty, s.oldFG = nil, fg
	if s.leader == nil {
		return
	}
	for _, sig := range []int32{SIGHUP, SIGCONT} {
		info := KernelInfo(sig, SI_KERNEL, 0, 0)
		s.leader.send(&info, nil, false, nil)
	}
}

// TakeTerminal is job.Table's: another session has stolen the terminal.
func (k *Kernel) TakeTerminal(sid int32, tty job.Terminal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.sessionWith(sid, tty); s != nil {
		s.tty = nil
	}
}

func (k *Kernel) sessionWith(sid int32, tty job.Terminal) *Session {
	if p := k.pids[sid]; p != nil && p.session != nil && p.session.tty == tty {
		return p.session
	}
	return nil
}

// leaveTerminal gives up the controlling terminal when t is the last thread of
// a session's leader.
func (t *Task) leaveTerminal() {
	t.k.mu.RLock()
	leaves := t.tg.alive() == 1 && t.tg.leadsSession()
	t.k.mu.RUnlock()
	if leaves {
		t.tg.dropTerminal(true)
	}
}

// dropTerminal takes the terminal from the session that tg leads. Its
// foreground group gets SIGHUP, and unless the leader exits SIGCONT; where the
// terminal hung up before, the group of then gets both when the leader exits.
func (tg *ThreadGroup) dropTerminal(exiting bool) {
	k := tg.k
	k.mu.Lock()
	if !tg.leadsSession() {
		k.mu.Unlock()
		return
	}
	s := tg.pgrp.session
	tty, fg := s.tty, s.oldFG
	s.tty, s.oldFG = nil, 0
	if tty != nil {
		fg = tty.ForegroundGroup()
	}
	if p := k.pids[fg]; p != nil && p.pgrp != nil && p.pgrp.session == s && (tty != nil || exiting) {
		p.pgrp.signal(SIGHUP)
		if tty == nil || !exiting {
			p.pgrp.signal(SIGCONT)
		}
	}
	k.mu.Unlock()
	if tty != nil {
		tty.SessionEnded(s.id, exiting)
	}
}
