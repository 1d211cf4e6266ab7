package unix

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"golang.org/x/sys/unix"
)

// loan is what stubs do in the name of a connection, at one end of it: one sends
// small writes of the peer's to this queue, one reads what it holds. Whoever looks
// at the queue settles first; whoever adds to it, or reads, takes the note back.
type loan struct {
	from  vfs.Box // the peer's borrower; nil: none
	note  vfs.Box // this socket's borrower, if it may read ahead
	noted int     // bytes of the queue that are in its note
	told  bool    // bytes came: readers are told behind the lock
}

// lockRx takes rx.mu, and settles what stubs did.
func (s *Socket) lockRx() {
	s.rx.mu.Lock()
	if s.rx.loan.from != nil {
		s.takePosted()
	}
	if s.rx.loan.noted > 0 && s.rx.loan.note.Taken() {
		s.dropNote()
	}
}

func (s *Socket) unlockRx() {
	told := s.rx.loan.told
	s.rx.loan.told = false
	s.rx.mu.Unlock()
	if told {
		s.queue.Notify(readable)
	}
}

// settleSent has the peer take what was posted to it.
func (s *Socket) settleSent() {
	if p := s.peer.Load(); p != nil && s.Type == unix.SOCK_STREAM {
		p.lockRx()
		p.unlockRx()
	}
}

// The rest run under rx.mu, as far as they do not take it.

func (s *Socket) takePosted() {
	if !s.rx.loan.from.Posted() {
		return
	}
	var buf [vfs.BoxMax]byte
	if n := s.rx.loan.from.Take(buf[:]); n > 0 {
		s.accept(buf[:n])
	}
	s.keepRoom()
}

// accept adds to the queue what the peer's stub has accepted.
func (s *Socket) accept(b []byte) {
	p := s.peer.Load()
	if p == nil || s.dead.Load() || s.shut.Load()&rcvShutdown != 0 {
		return
	}
	s.dropNote()
	charge := truesize(len(b), skbMaxHead)
	p.wmem.Add(charge)
	s.rx.loan.told = true
	if s.joinTail(p, b, abi.Ucred{}, false, charge) {
		return
	}
	m := newMessage(inlineSize)
	m.data = append(m.data, b...)
	m.owner, m.charge = p, charge
	s.rx.push(m)
}

// keepRoom ends the peer's loan before its send buffer is too full for it.
func (s *Socket) keepRoom() {
	if s.rx.loan.from != nil && !s.peer.Load().writable() {
		s.endPosts()
	}
}

// endPosts ends the loan of the peer's stub.
func (s *Socket) endPosts() {
	b := s.rx.loan.from
	if b == nil {
		return
	}
	b.End()
	s.rx.loan.from = nil
	var buf [vfs.BoxMax]byte
	if n := b.Take(buf[:]); n > 0 {
		s.accept(buf[:n])
	}
	s.peer.Load().lent.Store(false)
}

// dropNote takes the note back; if it was read, those bytes are.
func (s *Socket) dropNote() {
	n := s.rx.loan.noted
	if n == 0 {
		return
	}
	s.rx.loan.noted = 0
	if s.rx.loan.note.Drop() {
		s.skip(n)
	}
}

// skip reads n bytes to nowhere. There are no files among them.
func (s *Socket) skip(n int) {
	var free *message
	for x := s.rx.head; x != nil && n > 0; {
		k := min(n, len(x.unread()))
		n -= k
		x = s.consume(nil, x, k, &free)
	}
	for free != nil {
		next := free.next
		free.free()
		free = next
	}
}

// LendBox is vfs.BoxLender's: a connected stream without anything unusual.
func (s *Socket) LendBox(_ *vfs.FileDescription, b vfs.Box) bool {
	p := s.peer.Load()
	if p == nil || p == s || !s.plain() || !p.plain() || p.isEmbryo() {
		return false
	}
	p.lockRx()
	p.endPosts()
	ok := !p.dead.Load() && !s.dead.Load() && s.plain() && p.plain() && s.writable()
	if ok {
		p.rx.loan.from = b
		s.lent.Store(true)
		b.Begin()
	}
	p.unlockRx()
	if !ok {
		return false
	}
	s.lockRx()
	s.dropNote()
	s.rx.loan.note = b
	s.unlockRx()
	return true
}

// plain tells whether nothing but bytes goes through the socket, and it is open
// both ways.
func (s *Socket) plain() bool {
	return s.Type == unix.SOCK_STREAM && s.state.Load() == stateConnected && s.shut.Load() == 0 && s.err.Load() == 0 &&
		!s.Has(socket.FlagPassCred|socket.FlagPassPIDFD|socket.FlagPassSec) && !s.Timestamps() &&
		s.PeekOff() < 0 && s.RcvLowat() == 1 && s.SndBuf() >= socket.BufDefault
}

// RecallBox ends the loan to b, or to whom it is.
func (s *Socket) RecallBox(b vfs.Box) {
	if p := s.peer.Load(); p != nil {
		p.lockRx()
		if b == nil || p.rx.loan.from == b {
			p.endPosts()
		}
		p.unlockRx()
	}
	s.lockRx()
	if l := &s.rx.loan; l.note != nil && (b == nil || l.note == b) {
		l.note.End() // or it is read before the next note
		s.dropNote()
		l.note = nil
	}
	s.unlockRx()
}

// endLoans ends both ends' loans.
func (s *Socket) endLoans() {
	if s.Type != unix.SOCK_STREAM {
		return
	}
	s.RecallBox(nil)
	if p := s.peer.Load(); p != nil {
		p.RecallBox(nil)
	}
}

// SettleBox is vfs.BoxLender's.
func (s *Socket) SettleBox() { s.settleSent() }

// NoteBox leaves what there is to read in the box, if that is little and nothing
// but bytes. The peer's writers would not be told of room.
func (s *Socket) NoteBox(b vfs.Box) {
	s.lockRx()
	defer s.unlockRx()
	l := &s.rx.loan
	if l.note != b || l.noted > 0 || s.rx.bytes == 0 || s.rx.bytes > vfs.BoxMax || !s.plain() || s.rx.hasFiles() {
		return
	}
	if p := s.peer.Load(); p == nil || !p.writable() {
		return
	}
	var buf [vfs.BoxMax]byte
	n := 0
	for x := s.rx.head; x != nil; x = x.next {
		n += copy(buf[n:], x.unread())
	}
	if n > 0 {
		l.noted = n
		b.Note(buf[:n])
	}
}
