package inet

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

func (s *Socket) setIPv6Opt(name int, val []byte) abi.Errno {
	switch name {
	case unix.IPV6_JOIN_GROUP, unix.IPV6_LEAVE_GROUP:
		return s.membership6(name == unix.IPV6_JOIN_GROUP, val)
	case unix.MCAST_JOIN_GROUP, unix.MCAST_LEAVE_GROUP:
		return s.membershipReq(name == unix.MCAST_JOIN_GROUP, val)
	}
	v, e := socket.Int(val)
	if e != 0 {
		return e
	}
	ep := s.ep()
	so := ep.SocketOptions()
	switch name {
	case unix.IPV6_V6ONLY:
		if !s.unbound() {
			return unix.EINVAL
		}
		so.SetV6Only(v != 0)
	case unix.IPV6_UNICAST_HOPS:
		if v < -1 || v > 255 {
			return unix.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.IPv6HopLimitOption, int(v)))
	case unix.IPV6_MULTICAST_HOPS:
		if s.isTCP() {
			return unix.ENOPROTOOPT
		}
		if v < -1 || v > 255 {
			return unix.EINVAL
		}
		if v == -1 {
			v = 1
		}
		return errno(ep.SetSockOptInt(tcpip.MulticastTTLOption, int(v)))
	case unix.IPV6_MULTICAST_LOOP:
		if v != 0 && v != 1 {
			return unix.EINVAL
		}
		so.SetMulticastLoop(v != 0)
	case unix.IPV6_MULTICAST_IF:
		if s.isTCP() {
			return unix.ENOPROTOOPT
		}
		if v != 0 && !s.st.net.HasNIC(tcpip.NICID(v)) {
			return unix.ENODEV
		}
		return errno(ep.SetSockOptInt(tcpip.IPv6MulticastInterfaceOption, int(v)))
	case unix.IPV6_TCLASS:
		if v < -1 || v > 255 {
			return unix.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.IPv6TrafficClassOption, int(max(v, 0))))
	case unix.IPV6_RECVTCLASS:
		so.SetReceiveTClass(v != 0)
	case unix.IPV6_RECVHOPLIMIT:
		so.SetReceiveHopLimit(v != 0)
	case unix.IPV6_RECVPKTINFO:
		so.SetIPv6ReceivePacketInfo(v != 0)
	case unix.IPV6_RECVORIGDSTADDR:
		so.SetReceiveOriginalDstAddress(v != 0)
	case unix.IPV6_RECVERR:
		so.SetIPv6RecvError(v != 0)
	case unix.IPV6_CHECKSUM:
		return errno(ep.SetSockOptInt(tcpip.IPv6Checksum, int(v)))
	case unix.IPV6_MTU_DISCOVER:
		if v < 0 || v > unix.IPV6_PMTUDISC_OMIT {
			return unix.EINVAL
		}
		s.opts.set(unix.SOL_IPV6, name, v+1)
	case unix.IPV6_DONTFRAG, unix.IPV6_AUTOFLOWLABEL, unix.IPV6_RECVPATHMTU, unix.IPV6_RECVRTHDR,
		unix.IPV6_RECVHOPOPTS, unix.IPV6_RECVDSTOPTS, ipv6Flowinfo, unix.IPV6_FREEBIND,
		unix.IPV6_ADDR_PREFERENCES, unix.IPV6_MULTICAST_ALL, ipv6FlowinfoSend, unix.IPV6_RECVFRAGSIZE,
		unix.IPV6_RECVERR_RFC4884:
		s.opts.set(unix.SOL_IPV6, name, v)
	case unix.IPV6_MTU:
		if v != 0 && v < 1280 {
			return unix.EINVAL
		}
		s.opts.set(unix.SOL_IPV6, name, v)
	default:
		return unix.ENOPROTOOPT
	}
	return 0
}

// unbound tells whether the socket has no port yet.
func (s *Socket) unbound() bool {
	if s.isTCP() {
		return s.tcpState() == tcp.StateInitial
	}
	a, err := s.ep().GetLocalAddress()
	return err != nil || a.Port == 0
}

// membership6 reads struct ipv6_mreq.
func (s *Socket) membership6(add bool, val []byte) abi.Errno {
	if s.isTCP() {
		return unix.EPROTO
	}
	if len(val) < 20 {
		return unix.EINVAL
	}
	if val[0] != 0xff {
		return unix.EINVAL
	}
	return s.member(add, tcpip.MembershipOption{
		MulticastAddr: tcpip.AddrFrom16([16]byte(val[:16])),
		NIC:           tcpip.NICID(le.Uint32(val[16:])),
	})
}

