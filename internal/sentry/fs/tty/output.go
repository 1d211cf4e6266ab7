package tty

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Packet mode's status bits (ioctl_tty(2), TIOCPKT).
const (
	pktFlushRead  = 1
	pktFlushWrite = 2
	pktStop       = 4
	pktStart      = 8
	pktNoStop     = 16
	pktDoStop     = 32
	pktIoctl      = 64
)

// tellPeer notes bits for a peer in packet mode.
func (t *TTY) tellPeer(set byte) {
	if t.peer == nil || !t.peer.packet {
		return
	}
	switch set {
	case pktStop:
		t.pktStatus &^= pktStart
	case pktStart:
		t.pktStatus &^= pktStop
	case pktDoStop, pktNoStop:
		t.pktStatus &^= pktDoStop | pktNoStop
	}
	t.pktStatus |= set
	t.peer.q.Notify(waiter.In | waiter.RdNorm | waiter.Pri)
}

// stop and start are ^S and ^Q, or TCXONC's.
func (t *TTY) stop() {
	if t.stopped {
		return
	}
	t.stopped = true
	t.tellPeer(pktStop)
}

func (t *TTY) start() {
	if !t.stopped || t.stoppedByCall {
		return
	}
	t.stopped = false
	t.tellPeer(pktStart)
	t.q.Notify(waiter.Out | waiter.WrNorm)
}

// writeRoom is what the other end takes now.
func (t *TTY) writeRoom() int {
	if t.stopped {
		return 0
	}
	return t.peer.space()
}

// emit sends one byte, for which there is room.
func (t *TTY) emit(c byte) {
	t.one[0] = c
	t.peer.deliver(t.one[:])
}

// flushOutput is TCOFLUSH: what the other end has not taken in is dropped.
func (t *TTY) flushOutput() {
	t.peer.in.pending = t.peer.in.pending[:0]
	t.tellPeer(pktFlushWrite)
}

// outputChar passes one byte through OPOST's processing; false: no room.
func (t *TTY) outputChar(c byte, space int) bool {
	n := &t.termios
	if space < 1 {
		return false
	}
	switch c {
	case '\n':
		if n.Oflag&unix.ONLRET != 0 {
			t.column = 0
		}
		if n.Oflag&unix.ONLCR != 0 {
			if space < 2 {
				return false
			}
			t.column, t.lineColumn = 0, 0
			t.emit('\r')
			t.emit('\n')
			return true
		}
		t.lineColumn = t.column
	case '\r':
		if n.Oflag&unix.ONOCR != 0 && t.column == 0 {
			return true
		}
		if n.Oflag&unix.OCRNL != 0 {
			c = '\n'
			if n.Oflag&unix.ONLRET != 0 {
				t.column, t.lineColumn = 0, 0
			}
			break
		}
		t.column, t.lineColumn = 0, 0
	case '\t':
		spaces := 8 - int(t.column&7)
		if n.Oflag&tabdly == xtabs {
			if space < spaces {
				return false
			}
			t.column += uint(spaces)
			t.peer.deliver([]byte("        ")[:spaces])
			return true
		}
		t.column += uint(spaces)
	case '\b':
		if t.column > 0 {
			t.column--
		}
	default:
		if !isControl(c) {
			if n.Oflag&unix.OLCUC != 0 {
				c = upper(c)
			}
			if !t.isContinuation(c) {
				t.column++
			}
		}
	}
	t.emit(c)
	return true
}

// output writes as much of b as the other end takes.
func (t *TTY) output(b []byte) int {
	t.flushEcho()
	if t.termios.Oflag&unix.OPOST == 0 {
		if t.stopped {
			return 0
		}
		return t.peer.deliver(b)
	}
	done := 0
	for done < len(b) {
		if k := t.plainRun(b[done:]); k > 0 {
			if k = t.outputRun(b[done : done+k]); k == 0 {
				break
			}
			done += k
			continue
		}
		if !t.outputChar(b[done], t.writeRoom()) {
			break
		}
		done++
	}
	return done
}

// plainRun counts the leading bytes that OPOST leaves as they are.
func (t *TTY) plainRun(b []byte) int {
	if t.termios.Oflag&unix.OLCUC != 0 {
		return 0
	}
	for i, c := range b {
		if c == '\n' || c == '\r' || c == '\t' || c == '\b' {
			return i
		}
	}
	return len(b)
}

func (t *TTY) outputRun(b []byte) int {
	n := 0
	if !t.stopped {
		n = t.peer.deliver(b)
	}
	for _, c := range b[:n] {
		if !isControl(c) && !t.isContinuation(c) {
			t.column++
		}
	}
	return n
}
