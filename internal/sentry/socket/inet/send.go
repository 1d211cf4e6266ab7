package inet

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// SendMsg is sendmsg(2). Netstack knows no urgent data: with MSG_OOB a stream's
// bytes go in line, as a receiver with SO_OOBINLINE sees them.
func (s *Socket) SendMsg(c vfs.Caller, m *socket.Msg, flags uint32) (int, abi.Errno) {
	if flags&unix.MSG_FASTOPEN != 0 || flags&unix.MSG_OOB != 0 && !s.isTCP() {
		return 0, unix.EOPNOTSUPP
	}
	var n int
	var e abi.Errno
	if s.isTCP() {
		n, e = s.sendTCP(c, m, flags)
	} else {
		n, e = s.sendDgram(c, m, flags)
	}
	if e == 0 {
		m.DropFiles() // SCM_RIGHTS means nothing here, as in Linux
	}
	return n, e
}

func (s *Socket) sendTCP(c vfs.Caller, m *socket.Msg, flags uint32) (int, abi.Errno) {
	if d := s.direct.Load(); d != nil {
		return s.sendDirect(c, d, m.Data, flags)
	}
	switch s.tcpState() {
	case tcp.StateInitial, tcp.StateBound, tcp.StateListen:
		return 0, socket.BrokenPipe(c, flags)
	case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		return 0, unix.EAGAIN
	}
	n, err := s.write(m.Data, tcpip.WriteOptions{More: flags&unix.MSG_MORE != 0, EndOfRecord: flags&unix.MSG_EOR != 0})
	if n > 0 || err == nil {
		return n, 0
	}
	if d := s.direct.Load(); d != nil {
		return s.sendDirect(c, d, m.Data, flags)
	}
	e := errno(err)
	if e == unix.ENOTCONN {
		e = unix.EPIPE
	}
	if e == unix.EPIPE {
		if pending := s.pendingError(); pending != 0 {
			return 0, pending
		}
		return 0, socket.BrokenPipe(c, flags)
	}
	return 0, e
}

// write hands b down.
func (s *Socket) write(b []byte, o tcpip.WriteOptions) (int, tcpip.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.direct.Load() != nil { // since a moment ago
		return 0, &tcpip.ErrEndpointBusy{}
	}
	return s.writeLocked(b, o)
}

func (s *Socket) writeLocked(b []byte, o tcpip.WriteOptions) (int, tcpip.Error) {
	s.reader.Reset(b)
	n, err := s.ep().Write(&s.reader, o)
	s.reader.Reset(nil)
	s.sent += n
	return int(n), err
}

// maxDatagram is the longest payload of a datagram.
const maxDatagram = 65535

func (s *Socket) sendDgram(c vfs.Caller, m *socket.Msg, flags uint32) (int, abi.Errno) {
	if len(m.Data) > maxDatagram {
		return 0, unix.EMSGSIZE
	}
	var o tcpip.WriteOptions
	var to tcpip.FullAddress
	if len(m.Name) > 0 {
		var e abi.Errno
		if to, e = s.destination(m.Name); e != 0 {
			return 0, e
		}
		if to.Port == 0 && s.Protocol == unix.IPPROTO_UDP {
			return 0, unix.EINVAL
		}
		o.To = &to
	}
	if e := s.sendControl(m.Control, &o, &to); e != 0 {
		return 0, e
	}
	if o.To != nil {
		if e := s.mayBroadcast(to.Addr); e != 0 {
			return 0, e
		}
	}
	n, err := s.cork(m.Data, o, flags)
	switch err.(type) {
	case nil:
		return n, 0
	case *tcpip.ErrHostUnreachable:
		return 0, unix.ENETUNREACH
	case *tcpip.ErrNoPortAvailable:
		return 0, unix.EAGAIN
	case *tcpip.ErrNotConnected:
		return 0, unix.EDESTADDRREQ
	}
	return 0, errno(err)
}

// mayBroadcast refuses a broadcast without SO_BROADCAST.
func (s *Socket) mayBroadcast(a tcpip.Address) abi.Errno {
	if a == header.IPv4Broadcast && !s.Has(socket.FlagBroadcast) {
		return unix.EACCES
	}
	return 0
}

// cork gathers what UDP_CORK or MSG_MORE hold back, and sends the rest.
func (s *Socket) cork(b []byte, o tcpip.WriteOptions, flags uint32) (int, tcpip.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := flags&unix.MSG_MORE != 0 || s.opts.get(unix.SOL_UDP, unix.UDP_CORK) != 0
	if !hold && s.corked == nil || s.Protocol != unix.IPPROTO_UDP {
		return s.writeLocked(b, o)
	}
	if len(s.corked)+len(b) > maxDatagram-8 {
		return 0, &tcpip.ErrMessageTooLong{}
	}
	if s.corked == nil {
		s.corked = []byte{}
		s.corkTo = o.To
	}
	s.corked = append(s.corked, b...)
	if hold {
		return len(b), nil
	}
	return len(b), s.uncork(o)
}

// uncork sends what was held back; s.mu is held.
func (s *Socket) uncork(o tcpip.WriteOptions) tcpip.Error {
	if s.corked == nil {
		return nil
	}
	o.To = s.corkTo
	b := s.corked
	s.corked, s.corkTo = nil, nil
	_, err := s.writeLocked(b, o)
	return err
}
