package netlink

import (
	"encoding/binary"
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/bpf"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/socket/inet"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

var le = binary.LittleEndian

// Network gives the stack that NETLINK_ROUTE tells of.
type Network interface {
	Inet() (*inet.Stack, abi.Errno)
}

// Namespace has the port ids in use.
type Namespace struct {
	net Network

	mu    sync.Mutex
	ports map[portKey]*Socket
	next  uint32
}

type portKey struct {
	protocol int
	port     uint32
}

// NewNamespace gives an empty namespace.
func NewNamespace(n Network) *Namespace {
	return &Namespace{net: n, ports: make(map[portKey]*Socket), next: ^uint32(4096)}
}

// Socket is one netlink socket.
type Socket struct {
	vfs.FileDefaults
	socket.Common
	ns    *Namespace
	queue waiter.Queue

	mu     sync.Mutex
	port   uint32 // 0: not bound
	groups uint32
	peer   uint32
	opts   uint32 // bit n: option n of SOL_NETLINK
	rx     []datagram
	bytes  int
	lost   bool // ENOBUFS is due
}

type datagram struct{ b []byte }

// New makes a socket: netlink(7).
func (ns *Namespace) New(_ vfs.Caller, typ, protocol int) (*Socket, abi.Errno) {
	if typ != unix.SOCK_RAW && typ != unix.SOCK_DGRAM {
		return nil, unix.ESOCKTNOSUPPORT
	}
	switch protocol {
	case unix.NETLINK_ROUTE, unix.NETLINK_KOBJECT_UEVENT:
	default:
		return nil, unix.EPROTONOSUPPORT
	}
	s := &Socket{ns: ns}
	s.Init(unix.AF_NETLINK, typ, protocol)
	return s, 0
}

// parse reads a struct sockaddr_nl: family, pad, pid, groups.
func parse(b []byte) (port, groups uint32, e abi.Errno) {
	if len(b) < abi.SockaddrNlLen {
		return 0, 0, unix.EINVAL
	}
	if f, _ := abi.Family(b); f != abi.AF_NETLINK {
		return 0, 0, unix.EINVAL
	}
	return le.Uint32(b[4:]), le.Uint32(b[8:]), 0
}

func sockaddr(b []byte, port, groups uint32) []byte {
	b = append(b, abi.AF_NETLINK, 0, 0, 0)
	b = le.AppendUint32(b, port)
	return le.AppendUint32(b, groups)
}

// Bind is bind(2); a port of 0 asks for any.
func (s *Socket) Bind(c vfs.Caller, b []byte) abi.Errno {
	port, groups, e := parse(b)
	if e != 0 {
		return e
	}
	s.mu.Lock()
	have := s.port
	s.mu.Unlock()
	switch {
	case have != 0 && port != 0 && port != have:
		return unix.EINVAL
	case have == 0:
		if e := s.takePort(c, port); e != 0 {
			return e
		}
	}
	s.mu.Lock()
	s.groups = groups
	s.mu.Unlock()
	return 0
}

// takePort binds the socket: to the caller's process id, if that is free and
// no port is asked for.
func (s *Socket) takePort(c vfs.Caller, port uint32) abi.Errno {
	s.ns.mu.Lock()
	defer s.ns.mu.Unlock()
	k := portKey{s.Protocol, port}
	if port == 0 {
		k.port = uint32(c.TGID())
		for s.ns.ports[k] != nil {
			k.port = s.ns.next
			s.ns.next--
		}
	} else if s.ns.ports[k] != nil {
		return unix.EADDRINUSE
	}
	s.ns.ports[k] = s
	s.mu.Lock()
	s.port = k.port
	s.mu.Unlock()
	return 0
}

func (s *Socket) autobind(c vfs.Caller) abi.Errno {
	s.mu.Lock()
	bound := s.port != 0
	s.mu.Unlock()
	if bound {
		return 0
	}
	return s.takePort(c, 0)
}

// Connect sets the default destination.
func (s *Socket) Connect(c vfs.Caller, b []byte) (*waiter.Queue, abi.Errno) {
	if f, ok := abi.Family(b); ok && f == abi.AF_UNSPEC {
		s.mu.Lock()
		s.peer = 0
		s.mu.Unlock()
		return nil, 0
	}
	port, groups, e := parse(b)
	if e != 0 {
		return nil, e
	}
	if (port != 0 || groups != 0) && !c.Creds().Capable(auth.CAP_NET_ADMIN) {
		return nil, unix.EPERM
	}
	if e := s.autobind(c); e != 0 {
		return nil, e
	}
	s.mu.Lock()
	s.peer = port
	s.mu.Unlock()
	return nil, 0
}

func (s *Socket) ConnectResult(vfs.Caller) abi.Errno           { return 0 }
func (s *Socket) Listen(vfs.Caller, int) abi.Errno             { return unix.EOPNOTSUPP }
func (s *Socket) Accept(vfs.Caller) (socket.Socket, abi.Errno) { return nil, unix.EOPNOTSUPP }
func (s *Socket) Shutdown(vfs.Caller, int) abi.Errno           { return unix.EOPNOTSUPP }
func (s *Socket) Queue(*vfs.FileDescription) *waiter.Queue     { return &s.queue }

// SockName and PeerName are getsockname(2) and getpeername(2).
func (s *Socket) SockName(b []byte) ([]byte, abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sockaddr(b, s.port, s.groups), 0
}

func (s *Socket) PeerName(b []byte) ([]byte, abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sockaddr(b, s.peer, 0), 0
}

// Release gives the port back.
func (s *Socket) Release(*vfs.FileDescription) {
	s.ns.mu.Lock()
	defer s.ns.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := (portKey{s.Protocol, s.port}); s.ns.ports[k] == s {
		delete(s.ns.ports, k)
	}
	s.rx = nil
}

// Ready gives poll(2)'s events.
func (s *Socket) Ready(*vfs.FileDescription) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	ev := waiter.Out | waiter.WrNorm | waiter.WrBand
	if len(s.rx) > 0 {
		ev |= waiter.In | waiter.RdNorm
	}
	if s.lost {
		ev |= waiter.Err
	}
	return ev
}

