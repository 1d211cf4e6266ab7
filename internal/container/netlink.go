package container

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// readNetwork lists the interfaces of the current network namespace that are
// up, with their addresses, and the routes of the main table over them
// (rtnetlink(7)). Loopback and link-local IPv6 are the guest's own affair.
func readNetwork() (*wire.Network, error) {
	net := &wire.Network{}
	links, err := dump(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	known := make(map[int]int) // interface index to place in net.Interfaces
	for _, m := range links {
		if link, ok := parseLink(m); ok {
			known[link.Index] = len(net.Interfaces)
			net.Interfaces = append(net.Interfaces, link)
		}
	}
	if len(known) == 0 {
		return net, nil
	}
	addrs, err := dump(unix.RTM_GETADDR, unix.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	for _, m := range addrs {
		index, prefix, ok := parseAddr(m)
		if place, mine := known[index]; ok && mine {
			net.Interfaces[place].Addrs = append(net.Interfaces[place].Addrs, prefix.String())
		}
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := dump(unix.RTM_GETROUTE, family)
		if err != nil {
			return nil, err
		}
		for _, m := range routes {
			route, ok := parseRoute(m)
			if _, mine := known[route.Interface]; ok && mine {
				net.Routes = append(net.Routes, route)
			}
		}
	}
	return net, nil
}

func dump(kind, family int) ([]syscall.NetlinkMessage, error) {
	raw, err := syscall.NetlinkRIB(kind, family)
	if err != nil {
		return nil, fmt.Errorf("netlink request %d: %w", kind, err)
	}
	msgs, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return nil, fmt.Errorf("netlink request %d: %w", kind, err)
	}
	return msgs, nil
}

// parseLink reads a struct ifinfomsg: type at 2, index at 4, flags at 8.
func parseLink(m syscall.NetlinkMessage) (link wire.NetInterface, ok bool) {
	if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
		return link, false
	}
	flags := binary.NativeEndian.Uint32(m.Data[8:])
	if flags&unix.IFF_UP == 0 || flags&unix.IFF_LOOPBACK != 0 {
		return link, false
	}
	if kind := binary.NativeEndian.Uint16(m.Data[2:]); kind != unix.ARPHRD_ETHER {
		return link, false
	}
	link.Index = int(int32(binary.NativeEndian.Uint32(m.Data[4:])))
	attrs, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return link, false
	}
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFLA_IFNAME:
			link.Name = unix.ByteSliceToString(a.Value)
		case unix.IFLA_MTU:
			if len(a.Value) >= 4 {
				link.MTU = int(binary.NativeEndian.Uint32(a.Value))
			}
		case unix.IFLA_ADDRESS:
			link.MAC = macString(a.Value)
		}
	}
	return link, link.Name != ""
}

func macString(b []byte) string {
	var parts []string
	for _, v := range b {
		parts = append(parts, fmt.Sprintf("%02x", v))
	}
	return strings.Join(parts, ":")
}

// parseAddr reads a struct ifaddrmsg: prefix length at 1, scope at 3, index at
// 4.
func parseAddr(m syscall.NetlinkMessage) (index int, prefix netip.Prefix, ok bool) {
	if m.Header.Type != unix.RTM_NEWADDR || len(m.Data) < unix.SizeofIfAddrmsg {
		return 0, prefix, false
	}
	bits, scope := int(m.Data[1]), m.Data[3]
	index = int(binary.NativeEndian.Uint32(m.Data[4:]))
	attrs, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil || (m.Data[0] == unix.AF_INET6 && scope == unix.RT_SCOPE_LINK) {
		return 0, prefix, false
	}
	var addr netip.Addr
	for _, a := range attrs {
		got, valid := netip.AddrFromSlice(a.Value)
		switch {
		case !valid:
		case a.Attr.Type == unix.IFA_LOCAL: // goes before IFA_ADDRESS, which may be the peer
			addr = got
		case a.Attr.Type == unix.IFA_ADDRESS && !addr.IsValid():
			addr = got
		}
	}
	prefix = netip.PrefixFrom(addr, bits)
	return index, prefix, prefix.IsValid()
}

