package inet

import (
	"io"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// RecvMsg is recvmsg(2).
func (s *Socket) RecvMsg(c vfs.Caller, m *socket.Msg, flags uint32) (int, abi.Errno) {
	switch {
	case flags&unix.MSG_ERRQUEUE != 0:
		return s.recvErr(m)
	case flags&unix.MSG_OOB != 0 && s.isTCP():
		return 0, unix.EINVAL // nothing urgent there
	case flags&unix.MSG_OOB != 0:
		return 0, unix.EOPNOTSUPP
	case s.isTCP():
		return s.recvTCP(m, flags)
	}
	return s.recvDgram(m, flags)
}

func (s *Socket) recvTCP(m *socket.Msg, flags uint32) (int, abi.Errno) {
	if d := s.direct.Load(); d != nil {
		return s.recvDirect(d, m, flags)
	}
	n, e := s.recvNet(m, flags)
	if d := s.direct.Load(); d != nil && (n == 0 || e != 0) { // since a moment ago
		return s.recvDirect(d, m, flags)
	}
	return n, e
}

// recvNet reads from netstack.
func (s *Socket) recvNet(m *socket.Msg, flags uint32) (int, abi.Errno) {
	switch s.tcpState() {
	case tcp.StateInitial, tcp.StateBound, tcp.StateListen:
		return 0, unix.ENOTCONN
	case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		return 0, unix.EAGAIN
	}
	if len(m.Data) == 0 {
		return 0, 0
	}
	dst := tcpip.SliceWriter(m.Data)
	var w io.Writer = &dst
	if flags&unix.MSG_TRUNC != 0 {
		w = &tcpip.LimitedWriter{W: io.Discard, N: int64(len(m.Data))}
	}
	peek := flags&unix.MSG_PEEK != 0
	r, err := s.ep().Read(w, tcpip.ReadOptions{Peek: peek})
	switch err.(type) {
	case nil:
	case *tcpip.ErrClosedForReceive:
		return 0, 0
	case *tcpip.ErrBadBuffer:
		return 0, 0
	case *tcpip.ErrNotConnected, *tcpip.ErrInvalidEndpointState:
		return 0, 0
	default:
		return 0, errno(err)
	}
	if !peek {
		s.ep().ModerateRecvBuf(r.Count)
	}
	s.putControl(m, &r.ControlMessages)
	if s.opts.get(unix.SOL_TCP, unix.TCP_INQ) != 0 {
		if n, err := s.ep().GetSockOptInt(tcpip.ReceiveQueueSizeOption); err == nil {
			m.Out.PutInt(unix.SOL_TCP, unix.TCP_CM_INQ, int32(n))
		}
	}
	return r.Count, 0
}

func (s *Socket) recvDgram(m *socket.Msg, flags uint32) (int, abi.Errno) {
	keep := 1 << 30
	if s.Filtered() {
		s.sieve.mu.Lock()
		defer s.sieve.mu.Unlock()
		keep = s.sift()
	}
	dst := tcpip.SliceWriter(m.Data[:min(keep, len(m.Data))])
	r, err := s.ep().Read(&dst, tcpip.ReadOptions{Peek: flags&unix.MSG_PEEK != 0, NeedRemoteAddr: true})
	switch err.(type) {
	case nil:
	case *tcpip.ErrBadBuffer:
		// A buffer of no length: the datagram counts as received.
		m.Flags |= unix.MSG_TRUNC
		return 0, 0
	case *tcpip.ErrClosedForReceive:
		return 0, 0
	default:
		return 0, errno(err)
	}
	m.Name = sockaddr(m.Name[:0], s.Family, r.RemoteAddr)
	m.Len = min(r.Total, keep)
	if m.Len > r.Count {
		m.Flags |= unix.MSG_TRUNC
	}
	s.putControl(m, &r.ControlMessages)
	return r.Count, 0
}