func (s *Socket) getIPv6Opt(name, size int) ([]byte, abi.Errno) {
	ep := s.ep()
	so := ep.SocketOptions()
	var v int32
	switch name {
	case unix.IPV6_V6ONLY:
		v = b2i(so.GetV6Only())
	case unix.IPV6_UNICAST_HOPS:
		n, err := ep.GetSockOptInt(tcpip.IPv6HopLimitOption)
		if err != nil {
			return nil, errno(err)
		}
		if v = int32(n); v < 0 {
			v = defaultTTL
		}
	case unix.IPV6_MULTICAST_HOPS:
		n, err := ep.GetSockOptInt(tcpip.MulticastTTLOption)
		if err != nil {
			return nil, errno(err)
		}
		v = int32(n)
	case unix.IPV6_MULTICAST_LOOP:
		v = b2i(so.GetMulticastLoop())
	case unix.IPV6_MULTICAST_IF:
		n, err := ep.GetSockOptInt(tcpip.IPv6MulticastInterfaceOption)
		if err != nil {
			return nil, errno(err)
		}
		v = int32(n)
	case unix.IPV6_TCLASS:
		n, err := ep.GetSockOptInt(tcpip.IPv6TrafficClassOption)
		if err != nil {
			return nil, errno(err)
		}
		v = int32(n)
	case unix.IPV6_RECVTCLASS:
		v = b2i(so.GetReceiveTClass())
	case unix.IPV6_RECVHOPLIMIT:
		v = b2i(so.GetReceiveHopLimit())
	case unix.IPV6_RECVPKTINFO:
		v = b2i(so.GetIPv6ReceivePacketInfo())
	case unix.IPV6_RECVORIGDSTADDR:
		v = b2i(so.GetReceiveOriginalDstAddress())
	case unix.IPV6_RECVERR:
		v = b2i(so.GetIPv6RecvError())
	case unix.IPV6_CHECKSUM:
		n, err := ep.GetSockOptInt(tcpip.IPv6Checksum)
		if err != nil {
			return nil, errno(err)
		}
		v = int32(n)
	case unix.IPV6_MTU_DISCOVER:
		if v = s.opts.get(unix.SOL_IPV6, name) - 1; v < 0 {
			v = unix.IPV6_PMTUDISC_WANT
		}
	case unix.IPV6_MTU:
		mtu, e := s.pathMTU()
		if e != 0 {
			return nil, e
		}
		v = mtu
	case unix.IPV6_AUTOFLOWLABEL, unix.IPV6_MULTICAST_ALL:
		v = 1
	case unix.IPV6_DONTFRAG, unix.IPV6_RECVPATHMTU, unix.IPV6_RECVRTHDR, unix.IPV6_RECVHOPOPTS,
		unix.IPV6_RECVDSTOPTS, unix.IPV6_FREEBIND, unix.IPV6_ADDR_PREFERENCES, ipv6FlowinfoSend,
		unix.IPV6_RECVFRAGSIZE, unix.IPV6_RECVERR_RFC4884:
		v = s.opts.get(unix.SOL_IPV6, name)
	default:
		return nil, unix.ENOPROTOOPT
	}
	return socket.PutInt(v), 0
}

// icmp6Filter is ICMPV6_FILTER of icmp6(7).
const icmp6Filter = 1

// Options of linux/in6.h that the unix package lacks.
const (
	ipv6Flowinfo     = 11
	ipv6FlowinfoSend = 33
)

func (s *Socket) setICMPv6Filter(name int, val []byte) abi.Errno {
	if name != icmp6Filter {
		return unix.ENOPROTOOPT
	}
	var f tcpip.ICMPv6Filter
	for i := range f.DenyType {
		if len(val) >= 4*(i+1) {
			f.DenyType[i] = le.Uint32(val[4*i:])
		}
	}
	return errno(s.ep().SetSockOpt(&f))
}

func (s *Socket) getICMPv6Filter(name int) ([]byte, abi.Errno) {
	if name != icmp6Filter {
		return nil, unix.ENOPROTOOPT
	}
	var f tcpip.ICMPv6Filter
	if err := s.ep().GetSockOpt(&f); err != nil {
		return nil, errno(err)
	}
	var b []byte
	for _, w := range f.DenyType {
		b = le.AppendUint32(b, w)
	}
	return b, 0
}
