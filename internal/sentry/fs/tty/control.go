package tty

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/job"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Control is a terminal's side of job control: the session that it controls
// and the foreground group. It is guarded by its terminal's lock; session and
// group are read without it, too.
type Control struct {
	self    job.Terminal // constant once in use
	table   job.Table    // nil until there is a session
	session atomic.Int32
	group   atomic.Int32
}

// signal is a message to the process table, sent when no lock is held.
type signal struct {
	table    job.Table
	sid, pg  int32
	sig      int
	terminal job.Terminal // not nil: the session loses it
	quiet    bool         // … without a signal
}

func (s *signal) send() {
	switch {
	case s.terminal == nil:
		s.table.SignalGroup(s.sid, s.pg, s.sig)
	case s.quiet:
		s.table.TakeTerminal(s.sid, s.terminal)
	default:
		s.table.HangUp(s.sid, s.pg, s.terminal)
	}
}

// ForegroundGroup gives the foreground group, 0 for none.
func (k *Control) ForegroundGroup() int32 { return k.group.Load() }

// signal notes a signal to the foreground group.
func (k *Control) signal(later *[]signal, sig int) {
	if pg := k.group.Load(); pg != 0 {
		*later = append(*later, signal{table: k.table, sid: k.session.Load(), pg: pg, sig: sig})
	}
}

// hangUp takes the terminal from its session.
func (k *Control) hangUp(later *[]signal) {
	if sid := k.session.Load(); sid != 0 {
		*later = append(*later, signal{table: k.table, sid: sid, pg: k.group.Load(), terminal: k.self})
	}
	k.session.Store(0)
	k.group.Store(0)
}

// sessionEnded frees the terminal of the session, which has told its processes
// already.
func (k *Control) sessionEnded(sid int32) {
	if k.session.Load() == sid {
		k.session.Store(0)
		k.group.Store(0)
	}
}

// controls tells whether p's controlling terminal is this one.
func (k *Control) controls(p job.Process) bool {
	return p != nil && p.ControllingTerminal() == k.self
}

// process gives the caller as a process; nil for internal callers.
func process(c vfs.Caller) job.Process {
	p, _ := c.(job.Process)
	return p
}

// adopt is what open does without O_NOCTTY.
func (k *Control) adopt(c vfs.Caller) {
	p := process(c)
	if p == nil || k.session.Load() != 0 || !p.SessionLeader() || p.ControllingTerminal() != nil {
		return
	}
	k.take(p)
}

func (k *Control) take(p job.Process) {
	k.table = p.JobTable()
	k.session.Store(p.SessionID())
	k.group.Store(p.ProcessGroupID())
	p.SetControllingTerminal(k.self)
}

// setControlling is TIOCSCTTY.
func (k *Control) setControlling(c vfs.Caller, readable bool, arg uint64, later *[]signal) abi.Errno {
	p := process(c)
	if p == nil {
		return unix.EPERM
	}
	leader, sid := p.SessionLeader(), k.session.Load()
	if leader && sid == p.SessionID() {
		return 0
	}
	if !leader || p.ControllingTerminal() != nil {
		return unix.EPERM
	}
	admin := c.Creds().Capable(auth.CAP_SYS_ADMIN)
	if sid != 0 {
		if arg != 1 || !admin {
			return unix.EPERM
		}
		*later = append(*later, signal{table: k.table, sid: sid, terminal: k.self, quiet: true})
	}
	if !readable && !admin {
		return unix.EPERM
	}
	k.take(p)
	return 0
}

// setForeground is TIOCSPGRP.
func (k *Control) setForeground(c vfs.Caller, pg int32) abi.Errno {
	p := process(c)
	if !k.controls(p) || k.session.Load() != p.SessionID() {
		return unix.ENOTTY
	}
	if pg < 0 {
		return unix.EINVAL
	}
	switch p.GroupSession(pg) {
	case 0:
		return unix.ESRCH
	case p.SessionID():
		k.group.Store(pg)
		return 0
	}
	return unix.EPERM
}

