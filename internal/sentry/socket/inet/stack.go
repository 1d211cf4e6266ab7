package inet

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/raw"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// Defaults of Linux's sysctls.
const (
	defaultTTL       = 64
	loopbackMTU      = 65536
	loopbackNIC      = 1
	defaultSomaxconn = 4096
	// net.ipv4.tcp_rmem and tcp_wmem.
	tcpRmemMin, tcpRmemDefault, tcpRmemMax = 4096, 131072, 6291456
	tcpWmemMin, tcpWmemDefault, tcpWmemMax = 4096, 16384, 4194304
)

// Stack is the network of a sandbox: interfaces, addresses, routes, and the
// sockets on them.
type Stack struct {
	net *stack.Stack

	lowPort atomic.Int32 // net.ipv4.ip_unprivileged_port_start
	somax   atomic.Int32 // net.core.somaxconn

	mu      sync.Mutex
	sockets map[*Socket]struct{}
	dials   map[connKey]*Socket // clients whose connection is not accepted yet
	links   []Link
}

// Link is an interface beside lo, as the namespace it was taken from had it.
type Link struct {
	Name  string
	Index int
	MTU   int
	MAC   [6]byte
	Addrs []netip.Prefix
	// Endpoint carries its frames.
	Endpoint stack.LinkEndpoint
}

// Route is one route. A zero Gateway is on the link.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr
	Src     netip.Addr
	Link    int
	Metric  int
}

// NewStack makes a stack with lo, 127.0.0.1/8 and ::1.
func NewStack() (*Stack, error) {
	st := &Stack{sockets: make(map[*Socket]struct{})}
	st.lowPort.Store(1024)
	st.somax.Store(defaultSomaxconn)
	st.net = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		RawFactory:         raw.EndpointFactory{},
		HandleLocal:        true,
	})
	if err := st.configure(); err != nil {
		st.net.Destroy()
		return nil, fmt.Errorf("network stack: %s", err)
	}
	return st, nil
}

// configure sets Linux's defaults, and the loopback interface.
func (st *Stack) configure() tcpip.Error {
	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	rmem := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcpRmemMin, Default: tcpRmemDefault, Max: tcpRmemMax}
	wmem := tcpip.TCPSendBufferSizeRangeOption{Min: tcpWmemMin, Default: tcpWmemDefault, Max: tcpWmemMax}
	nagle := tcpip.TCPDelayEnabled(true)
	cubic := tcpip.CongestionControlOption("cubic")
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &rmem, &wmem, &nagle, &cubic} {
		if err := st.net.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return err
		}
	}
	if err := st.net.CreateNICWithOptions(loopbackNIC, loopback.New(), stack.NICOptions{Name: "lo"}); err != nil {
		return err
	}
	for _, p := range []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")} {
		if err := st.addAddr(loopbackNIC, p); err != nil {
			return err
		}
		st.net.AddRoute(tcpip.Route{Destination: subnet(p), NIC: loopbackNIC})
	}
	return nil
}

// AddLink adds an interface with its addresses and the routes to its networks.
func (st *Stack) AddLink(l Link) error {
	id := tcpip.NICID(l.Index)
	if err := st.net.CreateNICWithOptions(id, l.Endpoint, stack.NICOptions{Name: l.Name}); err != nil {
		return fmt.Errorf("interface %s (index %d): %s", l.Name, l.Index, err)
	}
	for _, p := range l.Addrs {
		if err := st.addAddr(id, p); err != nil {
			return fmt.Errorf("interface %s: address %s: %s", l.Name, p, err)
		}
	}
	st.mu.Lock()
	st.links = append(st.links, l)
	st.mu.Unlock()
	return nil
}

// AddRoute adds a route. More specific ones come first in the table.
func (st *Stack) AddRoute(r Route) {
	rt := tcpip.Route{Destination: subnet(r.Dst.Masked()), NIC: tcpip.NICID(r.Link)}
	if r.Gateway.IsValid() {
		rt.Gateway = address(r.Gateway)
	}
	if r.Src.IsValid() {
		rt.SourceHint = address(r.Src)
	}
	st.net.AddRoute(rt)
}

func (st *Stack) addAddr(id tcpip.NICID, p netip.Prefix) tcpip.Error {
	proto := ipv4.ProtocolNumber
	if p.Addr().Is6() {
		proto = ipv6.ProtocolNumber
	}
	return st.net.AddProtocolAddress(id, tcpip.ProtocolAddress{
		Protocol:          proto,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: address(p.Addr()), PrefixLen: p.Bits()},
	}, stack.AddressProperties{})
}

