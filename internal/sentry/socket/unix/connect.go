package unix

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

// Connect is connect(2).
func (s *Socket) Connect(c vfs.Caller, b []byte) (*waiter.Queue, abi.Errno) {
	if f, ok := abi.Family(b); ok && f == abi.AF_UNSPEC && !s.connection() {
		s.setDgramPeer(nil)
		return nil, 0
	}
	a, auto, e := parseAddress(b)
	if e != 0 {
		return nil, e
	}
	if auto {
		return nil, unix.EINVAL
	}
	if s.Has(socket.FlagPassCred) && s.addr.Load() == nil {
		if e := s.autobind(); e != 0 {
			return nil, e
		}
	}
	other, e := s.find(c, a)
	if e != 0 {
		return nil, e
	}
	if s.connection() {
		return s.connectTo(c, other)
	}
	if p := other.peer.Load(); p != nil && p != s {
		return nil, unix.EPERM
	}
	s.setDgramPeer(other)
	return nil, 0
}

// setDgramPeer replaces a datagram socket's peer. What the old one sent goes.
func (s *Socket) setDgramPeer(p *Socket) {
	s.ns.mu.Lock()
	old := s.peer.Swap(p)
	if p != nil {
		s.state.Store(stateConnected)
		if p.peer.Load() == s {
			p.state.Store(stateConnected)
		}
	} else {
		s.state.Store(stateClosed)
	}
	s.ns.mu.Unlock()
	if old == nil || old == p {
		s.queue.Notify(waiter.Out | waiter.WrNorm | waiter.WrBand)
		return
	}
	if s.purge() > 0 && old.peer.Load() == s {
		old.err.Store(uint32(unix.ECONNRESET))
		old.queue.Notify(waiter.All)
	}
	s.queue.Notify(waiter.Out | waiter.WrNorm | waiter.WrBand)
}

// connectTo makes a connection to a listener.
func (s *Socket) connectTo(c vfs.Caller, l *Socket) (*waiter.Queue, abi.Errno) {
	cred := credOf(c)
	child := s.ns.newSocket(s.Type)
	s.ns.mu.Lock()
	e := l.takes()
	if e == 0 {
		e = s.mayConnect()
	}
	if e != 0 {
		s.ns.mu.Unlock()
		return &l.acceptRoom, e
	}
	child.embryo = true
	child.addr.Store(l.addr.Load())
	child.peerCred.Store(cred)
	child.state.Store(stateConnected)
	child.peer.Store(s)
	s.ns.sockets[child] = struct{}{}
	s.peerCred.Store(l.peerCred.Load())
	s.peer.Store(child)
	s.state.Store(stateConnected)
	l.pending = append(l.pending, child)
	s.ns.mu.Unlock()
	l.queue.Notify(readable)
	s.queue.Notify(waiter.Out | waiter.WrNorm | waiter.WrBand)
	return nil, 0
}

// takes tells whether a listener takes one more connection; ns.mu is held.
func (s *Socket) takes() abi.Errno {
	switch {
	case s.state.Load() != stateListen, s.shut.Load()&rcvShutdown != 0:
		return unix.ECONNREFUSED
	case len(s.pending) > s.backlog:
		return unix.EAGAIN
	}
	return 0
}

func (s *Socket) mayConnect() abi.Errno {
	switch s.state.Load() {
	case stateConnected:
		return unix.EISCONN
	case stateListen:
		return unix.EINVAL
	}
	return 0
}

// Listen is listen(2).
func (s *Socket) Listen(c vfs.Caller, backlog int) abi.Errno {
	if !s.connection() {
		return unix.EOPNOTSUPP
	}
	if s.addr.Load() == nil {
		return unix.EINVAL
	}
	cred := credOf(c)
	s.ns.mu.Lock()
	defer s.ns.mu.Unlock()
	st := s.state.Load()
	if st != stateClosed && st != stateListen {
		return unix.EINVAL
	}
	wider := backlog > s.backlog
	s.backlog = backlog
	s.peerCred.Store(cred)
	s.state.Store(stateListen)
	if wider {
		s.acceptRoom.Notify(waiter.Out)
	}
	return 0
}

