package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// ControllingTTY gives the terminal of the process's session, nil for none.
func (tg *ThreadGroup) ControllingTTY() TTY {
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	if tg.pgrp == nil {
		return nil
	}
	return tg.pgrp.session.tty
}

// IsSessionLeader tells whether the process leads its session.
func (tg *ThreadGroup) IsSessionLeader() bool {
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	return tg.pgrp != nil && tg.pgrp.session.leader == tg
}

// SetControllingTTY makes tty the terminal of the session that the process
// leads (TIOCSCTTY). EPERM: it leads none, or the session has another one. The
// terminal itself keeps the session's id, and answers for who else has it.
func (tg *ThreadGroup) SetControllingTTY(tty TTY) abi.Errno {
	tg.k.mu.Lock()
	defer tg.k.mu.Unlock()
	if tg.pgrp == nil || tg.pgrp.session.leader != tg {
		return unix.EPERM
	}
	s := tg.pgrp.session
	if s.tty != nil && s.tty != tty {
		return unix.EPERM
	}
	s.tty = tty
	return 0
}

// DropSessionTTY takes the terminal from the session sid: another session has
// stolen it, or it has hung up. fg is the foreground group that it had.
func (k *Kernel) DropSessionTTY(sid int32, tty TTY, fg int32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pids[sid]
	if p == nil || p.session == nil || p.session.tty != tty {
		return
	}
	p.session.tty, p.session.oldFG = nil, fg
}

// SessionLeader finds the leader of session sid; nil when it has exited.
func (k *Kernel) SessionLeader(sid int32) *ThreadGroup {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if p := k.pids[sid]; p != nil && p.session != nil {
		return p.session.leader
	}
	return nil
}

// GroupSession gives the session of process group pgid, 0 if there is no such
// group.
func (k *Kernel) GroupSession(pgid int32) int32 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if p := k.pids[pgid]; p != nil && p.pgrp != nil {
		return p.pgrp.session.id
	}
	return 0
}

// SignalGroup sends a signal of the kernel's own to every member of process
// group pgid, and tells whether there was one.
func (k *Kernel) SignalGroup(pgid, sig int32) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	p := k.pids[pgid]
	if p == nil || p.pgrp == nil {
		return false
	}
	info := KernelInfo(sig, SI_KERNEL, 0, 0)
	for m := p.pgrp.head; m != nil; m = m.pgNext {
		m.send(&info, nil, false, nil)
	}
	return true
}

// JobSignal decides what a background process's access to its terminal does
// (SIGTTIN for reading, SIGTTOU for writing and settings): 0 to go on anyway
// (SIGTTOU ignored or blocked), EIO, or ERESTARTSYS after the group was sent
// sig.
func (t *Task) JobSignal(sig int32) abi.Errno {
	if t.ignoresOrBlocks(sig) {
		if sig == SIGTTIN {
			return unix.EIO
		}
		return 0
	}
	if t.inOrphanedGroup() {
		return unix.EIO
	}
	t.k.SignalGroup(t.tg.PGID(), sig)
	return abi.ERESTARTSYS
}

func (t *Task) ignoresOrBlocks(sig int32) bool {
	t.tg.sig.mu.Lock()
	defer t.tg.sig.mu.Unlock()
	return t.sig.blocked.Has(sig) || t.tg.sig.handlers.handler(sig) == SIG_IGN
}

// leaveTerminal gives up the controlling terminal when t is the last thread of
// a session's leader: the foreground group gets SIGHUP.
func (t *Task) leaveTerminal() {
	k, tg := t.k, t.tg
	k.mu.RLock()
	last := tg.alive() == 1
	k.mu.RUnlock()
	if last {
		tg.disassociate(true)
	}
}

// DropControllingTTY is TIOCNOTTY by a session's leader.
func (tg *ThreadGroup) DropControllingTTY() { tg.disassociate(false) }

func (tg *ThreadGroup) disassociate(exiting bool) {
	k := tg.k
	k.mu.Lock()
	if tg.pgrp == nil || tg.pgrp.session.leader != tg {
		k.mu.Unlock()
		return
	}
	s := tg.pgrp.session
	tty, oldFG := s.tty, s.oldFG
	s.tty, s.oldFG = nil, 0
	k.mu.Unlock()
	if tty == nil {
		if exiting && oldFG != 0 {
			k.SignalGroup(oldFG, SIGHUP)
			k.SignalGroup(oldFG, SIGCONT)
		}
		return
	}
	if fg := tty.ForegroundGroup(); fg != 0 {
		k.SignalGroup(fg, SIGHUP)
		k.SignalGroup(fg, SIGCONT)
	}
	tty.SessionEnded(s.id, exiting)
}
