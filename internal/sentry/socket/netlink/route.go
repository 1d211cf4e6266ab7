package netlink

import (
	"net/netip"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/socket/inet"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"golang.org/x/sys/unix"
)

// dumpSize is how much of a dump goes into one datagram.
const dumpSize = 16 << 10

// request is one message of the guest's.
type request struct {
	typ, flags uint16
	seq        uint32
	body       []byte
	raw        []byte // header and body, for the error message
}

// requests answers each message in b; what is malformed ends the work, as in
// the kernel.
func (s *Socket) requests(c vfs.Caller, b []byte) {
	for len(b) >= headerLen {
		n := int(le.Uint32(b))
		if n < headerLen || n > len(b) {
			return
		}
		r := request{typ: le.Uint16(b[4:]), flags: le.Uint16(b[6:]), seq: le.Uint32(b[8:]), body: b[headerLen:n], raw: b[:n]}
		b = b[min((n+3)&^3, len(b)):]
		if r.flags&unix.NLM_F_REQUEST == 0 || r.typ < unix.NLMSG_MIN_TYPE {
			if r.flags&unix.NLM_F_ACK != 0 {
				s.ack(&r, 0)
			}
			continue
		}
		e := s.route(c, &r)
		if e != 0 || r.flags&unix.NLM_F_ACK != 0 && r.flags&unix.NLM_F_DUMP != unix.NLM_F_DUMP {
			s.ack(&r, e)
		}
	}
}

func (s *Socket) builder(r *request) *builder {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &builder{seq: r.seq, port: s.port}
}

// ack sends NLMSG_ERROR: an errno, 0 for success, and the request.
func (s *Socket) ack(r *request, e abi.Errno) {
	w := s.builder(r)
	flags := uint16(0)
	echo := r.raw
	s.mu.Lock()
	capped := s.opts>>unix.NETLINK_CAP_ACK&1 != 0
	s.mu.Unlock()
	if e == 0 || capped {
		echo = echo[:headerLen]
		if capped || e == 0 {
			flags = nlmFCapped
		}
	}
	w.begin(unix.NLMSG_ERROR, flags, append(le.AppendUint32(nil, uint32(-int32(e))), echo...))
	w.end()
	s.answer(w.b)
}

const nlmFCapped = 0x100

// kinds of rtnetlink messages: the low two bits of the type.
const (
	kindNew = iota
	kindDel
	kindGet
	kindSet
)

// route carries out one request: rtnetlink(7).
func (s *Socket) route(c vfs.Caller, r *request) abi.Errno {
	if r.typ > rtmMax {
		return unix.EOPNOTSUPP
	}
	if len(r.body) < 1 { // struct rtgenmsg
		return 0
	}
	if int(r.typ-unix.RTM_BASE)&3 != kindGet && !c.Creds().Capable(auth.CAP_NET_ADMIN) {
		return unix.EPERM
	}
	st, e := s.ns.net.Inet()
	if e != 0 {
		return e
	}
	if r.flags&unix.NLM_F_DUMP != 0 && int(r.typ-unix.RTM_BASE)&3 == kindGet {
		if f := dumps[r.typ]; f != nil && (r.flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP || r.typ == unix.RTM_GETROUTE) {
			s.dump(r, st, f)
			return 0
		}
	}
	switch r.typ {
	case unix.RTM_GETLINK:
		return s.getLink(r, st)
	case unix.RTM_GETROUTE:
		return s.getRoute(r, st)
	case unix.RTM_NEWLINK, unix.RTM_SETLINK:
		return setLink(r, st)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return changeAddr(r, st)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return changeRoute(r, st)
	}
	return unix.EOPNOTSUPP
}

const rtmMax = 127

// dumps writes every object of a kind; between them, roll sends what is full.
var dumps = map[uint16]func(w *builder, r *request, st *inet.Stack, roll func()){
	unix.RTM_GETLINK:  dumpLinks,
	unix.RTM_GETADDR:  dumpAddrs,
	unix.RTM_GETROUTE: dumpRoutes,
	unix.RTM_GETNEIGH: func(*builder, *request, *inet.Stack, func()) {},
	unix.RTM_GETRULE:  dumpRules,
}

