package inet

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

var le = binary.LittleEndian

// sendControl applies the control messages of a datagram: IP_TTL, IP_TOS,
// IP_PKTINFO and their IPv6 kin. to becomes o.To only through its interface.
func (s *Socket) sendControl(b []byte, o *tcpip.WriteOptions, to *tcpip.FullAddress) abi.Errno {
	for {
		m, rest, ok, e := abi.NextCmsg(b)
		if e != 0 || !ok {
			return e
		}
		b = rest
		switch m.Level {
		case unix.SOL_SOCKET:
		case unix.SOL_IP:
			e = sendControl4(m, o, to)
		case unix.SOL_IPV6:
			if s.Family != unix.AF_INET6 {
				continue
			}
			e = sendControl6(m, o, to)
		case unix.SOL_UDP:
			e = unix.EINVAL // UDP_SEGMENT: not offered by getsockopt either
		}
		if e != 0 {
			return e
		}
	}
}

func sendControl4(m abi.Cmsg, o *tcpip.WriteOptions, to *tcpip.FullAddress) abi.Errno {
	switch m.Type {
	case unix.IP_TTL:
		if len(m.Data) != 4 {
			return unix.EINVAL
		}
		v := int32(le.Uint32(m.Data))
		if v < 1 || v > 255 {
			return unix.EINVAL
		}
		o.ControlMessages.HasTTL, o.ControlMessages.TTL = true, uint8(v)
	case unix.IP_TOS: // netstack takes the socket's own
		if len(m.Data) != 4 && len(m.Data) != 1 {
			return unix.EINVAL
		}
	case unix.IP_PKTINFO:
		if len(m.Data) != 12 {
			return unix.EINVAL
		}
		if idx := le.Uint32(m.Data); idx != 0 && o.To != nil {
			to.NIC = tcpip.NICID(idx)
		}
	default:
		return unix.EINVAL
	}
	return 0
}

func sendControl6(m abi.Cmsg, o *tcpip.WriteOptions, to *tcpip.FullAddress) abi.Errno {
	switch m.Type {
	case unix.IPV6_HOPLIMIT:
		if len(m.Data) != 4 {
			return unix.EINVAL
		}
		v := int32(le.Uint32(m.Data))
		if v < -1 || v > 255 {
			return unix.EINVAL
		}
		if v >= 0 {
			o.ControlMessages.HasHopLimit, o.ControlMessages.HopLimit = true, uint8(v)
		}
	case unix.IPV6_TCLASS:
		if len(m.Data) != 4 {
			return unix.EINVAL
		}
	case unix.IPV6_PKTINFO:
		if len(m.Data) < 20 {
			return unix.EINVAL
		}
		info := tcpip.IPv6PacketInfo{NIC: tcpip.NICID(le.Uint32(m.Data[16:]))}
		if a := [16]byte(m.Data[:16]); a != [16]byte{} {
			info.Addr = tcpip.AddrFrom16(a)
		}
		o.ControlMessages.HasIPv6PacketInfo, o.ControlMessages.IPv6PacketInfo = true, info
	default:
		return unix.EINVAL
	}
	return 0
}

// putControl adds the control messages of what was received.
func (s *Socket) putControl(m *socket.Msg, c *tcpip.ReceivableControlMessages) {
	if s.Timestamps() {
		at := ktime.Real()
		if c.HasTimestamp {
			at = c.Timestamp.UnixNano()
		}
		s.PutTimestamp(&m.Out, at)
	}
	if c.HasIPPacketInfo {
		var b [12]byte
		le.PutUint32(b[:], uint32(c.PacketInfo.NIC))
		if c.PacketInfo.LocalAddr.Len() == 4 {
			a := c.PacketInfo.LocalAddr.As4()
			copy(b[4:], a[:])
		}
		if c.PacketInfo.DestinationAddr.Len() == 4 {
			a := c.PacketInfo.DestinationAddr.As4()
			copy(b[8:], a[:])
		}
		m.Out.Put(unix.SOL_IP, unix.IP_PKTINFO, b[:])
	}
	if c.HasTTL {
		m.Out.PutInt(unix.SOL_IP, unix.IP_TTL, int32(c.TTL))
	}
	if c.HasTOS {
		m.Out.Put(unix.SOL_IP, unix.IP_TOS, []byte{c.TOS})
	}
	if c.HasIPv6PacketInfo {
		var b [20]byte
		a := c.IPv6PacketInfo.Addr
		if a.Len() == 4 {
			a = mapped(a)
		}
		if a.Len() == 16 {
			v := a.As16()
			copy(b[:], v[:])
		}
		le.PutUint32(b[16:], uint32(c.IPv6PacketInfo.NIC))
		m.Out.Put(unix.SOL_IPV6, unix.IPV6_PKTINFO, b[:])
	}
	if c.HasHopLimit {
		m.Out.PutInt(unix.SOL_IPV6, unix.IPV6_HOPLIMIT, int32(c.HopLimit))
	}
	if c.HasTClass {
		m.Out.PutInt(unix.SOL_IPV6, unix.IPV6_TCLASS, int32(c.TClass))
	}
	if c.HasOriginalDstAddress {
		level, typ, family := int32(unix.SOL_IP), int32(unix.IP_ORIGDSTADDR), unix.AF_INET
		if c.OriginalDstAddress.Addr.Len() == 16 {
			level, typ, family = unix.SOL_IPV6, unix.IPV6_ORIGDSTADDR, unix.AF_INET6
		}
		m.Out.Put(level, typ, sockaddr(nil, family, c.OriginalDstAddress))
	}
}

// recvErr takes an error off the error queue: MSG_ERRQUEUE of ip(7).
func (s *Socket) recvErr(m *socket.Msg) (int, abi.Errno) {
	se := s.ep().SocketOptions().DequeueErr()
	if se == nil {
		return 0, unix.EAGAIN
	}
	n := 0
	if se.Payload != nil {
		b := se.Payload.AsSlice()
		n = copy(m.Data, b)
		m.Len = len(b)
		if n < len(b) {
			m.Flags |= unix.MSG_TRUNC
		}
	}
	m.Flags |= unix.MSG_ERRQUEUE
	m.Name = sockaddr(m.Name[:0], s.Family, se.Dst)
	family, level, typ := unix.AF_INET, int32(unix.SOL_IP), int32(unix.IP_RECVERR)
	if s.Family == unix.AF_INET6 {
		family, level, typ = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	// struct sock_extended_err and the offender's address behind it.
	b := make([]byte, 16, 44)
	le.PutUint32(b, uint32(errno(se.Err)))
	b[4] = uint8(se.Cause.Origin())
	b[5] = se.Cause.Type()
	b[6] = se.Cause.Code()
	le.PutUint32(b[8:], se.Cause.Info())
	if se.Cause.Origin().IsICMPErr() {
		b = sockaddr(b, family, se.Offender)
	} else {
		b = append(b, make([]byte, 16)...)
	}
	m.Out.Put(level, typ, b)
	return n, 0
}
