package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// upLoopback brings lo up: containers share the VM's network.
func upLoopback() error {
	n, err := openNetlink()
	if err != nil {
		return err
	}
	defer n.close()
	if err := n.do(newMessage(unix.RTM_NEWLINK, 0, linkBody(1, unix.IFF_UP, unix.IFF_UP))); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	return nil
}

// network sets up interfaces, then routes and neighbours.
func (a *Agent) network(w *agentpb.Network) error {
	if len(w.Interfaces) > 0 {
		if err := a.modules.load(agentpb.GroupNet); err != nil {
			return err
		}
	}
	if err := a.prepare(); err != nil { // lo
		return err
	}
	n, err := openNetlink()
	if err != nil {
		return err
	}
	defer n.close()
	for i, dev := range w.Interfaces {
		if err := a.iface(n, dev); err != nil {
			return fmt.Errorf("interfaces[%d] (%s): %w", i, dev.Name, err)
		}
	}
	for i, r := range w.Routes {
		if err := n.route(r); err != nil {
			return fmt.Errorf("routes[%d] (%s): %w", i, r.Destination, err)
		}
	}
	for i, r := range w.Neighbours {
		if err := n.neighbour(r); err != nil {
			return fmt.Errorf("neighbours[%d] (%s): %w", i, r.Address, err)
		}
	}
	return nil
}

func (a *Agent) iface(n *netlink, dev *agentpb.Interface) error {
	if _, err := parseMAC(dev.Mac); err != nil {
		return err
	}
	var name string
	var index int
	if err := a.retry(func() (err error) {
		name, index, err = linkByMAC(dev.Mac)
		return err
	}, unix.ENODEV); err != nil {
		return err
	}
	m := newMessage(unix.RTM_NEWLINK, 0, linkBody(index, 0, unix.IFF_UP)) // a name may change while it is down
	if dev.Name != "" && dev.Name != name {
		m.attr(unix.IFLA_IFNAME, append([]byte(dev.Name), 0))
	}
	if dev.SetMac != "" {
		mac, err := parseMAC(dev.SetMac)
		if err != nil {
			return err
		}
		m.attr(unix.IFLA_ADDRESS, mac)
	}
	if dev.Mtu != 0 {
		m.attr32(unix.IFLA_MTU, dev.Mtu)
	}
	if err := n.do(m); err != nil {
		return fmt.Errorf("name and MTU: %w", err)
	}
	for _, s := range dev.Addresses {
		if err := n.address(index, s); err != nil {
			return fmt.Errorf("address %s: %w", s, err)
		}
	}
	flags := uint32(unix.IFF_UP)
	if dev.NoArp {
		flags |= unix.IFF_NOARP
	}
	if err := n.do(newMessage(unix.RTM_NEWLINK, 0, linkBody(index, flags, unix.IFF_UP|unix.IFF_NOARP))); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	return nil
}

// linkByMAC finds an interface, ENODEV if it is not there (yet).
func linkByMAC(mac string) (name string, index int, err error) {
	list, err := os.ReadDir("/sys/class/net")
	if err != nil {
		return "", 0, err
	}
	for _, d := range list {
		have, err := readFile("/sys/class/net/" + d.Name() + "/address")
		if err != nil || !strings.EqualFold(have, mac) || d.Name() == "lo" {
			continue
		}
		i, err := readFile("/sys/class/net/" + d.Name() + "/ifindex")
		if err != nil {
			return "", 0, err
		}
		return d.Name(), int(number(i)), nil
	}
	return "", 0, fmt.Errorf("no interface has the MAC address %s: %w", mac, unix.ENODEV)
}