func (s *Socket) dump(r *request, st *inet.Stack, f func(*builder, *request, *inet.Stack, func())) {
	w := s.builder(r)
	f(w, r, st, func() {
		if len(w.b) >= dumpSize {
			s.answer(w.b)
			w.b = nil
		}
	})
	w.begin(unix.NLMSG_DONE, unix.NLM_F_MULTI, make([]byte, 4))
	w.end()
	s.answer(w.b)
}

func dumpLinks(w *builder, r *request, st *inet.Stack, roll func()) {
	for _, l := range st.Links() {
		w.link(unix.NLM_F_MULTI, &l)
		roll()
	}
}

func dumpAddrs(w *builder, r *request, st *inet.Stack, roll func()) {
	family, index := r.body[0], uint32(0)
	if len(r.body) >= unix.SizeofIfAddrmsg {
		index = le.Uint32(r.body[4:])
	}
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if family != unix.AF_UNSPEC && family != fam {
			continue
		}
		for _, l := range st.Links() {
			if index != 0 && uint32(l.Index) != index {
				continue
			}
			for _, p := range l.Addrs {
				if familyOf(p.Addr()) == fam {
					w.addr(unix.NLM_F_MULTI, &l, p)
					roll()
				}
			}
		}
	}
}

func dumpRoutes(w *builder, r *request, st *inet.Stack, roll func()) {
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if f := r.body[0]; f != unix.AF_UNSPEC && f != fam {
			continue
		}
		for _, rt := range st.Routes() {
			if familyOf(rt.Dst.Addr()) == fam {
				w.route(unix.NLM_F_MULTI, rt, false)
				roll()
			}
		}
	}
}

// dumpRules writes the three rules that every namespace begins with.
func dumpRules(w *builder, r *request, _ *inet.Stack, roll func()) {
	family := r.body[0]
	if family == unix.AF_UNSPEC {
		family = unix.AF_INET
	}
	for _, x := range []struct {
		table uint8
		prio  uint32
	}{{unix.RT_TABLE_LOCAL, 0}, {unix.RT_TABLE_MAIN, 32766}, {unix.RT_TABLE_DEFAULT, 32767}} {
		if family == unix.AF_INET6 && x.table == unix.RT_TABLE_DEFAULT {
			continue
		}
		body := make([]byte, unix.SizeofRtMsg) // struct fib_rule_hdr is of the same size
		body[0], body[4], body[7] = family, x.table, 1
		w.begin(unix.RTM_NEWRULE, unix.NLM_F_MULTI, body)
		w.attr32(unix.FRA_TABLE, uint32(x.table))
		if x.prio != 0 {
			w.attr32(unix.FRA_PRIORITY, x.prio)
		}
		w.end()
		roll()
	}
}