// Read and Write are recvmsg and sendmsg without more.
func (s *Socket) Read(c vfs.Caller, _ *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	if len(dst) == 0 {
		return 0, 0
	}
	m := socket.Msg{Data: dst}
	return s.RecvMsg(c, &m, 0)
}

func (s *Socket) Write(c vfs.Caller, _ *vfs.FileDescription, src []byte, _ int64) (int, int64, abi.Errno) {
	m := socket.Msg{Data: src}
	n, e := s.SendMsg(c, &m, 0)
	return n, 0, e
}

// SendMsg hands a request to the kernel: that is, to route.
func (s *Socket) SendMsg(c vfs.Caller, m *socket.Msg, flags uint32) (int, abi.Errno) {
	if flags&unix.MSG_OOB != 0 {
		return 0, unix.EOPNOTSUPP
	}
	s.mu.Lock()
	port := s.peer
	s.mu.Unlock()
	if len(m.Name) > 0 {
		var groups uint32
		var e abi.Errno
		if port, groups, e = parse(m.Name); e != 0 {
			return 0, e
		}
		if (port != 0 || groups != 0) && !c.Creds().Capable(auth.CAP_NET_ADMIN) {
			return 0, unix.EPERM
		}
	}
	if e := s.autobind(c); e != 0 {
		return 0, e
	}
	if int64(len(m.Data)) > s.SndBuf()-32 {
		return 0, unix.EMSGSIZE
	}
	switch {
	case port != 0:
		return 0, unix.ECONNREFUSED
	case s.Protocol == unix.NETLINK_ROUTE:
		s.requests(c, m.Data)
	case !c.Creds().Capable(auth.CAP_SYS_ADMIN):
		return 0, unix.EPERM
	}
	return len(m.Data), 0
}

// answer puts a datagram into the queue; too many are lost with ENOBUFS.
func (s *Socket) answer(b []byte) {
	if s.Filtered() {
		n := s.Keep(&bpf.Packet{Data: b, Protocol: uint16(s.Protocol)}, 0)
		if n == 0 {
			return
		}
		b = b[:n]
	}
	s.mu.Lock()
	if int64(s.bytes+len(b)) > s.RcvBuf() && len(s.rx) > 0 {
		s.lost = true
	} else {
		s.rx = append(s.rx, datagram{b})
		s.bytes += len(b)
	}
	s.mu.Unlock()
	s.queue.Notify(waiter.In | waiter.RdNorm)
}

