package inet

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Bind is bind(2).
func (s *Socket) Bind(c vfs.Caller, b []byte) abi.Errno {
	a, e := s.local(b)
	if e != 0 {
		return e
	}
	if s.Type != unix.SOCK_RAW && a.Port != 0 && int(a.Port) < s.st.unprivilegedPort() &&
		s.Protocol != unix.IPPROTO_ICMP && s.Protocol != unix.IPPROTO_ICMPV6 &&
		!c.Creds().Capable(auth.CAP_NET_BIND_SERVICE) {
		return unix.EACCES
	}
	if s.isTCP() && s.tcpState() != tcp.StateInitial {
		return unix.EINVAL
	}
	if err := s.ep().Bind(a); err != nil {
		return errno(err)
	}
	s.mu.Lock()
	keep := append([]byte(nil), b...)
	s.bound = &keep
	s.mu.Unlock()
	return 0
}

// Connect is connect(2). A stream gives EINPROGRESS, never waits.
func (s *Socket) Connect(c vfs.Caller, b []byte) (*waiter.Queue, abi.Errno) {
	if f, ok := abi.Family(b); ok && f == unix.AF_UNSPEC {
		return nil, s.disconnect()
	}
	a, e := s.destination(b)
	if e != 0 {
		return nil, e
	}
	if s.isTCP() {
		return nil, s.connectTCP(a)
	}
	if e := s.mayBroadcast(a.Addr); e != 0 {
		return nil, e
	}
	err := s.ep().Connect(a)
	if _, ok := err.(*tcpip.ErrHostUnreachable); ok {
		return nil, unix.ENETUNREACH
	}
	return nil, errno(err)
}

func (s *Socket) connectTCP(a tcpip.FullAddress) abi.Errno {
	switch s.tcpState() {
	case tcp.StateError, tcp.StateClose:
		// A connection that failed leaves a socket that may try again.
		if e := s.pendingError(); e != 0 {
			s.renew()
			return e
		}
		if e := s.renew(); e != 0 {
			return e
		}
	case tcp.StateListen:
		return unix.EISCONN
	}
	err := s.st.dial(s, a)
	switch err.(type) {
	case *tcpip.ErrHostUnreachable:
		return unix.ENETUNREACH
	case *tcpip.ErrNoPortAvailable:
		return unix.EADDRNOTAVAIL
	}
	return errno(err)
}

// ConnectResult tells how a connection that was begun has gone.
func (s *Socket) ConnectResult(vfs.Caller) abi.Errno {
	if !s.isTCP() {
		return 0
	}
	switch s.tcpState() {
	case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		return unix.EINPROGRESS
	case tcp.StateError, tcp.StateClose:
		e := s.pendingError()
		if e == 0 {
			e = unix.ECONNABORTED
		}
		s.renew()
		return e
	}
	// The endpoint says once that it is connected; the caller has been told.
	s.ep().Connect(tcpip.FullAddress{Addr: s.remote().Addr, Port: s.remote().Port})
	return 0
}

func (s *Socket) remote() tcpip.FullAddress {
	a, _ := s.ep().GetRemoteAddress()
	return a
}

// pendingError gives and clears the socket's error.
func (s *Socket) pendingError() abi.Errno {
	e := errno(s.ep().LastError())
	if d := s.direct.Load(); d != nil {
		e = d.takeReset()
	}
	return e
}

// disconnect is connect to AF_UNSPEC.
func (s *Socket) disconnect() abi.Errno {
	if !s.isTCP() {
		return errno(s.ep().Disconnect())
	}
	if st := s.tcpState(); st == tcp.StateInitial || st == tcp.StateBound {
		return 0
	}
	return s.renew()
}