// findLink gives the link that an ifinfomsg names by index or IFLA_IFNAME.
func findLink(r *request, st *inet.Stack) (inet.LinkInfo, abi.Errno) {
	if len(r.body) < unix.SizeofIfInfomsg {
		return inet.LinkInfo{}, unix.EINVAL
	}
	index, name := int(int32(le.Uint32(r.body[4:]))), ""
	attrs(r.body[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
		if typ == unix.IFLA_IFNAME {
			name = cString(v)
		}
	})
	for _, l := range st.Links() {
		if index > 0 && l.Index == index || index <= 0 && name != "" && l.Name == name {
			return l, 0
		}
	}
	if index <= 0 && name == "" {
		return inet.LinkInfo{}, unix.EINVAL
	}
	return inet.LinkInfo{}, unix.ENODEV
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func (s *Socket) getLink(r *request, st *inet.Stack) abi.Errno {
	l, e := findLink(r, st)
	if e != 0 {
		return e
	}
	w := s.builder(r)
	w.link(0, &l)
	s.answer(w.b)
	return 0
}

// setLink takes what changes nothing: the links are up already.
func setLink(r *request, st *inet.Stack) abi.Errno {
	l, e := findLink(r, st)
	if e == unix.ENODEV && r.typ == unix.RTM_NEWLINK && r.flags&unix.NLM_F_CREATE != 0 {
		return unix.EOPNOTSUPP // no kind of virtual device
	}
	if e != 0 {
		return e
	}
	if r.flags&unix.NLM_F_EXCL != 0 {
		return unix.EEXIST
	}
	flags, change := le.Uint32(r.body[8:]), le.Uint32(r.body[12:])
	if (flags^l.Flags())&change&unix.IFF_UP != 0 {
		return unix.EOPNOTSUPP
	}
	other := false
	attrs(r.body[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
		same := typ == unix.IFLA_IFNAME && cString(v) == l.Name ||
			typ == unix.IFLA_MTU && len(v) == 4 && int(le.Uint32(v)) == l.MTU
		other = other || !same
	})
	if other {
		return unix.EOPNOTSUPP
	}
	return 0
}

// getRoute looks up the route to one address.
func (s *Socket) getRoute(r *request, st *inet.Stack) abi.Errno {
	if len(r.body) < unix.SizeofRtMsg {
		return unix.EINVAL
	}
	var dst netip.Addr
	attrs(r.body[unix.SizeofRtMsg:], func(typ uint16, v []byte) {
		if typ == unix.RTA_DST {
			dst, _ = netip.AddrFromSlice(v)
		}
	})
	if !dst.IsValid() {
		return unix.EINVAL
	}
	rt, ok := st.RouteTo(dst)
	if !ok {
		return unix.ENETUNREACH
	}
	rt.Dst = netip.PrefixFrom(dst, dst.BitLen())
	w := s.builder(r)
	w.route(0, rt, true)
	s.answer(w.b)
	return 0
}

// changeAddr is RTM_NEWADDR and RTM_DELADDR.
func changeAddr(r *request, st *inet.Stack) abi.Errno {
	if len(r.body) < unix.SizeofIfAddrmsg {
		return unix.EINVAL
	}
	var a netip.Addr
	attrs(r.body[unix.SizeofIfAddrmsg:], func(typ uint16, v []byte) {
		if typ == unix.IFA_LOCAL || typ == unix.IFA_ADDRESS && !a.IsValid() {
			a, _ = netip.AddrFromSlice(v)
		}
	})
	bits := int(r.body[1])
	if !a.IsValid() || familyOf(a) != r.body[0] || bits > a.BitLen() {
		return unix.EINVAL
	}
	index := int(int32(le.Uint32(r.body[4:])))
	p := netip.PrefixFrom(a, bits)
	if r.typ == unix.RTM_DELADDR {
		return st.RemoveAddr(index, p)
	}
	e := st.AddAddr(index, p)
	if e == unix.EEXIST && r.flags&unix.NLM_F_REPLACE != 0 {
		return 0
	}
	return e
}

// changeRoute is RTM_NEWROUTE and RTM_DELROUTE of the main table.
func changeRoute(r *request, st *inet.Stack) abi.Errno {
	if len(r.body) < unix.SizeofRtMsg {
		return unix.EINVAL
	}
	var rt inet.Route
	var dst netip.Addr
	attrs(r.body[unix.SizeofRtMsg:], func(typ uint16, v []byte) {
		switch {
		case typ == unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(v)
		case typ == unix.RTA_GATEWAY:
			rt.Gateway, _ = netip.AddrFromSlice(v)
		case typ == unix.RTA_PREFSRC:
			rt.Src, _ = netip.AddrFromSlice(v)
		case typ == unix.RTA_OIF && len(v) == 4:
			rt.Link = int(int32(le.Uint32(v)))
		case typ == unix.RTA_PRIORITY && len(v) == 4:
			rt.Metric = int(int32(le.Uint32(v)))
		}
	})
	switch {
	case dst.IsValid():
	case r.body[0] == unix.AF_INET:
		dst = netip.IPv4Unspecified()
	case r.body[0] == unix.AF_INET6:
		dst = netip.IPv6Unspecified()
	default:
		return unix.EAFNOSUPPORT
	}
	bits := int(r.body[1])
	if familyOf(dst) != r.body[0] || bits > dst.BitLen() || r.body[7] != unix.RTN_UNICAST && r.typ == unix.RTM_NEWROUTE {
		return unix.EINVAL
	}
	rt.Dst = netip.PrefixFrom(dst, bits).Masked()
	if r.typ == unix.RTM_DELROUTE {
		return st.RemoveRoute(rt)
	}
	return st.NewRoute(rt, r.flags&unix.NLM_F_REPLACE != 0)
}
