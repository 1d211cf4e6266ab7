package abi

import "encoding/binary"

// Families (bits/socket.h) as sa_family_t.
const (
	AF_UNSPEC  = 0
	AF_UNIX    = 1
	AF_INET    = 2
	AF_INET6   = 10
	AF_NETLINK = 16
	AF_PACKET  = 17
	AF_MAX     = 46
)

// SockaddrUnMax is sizeof(struct sockaddr_un), SunPathMax its path's.
const (
	SockaddrUnMax  = 110
	SunPathMax     = 108
	SockaddrInLen  = 16
	SockaddrIn6Len = 28
	SockaddrNlLen  = 12
	// SockaddrIn6Min is the length without sin6_scope_id (RFC 2133).
	SockaddrIn6Min = 24
)

// Family gives the address family of a sockaddr; ok is false if it is too
// short to have one.
func Family(b []byte) (f uint16, ok bool) {
	if len(b) < 2 {
		return 0, false
	}
	return binary.LittleEndian.Uint16(b), true
}

// SockaddrIn6 is struct sockaddr_in6 or, with Is4, struct sockaddr_in; the
// address is in network order, the port in the host's.
type SockaddrIn6 struct {
	Is4      bool
	Port     uint16
	Flowinfo uint32
	Addr     [16]byte // of an IPv4 address the first four
	Scope    uint32
}

// GetSockaddrIn reads a struct sockaddr_in or sockaddr_in6 by its family; ok
// is false if it is too short or of another family.
func GetSockaddrIn(b []byte) (a SockaddrIn6, ok bool) {
	f, ok := Family(b)
	switch {
	case !ok:
		return a, false
	case f == AF_INET && len(b) >= SockaddrInLen:
		a.Is4 = true
		a.Port = binary.BigEndian.Uint16(b[2:])
		copy(a.Addr[:4], b[4:8])
		return a, true
	case f == AF_INET6 && len(b) >= SockaddrIn6Min:
		a.Port = binary.BigEndian.Uint16(b[2:])
		a.Flowinfo = binary.BigEndian.Uint32(b[4:])
		copy(a.Addr[:], b[8:24])
		if len(b) >= SockaddrIn6Len {
			a.Scope = binary.LittleEndian.Uint32(b[24:])
		}
		return a, true
	}
	return a, false
}

// Append adds the structure to b.
func (a *SockaddrIn6) Append(b []byte) []byte {
	if a.Is4 {
		b = binary.LittleEndian.AppendUint16(b, AF_INET)
		b = binary.BigEndian.AppendUint16(b, a.Port)
		b = append(b, a.Addr[:4]...)
		return append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	b = binary.LittleEndian.AppendUint16(b, AF_INET6)
	b = binary.BigEndian.AppendUint16(b, a.Port)
	b = binary.BigEndian.AppendUint32(b, a.Flowinfo)
	b = append(b, a.Addr[:]...)
	return binary.LittleEndian.AppendUint32(b, a.Scope)
}
