package unix

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

const readable = waiter.In | waiter.RdNorm

// sendStream sends as much as there is room for.
func (s *Socket) sendStream(c vfs.Caller, m *socket.Msg, flags uint32) (int, abi.Errno) {
	if len(m.Name) > 0 {
		if s.state.Load() == stateConnected {
			return 0, unix.EISCONN
		}
		return 0, unix.EOPNOTSUPP
	}
	p := s.peer.Load()
	if p == nil {
		return 0, unix.ENOTCONN
	}
	if s.shut.Load()&sndShutdown != 0 {
		return 0, socket.BrokenPipe(c, flags)
	}
	sent := 0
	for sent < len(m.Data) {
		if e := s.takeErr(); e != 0 {
			if sent > 0 {
				return sent, 0
			}
			return 0, e
		}
		if s.wmem.Load() >= s.SndBuf() {
			break
		}
		n := min(len(m.Data)-sent, streamChunk, int(s.SndBuf()/2)-64)
		if e := s.putStream(c, p, m, m.Data[sent:sent+n]); e != 0 {
			if sent > 0 {
				return sent, 0
			}
			if e == unix.EPIPE {
				e = socket.BrokenPipe(c, flags)
			}
			return 0, e
		}
		sent += n
	}
	if sent == 0 && len(m.Data) > 0 {
		return 0, unix.EAGAIN
	}
	if sent == 0 {
		m.DropFiles() // control data needs a byte to travel with
	}
	return sent, 0
}

// putStream adds one chunk to p's queue; the first chunk takes m's files.
func (s *Socket) putStream(c vfs.Caller, p *Socket, m *socket.Msg, b []byte) abi.Errno {
	charge := truesize(len(b), skbMaxHead)
	creds, known := s.messageCreds(c, p, m)
	var seg *message
	if len(b) > inlineSize || len(m.Files) > 0 {
		seg = newMessage(len(b))
		seg.data = append(seg.data, b...)
	}
	if len(m.Files) > 0 {
		if e := s.ns.takeFlight(c, m, seg); e != 0 {
			seg.free()
			return e
		}
		defer s.ns.gcMu.Unlock()
	}
	p.lockRx()
	if p.dead.Load() || p.shut.Load()&rcvShutdown != 0 {
		p.unlockRx()
		if seg != nil {
			s.ns.undoFlight(m, seg)
			seg.free()
		}
		return unix.EPIPE
	}
	p.dropNote()
	s.wmem.Add(charge)
	p.rx.loan.told = true
	defer p.unlockRx()
	p.keepRoom()
	if seg == nil && p.joinTail(s, b, creds, known, charge) {
		return 0
	}
	if seg == nil {
		seg = newMessage(inlineSize)
		seg.data = append(seg.data, b...)
	}
	seg.owner, seg.charge, seg.creds, seg.known = s, charge, creds, known
	if p.Timestamps() {
		seg.at = ktime.Real()
	}
	p.rx.push(seg)
	return 0
}

// joinTail adds b to the last message, if it has room and says the same of its
// sender. p.rx.mu is held.
func (p *Socket) joinTail(s *Socket, b []byte, creds abi.Ucred, known bool, charge int64) bool {
	t := p.rx.tail
	if t == nil || t.files != nil || t.owner != s || t.known != known || t.creds != creds ||
		cap(t.data)-len(t.data) < len(b) || t.large == nil && len(t.data)+len(b) > inlineSize {
		return false
	}
	t.data = append(t.data, b...)
	t.charge += charge
	p.rx.bytes += len(b)
	return true
}

// messageCreds are what a message to p says of its sender; known, whether the
// receiver may be told.
func (s *Socket) messageCreds(c vfs.Caller, p *Socket, m *socket.Msg) (abi.Ucred, bool) {
	switch {
	case m.HasCreds:
		return m.Creds, true
	case p.Has(socket.FlagPassCred|socket.FlagPassPIDFD) || s.Has(socket.FlagPassCred|socket.FlagPassPIDFD) || p.isEmbryo():
		return sendCred(c), true
	}
	return abi.Ucred{}, false
}

