package inet

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// icmpFilter is ICMP_FILTER of raw(7).
const icmpFilter = 1

func (s *Socket) setIPOpt(name int, val []byte) abi.Errno {
	switch name {
	case unix.IP_ADD_MEMBERSHIP, unix.IP_DROP_MEMBERSHIP:
		return s.membership4(name == unix.IP_ADD_MEMBERSHIP, val)
	case unix.MCAST_JOIN_GROUP, unix.MCAST_LEAVE_GROUP:
		return s.membershipReq(name == unix.MCAST_JOIN_GROUP, val)
	case unix.IP_MULTICAST_IF:
		return s.multicastIf4(val)
	case unix.IP_OPTIONS:
		if len(val) == 0 {
			return 0
		}
		return unix.ENOPROTOOPT
	}
	v, e := socket.IntOrByte(val)
	if e != 0 {
		return e
	}
	ep := s.ep()
	so := ep.SocketOptions()
	switch name {
	case unix.IP_TTL:
		if v != -1 && (v < 1 || v > 255) {
			return unix.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.IPv4TTLOption, int(max(v, 0))))
	case unix.IP_TOS:
		if s.isTCP() { // the ECN bits are TCP's own
			v = v&^3 | s.tos()&3
		}
		return errno(ep.SetSockOptInt(tcpip.IPv4TOSOption, int(uint8(v))))
	case unix.IP_MULTICAST_TTL:
		if s.isTCP() || v < -1 || v > 255 {
			return unix.EINVAL
		}
		if v == -1 {
			v = 1
		}
		return errno(ep.SetSockOptInt(tcpip.MulticastTTLOption, int(v)))
	case unix.IP_MULTICAST_LOOP:
		so.SetMulticastLoop(v != 0)
	case unix.IP_RECVTOS:
		so.SetReceiveTOS(v != 0)
	case unix.IP_RECVTTL:
		so.SetReceiveTTL(v != 0)
	case unix.IP_PKTINFO:
		so.SetReceivePacketInfo(v != 0)
	case unix.IP_RECVORIGDSTADDR:
		so.SetReceiveOriginalDstAddress(v != 0)
	case unix.IP_RECVERR:
		so.SetIPv4RecvError(v != 0)
	case unix.IP_HDRINCL:
		if s.Type != unix.SOCK_RAW {
			return unix.ENOPROTOOPT
		}
		so.SetHeaderIncluded(v != 0)
	case unix.IP_MTU_DISCOVER:
		if v < 0 || v > unix.IP_PMTUDISC_OMIT {
			return unix.EINVAL
		}
		// Netstack knows the first four; INTERFACE and OMIT behave as PROBE
		// does as long as no path has a smaller MTU than the interface.
		if err := ep.SetSockOptInt(tcpip.MTUDiscoverOption, int(min(v, unix.IP_PMTUDISC_PROBE))); err != nil && v != unix.IP_PMTUDISC_WANT && v != unix.IP_PMTUDISC_DONT {
			return errno(err)
		}
		s.opts.set(unix.SOL_IP, name, v+1)
	case unix.IP_MULTICAST_ALL, unix.IP_BIND_ADDRESS_NO_PORT, unix.IP_FREEBIND, unix.IP_TRANSPARENT,
		unix.IP_RECVOPTS, unix.IP_RETOPTS, unix.IP_ROUTER_ALERT, unix.IP_RECVFRAGSIZE, unix.IP_RECVERR_RFC4884:
		s.opts.set(unix.SOL_IP, name, v)
	case unix.IP_MINTTL:
		return s.keep(unix.SOL_IP, name, val, 0, 255)
	default:
		return unix.ENOPROTOOPT
	}
	return 0
}

func (s *Socket) tos() int32 {
	v, _ := s.ep().GetSockOptInt(tcpip.IPv4TOSOption)
	return int32(v)
}

// membership4 reads struct ip_mreq or ip_mreqn.
func (s *Socket) membership4(add bool, val []byte) abi.Errno {
	if s.isTCP() {
		return unix.EPROTO
	}
	if len(val) < 8 {
		return unix.EINVAL
	}
	o := tcpip.MembershipOption{MulticastAddr: tcpip.AddrFrom4([4]byte(val[:4]))}
	if a := [4]byte(val[4:8]); a != [4]byte{} {
		o.InterfaceAddr = tcpip.AddrFrom4(a)
	}
	if len(val) >= 12 {
		o.NIC = tcpip.NICID(le.Uint32(val[8:]))
	}
	return s.member(add, o)
}

// membershipReq reads struct group_req: an index and a sockaddr.
func (s *Socket) membershipReq(add bool, val []byte) abi.Errno {
	if len(val) < 136 {
		return unix.EINVAL
	}
	a, ok := abi.GetSockaddrIn(val[8:])
	if !ok {
		return unix.EADDRNOTAVAIL
	}
	o := tcpip.MembershipOption{NIC: tcpip.NICID(le.Uint32(val)), MulticastAddr: fullAddress(a).Addr}
	return s.member(add, o)
}

