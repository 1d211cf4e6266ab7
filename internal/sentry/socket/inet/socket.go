package inet

import (
	"bytes"
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	gwaiter "gvisor.dev/gvisor/pkg/waiter"
)

// Socket is one internet socket.
type Socket struct {
	vfs.FileDefaults
	socket.Common
	st    *Stack
	queue waiter.Queue

	// cur changes only when a failed TCP endpoint is replaced.
	cur atomic.Pointer[endpoint]

	opts options // what netstack does not keep

	sieve sieve

	direct atomic.Pointer[direct] // the connection is inside the sandbox
	dial   connKey                // under Stack.mu

	mu      sync.Mutex
	uid     uint32      // for /proc/net
	bound   *[]byte     // the address that bind was given
	replay  []replayOpt // options to set again on a new endpoint
	corked  []byte      // UDP_CORK, MSG_MORE
	corkTo  *tcpip.FullAddress
	reader  bytes.Reader // the payload on its way down
	closing bool
	shut    bool  // shutdown was called
	sent    int64 // bytes written to netstack
}

// endpoint is netstack's half of a socket.
type endpoint struct {
	tcpip.Endpoint
	wq    *gwaiter.Queue
	entry gwaiter.Entry
}

type replayOpt struct {
	level, name int
	val         []byte
}

// protocols gives netstack's numbers for a socket.
func protocols(family, typ, protocol int) (net tcpip.NetworkProtocolNumber, trans tcpip.TransportProtocolNumber, e abi.Errno) {
	net = ipv4.ProtocolNumber
	ping, pingProto := unix.IPPROTO_ICMP, icmp.ProtocolNumber4
	if family == unix.AF_INET6 {
		net = ipv6.ProtocolNumber
		ping, pingProto = unix.IPPROTO_ICMPV6, icmp.ProtocolNumber6
	}
	switch typ {
	case unix.SOCK_STREAM:
		if protocol == 0 || protocol == unix.IPPROTO_TCP {
			return net, tcp.ProtocolNumber, 0
		}
		return 0, 0, unix.EPROTONOSUPPORT
	case unix.SOCK_DGRAM:
		switch protocol {
		case 0, unix.IPPROTO_UDP:
			return net, udp.ProtocolNumber, 0
		case ping:
			return net, pingProto, 0
		}
		return 0, 0, unix.EPROTONOSUPPORT
	case unix.SOCK_RAW:
		if protocol <= 0 || protocol > 255 {
			return 0, 0, unix.EPROTONOSUPPORT
		}
		return net, tcpip.TransportProtocolNumber(protocol), 0
	}
	return 0, 0, unix.ESOCKTNOSUPPORT
}

// New makes a socket of family AF_INET or AF_INET6: socket(2).
func (st *Stack) New(c vfs.Caller, family, typ, protocol int) (*Socket, abi.Errno) {
	if protocol < 0 || protocol >= 263 { // IPPROTO_MAX
		return nil, unix.EINVAL
	}
	net, trans, e := protocols(family, typ, protocol)
	if e != 0 {
		return nil, e
	}
	if typ == unix.SOCK_RAW && !c.Creds().Capable(auth.CAP_NET_RAW) {
		return nil, unix.EPERM
	}
	if protocol == 0 {
		protocol = int(trans)
	}
	s := &Socket{st: st, uid: c.Creds().EUID}
	s.Init(family, typ, protocol)
	s.opts.init(s)
	if e := s.newEndpoint(net, trans); e != 0 {
		return nil, e
	}
	st.add(s)
	return s, 0
}

func (s *Socket) newEndpoint(net tcpip.NetworkProtocolNumber, trans tcpip.TransportProtocolNumber) abi.Errno {
	ep := &endpoint{wq: new(gwaiter.Queue)}
	var err tcpip.Error
	if s.Type == unix.SOCK_RAW {
		ep.Endpoint, err = s.st.net.NewRawEndpoint(trans, net, ep.wq, true)
	} else {
		ep.Endpoint, err = s.st.net.NewEndpoint(trans, net, ep.wq)
	}
	if err != nil {
		return errno(err)
	}
	if s.Type == unix.SOCK_RAW && s.Protocol == unix.IPPROTO_RAW {
		ep.SocketOptions().SetHeaderIncluded(true)
	}
	s.attach(ep)
	return 0
}

// attach makes ep the socket's endpoint.
func (s *Socket) attach(ep *endpoint) {
	ep.entry.Init(s, gwaiter.AllEvents)
	ep.wq.EventRegister(&ep.entry)
	s.cur.Store(ep)
}

func (s *Socket) ep() *endpoint { return s.cur.Load() }

// NotifyEvent is netstack's notification.
func (s *Socket) NotifyEvent(mask gwaiter.EventMask) { s.queue.Notify(uint32(mask)) }

func (s *Socket) isTCP() bool { return s.Type == unix.SOCK_STREAM }

// tcpState gives the state of a TCP socket.
func (s *Socket) tcpState() tcp.EndpointState { return tcp.EndpointState(s.ep().State()) }

// Queue is vfs.File's.
func (s *Socket) Queue(*vfs.FileDescription) *waiter.Queue { return &s.queue }

const waiterIn = gwaiter.EventIn

const pollMask = gwaiter.EventIn | gwaiter.EventOut | gwaiter.EventErr | gwaiter.EventHUp |
	gwaiter.EventRdNorm | gwaiter.EventWrNorm | gwaiter.EventRdHUp

// Ready gives poll(2)'s events.
func (s *Socket) Ready(*vfs.FileDescription) uint32 {
	if d := s.direct.Load(); d != nil {
		return s.readyDirect(d)
	}
	if s.Filtered() && !s.isTCP() {
		s.sifted()
	}
	ep := s.ep()
	ev := uint32(ep.Readiness(pollMask)) & uint32(pollMask)
	if s.isTCP() {
		switch s.tcpState() {
		case tcp.StateInitial, tcp.StateBound:
			ev |= waiter.Out | waiter.WrNorm | waiter.Hup
		}
	}
	if ep.SocketOptions().PeekErr() != nil {
		ev |= waiter.Err
	}
	return ev
}

// Read is a recvmsg without flags or control data.
func (s *Socket) Read(c vfs.Caller, _ *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	if len(dst) == 0 {
		return 0, 0
	}
	m := socket.Msg{Data: dst}
	return s.RecvMsg(c, &m, 0)
}

// Write is a sendmsg without control data. Whoever calls it sends SIGPIPE.
func (s *Socket) Write(c vfs.Caller, _ *vfs.FileDescription, src []byte, _ int64) (int, int64, abi.Errno) {
	m := socket.Msg{Data: src}
	n, e := s.SendMsg(c, &m, unix.MSG_NOSIGNAL)
	return n, 0, e
}

// Release closes the socket; what TCP still has to send is sent.
func (s *Socket) Release(*vfs.FileDescription) {
	s.st.remove(s)
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.st.forget(s)
	ep := s.ep()
	ep.wq.EventUnregister(&ep.entry)
	if d := s.direct.Load(); d != nil && s.closeDirect(d) {
		ep.Abort()
		return
	}
	ep.Close()
}
