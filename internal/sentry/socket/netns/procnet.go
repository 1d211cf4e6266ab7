package netns

import (
	"fmt"

	"bulkhead.dev/bulkhead/internal/sentry/socket/inet"
	"net/netip"
)

// ProcNetNames are the files of /proc/net.
var ProcNetNames = []string{
	"anycast6", "arp", "dev", "dev_mcast", "fib_trie", "icmp", "icmp6", "if_inet6", "igmp", "ipv6_route", "netlink", "netstat",
	"packet", "protocols", "psched", "ptype", "raw", "raw6", "route", "snmp", "sockstat", "sockstat6", "tcp", "tcp6",
	"udp", "udp6", "unix",
}

// ProcNet gives the content of a file of /proc/net; ok is false for a name
// that does not exist. It does not make the stack.
func (n *Namespace) ProcNet(name string) (content []byte, ok bool) {
	st := n.inet.Load()
	if b, ok := st.ProcNetTable(name); ok {
		return b, true
	}
	switch name {
	case "unix":
		return n.Unix.ProcNetUnix(), true
	case "dev":
		return inet.ProcNetDev(n.interfaces(st)), true
	case "if_inet6":
		return inet.ProcNetIf6(n.interfaces(st)), true
	case "route":
		return st.ProcNetRoute(), true
	case "ipv6_route":
		return st.ProcNetRoute6(), true
	case "snmp":
		return st.ProcNetSnmp(), true
	case "sockstat":
		return st.ProcNetSockstat(n.Unix.Count()), true
	case "sockstat6":
		return []byte("TCP6: inuse 0\nUDP6: inuse 0\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n"), true
	case "arp":
		return []byte("IP address       HW type     Flags       HW address            Mask     Device\n"), true
	case "packet":
		return []byte("sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"), true
	case "netlink":
		return []byte("sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"), true
	case "ptype":
		return []byte("Type Device      Function\n"), true
	case "igmp":
		return []byte("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"), true
	case "protocols":
		return []byte("protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re sp bi br ha uh gp em\n"), true
	case "psched":
		return fmt.Appendf(nil, "%08x %08x %08x %08x\n", 1000, 64, 1000000, 1000000000), true
	case "netstat":
		return []byte("TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed\nTcpExt: 0 0 0\nIpExt: InNoRoutes InTruncatedPkts\nIpExt: 0 0\n"), true
	case "anycast6", "dev_mcast", "fib_trie":
		return nil, true
	}
	return nil, false
}

// interfaces gives the interfaces: those of the stack, or lo if there is none yet.
func (n *Namespace) interfaces(st *inet.Stack) []inet.LinkInfo {
	if st != nil {
		return st.Links()
	}
	return []inet.LinkInfo{{
		Index: 1, Name: "lo", MTU: 65536, Loopback: true, Up: true,
		Addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")},
	}}
}
