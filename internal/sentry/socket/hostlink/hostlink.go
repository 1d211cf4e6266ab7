// Package hostlink gives a network stack the interfaces of the container's
// network namespace: Ethernet frames go through AF_PACKET sockets (packet(7))
// that the launch opened in that namespace, and the addresses and routes are
// those it found there. The sandbox uses nothing else of the namespace.
//
// It has no locks but an endpoint's own, which guards its dispatcher.
package hostlink

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"bulkhead.dev/bulkhead/internal/sentry/socket/inet"
	"bulkhead.dev/bulkhead/internal/wire"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
)

// Attach adds the interfaces and routes of n to st. file gives the packet
// socket for a NetInterface.FD; it belongs to the stack from then on.
func Attach(st *inet.Stack, n *wire.Network, file func(fd int) (*os.File, error)) error {
	for i := range n.Interfaces {
		if err := attachLink(st, &n.Interfaces[i], file); err != nil {
			return fmt.Errorf("interface %s: %w", n.Interfaces[i].Name, err)
		}
	}
	routes := slices.Clone(n.Routes)
	slices.SortStableFunc(routes, func(a, b wire.NetRoute) int { return cmp.Compare(a.Metric, b.Metric) })
	for _, r := range routes {
		rt, err := parseRoute(&r)
		if err != nil {
			return fmt.Errorf("route %s: %w", r.Dst, err)
		}
		st.AddRoute(rt)
	}
	return nil
}

func attachLink(st *inet.Stack, ni *wire.NetInterface, file func(int) (*os.File, error)) error {
	l := inet.Link{Name: ni.Name, Index: ni.Index, MTU: ni.MTU}
	if l.MTU < 68 || l.MTU > 65535 {
		return fmt.Errorf("MTU %d: want 68 to 65535", ni.MTU)
	}
	mac, err := net.ParseMAC(ni.MAC)
	if err != nil || len(mac) != len(l.MAC) {
		return fmt.Errorf("hardware address %q is not an Ethernet address", ni.MAC)
	}
	copy(l.MAC[:], mac)
	for _, s := range ni.Addrs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return fmt.Errorf("address %q: %w", s, err)
		}
		l.Addrs = append(l.Addrs, p)
	}
	f, err := file(ni.FD)
	if err != nil {
		return err
	}
	l.Endpoint = ethernet.New(newEndpoint(f, ni.MTU, l.MAC))
	return st.AddLink(l)
}

func parseRoute(r *wire.NetRoute) (rt inet.Route, err error) {
	if rt.Dst, err = netip.ParsePrefix(r.Dst); err != nil {
		return rt, err
	}
	if r.Gateway != "" {
		if rt.Gateway, err = netip.ParseAddr(r.Gateway); err != nil {
			return rt, err
		}
	}
	if r.Src != "" {
		if rt.Src, err = netip.ParseAddr(r.Src); err != nil {
			return rt, err
		}
	}
	rt.Link, rt.Metric = r.Interface, r.Metric
	return rt, nil
}