func (s *Socket) member(add bool, o tcpip.MembershipOption) abi.Errno {
	if o.NIC == 0 && o.InterfaceAddr.Len() == 0 {
		o.NIC = s.st.multicastNIC(o.MulticastAddr)
	}
	var err tcpip.Error
	if add {
		a := tcpip.AddMembershipOption(o)
		err = s.ep().SetSockOpt(&a)
	} else {
		a := tcpip.RemoveMembershipOption(o)
		err = s.ep().SetSockOpt(&a)
	}
	switch err.(type) {
	case *tcpip.ErrPortInUse:
		return unix.EADDRINUSE
	case *tcpip.ErrUnknownDevice, *tcpip.ErrUnknownNICID:
		return unix.ENODEV
	}
	return errno(err)
}

func (s *Socket) multicastIf4(val []byte) abi.Errno {
	var o tcpip.MulticastInterfaceOption
	switch {
	case s.isTCP() || len(val) < 4:
		return unix.EINVAL
	case len(val) < 8:
		if a := [4]byte(val[:4]); a != [4]byte{} {
			o.InterfaceAddr = tcpip.AddrFrom4(a)
		}
	default:
		if a := [4]byte(val[4:8]); a != [4]byte{} {
			o.InterfaceAddr = tcpip.AddrFrom4(a)
		}
		if len(val) >= 12 {
			o.NIC = tcpip.NICID(le.Uint32(val[8:]))
		}
	}
	return errno(s.ep().SetSockOpt(&o))
}

func (s *Socket) getIPOpt(name, size int) ([]byte, abi.Errno) {
	ep := s.ep()
	so := ep.SocketOptions()
	var v int32
	switch name {
	case unix.IP_TTL:
		n, err := ep.GetSockOptInt(tcpip.IPv4TTLOption)
		if err != nil {
			return nil, errno(err)
		}
		if v = int32(n); v == 0 {
			v = defaultTTL
		}
	case unix.IP_TOS:
		v = s.tos()
	case unix.IP_MULTICAST_TTL:
		n, err := ep.GetSockOptInt(tcpip.MulticastTTLOption)
		if err != nil {
			return nil, errno(err)
		}
		v = int32(n)
	case unix.IP_MULTICAST_LOOP:
		v = b2i(so.GetMulticastLoop())
	case unix.IP_MULTICAST_IF:
		var o tcpip.MulticastInterfaceOption
		if err := ep.GetSockOpt(&o); err != nil {
			return nil, errno(err)
		}
		b := make([]byte, 4)
		if o.InterfaceAddr.Len() == 4 {
			copy(b, o.InterfaceAddr.AsSlice())
		}
		return b, 0
	case unix.IP_RECVTOS:
		v = b2i(so.GetReceiveTOS())
	case unix.IP_RECVTTL:
		v = b2i(so.GetReceiveTTL())
	case unix.IP_PKTINFO:
		v = b2i(so.GetReceivePacketInfo())
	case unix.IP_RECVORIGDSTADDR:
		v = b2i(so.GetReceiveOriginalDstAddress())
	case unix.IP_RECVERR:
		v = b2i(so.GetIPv4RecvError())
	case unix.IP_HDRINCL:
		if s.Type != unix.SOCK_RAW {
			return nil, unix.ENOPROTOOPT
		}
		v = b2i(so.GetHeaderIncluded())
	case unix.IP_MTU_DISCOVER:
		if v = s.opts.get(unix.SOL_IP, name) - 1; v < 0 {
			v = unix.IP_PMTUDISC_WANT
		}
	case unix.IP_MTU:
		mtu, e := s.pathMTU()
		if e != 0 {
			return nil, e
		}
		v = mtu
	case unix.IP_OPTIONS:
		return nil, 0
	case unix.IP_MULTICAST_ALL:
		if v = s.opts.get(unix.SOL_IP, name); v == 0 {
			v = 1
		}
	case unix.IP_BIND_ADDRESS_NO_PORT, unix.IP_FREEBIND, unix.IP_TRANSPARENT, unix.IP_RECVOPTS,
		unix.IP_RETOPTS, unix.IP_MINTTL, unix.IP_RECVFRAGSIZE, unix.IP_RECVERR_RFC4884:
		v = s.opts.get(unix.SOL_IP, name)
	default:
		return nil, unix.ENOPROTOOPT
	}
	return ipInt(v, size), 0
}

// ipInt is an int, or one byte if the caller offers less and it fits.
func ipInt(v int32, size int) []byte {
	if size > 0 && size < 4 && v >= 0 && v <= 255 {
		return []byte{byte(v)}
	}
	return socket.PutInt(v)
}

func b2i(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// pathMTU is IP_MTU's: of a connected socket's route.
func (s *Socket) pathMTU() (int32, abi.Errno) {
	a, err := s.ep().GetRemoteAddress()
	if err != nil {
		return 0, unix.ENOTCONN
	}
	return int32(s.st.mtuTo(a.Addr)), 0
}

func (s *Socket) setRawOpt(name int, val []byte) abi.Errno {
	if s.Protocol != unix.IPPROTO_ICMP || name != icmpFilter {
		return unix.ENOPROTOOPT
	}
	return s.keep(unix.SOL_RAW, name, append(val, 0, 0, 0, 0)[:4], -1<<31, 1<<31-1)
}
