package inet

import (
	"net/netip"

	"bulkhead.dev/bulkhead/internal/abi"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// RouteTo gives the most specific route to a.
func (st *Stack) RouteTo(a netip.Addr) (Route, bool) {
	var best Route
	found := false
	for _, r := range st.Routes() {
		if r.Dst.Contains(a) && (!found || r.Dst.Bits() > best.Dst.Bits()) {
			best, found = r, true
		}
	}
	if !found {
		return best, false
	}
	if !best.Src.IsValid() {
		if l, ok := st.link(best.Link); ok {
			for _, p := range l.Addrs {
				if p.Addr().BitLen() == a.BitLen() {
					best.Src = p.Addr()
					break
				}
			}
		}
	}
	return best, true
}

// AddAddr and RemoveAddr change an interface's addresses, and with them the
// routes to its networks.
func (st *Stack) AddAddr(index int, p netip.Prefix) abi.Errno {
	l, ok := st.link(index)
	if !ok {
		return unix.ENODEV
	}
	if err := st.addAddr(tcpip.NICID(index), p); err != nil {
		return errno(err)
	}
	if !l.Loopback && p.Bits() < p.Addr().BitLen() {
		st.AddRoute(Route{Dst: p.Masked(), Src: p.Addr(), Link: index})
	}
	return 0
}

func (st *Stack) RemoveAddr(index int, p netip.Prefix) abi.Errno {
	if _, ok := st.link(index); !ok {
		return unix.ENODEV
	}
	if err := st.net.RemoveAddress(tcpip.NICID(index), address(p.Addr())); err != nil {
		return unix.EADDRNOTAVAIL
	}
	src := address(p.Addr())
	st.net.RemoveRoutes(func(r tcpip.Route) bool { return r.NIC == tcpip.NICID(index) && r.SourceHint == src })
	return 0
}

// NewRoute adds a route whose interface may be left to its gateway to tell.
func (st *Stack) NewRoute(r Route, replace bool) abi.Errno {
	if r.Link == 0 {
		via, ok := st.RouteTo(r.Gateway)
		if !r.Gateway.IsValid() || !ok {
			return unix.ENETUNREACH
		}
		r.Link = via.Link
	}
	if _, ok := st.link(r.Link); !ok {
		return unix.ENODEV
	}
	if r.Gateway.IsValid() && r.Gateway.BitLen() != r.Dst.Addr().BitLen() {
		return unix.EINVAL
	}
	for _, old := range st.Routes() {
		if old.Dst == r.Dst && !replace {
			return unix.EEXIST
		}
	}
	if replace {
		st.dropRoutes(r.Dst, 0)
	}
	st.AddRoute(r)
	return 0
}

// RemoveRoute removes the routes to r.Dst, on r.Link if that is given.
func (st *Stack) RemoveRoute(r Route) abi.Errno {
	if st.dropRoutes(r.Dst, r.Link) == 0 {
		return unix.ESRCH
	}
	return 0
}

func (st *Stack) dropRoutes(dst netip.Prefix, link int) int {
	want := subnet(dst)
	return st.net.RemoveRoutes(func(r tcpip.Route) bool {
		return r.Destination == want && r.NIC != loopbackNIC && (link == 0 || r.NIC == tcpip.NICID(link))
	})
}
