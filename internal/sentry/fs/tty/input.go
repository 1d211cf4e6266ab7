package tty

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// bufSize is the size of a line discipline's buffer (N_TTY_BUF_SIZE), one less
// than which bounds a line (MAX_CANON and its newline).
const bufSize = 4096

// pendingLimit bounds what waits in front of a full line discipline.
const pendingLimit = 8192

// input is the reading half of a line discipline. Positions run free; a
// position's place in buf is its low bits.
type input struct {
	buf  *[bufSize]byte
	ends *[bufSize / 64]uint64 // bit set: a line ends there

	head      uint // next byte comes here
	commit    uint // raw mode: readers may go as far as this
	canonHead uint // canonical mode: the same; behind the last whole line
	tail      uint // next byte to be read

	pending []byte // received, and there was no room

	special [256]bool // bytes that need more than to be kept
	canon   bool      // ICANON
	raw     bool      // no byte needs anything
	lnext   bool      // ^V was typed
	erasing bool      // ECHOPRT's backslash has been shown
}

func (in *input) at(pos uint) byte { return in.buf[pos%bufSize] }
func (in *input) count() uint      { return in.head - in.tail }

func (in *input) setEnd(pos uint) {
	i := pos % bufSize
	in.ends[i/64] |= 1 << (i % 64)
}

func (in *input) clearEnd(pos uint) {
	i := pos % bufSize
	in.ends[i/64] &^= 1 << (i % 64)
}

func (in *input) isEnd(pos uint) bool {
	i := pos % bufSize
	return in.ends[i/64]>>(i%64)&1 != 0
}

// reset drops what was received and not read.
func (in *input) reset() {
	in.head, in.commit, in.canonHead, in.tail = 0, 0, 0, 0
	in.lnext, in.erasing = false, false
	*in.ends = [bufSize / 64]uint64{}
}

// configure follows a change of the terminal's settings; old is nil at first.
func (t *TTY) configure(old *Termios) {
	in, n := &t.in, &t.termios
	if old == nil || (old.Lflag^n.Lflag)&(unix.ICANON|unix.EXTPROC) != 0 {
		*in.ends = [bufSize / 64]uint64{}
		if n.Lflag&unix.ICANON == 0 || in.count() == 0 {
			in.canonHead = in.tail
		} else {
			// What has come in raw mode is a line now.
			in.setEnd(in.head - 1)
			in.canonHead = in.head
		}
		in.commit = in.head
		in.erasing, in.lnext = false, false
	}
	in.canon = n.Lflag&unix.ICANON != 0
	t.setSpecial()
	if old != nil && old.Iflag&unix.IXON != 0 && n.Iflag&unix.IXON == 0 && !t.stoppedByCall {
		t.start()
		t.flushEcho()
	}
	t.q.Notify(waiter.In | waiter.Out | waiter.RdNorm | waiter.WrNorm)
}

// setSpecial finds the bytes that the settings give a meaning to.
func (t *TTY) setSpecial() {
	in, n := &t.in, &t.termios
	in.special = [256]bool{}
	in.raw = n.Iflag&(unix.ISTRIP|unix.IUCLC|unix.IGNCR|unix.ICRNL|unix.INLCR|unix.IXON|unix.PARMRK) == 0 &&
		n.Lflag&(unix.ICANON|unix.ISIG|unix.ECHO) == 0
	if in.raw {
		return
	}
	mark := func(which ...int) {
		for _, i := range which {
			in.special[n.CC[i]] = true
		}
	}
	if n.Lflag&unix.ICANON != 0 {
		mark(unix.VERASE, unix.VKILL, unix.VEOF, unix.VEOL)
		in.special['\n'] = true
		if n.Lflag&unix.IEXTEN != 0 {
			mark(unix.VWERASE, unix.VLNEXT, unix.VEOL2)
			if n.Lflag&unix.ECHO != 0 {
				mark(unix.VREPRINT)
			}
		}
	}
	if n.Iflag&unix.IXON != 0 {
		mark(unix.VSTART, unix.VSTOP)
	}
	if n.Lflag&unix.ISIG != 0 {
		mark(unix.VINTR, unix.VQUIT, unix.VSUSP)
	}
	if n.Iflag&(unix.IGNCR|unix.ICRNL) != 0 {
		in.special['\r'] = true
	}
	if n.Iflag&unix.INLCR != 0 {
		in.special['\n'] = true
	}
	in.special[disabled] = false
}