// parseRoute reads a struct rtmsg: family, dst_len at 1, table at 4, scope at
// 6, type at 7.
func parseRoute(m syscall.NetlinkMessage) (route wire.NetRoute, ok bool) {
	if m.Header.Type != unix.RTM_NEWROUTE || len(m.Data) < unix.SizeofRtMsg {
		return route, false
	}
	if m.Data[4] != unix.RT_TABLE_MAIN || m.Data[7] != unix.RTN_UNICAST {
		return route, false
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return route, false
	}
	dst := netip.IPv4Unspecified()
	if m.Data[0] == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	for _, a := range attrs {
		addr, isAddr := netip.AddrFromSlice(a.Value)
		switch a.Attr.Type {
		case unix.RTA_DST:
			if isAddr {
				dst = addr
			}
		case unix.RTA_GATEWAY:
			if isAddr {
				route.Gateway = addr.String()
			}
		case unix.RTA_PREFSRC:
			if isAddr {
				route.Src = addr.String()
			}
		case unix.RTA_OIF:
			if len(a.Value) >= 4 {
				route.Interface = int(binary.NativeEndian.Uint32(a.Value))
			}
		case unix.RTA_PRIORITY:
			if len(a.Value) >= 4 {
				route.Metric = int(binary.NativeEndian.Uint32(a.Value))
			}
		}
	}
	if dst.IsLinkLocalUnicast() && dst.Is6() || dst.IsMulticast() {
		return route, false
	}
	route.Scope = m.Data[6]
	prefix := netip.PrefixFrom(dst, int(m.Data[1]))
	route.Dst = prefix.String()
	return route, prefix.IsValid()
}

// deafen removes the host kernel's local routes of the addresses taken over:
// a packet for them is then for nobody there, so that it answers neither ARP
// nor TCP. The addresses stay on their interface, where engines look for them.
func deafen(net *wire.Network) error {
	for _, link := range net.Interfaces {
		for _, text := range link.Addrs {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return err
			}
			err = deleteLocalRoute(prefix.Addr(), link.Index)
			if err != nil && err != unix.ESRCH { // gone already
				return fmt.Errorf("local route of %s: %w", prefix.Addr(), err)
			}
		}
	}
	return nil
}

// deleteLocalRoute sends RTM_DELROUTE for one address of the local table.
func deleteLocalRoute(addr netip.Addr, index int) error {
	ip := addr.AsSlice()
	family := byte(unix.AF_INET)
	if addr.Is6() {
		family = unix.AF_INET6
	}
	var body []byte
	body = append(body, family, byte(8*len(ip)), 0, 0, unix.RT_TABLE_LOCAL, 0, unix.RT_SCOPE_NOWHERE, unix.RTN_LOCAL)
	body = binary.NativeEndian.AppendUint32(body, 0) // flags
	attr := func(kind int, value []byte) {
		body = binary.NativeEndian.AppendUint16(body, uint16(4+len(value)))
		body = binary.NativeEndian.AppendUint16(body, uint16(kind))
		body = append(body, value...) // four or sixteen bytes: aligned
	}
	attr(unix.RTA_DST, ip)
	attr(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(index)))
	return netlinkRequest(unix.RTM_DELROUTE, body)
}

// netlinkRequest sends one request and waits for its acknowledgement.
func netlinkRequest(kind int, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var msg []byte
	msg = binary.NativeEndian.AppendUint32(msg, uint32(unix.SizeofNlMsghdr+len(body)))
	msg = binary.NativeEndian.AppendUint16(msg, uint16(kind))
	msg = binary.NativeEndian.AppendUint16(msg, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	msg = binary.NativeEndian.AppendUint32(msg, 1) // sequence
	msg = binary.NativeEndian.AppendUint32(msg, 0) // port
	msg = append(msg, body...)
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	answers, err := syscall.ParseNetlinkMessage(buf[:n])
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.Header.Type == unix.NLMSG_ERROR && len(a.Data) >= 4 {
			if code := int32(binary.NativeEndian.Uint32(a.Data)); code != 0 {
				return unix.Errno(-code)
			}
			return nil
		}
	}
	return fmt.Errorf("netlink request %d: no acknowledgement", kind)
}