// checkChange is what a background process meets that reads (SIGTTIN), or
// writes or changes settings (SIGTTOU). It is called without the terminal's
// lock.
func (k *Control) checkChange(c vfs.Caller, sig int) abi.Errno {
	p := process(c)
	if p == nil {
		return 0
	}
	fg := k.group.Load()
	if fg == 0 {
		return 0
	}
	pg := p.ProcessGroupID()
	if pg == fg || !k.controls(p) {
		return 0
	}
	if p.SignalDeaf(sig) {
		if sig == int(unix.SIGTTIN) {
			return unix.EIO
		}
		return 0
	}
	if p.GroupOrphaned() {
		return unix.EIO
	}
	p.JobTable().SignalGroup(p.SessionID(), pg, sig)
	return abi.ERESTARTSYS
}

// disassociate is TIOCNOTTY.
func (k *Control) disassociate(c vfs.Caller) abi.Errno {
	p := process(c)
	if !k.controls(p) {
		return unix.ENOTTY
	}
	// Only a leader may give the terminal up for its session; others have none
	// of their own to lose, as the terminal is the session's.
	if p.SessionLeader() {
		p.SetControllingTerminal(nil)
	}
	return 0
}

// Init ties the control to its terminal.
func (k *Control) Init(self job.Terminal) { k.self = self }

// CheckRead, CheckWrite: what a background process meets that reads, or that
// writes while tostop is set or changes settings. 0 to go on.
func (k *Control) CheckRead(c vfs.Caller) abi.Errno  { return k.checkChange(c, int(unix.SIGTTIN)) }
func (k *Control) CheckWrite(c vfs.Caller) abi.Errno { return k.checkChange(c, int(unix.SIGTTOU)) }

// Free ends the tie to session sid.
func (k *Control) Free(sid int32) { k.sessionEnded(sid) }

// Signal sends sig to the foreground group. The caller holds no lock.
func (k *Control) Signal(mu sync.Locker, sig int) {
	var later []signal
	mu.Lock()
	k.signal(&later, sig)
	mu.Unlock()
	sendAll(later)
}

func sendAll(later []signal) {
	for i := range later {
		later[i].send()
	}
}

// Adopt makes the terminal the caller's session's, as open without O_NOCTTY
// does. The caller holds the terminal's lock.
func (k *Control) Adopt(c vfs.Caller) { k.adopt(c) }

// Ioctl has the requests of job control (ioctl_tty(2)); mu is the terminal's
// lock. readable is whether the description may read; master, whether it is
// the other end, which needs no tie to the session.
func (k *Control) Ioctl(c vfs.Caller, mu sync.Locker, readable, master bool, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	p := process(c)
	switch cmd {
	case unix.TIOCNOTTY:
		if master {
			return 0, unix.ENOTTY
		}
		return 0, k.disassociate(c)
	case unix.TIOCSCTTY:
		var later []signal
		mu.Lock()
		e := k.setControlling(c, readable, arg, &later)
		mu.Unlock()
		sendAll(later)
		return 0, e
	case unix.TIOCGPGRP:
		if !master && !k.controls(p) {
			return 0, unix.ENOTTY
		}
		return 0, put32(mem, arg, uint32(k.ForegroundGroup()))
	case unix.TIOCSPGRP:
		if e := k.CheckWrite(c); e == unix.EIO {
			return 0, unix.ENOTTY
		} else if e != 0 {
			return 0, e
		}
		pg, e := get32(mem, arg)
		if e != 0 {
			return 0, e
		}
		mu.Lock()
		defer mu.Unlock()
		return 0, k.setForeground(c, int32(pg))
	case tiocgsid:
		sid := k.session.Load()
		if (!master && !k.controls(p)) || sid == 0 {
			return 0, unix.ENOTTY
		}
		return 0, put32(mem, arg, uint32(sid))
	}
	return 0, abi.ENOIOCTLCMD
}