// deliver gives the end what the other end wrote, and tells how much of it was
// taken.
func (t *TTY) deliver(b []byte) int {
	n := 0
	if len(t.in.pending) == 0 {
		n = t.receive(b)
	}
	if k := min(len(b)-n, t.space()); k > 0 {
		t.in.pending = append(t.in.pending, b[n:n+k]...)
		n += k
		t.pump()
	}
	return n
}

// space is what deliver surely takes.
func (t *TTY) space() int { return pendingLimit - len(t.in.pending) }

// pump moves pending bytes into the line discipline while there is room.
func (t *TTY) pump() {
	if len(t.in.pending) == 0 {
		return
	}
	n := t.receive(t.in.pending)
	if n == 0 {
		return
	}
	t.in.pending = append(t.in.pending[:0], t.in.pending[n:]...)
	if t.peer != nil {
		t.peer.q.Notify(waiter.Out | waiter.WrNorm)
	}
}

// receive passes bytes through the line discipline as long as it has room. In
// canonical mode a line that fills the buffer is never stuck: its last place
// takes each further byte, until a newline comes.
func (t *TTY) receive(b []byte) int {
	in := &t.in
	done := 0
	for done < len(b) {
		room := bufSize - int(in.count())
		if t.termios.Iflag&unix.PARMRK != 0 {
			room = (room + 2) / 3
		}
		room--
		if room <= 0 {
			overflow := in.canon && in.canonHead == in.tail
			if overflow && room < 0 {
				in.head--
			}
			if !overflow {
				break
			}
			room = 1
		}
		n := min(len(b)-done, room)
		t.receiveBlock(b[done : done+n])
		done += n
	}
	return done
}

func (t *TTY) receiveBlock(b []byte) {
	in := &t.in
	if in.raw {
		for k := 0; k < len(b); {
			c := copy(in.buf[in.head%bufSize:], b[k:])
			in.head += uint(c)
			k += c
		}
	} else {
		for _, c := range b {
			t.receiveByte(c)
		}
		t.flushEcho()
	}
	if in.canon && t.termios.Lflag&unix.EXTPROC == 0 {
		return
	}
	in.commit = in.head
	if in.count() > 0 {
		t.q.Notify(waiter.In | waiter.RdNorm)
	}
}

func (in *input) put(c byte) {
	in.buf[in.head%bufSize] = c
	in.head++
}

// keep stores a byte of data; PARMRK doubles 0xff.
func (t *TTY) keep(c byte) {
	if c == 0xff && t.termios.Iflag&unix.PARMRK != 0 {
		t.in.put(c)
	}
	t.in.put(c)
}

func (t *TTY) strip(c byte) byte {
	if t.termios.Iflag&unix.ISTRIP != 0 {
		c &= 0x7f
	}
	if t.termios.Iflag&unix.IUCLC != 0 && t.termios.Lflag&unix.IEXTEN != 0 {
		c = lower(c)
	}
	return c
}

func (t *TTY) receiveByte(c byte) {
	in := &t.in
	if in.lnext {
		in.lnext = false
		t.receivePlain(t.strip(c))
		return
	}
	c = t.strip(c)
	if t.termios.Lflag&unix.EXTPROC != 0 {
		in.put(c)
		return
	}
	if in.special[c] {
		t.receiveSpecial(c)
		return
	}
	t.receivePlain(c)
}

// restartAny is IXANY: any byte starts stopped output.
func (t *TTY) restartAny() {
	if t.stopped && !t.stoppedByCall && t.termios.Iflag&unix.IXON != 0 && t.termios.Iflag&unix.IXANY != 0 {
		t.start()
		t.flushEcho()
	}
}

// receivePlain is for a byte that has no meaning of its own.
func (t *TTY) receivePlain(c byte) {
	t.restartAny()
	if t.termios.Lflag&unix.ECHO != 0 {
		t.finishErasing()
		t.echoFirst()
		t.echoChar(c)
	}
	t.keep(c)
}

