package netlink

import (
	"net/netip"

	"bulkhead.dev/bulkhead/internal/sentry/socket/inet"
	"golang.org/x/sys/unix"
)

// A netlink message is a header and a body of a fixed part and attributes:
//
//	0 length  4 type (2)  6 flags (2)  8 sequence  12 port  16 body …
//
// An attribute is length (2), type (2) and a value, padded to four bytes.
const (
	headerLen = unix.NLMSG_HDRLEN
	attrLen   = 4
)

// builder makes one message after another in a buffer.
type builder struct {
	b     []byte
	start int
	seq   uint32
	port  uint32
}

// begin starts a message; body is its fixed part.
func (w *builder) begin(typ, flags uint16, body []byte) {
	w.start = len(w.b)
	w.b = le.AppendUint32(w.b, 0)
	w.b = le.AppendUint16(w.b, typ)
	w.b = le.AppendUint16(w.b, flags)
	w.b = le.AppendUint32(w.b, w.seq)
	w.b = le.AppendUint32(w.b, w.port)
	w.b = append(w.b, body...)
}

// end fills in the message's length.
func (w *builder) end() {
	le.PutUint32(w.b[w.start:], uint32(len(w.b)-w.start))
	w.pad()
}

func (w *builder) pad() {
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *builder) attr(typ uint16, v []byte) {
	w.b = le.AppendUint16(w.b, uint16(attrLen+len(v)))
	w.b = le.AppendUint16(w.b, typ)
	w.b = append(w.b, v...)
	w.pad()
}

func (w *builder) attr32(typ uint16, v uint32) { w.attr(typ, le.AppendUint32(nil, v)) }
func (w *builder) attr8(typ uint16, v uint8)   { w.attr(typ, []byte{v}) }
func (w *builder) str(typ uint16, v string)    { w.attr(typ, append([]byte(v), 0)) }