// Accept takes the oldest connection.
func (s *Socket) Accept(vfs.Caller) (socket.Socket, abi.Errno) {
	if !s.connection() {
		return nil, unix.EOPNOTSUPP
	}
	s.ns.mu.Lock()
	defer s.ns.mu.Unlock()
	switch {
	case s.state.Load() != stateListen:
		return nil, unix.EINVAL
	case len(s.pending) == 0 && s.shut.Load()&rcvShutdown != 0:
		return nil, unix.EINVAL
	case len(s.pending) == 0:
		return nil, unix.EAGAIN
	}
	child := s.pending[0]
	s.pending[0] = nil
	s.pending = s.pending[1:]
	child.embryo = false
	child.Set(socket.FlagPassCred, s.Has(socket.FlagPassCred))
	child.Set(socket.FlagPassPIDFD, s.Has(socket.FlagPassPIDFD))
	child.Set(socket.FlagPassSec, s.Has(socket.FlagPassSec))
	s.acceptRoom.Notify(waiter.Out)
	return child, 0
}

// Shutdown is shutdown(2): the peer sees the mirror image.
func (s *Socket) Shutdown(_ vfs.Caller, how int) abi.Errno {
	mine := uint32(how) + 1
	s.endLoans() // what was written before goes through
	defer s.endLoans()
	s.ns.mu.Lock()
	s.shut.Or(mine)
	p := s.peer.Load()
	if p != nil && s.connection() {
		p.shut.Or(mine&rcvShutdown<<1 | mine&sndShutdown>>1)
	} else {
		p = nil
	}
	s.ns.mu.Unlock()
	s.queue.Notify(waiter.All)
	s.acceptRoom.Notify(waiter.All)
	if p != nil {
		p.queue.Notify(waiter.All)
	}
	return 0
}

// Release closes the socket.
func (s *Socket) Release(*vfs.FileDescription) {
	s.close()
	s.ns.collect()
}

func (s *Socket) close() {
	s.endLoans()
	s.lockRx()
	s.dead.Store(true)
	s.endPosts() // lent meanwhile
	unread := s.rx.n > 0
	s.unlockRx()

	s.ns.mu.Lock()
	delete(s.ns.sockets, s)
	if a := s.addr.Load(); a != nil && !a.path && s.ns.abstract[string(a.raw)] == s {
		delete(s.ns.abstract, string(a.raw))
	}
	pending := s.pending
	s.pending = nil
	s.state.Store(stateClosed)
	s.shut.Store(allShutdown)
	p := s.peer.Load()
	if p != nil && s.connection() {
		p.shut.Store(allShutdown)
		if unread || s.embryo {
			p.err.Store(uint32(unix.ECONNRESET))
		}
	}
	path, hasPath := s.path, s.hasPath
	s.hasPath = false
	s.ns.mu.Unlock()

	if p != nil && s.connection() {
		p.queue.Notify(waiter.All)
	}
	s.acceptRoom.Notify(waiter.All)
	s.purge()
	for _, child := range pending {
		child.close()
	}
	if hasPath {
		path.DecRef()
	}
}

// purge empties the receive queue, and tells how many messages there were.
func (s *Socket) purge() int {
	s.ns.gcMu.Lock()
	s.rx.mu.Lock()
	head, n, wake := s.rx.head, s.rx.n, s.rx.blocked
	s.rx.head, s.rx.tail, s.rx.n, s.rx.bytes, s.rx.blocked = nil, nil, 0, 0, nil
	s.rx.mu.Unlock()
	for x := head; x != nil; x = x.next {
		if x.files != nil {
			s.ns.land(x)
		}
	}
	s.ns.gcMu.Unlock()
	for head != nil {
		x := head
		head = x.next
		x.owner.uncharge(x.charge)
		s.ns.bury(x.files)
		x.free()
	}
	for _, b := range wake {
		b.queue.Notify(waiter.Out | waiter.WrNorm | waiter.WrBand)
	}
	return n
}
