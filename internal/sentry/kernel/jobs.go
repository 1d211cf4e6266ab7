package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// SetPGID is setpgid(2).
func (t *Task) SetPGID(pid, pgid int32) abi.Errno {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if pid == 0 {
		pid = t.tg.pid
	}
	if pgid == 0 {
		pgid = pid
	}
	if pgid < 0 {
		return unix.EINVAL
	}
	p := k.pids[pid]
	if p == nil {
		return unix.ESRCH
	}
	tg := p.tg
	if tg == nil {
		if p.task != nil {
			return unix.EINVAL // a thread that leads no group
		}
		return unix.ESRCH
	}
	switch {
	case tg == t.tg:
	case tg.parent != t.tg:
		return unix.ESRCH
	case tg.pgrp.session != t.tg.pgrp.session:
		return unix.EPERM
	case tg.didExec:
		return unix.EACCES
	}
	if tg.leadsSession() {
		return unix.EPERM
	}
	return k.moveToGroup(tg, pgid)
}

func (k *Kernel) moveToGroup(tg *ThreadGroup, pgid int32) abi.Errno {
	s := tg.pgrp.session
	if tg.pgrp.id == pgid {
		return 0
	}
	var g *ProcessGroup
	if p := k.pids[pgid]; p != nil {
		g = p.pgrp
	}
	switch {
	case g != nil && g.session != s:
		return unix.EPERM
	case g == nil && pgid != tg.pid:
		return unix.EPERM
	case g == nil:
		g = k.newGroup(pgid, s)
	}
	// The session must not go with its last group meanwhile.
	s.groups++
	k.leaveGroup(tg)
	s.groups--
	g.add(tg)
	return 0
}

// SetSID is setsid(2).
func (t *Task) SetSID() (int32, abi.Errno) {
	k, tg := t.k, t.tg
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pids[tg.pid]
	if tg.leadsSession() || p.pgrp != nil {
		return 0, unix.EPERM
	}
	k.leaveGroup(tg)
	s := &Session{id: tg.pid, leader: tg}
	p.session = s
	k.newGroup(tg.pid, s).add(tg)
	return tg.pid, 0
}

// GetPGID is getpgid(2).
func (t *Task) GetPGID(pid int32) (int32, abi.Errno) {
	return t.ofProcess(pid, (*ThreadGroup).pgidLocked)
}

// GetSID is getsid(2).
func (t *Task) GetSID(pid int32) (int32, abi.Errno) {
	return t.ofProcess(pid, (*ThreadGroup).sidLocked)
}

func (t *Task) ofProcess(pid int32, f func(*ThreadGroup) int32) (int32, abi.Errno) {
	k := t.k
	k.mu.RLock()
	defer k.mu.RUnlock()
	tg := t.tg
	if pid != 0 {
		p := k.pids[pid]
		switch {
		case p == nil || (p.tg == nil && p.task == nil):
			return 0, unix.ESRCH
		case p.tg != nil:
			tg = p.tg
		default:
			tg = p.task.tg
		}
	}
	return f(tg), 0
}

// SetSubreaper is PR_SET_CHILD_SUBREAPER: descendants that are already there
// count too.
func (tg *ThreadGroup) SetSubreaper(on bool) {
	tg.k.mu.Lock()
	defer tg.k.mu.Unlock()
	tg.subreaper = on
	if on {
		tg.markDescendants()
	}
}

func (tg *ThreadGroup) markDescendants() {
	for c := tg.children.head; c != nil; c = c.sibNext {
		if !c.hasSubreaper {
			c.hasSubreaper = true
			c.markDescendants()
		}
	}
}

// Subreaper is PR_GET_CHILD_SUBREAPER.
func (tg *ThreadGroup) Subreaper() bool {
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	return tg.subreaper
}