// renew replaces a TCP endpoint whose connection is over by a fresh one, with
// the same options and the address that bind gave it.
func (s *Socket) renew() abi.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return unix.EBADF
	}
	if d := s.direct.Swap(nil); d != nil {
		s.closeDirect(d)
	}
	s.shut, s.sent = false, 0
	old := s.ep()
	old.wq.EventUnregister(&old.entry)
	old.Abort()
	net, trans, e := protocols(s.Family, s.Type, s.Protocol)
	if e == 0 {
		e = s.newEndpoint(net, trans)
	}
	if e != 0 {
		return e
	}
	for _, o := range s.replay {
		s.applyOpt(o.level, o.name, o.val)
	}
	if s.bound != nil {
		if a, e := s.local(*s.bound); e == 0 {
			s.ep().Bind(a)
		}
	}
	s.queue.Notify(waiter.All)
	return 0
}

// Listen is listen(2).
func (s *Socket) Listen(_ vfs.Caller, backlog int) abi.Errno {
	if !s.isTCP() {
		return unix.EOPNOTSUPP
	}
	if backlog < 0 || backlog > s.st.somaxconn() {
		backlog = s.st.somaxconn()
	}
	switch st := s.tcpState(); st {
	case tcp.StateInitial, tcp.StateBound, tcp.StateListen:
	case tcp.StateError, tcp.StateClose:
		if e := s.renew(); e != 0 {
			return e
		}
	default:
		return unix.EINVAL
	}
	// Linux's queue is full when it holds more than backlog.
	return errno(s.ep().Listen(backlog + 1))
}

// Accept is accept(2).
func (s *Socket) Accept(vfs.Caller) (socket.Socket, abi.Errno) {
	if !s.isTCP() {
		return nil, unix.EOPNOTSUPP
	}
	if s.tcpState() != tcp.StateListen {
		return nil, unix.EINVAL
	}
	nep, wq, err := s.ep().Accept(nil)
	if err != nil {
		return nil, errno(err)
	}
	n := &Socket{st: s.st, uid: s.uid}
	n.Init(s.Family, s.Type, s.Protocol)
	n.Inherit(&s.Common)
	n.opts.init(n)
	n.opts.inherit(&s.opts)
	n.attach(&endpoint{Endpoint: nep, wq: wq})
	s.st.add(n)
	s.st.join(n)
	return n, 0
}

// Shutdown is shutdown(2).
func (s *Socket) Shutdown(_ vfs.Caller, how int) abi.Errno {
	var f tcpip.ShutdownFlags
	if how != unix.SHUT_WR {
		f |= tcpip.ShutdownRead
	}
	if how != unix.SHUT_RD {
		f |= tcpip.ShutdownWrite
	}
	if s.isTCP() && s.tcpState() == tcp.StateListen {
		if how == unix.SHUT_WR {
			return 0
		}
		// The socket goes back to being unconnected; accept fails with EINVAL.
		e := s.stopListening()
		return e
	}
	s.mu.Lock()
	s.shut = true
	d := s.direct.Load()
	s.mu.Unlock()
	err := s.ep().Shutdown(f)
	if d != nil {
		s.shutDirect(d, how)
		err = nil
	}
	s.queue.Notify(waiter.All)
	return errno(err)
}

// stopListening makes a listener an unconnected socket again, still bound.
func (s *Socket) stopListening() abi.Errno {
	if a, err := s.ep().GetLocalAddress(); err == nil {
		s.mu.Lock()
		if s.bound == nil {
			b := sockaddr(nil, s.Family, a)
			s.bound = &b
		}
		s.mu.Unlock()
	}
	return s.renew()
}

// SockName is getsockname(2).
func (s *Socket) SockName(b []byte) ([]byte, abi.Errno) {
	a, err := s.ep().GetLocalAddress()
	if err != nil {
		a = tcpip.FullAddress{}
	}
	return sockaddr(b, s.Family, a), 0
}

// PeerName is getpeername(2).
func (s *Socket) PeerName(b []byte) ([]byte, abi.Errno) {
	if s.isTCP() {
		switch s.tcpState() {
		case tcp.StateInitial, tcp.StateBound, tcp.StateListen, tcp.StateClose, tcp.StateError,
			tcp.StateConnecting, tcp.StateSynSent:
			return b, unix.ENOTCONN
		}
	}
	a, err := s.ep().GetRemoteAddress()
	if err != nil {
		return b, unix.ENOTCONN
	}
	return sockaddr(b, s.Family, a), 0
}
