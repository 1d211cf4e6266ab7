package tty

import "golang.org/x/sys/unix"

// Echoed bytes wait in a queue until the output takes them: it may be stopped,
// or full. Some echoes depend on the column the cursor is in, and that is only
// known when they are sent; they stand in the queue as
//
//	opStart opStart       the byte 0xff itself
//	opStart c             control character c, shown as ^C
//	opStart opSetColumn   the line begins in the column of now
//	opStart opMoveBack    the cursor is one column further left
//	opStart opEraseTab n  erase a tab: n columns of text stand before it; bit 7:
//	                      counted from another tab, else from the line's start
const (
	opStart     = 0xff
	opMoveBack  = 0x80
	opSetColumn = 0x81
	opEraseTab  = 0x82
)

// echoLimit bounds the queue; when it is full the oldest echoes are lost.
const echoLimit = 4096

type echoQueue struct{ q []byte }

func (e *echoQueue) reset() { e.q = e.q[:0] }

// next gives the length of the first item.
func (e *echoQueue) next() int {
	if e.q[0] != opStart {
		return 1
	}
	if e.q[1] == opEraseTab {
		return 3
	}
	return 2
}

func (t *TTY) echoPut(b ...byte) {
	e := &t.echo
	for len(e.q)+len(b) > echoLimit {
		e.q = append(e.q[:0], e.q[e.next():]...)
	}
	e.q = append(e.q, b...)
}

// echoRaw echoes c as it is.
func (t *TTY) echoRaw(c byte) {
	if c == opStart {
		t.echoPut(opStart, opStart)
		return
	}
	t.echoPut(c)
}

// echoChar echoes c, a control character as ^C if ECHOCTL is set.
func (t *TTY) echoChar(c byte) {
	switch {
	case c == opStart:
		t.echoPut(opStart, opStart)
	case t.termios.Lflag&unix.ECHOCTL != 0 && isControl(c) && c != '\t':
		t.echoPut(opStart, c)
	default:
		t.echoPut(c)
	}
}

// echoFirst notes the column in which a line begins.
func (t *TTY) echoFirst() {
	if t.in.canonHead == t.in.head {
		t.echoPut(opStart, opSetColumn)
	}
}

func (t *TTY) finishErasing() {
	if t.in.erasing {
		t.echoRaw('/')
		t.in.erasing = false
	}
}

// flushEcho sends what waits, as far as the output takes it.
func (t *TTY) flushEcho() {
	e := &t.echo
	sent := 0
	rest := echoQueue{e.q}
	for len(rest.q) > 0 {
		n := rest.next()
		if !t.sendEcho(rest.q[:n]) {
			break
		}
		rest.q = rest.q[n:]
		sent += n
	}
	if sent > 0 {
		e.q = append(e.q[:0], e.q[sent:]...)
	}
}

// sendEcho sends one item, or tells that there is no room for it.
func (t *TTY) sendEcho(item []byte) bool {
	space := t.writeRoom()
	if item[0] != opStart {
		if t.termios.Oflag&unix.OPOST != 0 {
			return t.outputChar(item[0], space)
		}
		if space < 1 {
			return false
		}
		t.emit(item[0])
		return true
	}
	switch item[1] {
	case opSetColumn:
		t.lineColumn = t.column
	case opMoveBack:
		if t.column > 0 {
			t.column--
		}
	case opEraseTab:
		n := uint(item[2])
		if n&0x80 == 0 {
			n += t.lineColumn
		}
		back := 8 - int(n&7)
		if back > space {
			return false
		}
		for ; back > 0; back-- {
			t.emit('\b')
			if t.column > 0 {
				t.column--
			}
		}
	case opStart:
		if space < 1 {
			return false
		}
		t.emit(opStart)
		t.column++
	default:
		if space < 2 {
			return false
		}
		t.emit('^')
		t.emit(item[1] ^ 0x40)
		t.column += 2
	}
	return true
}

// erase takes a character (VERASE), a word (VWERASE) or the line (VKILL) back.
func (t *TTY) erase(c byte) {
	in, n := &t.in, &t.termios
	if in.head == in.canonHead {
		return
	}
	echo := n.Lflag&unix.ECHO != 0
	kill := c != n.CC[unix.VERASE] && c != n.CC[unix.VWERASE]
	word := c != n.CC[unix.VERASE] && !kill
	if kill {
		if !echo {
			in.head = in.canonHead
			return
		}
		const visible = unix.ECHOK | unix.ECHOKE | unix.ECHOE
		if n.Lflag&visible != visible {
			in.head = in.canonHead
			t.finishErasing()
			t.echoChar(n.CC[unix.VKILL])
			if n.Lflag&unix.ECHOK != 0 {
				t.echoRaw('\n')
			}
			return
		}
	}
	seen := false // a letter of the word
	for in.head != in.canonHead {
		head := in.head - 1
		for t.isContinuation(in.at(head)) && head != in.canonHead {
			head--
		}
		c := in.at(head)
		if t.isContinuation(c) {
			break // half a character stays
		}
		if word {
			if isAlnum(c) || c == '_' {
				seen = true
			} else if seen {
				break
			}
		}
		length := in.head - head
		in.head = head
		if echo {
			t.echoErased(c, head, length, kill || word)
		}
		if !kill && !word {
			break
		}
	}
	if in.head == in.canonHead && echo {
		t.finishErasing()
	}
}

// echoErased shows that the character at head, length bytes long, is gone.
func (t *TTY) echoErased(c byte, head, length uint, many bool) {
	n := &t.termios
	switch {
	case n.Lflag&unix.ECHOPRT != 0:
		if !t.in.erasing {
			t.echoRaw('\\')
			t.in.erasing = true
		}
		t.echoChar(c)
		for i := uint(1); i < length; i++ {
			t.echoRaw(t.in.at(head + i))
			t.echoPut(opStart, opMoveBack)
		}
	case !many && n.Lflag&unix.ECHOE == 0:
		t.echoChar(n.CC[unix.VERASE])
	case c == '\t':
		t.echoErasedTab()
	default:
		if isControl(c) {
			if n.Lflag&unix.ECHOCTL == 0 {
				return
			}
			t.echoPut('\b', ' ', '\b')
		}
		t.echoPut('\b', ' ', '\b')
	}
}

// echoErasedTab counts the columns between the erased tab and the tab, or the
// line's start, before it.
func (t *TTY) echoErasedTab() {
	columns, mark := uint(0), byte(0)
	for p := t.in.head; p != t.in.canonHead; {
		p--
		c := t.in.at(p)
		if c == '\t' {
			mark = 0x80
			break
		}
		if isControl(c) {
			if t.termios.Lflag&unix.ECHOCTL != 0 {
				columns += 2
			}
		} else if !t.isContinuation(c) {
			columns++
		}
	}
	t.echoPut(opStart, opEraseTab, byte(columns&7)|mark)
}

func (t *TTY) isContinuation(c byte) bool {
	return c&0xc0 == 0x80 && t.termios.Iflag&unix.IUTF8 != 0
}
