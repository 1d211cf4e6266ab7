package inet

import (
	"bytes"
	"time"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// maxReplay bounds what renew sets again.
const maxReplay = 64

// SetSockOpt is setsockopt(2).
func (s *Socket) SetSockOpt(c vfs.Caller, level, name int, val []byte) abi.Errno {
	if e := s.checkOpt(c, level, name, val); e != 0 {
		return e
	}
	if e := s.applyOpt(level, name, val); e != 0 {
		return e
	}
	if !s.isTCP() {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.replay {
		if s.replay[i].level == level && s.replay[i].name == name {
			s.replay[i].val = bytes.Clone(val)
			return 0
		}
	}
	if len(s.replay) < maxReplay {
		s.replay = append(s.replay, replayOpt{level, name, bytes.Clone(val)})
	}
	return 0
}

// checkOpt does what needs the caller: permissions, and SOL_SOCKET's state.
func (s *Socket) checkOpt(c vfs.Caller, level, name int, val []byte) abi.Errno {
	switch {
	case level == unix.SOL_SOCKET && name == unix.SO_BINDTODEVICE:
		return 0
	case level == unix.SOL_SOCKET && name == unix.SO_REUSEADDR && s.isTCP() && s.tcpState() == tcp.StateError:
		return 0
	case level == unix.SOL_SOCKET && name == unix.SO_ATTACH_FILTER && s.isTCP():
		return unix.ENOPROTOOPT // netstack shows no segments
	case level == unix.SOL_SOCKET:
		return s.SetCommonOpt(c, name, val)
	case level == unix.SOL_IP && name == unix.IP_TRANSPARENT && !c.Creds().Capable(auth.CAP_NET_ADMIN) && !c.Creds().Capable(auth.CAP_NET_RAW):
		return unix.EPERM
	}
	return 0
}

// applyOpt hands a checked option to the endpoint.
func (s *Socket) applyOpt(level, name int, val []byte) abi.Errno {
	switch level {
	case unix.SOL_SOCKET:
		return s.applySocketOpt(name, val)
	case unix.SOL_TCP:
		if s.isTCP() {
			return s.setTCPOpt(name, val)
		}
	case unix.SOL_UDP:
		if s.Protocol == unix.IPPROTO_UDP {
			return s.setUDPOpt(name, val)
		}
	case unix.SOL_IP:
		return s.setIPOpt(name, val)
	case unix.SOL_IPV6:
		if s.Family == unix.AF_INET6 {
			return s.setIPv6Opt(name, val)
		}
	case unix.SOL_ICMPV6:
		if s.Type == unix.SOCK_RAW && s.Protocol == unix.IPPROTO_ICMPV6 {
			return s.setICMPv6Filter(name, val)
		}
	case unix.SOL_RAW:
		if s.Type == unix.SOCK_RAW {
			return s.setRawOpt(name, val)
		}
	}
	return unix.ENOPROTOOPT
}

// applySocketOpt tells the endpoint what Common has taken.
func (s *Socket) applySocketOpt(name int, val []byte) abi.Errno {
	so := s.ep().SocketOptions()
	switch name {
	case unix.SO_REUSEADDR:
		so.SetReuseAddress(s.Has(socket.FlagReuseAddr))
	case unix.SO_REUSEPORT:
		so.SetReusePort(s.Has(socket.FlagReusePort))
	case unix.SO_BROADCAST:
		so.SetBroadcast(s.Has(socket.FlagBroadcast))
	case unix.SO_KEEPALIVE:
		so.SetKeepAlive(s.Has(socket.FlagKeepAlive))
	case unix.SO_NO_CHECK:
		so.SetNoChecksum(s.Has(socket.FlagNoCheck))
	case unix.SO_SNDBUF, unix.SO_SNDBUFFORCE:
		so.SetSendBufferSize(s.SndBuf(), true)
	case unix.SO_RCVBUF, unix.SO_RCVBUFFORCE:
		so.SetReceiveBufferSize(s.RcvBuf(), true)
	case unix.SO_LINGER:
		sec, on := s.Linger()
		so.SetLinger(tcpip.LingerOption{Enabled: on, Timeout: time.Duration(sec) * time.Second})
	case unix.SO_BINDTODEVICE:
		return s.bindToDevice(val)
	}
	return 0
}

func (s *Socket) bindToDevice(val []byte) abi.Errno {
	name := val[:min(len(val), unix.IFNAMSIZ-1)]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	id := int32(0)
	if len(name) > 0 {
		nic, ok := s.st.nicByName(string(name))
		if !ok {
			return unix.ENODEV
		}
		id = int32(nic)
	}
	return errno(s.ep().SocketOptions().SetBindToDevice(id))
}

// GetSockOpt is getsockopt(2).
func (s *Socket) GetSockOpt(_ vfs.Caller, level, name int, size int, arg []byte) ([]byte, abi.Errno) {
	switch level {
	case unix.SOL_SOCKET:
		return s.getSocketOpt(name, size)
	case unix.SOL_TCP:
		if s.isTCP() {
			return s.getTCPOpt(name, size)
		}
	case unix.SOL_UDP:
		if s.Protocol == unix.IPPROTO_UDP {
			return s.getUDPOpt(name)
		}
	case unix.SOL_IP:
		return s.getIPOpt(name, size)
	case unix.SOL_IPV6:
		if s.Family == unix.AF_INET6 {
			return s.getIPv6Opt(name, size)
		}
	case unix.SOL_ICMPV6:
		if s.Type == unix.SOCK_RAW && s.Protocol == unix.IPPROTO_ICMPV6 {
			return s.getICMPv6Filter(name)
		}
	case unix.SOL_RAW:
		if s.Type == unix.SOCK_RAW && s.Protocol == unix.IPPROTO_ICMP && name == icmpFilter {
			return socket.PutInt(s.opts.get(unix.SOL_RAW, icmpFilter)), 0
		}
	}
	if level == unix.SOL_TCP || level == unix.SOL_UDP {
		return nil, unix.EOPNOTSUPP
	}
	return nil, unix.ENOPROTOOPT
}

func (s *Socket) getSocketOpt(name, size int) ([]byte, abi.Errno) {
	so := s.ep().SocketOptions()
	switch name {
	case unix.SO_ERROR:
		return socket.PutInt(int32(s.pendingError())), 0
	case unix.SO_ACCEPTCONN:
		return socket.PutBool(s.isTCP() && s.tcpState() == tcp.StateListen), 0
	case unix.SO_SNDBUF:
		return socket.PutInt(int32(so.GetSendBufferSize())), 0
	case unix.SO_RCVBUF:
		return socket.PutInt(int32(so.GetReceiveBufferSize())), 0
	case unix.SO_PEERCRED:
		b := make([]byte, abi.UcredSize)
		abi.Ucred{UID: ^uint32(0), GID: ^uint32(0)}.Put(b)
		return b, 0
	case unix.SO_PEERNAME:
		b, e := s.PeerName(nil)
		if e == 0 && len(b) < size {
			e = unix.EINVAL
		}
		return b, e
	case unix.SO_BINDTODEVICE:
		id := so.GetBindToDevice()
		if id == 0 {
			return nil, 0
		}
		if size < unix.IFNAMSIZ {
			return nil, unix.EINVAL
		}
		return append([]byte(s.st.nicName(tcpip.NICID(id))), 0), 0
	case unix.SO_MEMINFO:
		b := make([]byte, 36)
		le.PutUint32(b[4:], uint32(so.GetReceiveBufferSize()))
		le.PutUint32(b[12:], uint32(so.GetSendBufferSize()))
		return b, 0
	}
	return s.GetCommonOpt(name)
}