func address(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

func subnet(p netip.Prefix) tcpip.Subnet {
	a := tcpip.AddressWithPrefix{Address: address(p.Addr()), PrefixLen: p.Bits()}
	return a.Subnet()
}

func netipAddr(a tcpip.Address) netip.Addr {
	n, _ := netip.AddrFromSlice(a.AsSlice())
	return n
}

func (st *Stack) add(s *Socket) {
	st.mu.Lock()
	st.sockets[s] = struct{}{}
	st.mu.Unlock()
}

func (st *Stack) remove(s *Socket) {
	st.mu.Lock()
	delete(st.sockets, s)
	st.mu.Unlock()
}

func (st *Stack) unprivilegedPort() int { return int(st.lowPort.Load()) }
func (st *Stack) somaxconn() int        { return int(st.somax.Load()) }

// SetUnprivilegedPort and SetSomaxconn are the sysctls
// net.ipv4.ip_unprivileged_port_start and net.core.somaxconn.
func (st *Stack) SetUnprivilegedPort(p int) { st.lowPort.Store(int32(p)) }
func (st *Stack) SetSomaxconn(n int)        { st.somax.Store(int32(n)) }

// SetPortRange is the sysctl net.ipv4.ip_local_port_range.
func (st *Stack) SetPortRange(lo, hi uint16) { st.net.SetPortRange(lo, hi) }

// Close ends every connection and interface.
func (st *Stack) Close() { st.net.Destroy() }

func (st *Stack) nicByName(name string) (tcpip.NICID, bool) {
	for _, l := range st.Links() {
		if l.Name == name {
			return tcpip.NICID(l.Index), true
		}
	}
	return 0, false
}

func (st *Stack) nicName(id tcpip.NICID) string { return st.net.FindNICNameFromID(id) }

// multicastNIC is the interface a group is joined on if none is named: that of
// the route, else the first that is not lo, else lo.
func (st *Stack) multicastNIC(tcpip.Address) tcpip.NICID {
	links := st.Links()
	for _, l := range links {
		if l.Index != loopbackNIC {
			return tcpip.NICID(l.Index)
		}
	}
	return loopbackNIC
}

// mtuTo gives the MTU of the route to a.
func (st *Stack) mtuTo(a tcpip.Address) int {
	for _, r := range st.net.GetRouteTable() {
		if r.Destination.Contains(a) {
			if l, ok := st.link(int(r.NIC)); ok {
				return l.MTU
			}
		}
	}
	return loopbackMTU
}

// LinkInfo is an interface as the guest sees it.
type LinkInfo struct {
	Index                                  int
	Name                                   string
	MTU                                    int
	MAC                                    [6]byte
	Loopback                               bool
	Up                                     bool
	Addrs                                  []netip.Prefix
	RxBytes, RxPackets, TxBytes, TxPackets uint64
}

// Links gives the interfaces by index.
func (st *Stack) Links() []LinkInfo {
	var out []LinkInfo
	for id, n := range st.net.NICInfo() {
		l := LinkInfo{
			Index: int(id), Name: n.Name, MTU: int(n.MTU), Loopback: n.Flags.Loopback, Up: n.Flags.Up,
			RxBytes: n.Stats.Rx.Bytes.Value(), RxPackets: n.Stats.Rx.Packets.Value(),
			TxBytes: n.Stats.Tx.Bytes.Value(), TxPackets: n.Stats.Tx.Packets.Value(),
		}
		if l.Loopback {
			l.MTU = loopbackMTU
		}
		copy(l.MAC[:], n.LinkAddress)
		for _, a := range n.ProtocolAddresses {
			l.Addrs = append(l.Addrs, netip.PrefixFrom(netipAddr(a.AddressWithPrefix.Address), a.AddressWithPrefix.PrefixLen))
		}
		slices.SortStableFunc(l.Addrs, func(a, b netip.Prefix) int { return a.Addr().BitLen() - b.Addr().BitLen() })
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b LinkInfo) int { return a.Index - b.Index })
	return out
}

func (st *Stack) link(index int) (LinkInfo, bool) {
	for _, l := range st.Links() {
		if l.Index == index {
			return l, true
		}
	}
	return LinkInfo{}, false
}

// Routes gives the routing table.
func (st *Stack) Routes() []Route {
	var out []Route
	for _, r := range st.net.GetRouteTable() {
		o := Route{
			Dst:  netip.PrefixFrom(netipAddr(r.Destination.ID()), r.Destination.Prefix()),
			Link: int(r.NIC),
		}
		if r.Gateway.Len() != 0 {
			o.Gateway = netipAddr(r.Gateway)
		}
		if r.SourceHint.Len() != 0 {
			o.Src = netipAddr(r.SourceHint)
		}
		out = append(out, o)
	}
	return out
}
