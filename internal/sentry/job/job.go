// Package job is where terminals and processes meet: what a terminal asks of
// the process table (ioctl_tty(2), setpgid(2), credentials(7)) and what the
// process table keeps of a terminal. It holds interfaces only, so that neither
// side imports the other.
//
// Lock order: a terminal's lock → the process table's. A terminal may ask a
// Process under its lock, and calls Table without it; the process table calls
// a Terminal without any of its own, ForegroundGroup apart.
package job

// Terminal is a tty as a session keeps it: its controlling terminal.
// Implementations are pointers, so that two can be compared.
type Terminal interface {
	// DeviceNumber is tty_nr of /proc/PID/stat.
	DeviceNumber() uint32
	// TTYName is what ps shows, "pts/0".
	TTYName() string
	// ForegroundGroup gives its foreground process group, 0 for none. It takes
	// no lock.
	ForegroundGroup() int32
	// SessionEnded is called when the session has given the terminal up, or
	// its leader has exited, and the foreground group has been told.
	SessionEnded(sid int32, leaderExited bool)
}

// Table is the process table.
type Table interface {
	// SignalGroup sends sig, as the kernel itself does, to the members of
	// process group pgid, as long as that group is in session sid.
	SignalGroup(sid, pgid int32, sig int)
	// HangUp takes t from session sid, whose foreground group was fg, and
	// sends the session's leader SIGHUP and SIGCONT.
	HangUp(sid, fg int32, t Terminal)
	// TakeTerminal takes t from session sid without a signal.
	TakeTerminal(sid int32, t Terminal)
}

// Process is a calling task, as far as terminals are concerned with it.
type Process interface {
	JobTable() Table
	SessionID() int32
	ProcessGroupID() int32
	// SessionLeader tells whether the process leads its session.
	SessionLeader() bool
	// ControllingTerminal gives the session's controlling terminal, or nil.
	ControllingTerminal() Terminal
	// SetControllingTerminal gives the session one, or nil.
	SetControllingTerminal(t Terminal)
	// GroupSession gives the session of process group pgid, 0 if there is no
	// such group.
	GroupSession(pgid int32) int32
	// GroupOrphaned tells whether the process's own group is orphaned.
	GroupOrphaned() bool
	// SignalDeaf tells whether the calling thread blocks sig or ignores it.
	SignalDeaf(sig int) bool
}