func (t *TTY) receiveSpecial(c byte) {
	n := &t.termios
	if n.Iflag&unix.IXON != 0 {
		switch c {
		case n.CC[unix.VSTART]:
			t.start()
			t.flushEcho()
			return
		case n.CC[unix.VSTOP]:
			t.stop()
			return
		}
	}
	if n.Lflag&unix.ISIG != 0 {
		switch c {
		case n.CC[unix.VINTR]:
			t.receiveSignal(int(unix.SIGINT), c)
			return
		case n.CC[unix.VQUIT]:
			t.receiveSignal(int(unix.SIGQUIT), c)
			return
		case n.CC[unix.VSUSP]:
			t.receiveSignal(int(unix.SIGTSTP), c)
			return
		}
	}
	t.restartAny()
	if c == '\r' {
		if n.Iflag&unix.IGNCR != 0 {
			return
		}
		if n.Iflag&unix.ICRNL != 0 {
			c = '\n'
		}
	} else if c == '\n' && n.Iflag&unix.INLCR != 0 {
		c = '\r'
	}
	if t.in.canon && t.receiveCanon(c) {
		return
	}
	if n.Lflag&unix.ECHO != 0 {
		t.finishErasing()
		if c == '\n' {
			t.echoRaw('\n')
		} else {
			t.echoFirst()
			t.echoChar(c)
		}
	}
	t.keep(c)
}

// receiveCanon handles the bytes that edit a line or end it.
func (t *TTY) receiveCanon(c byte) bool {
	n := &t.termios
	ext := n.Lflag&unix.IEXTEN != 0
	echo := n.Lflag&unix.ECHO != 0
	switch {
	case c == n.CC[unix.VERASE], c == n.CC[unix.VKILL], c == n.CC[unix.VWERASE] && ext:
		t.erase(c)
		return true
	case c == n.CC[unix.VLNEXT] && ext:
		t.in.lnext = true
		if echo {
			t.finishErasing()
			if n.Lflag&unix.ECHOCTL != 0 {
				t.echoRaw('^')
				t.echoRaw('\b')
			}
		}
		return true
	case c == n.CC[unix.VREPRINT] && echo && ext:
		t.finishErasing()
		t.echoChar(c)
		t.echoRaw('\n')
		for p := t.in.canonHead; p != t.in.head; p++ {
			t.echoChar(t.in.at(p))
		}
		return true
	case c == '\n':
		if echo || n.Lflag&unix.ECHONL != 0 {
			t.echoRaw('\n')
		}
		t.endLine(c)
		return true
	case c == n.CC[unix.VEOF]:
		t.endLine(disabled)
		return true
	case c == n.CC[unix.VEOL], c == n.CC[unix.VEOL2] && ext:
		if echo {
			t.echoFirst()
			t.echoChar(c)
		}
		if c == 0xff && n.Iflag&unix.PARMRK != 0 {
			t.in.put(c)
		}
		t.endLine(c)
		return true
	}
	return false
}

func (t *TTY) endLine(c byte) {
	in := &t.in
	in.setEnd(in.head)
	in.put(c)
	in.canonHead = in.head
	t.q.Notify(waiter.In | waiter.RdNorm)
}

// receiveSignal is ISIG: the foreground group gets a signal, and what was typed
// and written so far is dropped unless NOFLSH says otherwise.
func (t *TTY) receiveSignal(sig int, c byte) {
	t.signalForeground(sig)
	if t.termios.Lflag&unix.NOFLSH == 0 {
		t.echo.reset()
		t.flushOutput()
		t.in.reset()
		t.tellPeer(pktFlushRead)
	}
	if t.termios.Iflag&unix.IXON != 0 {
		t.start()
	}
	if t.termios.Lflag&unix.ECHO != 0 {
		t.echoChar(c)
	}
	t.flushEcho()
}

// flushInput is TCIFLUSH.
func (t *TTY) flushInput() {
	t.in.reset()
	t.in.pending = t.in.pending[:0]
	t.tellPeer(pktFlushRead)
	if t.peer != nil {
		t.peer.q.Notify(waiter.Out | waiter.WrNorm)
	}
}
