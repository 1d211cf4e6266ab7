package inet

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// fullAddress turns a sockaddr into netstack's form. The unspecified address
// becomes the empty one. An IPv6 socket takes v4-mapped addresses as they are.
func fullAddress(a abi.SockaddrIn6) tcpip.FullAddress {
	out := tcpip.FullAddress{Port: a.Port}
	if a.Is4 {
		if a.Addr != [16]byte{} {
			out.Addr = tcpip.AddrFrom4([4]byte(a.Addr[:4]))
		}
		return out
	}
	if a.Addr != [16]byte{} {
		out.Addr = tcpip.AddrFrom16(a.Addr)
	}
	if a.Addr[0] == 0xfe && a.Addr[1]&0xc0 == 0x80 || a.Addr[0] == 0xff {
		out.NIC = tcpip.NICID(a.Scope)
	}
	return out
}

// sockaddr turns netstack's form into the sockaddr of a family, appended to b.
func sockaddr(b []byte, family int, a tcpip.FullAddress) []byte {
	s := abi.SockaddrIn6{Is4: family == unix.AF_INET, Port: a.Port}
	switch {
	case s.Is4:
		if a.Addr.Len() == 4 {
			v := a.Addr.As4()
			copy(s.Addr[:], v[:])
		}
	case a.Addr.Len() == 4:
		v := a.Addr.As4()
		s.Addr[10], s.Addr[11] = 0xff, 0xff
		copy(s.Addr[12:], v[:])
	case a.Addr.Len() == 16:
		s.Addr = a.Addr.As16()
		if header.IsV6LinkLocalUnicastAddress(a.Addr) || header.IsV6LinkLocalMulticastAddress(a.Addr) {
			s.Scope = uint32(a.NIC)
		}
	}
	return s.Append(b)
}

// destination checks an address to connect or send to: ip(7), ipv6(7).
func (s *Socket) destination(b []byte) (tcpip.FullAddress, abi.Errno) {
	f, ok := abi.Family(b)
	if !ok {
		return tcpip.FullAddress{}, unix.EINVAL
	}
	want := abi.SockaddrInLen
	if s.Family == unix.AF_INET6 && f != unix.AF_INET {
		want = abi.SockaddrIn6Min
	}
	if len(b) < want {
		return tcpip.FullAddress{}, unix.EINVAL
	}
	switch {
	case int(f) == s.Family:
	case s.Family == unix.AF_INET && f == unix.AF_UNSPEC && s.Type != unix.SOCK_STREAM:
		return fullAddress(abi.SockaddrIn6{Is4: true}), unix.EAFNOSUPPORT
	case s.Family == unix.AF_INET6 && f == unix.AF_INET && s.Type != unix.SOCK_STREAM && !s.ep().SocketOptions().GetV6Only():
	default:
		return tcpip.FullAddress{}, unix.EAFNOSUPPORT
	}
	a, ok := abi.GetSockaddrIn(b)
	if !ok {
		return tcpip.FullAddress{}, unix.EINVAL
	}
	// To the unspecified address means to this host.
	if a.Addr == ([16]byte{}) {
		if a.Is4 {
			a.Addr = [16]byte{127, 0, 0, 1}
		} else {
			a.Addr[15] = 1
		}
	}
	full := fullAddress(a)
	if s.Family == unix.AF_INET6 && a.Is4 {
		full.Addr = mapped(full.Addr)
	}
	return full, 0
}

// mapped gives the v4-mapped IPv6 address of an IPv4 one.
func mapped(a tcpip.Address) tcpip.Address {
	v := a.As4()
	var m [16]byte
	m[10], m[11] = 0xff, 0xff
	copy(m[12:], v[:])
	return tcpip.AddrFrom16(m)
}

// local checks an address to bind to.
func (s *Socket) local(b []byte) (tcpip.FullAddress, abi.Errno) {
	f, ok := abi.Family(b)
	if !ok {
		return tcpip.FullAddress{}, unix.EINVAL
	}
	if s.Family == unix.AF_INET {
		if len(b) < abi.SockaddrInLen {
			return tcpip.FullAddress{}, unix.EINVAL
		}
		any := b[4]|b[5]|b[6]|b[7] == 0
		if f != unix.AF_INET && !(f == unix.AF_UNSPEC && any) {
			return tcpip.FullAddress{}, unix.EAFNOSUPPORT
		}
		a := abi.SockaddrIn6{Is4: true, Port: uint16(b[2])<<8 | uint16(b[3])}
		copy(a.Addr[:4], b[4:8])
		return fullAddress(a), 0
	}
	if len(b) < abi.SockaddrIn6Min {
		return tcpip.FullAddress{}, unix.EINVAL
	}
	if f != unix.AF_INET6 {
		return tcpip.FullAddress{}, unix.EAFNOSUPPORT
	}
	a, _ := abi.GetSockaddrIn(b)
	return fullAddress(a), 0
}
