package tty

import (
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// lines tells whether whole lines are read, not bytes.
func (t *TTY) lines() bool { return t.in.canon && t.termios.Lflag&unix.EXTPROC == 0 }

// available tells whether at least min bytes, or a line, can be read.
func (t *TTY) available(min uint) bool {
	if t.lines() {
		return t.in.canonHead != t.in.tail
	}
	return t.in.commit-t.in.tail >= min
}

// pollMin is how many bytes poll waits for.
func (t *TTY) pollMin() uint {
	if n := uint(t.termios.CC[unix.VMIN]); n > 0 && t.termios.CC[unix.VTIME] == 0 {
		return n
	}
	return 1
}

// read is read(2). The caller holds mu and has passed job control.
func (t *TTY) read(c vfs.Caller, dst []byte, nonblock bool) (int, abi.Errno) {
	if len(dst) == 0 {
		return 0, 0
	}
	if t.packet && t.peer.pktStatus != 0 {
		dst[0] = t.peer.pktStatus
		t.peer.pktStatus = 0
		return 1, 0
	}
	head := 0
	if t.packet && !t.lines() {
		head = 1 // TIOCPKT_DATA
	}
	if e := t.awaitInput(c, len(dst)-head, nonblock); e != 0 {
		return 0, e
	}
	n := head
	if head == 1 {
		dst[0] = 0
	}
	if t.lines() {
		n = t.readLine(dst)
	} else {
		n += t.readBytes(dst[head:])
	}
	t.readOn()
	if n == head && head == 1 {
		return 0, 0 // the end: nothing to announce
	}
	return n, 0
}

// awaitInput gives 0 when a read may take what there is (nothing: the end),
// else EAGAIN or EIO.
func (t *TTY) awaitInput(c vfs.Caller, room int, nonblock bool) abi.Errno {
	min, wait := uint(1), time.Duration(0)
	if !t.in.canon {
		wait = time.Duration(t.termios.CC[unix.VTIME]) * 100 * time.Millisecond
		if m := uint(t.termios.CC[unix.VMIN]); m > 0 && !nonblock {
			min = m
		}
		if room > 0 && uint(room) < min {
			min = uint(room)
		}
	}
	if t.available(min) {
		t.endWait(c)
		return 0
	}
	some := t.available(1)
	switch {
	case t.peerGone:
		t.endWait(c)
		if some {
			return 0
		}
		return unix.EIO
	case !t.in.canon && t.termios.CC[unix.VMIN] == 0 && wait == 0:
		return 0
	case nonblock:
		return unix.EAGAIN
	case wait == 0, t.termios.CC[unix.VMIN] > 0 && !some:
		return unix.EAGAIN
	}
	if t.waited(c, wait) {
		return 0
	}
	return unix.EAGAIN
}

// waited tells whether the caller has waited for as long as VTIME says; its
// clock starts at its first call and anew with each byte that has come.
func (t *TTY) waited(c vfs.Caller, d time.Duration) bool {
	// A reader that a signal took away leaves its clock behind: one that has
	// long run out is not this read's.
	const stale = 100 * time.Millisecond
	now, seen := time.Now(), t.in.commit
	w := t.readWaits[c]
	if w != nil && w.seen == seen && !now.Before(w.until) && now.Before(w.until.Add(stale)) {
		t.endWait(c)
		return true
	}
	if w != nil && w.seen == seen && now.Before(w.until) {
		return false
	}
	t.endWait(c)
	if t.readWaits == nil {
		t.readWaits = map[vfs.Caller]*readWait{}
	}
	w = &readWait{until: now.Add(d), seen: seen}
	w.timer = time.AfterFunc(d, func() { t.q.Notify(waiter.In | waiter.RdNorm) })
	t.readWaits[c] = w
	return false
}

func (t *TTY) endWait(c vfs.Caller) {
	if w := t.readWaits[c]; w != nil {
		w.timer.Stop()
		delete(t.readWaits, c)
	}
}

// readBytes takes bytes in raw mode.
func (t *TTY) readBytes(dst []byte) int {
	in := &t.in
	n := 0
	for n < len(dst) && in.tail != in.commit {
		from := in.tail % bufSize
		to := min(from+(in.commit-in.tail), bufSize)
		k := copy(dst[n:], in.buf[from:to])
		in.tail += uint(k)
		n += k
	}
	return n
}

// readLine takes a line, or what of it fits. An end of file (^D) ends a line
// without being part of it.
func (t *TTY) readLine(dst []byte) int {
	in := &t.in
	n := 0
	for in.tail != in.canonHead {
		c, end := in.at(in.tail), in.isEnd(in.tail)
		if end && c == disabled {
			in.clearEnd(in.tail)
			in.tail++
			return n
		}
		if n == len(dst) {
			return n
		}
		dst[n] = c
		n++
		if end {
			in.clearEnd(in.tail)
		}
		in.tail++
		if end {
			return n
		}
	}
	return n
}

// readOn makes use of the room that a read has made.
func (t *TTY) readOn() {
	t.pump()
	if !t.peer.master {
		// The slave may have echoes left for a master that was full.
		t.peer.flushEcho()
	}
	if t.in.count() <= 128 {
		t.peer.q.Notify(waiter.Out | waiter.WrNorm)
	}
}