// address adds one; an IPv6 address is used at once, as the host has tested it
// for duplicates already.
func (n *netlink) address(index int, s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("%w: %v", errInvalid, err)
	}
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = family(p.Addr()), byte(p.Bits())
	le.PutUint32(b[4:], uint32(index))
	if p.Addr().Is6() {
		b[2] = unix.IFA_F_NODAD
		if p.Addr().IsLinkLocalUnicast() {
			b[3] = unix.RT_SCOPE_LINK
		}
	}
	m := newMessage(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, b)
	m.attr(unix.IFA_LOCAL, p.Addr().AsSlice())
	m.attr(unix.IFA_ADDRESS, p.Addr().AsSlice())
	if p.Addr().Is4() && p.Bits() < 31 {
		m.attr(unix.IFA_BROADCAST, broadcast(p))
	}
	return n.do(m)
}

func broadcast(p netip.Prefix) []byte {
	b := p.Addr().As4()
	host := uint32(1)<<(32-p.Bits()) - 1
	return binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(b[:])|host)
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (n *netlink) route(r *agentpb.Route) error {
	dst, err := netip.ParsePrefix(r.Destination)
	if err != nil {
		return fmt.Errorf("%w: %v", errInvalid, err)
	}
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1] = family(dst.Addr()), byte(dst.Bits())
	b[4], b[5], b[6], b[7] = unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, byte(r.Scope), unix.RTN_UNICAST
	if r.Onlink {
		le.PutUint32(b[8:], unix.RTNH_F_ONLINK)
	}
	m := newMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, b)
	if dst.Bits() > 0 {
		m.attr(unix.RTA_DST, dst.Masked().Addr().AsSlice())
	}
	for _, a := range []struct {
		kind uint16
		text string
	}{{unix.RTA_GATEWAY, r.Gateway}, {unix.RTA_PREFSRC, r.Source}} {
		if a.text == "" {
			continue
		}
		addr, err := netip.ParseAddr(a.text)
		if err != nil || addr.Is4() != dst.Addr().Is4() {
			return fmt.Errorf("%q %w", a.text, errInvalid)
		}
		m.attr(a.kind, addr.AsSlice())
	}
	if r.Interface != "" {
		index, err := linkIndex(r.Interface)
		if err != nil {
			return err
		}
		m.attr32(unix.RTA_OIF, index)
	}
	if r.Metric != 0 {
		m.attr32(unix.RTA_PRIORITY, r.Metric)
	}
	return n.do(m)
}

func (n *netlink) neighbour(r *agentpb.Neighbour) error {
	addr, err := netip.ParseAddr(r.Address)
	if err != nil {
		return fmt.Errorf("%w: %v", errInvalid, err)
	}
	mac, err := parseMAC(r.Mac)
	if err != nil {
		return err
	}
	index, err := linkIndex(r.Interface)
	if err != nil {
		return err
	}
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = family(addr)
	le.PutUint32(b[4:], index)
	le.PutUint16(b[8:], unix.NUD_PERMANENT)
	m := newMessage(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, b)
	m.attr(unix.NDA_DST, addr.AsSlice())
	m.attr(unix.NDA_LLADDR, mac)
	return n.do(m)
}

func linkIndex(name string) (uint32, error) {
	if name == "" || strings.Contains(name, "/") {
		return 0, fmt.Errorf("interface %q %w", name, errInvalid)
	}
	i, err := readFile("/sys/class/net/" + name + "/ifindex")
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("interface %s %w", name, errNotFound)
	}
	return uint32(number(i)), err
}

// parseMAC reads "02:42:ac:11:00:02".
func parseMAC(s string) ([]byte, error) {
	parts := strings.Split(s, ":")
	out := make([]byte, 0, 6)
	for _, p := range parts {
		var v byte
		if len(p) != 2 {
			return nil, fmt.Errorf("MAC address %q %w", s, errInvalid)
		}
		for _, c := range []byte(strings.ToLower(p)) {
			i := strings.IndexByte("0123456789abcdef", c)
			if i < 0 {
				return nil, fmt.Errorf("MAC address %q %w", s, errInvalid)
			}
			v = v<<4 | byte(i)
		}
		out = append(out, v)
	}
	if len(out) != 6 {
		return nil, fmt.Errorf("MAC address %q %w", s, errInvalid)
	}
	return out, nil
}
