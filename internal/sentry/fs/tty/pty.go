package tty

import (
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Major numbers of Unix98 ptys.
const (
	MasterMajor = 128
	SlaveMajor  = 136
)

// Pair is a pseudoterminal: pty(7).
type Pair struct {
	mu            sync.Mutex
	index         uint32 // constant
	master, slave TTY
	locked        bool // TIOCSPTLCK

	// onClose is called, without mu, when the master has been closed.
	onClose func() // constant
	// openSlave makes a description of the slave for TIOCGPTPEER.
	openSlave SlaveOpener // constant

	later []signal // to be sent by unlock
}

// TTY is one end of a pair: its settings and its line discipline. Its fields
// are guarded by the pair's mu, unless they say otherwise.
type TTY struct {
	pair   *Pair // constant
	peer   *TTY  // constant
	master bool  // constant
	q      waiter.Queue

	termios Termios
	winsize Winsize
	in      input
	echo    echoQueue
	one     [1]byte // emit's

	column     uint // where the cursor is, as far as output tells
	lineColumn uint // where the line being typed begins

	stopped       bool // ^S, or TCOOFF
	stoppedByCall bool // TCOOFF
	exclusive     bool // TIOCEXCL
	packet        bool // TIOCPKT, of a master
	pktStatus     byte // what a master in packet mode has to be told of this end

	opens     int    // descriptions
	era       uint32 // rises with each hang-up: descriptions of before are dead
	peerGone  bool   // the other end has been closed (TTY_OTHER_CLOSED)
	ioError   bool   // TTY_IO_ERROR
	readWaits map[vfs.Caller]*readWait

	control Control
}

// SlaveOpener opens the slave by the name that goes with the master's.
type SlaveOpener func(c vfs.Caller, master *vfs.FileDescription, flags uint32) (*vfs.FileDescription, abi.Errno)

// NewPair makes a pseudoterminal with the slave locked. onClose runs once the
// master is closed.
func NewPair(index uint32, onClose func(), openSlave SlaveOpener) *Pair {
	p := &Pair{index: index, locked: true, onClose: onClose, openSlave: openSlave}
	p.master.init(p, &p.slave, masterTermios())
	p.slave.init(p, &p.master, slaveTermios())
	p.master.master = true
	p.slave.ioError = true
	p.slave.control.self = &p.slave
	return p
}

func (t *TTY) init(p *Pair, peer *TTY, set Termios) {
	t.pair, t.peer, t.termios = p, peer, set
	t.in.buf = new([bufSize]byte)
	t.in.ends = new([bufSize / 64]uint64)
	t.configure(nil)
}

// Index is the N of /dev/pts/N.
func (p *Pair) Index() uint32 { return p.index }

// Slave gives the slave end, for boot to make it a session's terminal.
func (p *Pair) Slave() *TTY { return &p.slave }

// Unlock lets the slave be opened (unlockpt(3)).
func (p *Pair) Unlock() {
	p.mu.Lock()
	p.locked = false
	p.unlock()
}

// unlock releases mu and sends the signals that were noted under it.
func (p *Pair) unlock() {
	later := p.later
	p.later = nil
	p.mu.Unlock()
	sendAll(later)
}

// DeviceNumber is the slave's st_rdev: job.Terminal.
func (t *TTY) DeviceNumber() uint32 {
	major, minor := slaveDevice(t.pair.index)
	return uint32(vfs.MakeDev(major, minor))
}

// slaveDevice gives the number of /dev/pts/N: eight majors of 256 minors, and
// after them the last one's further minors.
func slaveDevice(index uint32) (major, minor uint32) { return SlaveMajor, index }

// TTYName is "pts/N": job.Terminal.
func (t *TTY) TTYName() string { return "pts/" + strconv.Itoa(int(t.pair.index)) }

// OpenMaster gives the master's only file.
func (p *Pair) OpenMaster() *File {
	p.mu.Lock()
	p.master.opens++
	p.mu.Unlock()
	return &File{t: &p.master}
}

// OpenSlave opens the slave. Without O_NOCTTY it becomes the controlling
// terminal of a session leader that has none.
func (p *Pair) OpenSlave(c vfs.Caller, flags uint32) (*File, abi.Errno) {
	t := &p.slave
	p.mu.Lock()
	defer p.unlock()
	if t.peerGone || p.locked {
		return nil, unix.EIO
	}
	if t.exclusive && !c.Creds().Capable(auth.CAP_SYS_ADMIN) {
		return nil, unix.EBUSY
	}
	t.opens++
	t.ioError, t.peer.peerGone = false, false
	f := &File{t: t, era: t.era}
	if flags&unix.O_NOCTTY == 0 && vfs.AccessMode(flags)&vfs.FMODE_READ != 0 {
		t.control.adopt(c)
	}
	return f, 0
}

// closed is called when a description of t has gone.
func (t *TTY) closed() {
	p := t.pair
	p.mu.Lock()
	t.opens--
	if t.opens > 0 {
		p.unlock()
		return
	}
	t.ioError = true
	t.packet = false
	t.exclusive = false
	t.peer.peerGone = true
	t.peer.q.Notify(waiter.All)
	t.q.Notify(waiter.All)
	if !t.master {
		p.unlock()
		return
	}
	t.peerGone = true
	t.peer.hangUp()
	p.unlock()
	if p.onClose != nil {
		p.onClose()
	}
}

// hangUp is vhangup(2) of the slave: its descriptions go dead, its session
// loses it. The caller holds mu.
func (t *TTY) hangUp() {
	t.era++
	t.control.hangUp(&t.pair.later)
	t.in.reset()
	t.in.pending = nil
	t.echo.reset()
	t.q.Notify(waiter.All)
}

// readWait is one reader that waits with a limit (VTIME).
type readWait struct {
	until time.Time
	seen  uint // bytes that were there when the limit was set
	timer *time.Timer
}

// signalForeground notes a signal for the foreground group.
func (t *TTY) signalForeground(sig int) { t.control.signal(&t.pair.later, sig) }

// SignalForeground sends sig to the foreground group.
func (t *TTY) SignalForeground(sig int) {
	t.pair.mu.Lock()
	t.signalForeground(sig)
	t.pair.unlock()
}

// OpenAgain opens the terminal as /dev/tty does.
func (t *TTY) OpenAgain(c vfs.Caller, flags uint32) (vfs.File, abi.Errno) {
	f, e := t.pair.OpenSlave(c, flags|unix.O_NOCTTY)
	if e != 0 {
		return nil, e
	}
	return f, 0
}

// ForegroundGroup is job.Terminal's.
func (t *TTY) ForegroundGroup() int32 { return t.control.ForegroundGroup() }

// SessionEnded is job.Terminal's.
func (t *TTY) SessionEnded(sid int32, _ bool) {
	t.pair.mu.Lock()
	t.control.sessionEnded(sid)
	t.pair.unlock()
}

// SetWinsize sets the window size; a change sends SIGWINCH.
func (t *TTY) SetWinsize(w Winsize) {
	p := t.pair
	p.mu.Lock()
	defer p.unlock()
	if t.winsize == w {
		return
	}
	p.master.winsize, p.slave.winsize = w, w
	p.slave.signalForeground(int(unix.SIGWINCH))
}

// MakeControlling gives the session that c leads this terminal: for boot.
func (t *TTY) MakeControlling(c vfs.Caller) {
	t.pair.mu.Lock()
	t.control.Adopt(c)
	t.pair.unlock()
}