// RecvMsg takes one datagram.
func (s *Socket) RecvMsg(_ vfs.Caller, m *socket.Msg, flags uint32) (int, abi.Errno) {
	if flags&unix.MSG_OOB != 0 {
		return 0, unix.EOPNOTSUPP
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost && s.opts>>unix.NETLINK_NO_ENOBUFS&1 == 0 {
		s.lost = false
		return 0, unix.ENOBUFS
	}
	if len(s.rx) == 0 {
		return 0, unix.EAGAIN
	}
	b := s.rx[0].b
	n := copy(m.Data, b)
	m.Len = len(b)
	if n < len(b) {
		m.Flags |= unix.MSG_TRUNC
	}
	m.Name = sockaddr(m.Name[:0], 0, 0)
	m.Creds, m.HasCreds = abi.Ucred{}, true // from the kernel
	if s.opts>>unix.NETLINK_PKTINFO&1 != 0 {
		m.Out.PutInt(unix.SOL_NETLINK, unix.NETLINK_PKTINFO, 0)
	}
	if flags&unix.MSG_PEEK == 0 {
		s.rx[0] = datagram{}
		s.rx = s.rx[1:]
		s.bytes -= len(b)
	}
	return n, 0
}

// SetSockOpt is setsockopt(2).
func (s *Socket) SetSockOpt(c vfs.Caller, level, name int, val []byte) abi.Errno {
	if level == unix.SOL_SOCKET {
		return s.SetCommonOpt(c, name, val)
	}
	if level != unix.SOL_NETLINK {
		return unix.ENOPROTOOPT
	}
	v, e := socket.Int(val)
	if e != 0 {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch name {
	case unix.NETLINK_ADD_MEMBERSHIP, unix.NETLINK_DROP_MEMBERSHIP:
		if v < 1 || v > 64 {
			return unix.EINVAL
		}
		if v > 32 {
			return 0
		}
		if name == unix.NETLINK_ADD_MEMBERSHIP {
			s.groups |= 1 << (v - 1)
		} else {
			s.groups &^= 1 << (v - 1)
		}
	case unix.NETLINK_LISTEN_ALL_NSID:
		if !c.Creds().Capable(auth.CAP_NET_ADMIN) {
			return unix.EPERM
		}
		fallthrough
	case unix.NETLINK_PKTINFO, unix.NETLINK_BROADCAST_ERROR, unix.NETLINK_NO_ENOBUFS, unix.NETLINK_CAP_ACK,
		unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK:
		s.opts &^= 1 << name
		if v != 0 {
			s.opts |= 1 << name
		}
	default:
		return unix.ENOPROTOOPT
	}
	return 0
}

// GetSockOpt is getsockopt(2).
func (s *Socket) GetSockOpt(_ vfs.Caller, level, name int, _ int, _ []byte) ([]byte, abi.Errno) {
	if level == unix.SOL_SOCKET {
		if name == unix.SO_ERROR {
			return socket.PutInt(0), 0
		}
		return s.GetCommonOpt(name)
	}
	if level != unix.SOL_NETLINK {
		return nil, unix.ENOPROTOOPT
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch name {
	case unix.NETLINK_LIST_MEMBERSHIPS:
		return le.AppendUint32(nil, s.groups), 0
	case unix.NETLINK_PKTINFO, unix.NETLINK_BROADCAST_ERROR, unix.NETLINK_NO_ENOBUFS, unix.NETLINK_CAP_ACK,
		unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK:
		return socket.PutBool(s.opts>>name&1 != 0), 0
	}
	return nil, unix.ENOPROTOOPT
}

// Ioctl has those on devices.
func (s *Socket) Ioctl(c vfs.Caller, _ *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	if cmd < 0x8900 || cmd > 0x89ff {
		return 0, abi.ENOIOCTLCMD
	}
	st, e := s.ns.net.Inet()
	if e != 0 {
		return 0, e
	}
	return st.DevIoctl(c, cmd, arg, mem)
}