func (s *Socket) isEmbryo() bool {
	if !s.connection() {
		return false
	}
	s.ns.mu.Lock()
	defer s.ns.mu.Unlock()
	return s.embryo
}

// recvStream fills m.Data with what there is. It stops behind a message with
// files, and, with SO_PASSCRED, where the sender changes.
func (s *Socket) recvStream(m *socket.Msg, flags uint32) (int, abi.Errno) {
	if s.state.Load() != stateConnected {
		return 0, unix.EINVAL
	}
	s.lockRx()
	if s.rx.hasFiles() {
		// Descriptors leave a queue under gcMu, which comes first.
		s.unlockRx()
		s.ns.gcMu.Lock()
		defer s.ns.gcMu.Unlock()
		s.lockRx()
	}
	s.dropNote()
	if s.rx.n == 0 {
		s.unlockRx()
		return s.recvEmpty()
	}
	var free *message
	n := s.copyStream(m, flags, &free)
	s.unlockRx()
	if n > 0 {
		s.MovePeekOff(n, flags&unix.MSG_PEEK != 0)
	}
	for free != nil {
		next := free.next
		free.free()
		free = next
	}
	return n, 0
}

// recvEmpty is the answer of an empty queue.
func (s *Socket) recvEmpty() (int, abi.Errno) {
	if e := s.takeErr(); e != 0 {
		return 0, e
	}
	if s.shut.Load()&rcvShutdown != 0 {
		return 0, 0
	}
	return 0, unix.EAGAIN
}

func (q *rxQueue) hasFiles() bool {
	for x := q.head; x != nil; x = x.next {
		if x.files != nil {
			return true
		}
	}
	return false
}

// copyStream moves bytes from the queue; s.rx.mu is held. Messages read to
// their end are put on free.
func (s *Socket) copyStream(m *socket.Msg, flags uint32, free **message) int {
	peek := flags&unix.MSG_PEEK != 0
	skip := 0
	if peek {
		skip = max(s.PeekOff(), 0)
	}
	told := s.Has(socket.FlagPassCred)
	n, first := 0, true
	for x := s.rx.head; x != nil && n < len(m.Data); {
		b := x.unread()
		if skip >= len(b) {
			skip -= len(b)
			x = x.next
			continue
		}
		if !first && told && (m.Creds != x.creds || m.HasCreds != x.known) {
			break
		}
		if first {
			m.Creds, m.HasCreds = x.creds, x.known
			m.Name = x.sender(m.Name)
			s.putTime(m, x)
			first = false
		}
		k := copy(m.Data[n:], b[skip:])
		skip = 0
		n += k
		files := x.files != nil
		if peek {
			m.Files = dup(m.Files, x.files)
			x = x.next
		} else {
			x = s.consume(m, x, k, free)
		}
		if files {
			break
		}
	}
	return n
}

// consume takes k bytes, and any files, off the first message, and gives the
// next one to read. s.rx.mu is held, and gcMu if there are files.
func (s *Socket) consume(m *socket.Msg, x *message, k int, free **message) *message {
	if x.files != nil {
		s.ns.land(x)
		m.Files = append(m.Files, x.files...)
		x.files = nil
	}
	left := len(x.data) - x.off
	charge := x.charge
	if k < left {
		charge = x.charge * int64(k) / int64(left)
	}
	x.charge -= charge
	x.off += k
	s.rx.bytes -= k
	owner := x.owner
	if k == left {
		s.rx.pop()
		x.next = *free
		*free = x
		owner.uncharge(charge)
		return s.rx.head
	}
	owner.uncharge(charge)
	return x
}

func (s *Socket) putTime(m *socket.Msg, x *message) {
	if s.Timestamps() {
		at := x.at
		if at == 0 {
			at = ktime.Real()
		}
		s.PutTimestamp(&m.Out, at)
	}
}

// dup adds a further reference to each of files to dst.
func dup(dst, files []*vfs.FileDescription) []*vfs.FileDescription {
	for _, f := range files {
		f.IncRef()
		dst = append(dst, f)
	}
	return dst
}
