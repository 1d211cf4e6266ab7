package unix

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/bpf"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

// sendDgram sends one datagram or record.
func (s *Socket) sendDgram(c vfs.Caller, m *socket.Msg) (int, abi.Errno) {
	seq := s.Type == unix.SOCK_SEQPACKET
	if seq {
		if e := s.takeErr(); e != 0 {
			return 0, e
		}
		if s.state.Load() != stateConnected {
			return 0, unix.ENOTCONN
		}
		m.Name = m.Name[:0] // ignored
	}
	p, e := s.destination(c, m.Name)
	if e != 0 {
		return 0, e
	}
	if s.Has(socket.FlagPassCred) && s.addr.Load() == nil {
		if e := s.autobind(); e != 0 {
			return 0, e
		}
	}
	if int64(len(m.Data)) > s.SndBuf()-32 {
		return 0, unix.EMSGSIZE
	}
	if e := s.takeErr(); e != 0 {
		return 0, e
	}
	if s.shut.Load()&sndShutdown != 0 {
		return 0, unix.EPIPE
	}
	keep := len(m.Data)
	if p.Filtered() {
		if keep = p.Keep(&bpf.Packet{Data: m.Data}, 0); keep == 0 {
			m.DropFiles() // tossed, and the sender is not told
			return len(m.Data), 0
		}
	}
	if s.wmem.Load() >= s.SndBuf() {
		return 0, unix.EAGAIN
	}
	x := newMessage(len(m.Data))
	x.data = append(x.data, m.Data[:keep]...)
	x.owner, x.charge = s, truesize(len(m.Data), skbMaxBuf)
	x.creds, x.known = s.messageCreds(c, p, m)
	if p.Timestamps() {
		x.at = ktime.Real()
	}
	if e := s.putDgram(c, p, m, x); e != 0 {
		x.free()
		return 0, e
	}
	p.queue.Notify(readable)
	return len(m.Data), 0
}

// destination gives the socket a datagram goes to.
func (s *Socket) destination(c vfs.Caller, name []byte) (*Socket, abi.Errno) {
	if len(name) == 0 {
		p := s.peer.Load()
		if p == nil {
			return nil, unix.ENOTCONN
		}
		return p, 0
	}
	a, auto, e := parseAddress(name)
	if e != 0 {
		return nil, e
	}
	if auto {
		return nil, unix.EINVAL
	}
	return s.find(c, a)
}

// putDgram adds x to p's queue; m's files go with it.
func (s *Socket) putDgram(c vfs.Caller, p *Socket, m *socket.Msg, x *message) abi.Errno {
	if other := p.peer.Load(); !s.connection() && other != nil && other != s {
		return unix.EPERM
	}
	if len(m.Files) > 0 {
		if e := s.ns.takeFlight(c, m, x); e != 0 {
			return e
		}
		defer s.ns.gcMu.Unlock()
	}
	p.rx.mu.Lock()
	e := p.admits(s)
	if e == 0 {
		s.wmem.Add(x.charge)
		p.rx.push(x)
	}
	p.rx.mu.Unlock()
	if e == 0 {
		return 0
	}
	s.ns.undoFlight(m, x)
	if e == unix.ECONNREFUSED && !s.connection() {
		s.dropPeer(p)
	}
	return e
}

// admits tells whether the queue takes a datagram of s; p.rx.mu is held.
func (p *Socket) admits(s *Socket) abi.Errno {
	switch {
	case p.dead.Load() && p.connection():
		return unix.EPIPE
	case p.dead.Load():
		return unix.ECONNREFUSED
	case p.shut.Load()&rcvShutdown != 0:
		return unix.EPIPE
	case p != s && p.peer.Load() != s && p.rx.n > maxDgramQlen:
		p.rx.block(s)
		return unix.EAGAIN
	}
	return 0
}

// dropPeer forgets a peer that is gone.
func (s *Socket) dropPeer(p *Socket) {
	s.ns.mu.Lock()
	defer s.ns.mu.Unlock()
	if s.peer.CompareAndSwap(p, nil) {
		s.state.Store(stateClosed)
	}
}

// recvDgram takes one datagram or record.
func (s *Socket) recvDgram(m *socket.Msg, flags uint32) (int, abi.Errno) {
	if s.connection() && s.state.Load() != stateConnected {
		return 0, unix.ENOTCONN
	}
	peek := flags&unix.MSG_PEEK != 0
	s.rx.mu.Lock()
	if s.rx.hasFiles() {
		s.rx.mu.Unlock()
		s.ns.gcMu.Lock()
		defer s.ns.gcMu.Unlock()
		s.rx.mu.Lock()
	}
	x, skip := s.pick(peek)
	if x == nil {
		s.rx.mu.Unlock()
		return s.recvEmpty()
	}
	n := copy(m.Data, x.data[skip:])
	m.Len = len(x.data) - skip
	m.Creds, m.HasCreds = x.creds, x.known
	m.Name = x.sender(m.Name)
	s.putTime(m, x)
	var wake []*Socket
	if peek {
		m.Files = dup(m.Files, x.files)
	} else {
		if x.files != nil {
			s.ns.land(x)
			m.Files = append(m.Files, x.files...)
			x.files = nil
		}
		s.rx.pop()
		s.rx.bytes -= len(x.data)
		wake = s.rx.unblock()
	}
	s.rx.mu.Unlock()
	if n < m.Len {
		m.Flags |= unix.MSG_TRUNC
	}
	s.MovePeekOff(n, peek)
	if !peek {
		x.owner.uncharge(x.charge)
		x.free()
	}
	for _, b := range wake {
		b.queue.Notify(waiter.Out | waiter.WrNorm | waiter.WrBand)
	}
	return n, 0
}

// pick gives the message to receive, and how much of it to pass over.
func (s *Socket) pick(peek bool) (*message, int) {
	x := s.rx.head
	if !peek || x == nil {
		return x, 0
	}
	skip := max(s.PeekOff(), 0)
	for x != nil && skip > 0 && skip >= len(x.data) {
		skip -= len(x.data)
		x = x.next
	}
	return x, skip
}

// unblock gives the senders to wake, when there is room for one.
func (q *rxQueue) unblock() []*Socket {
	if q.blocked == nil || q.n > maxDgramQlen {
		return nil
	}
	b := q.blocked
	q.blocked = nil
	return b
}