// attrs calls f for each attribute of b.
func attrs(b []byte, f func(typ uint16, v []byte)) {
	for len(b) >= attrLen {
		n := int(le.Uint16(b))
		if n < attrLen || n > len(b) {
			return
		}
		f(le.Uint16(b[2:])&^0xc000, b[attrLen:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// Constants that the unix package lacks (linux/if_link.h, linux/rtnetlink.h).
const (
	iflaMinMTU    = 50
	iflaMaxMTU    = 51
	operUnknown   = 0
	operUp        = 6
	rtmFCloned    = 0x200
	linkStatsLen  = 24
	metricKernel6 = 256
)

// link writes RTM_NEWLINK: struct ifinfomsg and IFLA_*.
func (w *builder) link(flags uint16, l *inet.LinkInfo) {
	body := make([]byte, unix.SizeofIfInfomsg)
	le.PutUint16(body[2:], l.HardwareType())
	le.PutUint32(body[4:], uint32(l.Index))
	f := l.Flags()
	if l.Up {
		f |= unix.IFF_LOWER_UP
	}
	le.PutUint32(body[8:], f)
	w.begin(unix.RTM_NEWLINK, flags, body)
	w.str(unix.IFLA_IFNAME, l.Name)
	w.attr32(unix.IFLA_TXQLEN, 1000)
	oper := uint8(operUp)
	if l.Loopback {
		oper = operUnknown
	}
	w.attr8(unix.IFLA_OPERSTATE, oper)
	w.attr8(unix.IFLA_LINKMODE, 0)
	w.attr32(unix.IFLA_MTU, uint32(l.MTU))
	w.attr32(iflaMinMTU, 0)
	w.attr32(iflaMaxMTU, 0)
	w.attr32(unix.IFLA_GROUP, 0)
	w.attr32(unix.IFLA_PROMISCUITY, 0)
	w.attr32(unix.IFLA_NUM_TX_QUEUES, 1)
	w.attr32(unix.IFLA_NUM_RX_QUEUES, 1)
	w.attr8(unix.IFLA_CARRIER, 1)
	w.str(unix.IFLA_QDISC, "noqueue")
	w.attr(unix.IFLA_ADDRESS, l.MAC[:])
	bcast := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	if l.Loopback {
		bcast = make([]byte, 6)
	}
	w.attr(unix.IFLA_BROADCAST, bcast)
	w.stats(l)
	w.end()
}

// stats writes struct rtnl_link_stats64 and the same of 32 bits.
func (w *builder) stats(l *inet.LinkInfo) {
	v := [linkStatsLen]uint64{l.RxPackets, l.TxPackets, l.RxBytes, l.TxBytes}
	var b64, b32 []byte
	for i, x := range v {
		b64 = le.AppendUint64(b64, x)
		if i < linkStatsLen-1 {
			b32 = le.AppendUint32(b32, uint32(x))
		}
	}
	w.attr(unix.IFLA_STATS64, b64)
	w.attr(unix.IFLA_STATS, b32)
}

// addr writes RTM_NEWADDR: struct ifaddrmsg and IFA_*.
func (w *builder) addr(flags uint16, l *inet.LinkInfo, p netip.Prefix) {
	body := make([]byte, unix.SizeofIfAddrmsg)
	a := p.Addr()
	body[0] = familyOf(a)
	body[1] = uint8(p.Bits())
	body[2] = unix.IFA_F_PERMANENT
	body[3] = scopeOf(a)
	le.PutUint32(body[4:], uint32(l.Index))
	w.begin(unix.RTM_NEWADDR, flags, body)
	w.attr(unix.IFA_ADDRESS, a.AsSlice())
	if a.Is4() {
		w.attr(unix.IFA_LOCAL, a.AsSlice())
		if !l.Loopback && p.Bits() < 31 {
			w.attr(unix.IFA_BROADCAST, broadcast(p).AsSlice())
		}
		w.str(unix.IFA_LABEL, l.Name)
	}
	w.attr32(unix.IFA_FLAGS, unix.IFA_F_PERMANENT)
	forever := ^uint32(0)
	info := le.AppendUint32(le.AppendUint32(nil, forever), forever)
	w.attr(unix.IFA_CACHEINFO, append(info, make([]byte, 8)...))
	w.end()
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func scopeOf(a netip.Addr) uint8 {
	switch {
	case a.IsLoopback():
		return unix.RT_SCOPE_HOST
	case a.IsLinkLocalUnicast():
		return unix.RT_SCOPE_LINK
	}
	return unix.RT_SCOPE_UNIVERSE
}

// broadcast gives a network's highest address.
func broadcast(p netip.Prefix) netip.Addr {
	v := p.Addr().As4()
	mask := ^uint32(0) >> p.Bits()
	for i := range v {
		v[i] |= byte(mask >> (24 - 8*i))
	}
	return netip.AddrFrom4(v)
}

// route writes RTM_NEWROUTE: struct rtmsg and RTA_*.
func (w *builder) route(flags uint16, r inet.Route, cloned bool) {
	body := make([]byte, unix.SizeofRtMsg)
	body[0] = familyOf(r.Dst.Addr())
	body[1] = uint8(r.Dst.Bits())
	table := uint8(unix.RT_TABLE_MAIN)
	body[5], body[6], body[7] = unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST
	switch {
	case r.Dst.Addr().Is4() && r.Dst.Addr().IsLoopback():
		table = unix.RT_TABLE_LOCAL
		body[5], body[6], body[7] = unix.RTPROT_KERNEL, unix.RT_SCOPE_HOST, unix.RTN_LOCAL
	case !r.Gateway.IsValid():
		body[5] = unix.RTPROT_KERNEL
		if r.Dst.Addr().Is4() {
			body[6] = unix.RT_SCOPE_LINK
		}
	}
	body[4] = table
	if cloned {
		le.PutUint32(body[8:], rtmFCloned)
	}
	w.begin(unix.RTM_NEWROUTE, flags, body)
	w.attr32(unix.RTA_TABLE, uint32(table))
	if r.Dst.Bits() > 0 {
		w.attr(unix.RTA_DST, r.Dst.Addr().AsSlice())
	}
	if r.Gateway.IsValid() {
		w.attr(unix.RTA_GATEWAY, r.Gateway.AsSlice())
	}
	if r.Src.IsValid() {
		w.attr(unix.RTA_PREFSRC, r.Src.AsSlice())
	}
	if r.Metric != 0 {
		w.attr32(unix.RTA_PRIORITY, uint32(r.Metric))
	} else if r.Dst.Addr().Is6() {
		w.attr32(unix.RTA_PRIORITY, metricKernel6)
	}
	w.attr32(unix.RTA_OIF, uint32(r.Link))
	w.end()
}
