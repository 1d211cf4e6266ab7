package inet

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Headers of the tables in /proc/net: proc_pid_net(5).
const (
	tcpHeader  = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
	tcp6Header = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
	udpHeader  = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops"
	udp6Header = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops"
)

// table says which sockets a file lists, and how wide its lines are.
type table struct {
	header      string
	family, typ int
	protocol    int
	padded      int
}

var tables = map[string]table{
	"tcp":   {tcpHeader, unix.AF_INET, unix.SOCK_STREAM, 0, 149},
	"tcp6":  {tcp6Header, unix.AF_INET6, unix.SOCK_STREAM, 0, 0},
	"udp":   {udpHeader, unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP, 127},
	"udp6":  {udp6Header, unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDP, 0},
	"icmp":  {udpHeader, unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP, 127},
	"icmp6": {udp6Header, unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6, 0},
	"raw":   {udpHeader, unix.AF_INET, unix.SOCK_RAW, 0, 127},
	"raw6":  {udp6Header, unix.AF_INET6, unix.SOCK_RAW, 0, 0},
}

// ProcNetTable gives one of the tables of sockets. st may be nil: no sockets.
func (st *Stack) ProcNetTable(name string) ([]byte, bool) {
	t, ok := tables[name]
	if !ok {
		return nil, false
	}
	var w bytes.Buffer
	fmt.Fprintf(&w, "%-*s\n", t.padded, t.header)
	if st == nil {
		return w.Bytes(), true
	}
	n := 0
	for _, s := range st.sorted() {
		if s.Family != t.family || s.Type != t.typ || t.protocol != 0 && s.Protocol != t.protocol {
			continue
		}
		if line, ok := s.procLine(n, t.typ); ok {
			fmt.Fprintf(&w, "%-*s\n", t.padded, line)
			n++
		}
	}
	return w.Bytes(), true
}

func (st *Stack) sorted() []*Socket {
	st.mu.Lock()
	all := make([]*Socket, 0, len(st.sockets))
	for s := range st.sockets {
		all = append(all, s)
	}
	st.mu.Unlock()
	slices.SortFunc(all, func(a, b *Socket) int { return int(int64(a.Ino) - int64(b.Ino)) })
	return all
}

// procLine is a socket's line; unbound sockets have none.
func (s *Socket) procLine(n, typ int) (string, bool) {
	ep := s.ep()
	local, _ := ep.GetLocalAddress()
	remote, err := ep.GetRemoteAddress()
	st := uint8(7)
	if s.isTCP() {
		t := s.tcpState()
		if t == tcp.StateInitial || t == tcp.StateBound || t == tcp.StateClose || t == tcp.StateError {
			return "", false
		}
		st = linuxState(t)
	} else if err == nil {
		st = 1
	}
	if local.Port == 0 && typ != unix.SOCK_RAW {
		return "", false
	}
	if typ == unix.SOCK_RAW {
		local.Port = uint16(s.Protocol)
	}
	rx, _ := ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
	tx, _ := ep.GetSockOptInt(tcpip.SendQueueSizeOption)
	if d := s.direct.Load(); d != nil {
		rx = d.unread()
	}
	rx, tx = max(rx, 0), max(tx, 0) // -1: the protocol does not count
	line := fmt.Sprintf("%4d: %s:%04X %s:%04X %02X %08X:%08X 00:00000000 00000000 %5d        0 %d",
		n, s.hexAddr(local.Addr), local.Port, s.hexAddr(remote.Addr), remote.Port, st, tx, rx, s.uid, s.Ino)
	if s.isTCP() {
		return line + " 1 0000000000000000 100 0 0 10 0", true
	}
	return " " + line + " 2 0000000000000000 0", true
}

// hexAddr writes an address as words of the host's order.
func (s *Socket) hexAddr(a tcpip.Address) string {
	b := make([]byte, 4)
	if s.Family == unix.AF_INET6 {
		b = make([]byte, 16)
		if a.Len() == 4 {
			a = mapped(a)
		}
	}
	copy(b, a.AsSlice())
	return hexWords(b)
}

func hexWords(b []byte) string {
	var w bytes.Buffer
	for i := 0; i+4 <= len(b); i += 4 {
		fmt.Fprintf(&w, "%08X", le.Uint32(b[i:]))
	}
	return w.String()
}

// ProcNetDev gives /proc/net/dev.
func ProcNetDev(links []LinkInfo) []byte {
	var w bytes.Buffer
	w.WriteString("Inter-|   Receive                                                |  Transmit\n")
	w.WriteString(" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n")
	for _, l := range links {
		fmt.Fprintf(&w, "%6s: %7d %7d %4d %4d %4d %5d %10d %9d %8d %7d %4d %4d %4d %5d %7d %10d\n",
			l.Name, l.RxBytes, l.RxPackets, 0, 0, 0, 0, 0, 0, l.TxBytes, l.TxPackets, 0, 0, 0, 0, 0, 0)
	}
	return w.Bytes()
}

// ProcNetRoute gives /proc/net/route: IPv4's main table.
func (st *Stack) ProcNetRoute() []byte {
	var w bytes.Buffer
	fmt.Fprintf(&w, "%-127s\n", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT")
	if st == nil {
		return w.Bytes()
	}
	for _, r := range st.Routes() {
		if !r.Dst.Addr().Is4() || r.Link == loopbackNIC {
			continue
		}
		flags, gw := unix.RTF_UP, uint32(0)
		if r.Gateway.IsValid() {
			flags |= unix.RTF_GATEWAY
			gw = le.Uint32(r.Gateway.AsSlice())
		}
		if r.Dst.Bits() == 32 {
			flags |= unix.RTF_HOST
		}
		mask := make([]byte, 4)
		m := ^uint32(0) << (32 - r.Dst.Bits())
		mask[0], mask[1], mask[2], mask[3] = byte(m>>24), byte(m>>16), byte(m>>8), byte(m)
		line := fmt.Sprintf("%s\t%08X\t%08X\t%04X\t%d\t%d\t%d\t%08X\t%d\t%d\t%d", st.nicName(tcpip.NICID(r.Link)),
			le.Uint32(r.Dst.Addr().AsSlice()), gw, flags, 0, 0, r.Metric, le.Uint32(mask), 0, 0, 0)
		fmt.Fprintf(&w, "%-127s\n", line)
	}
	return w.Bytes()
}

// ProcNetIf6 gives /proc/net/if_inet6.
func ProcNetIf6(links []LinkInfo) []byte {
	var w bytes.Buffer
	for _, l := range links {
		for _, p := range l.Addrs {
			if !p.Addr().Is6() {
				continue
			}
			scope := 0
			switch {
			case p.Addr().IsLoopback():
				scope = 0x10
			case p.Addr().IsLinkLocalUnicast():
				scope = 0x20
			}
			fmt.Fprintf(&w, "%s %02x %02x %02x %02x %8s\n", hex.EncodeToString(p.Addr().AsSlice()), l.Index, p.Bits(), scope, 0x80, l.Name)
		}
	}
	return w.Bytes()
}

// ProcNetRoute6 gives /proc/net/ipv6_route.
func (st *Stack) ProcNetRoute6() []byte {
	var w bytes.Buffer
	if st == nil {
		return nil
	}
	zero := make([]byte, 16)
	for _, r := range st.Routes() {
		if !r.Dst.Addr().Is6() {
			continue
		}
		flags, gw := unix.RTF_UP, zero
		if r.Gateway.IsValid() {
			flags |= unix.RTF_GATEWAY
			gw = r.Gateway.AsSlice()
		}
		fmt.Fprintf(&w, "%x %02x %x 00 %x %08x %08x %08x %08x %8s\n", r.Dst.Addr().AsSlice(), r.Dst.Bits(), zero, gw,
			max(r.Metric, 256), 1, 0, flags, st.nicName(tcpip.NICID(r.Link)))
	}
	return w.Bytes()
}

// ProcNetSnmp gives /proc/net/snmp, as far as netstack counts.
func (st *Stack) ProcNetSnmp() []byte {
	var ip, t, u [16]uint64
	cur := 0
	if st != nil {
		s := st.net.Stats()
		ip = [16]uint64{s.IP.PacketsReceived.Value(), s.IP.MalformedPacketsReceived.Value(), s.IP.InvalidDestinationAddressesReceived.Value(), s.IP.PacketsDelivered.Value(), s.IP.PacketsSent.Value(), s.IP.OutgoingPacketErrors.Value()}
		t = [16]uint64{s.TCP.ActiveConnectionOpenings.Value(), s.TCP.PassiveConnectionOpenings.Value(), s.TCP.FailedConnectionAttempts.Value(), s.TCP.EstablishedResets.Value(), s.TCP.CurrentEstablished.Value(), s.TCP.ValidSegmentsReceived.Value(), s.TCP.SegmentsSent.Value(), s.TCP.Retransmits.Value(), s.TCP.InvalidSegmentsReceived.Value(), s.TCP.ResetsSent.Value()}
		u = [16]uint64{s.UDP.PacketsReceived.Value(), s.UDP.UnknownPortErrors.Value(), s.UDP.MalformedPacketsReceived.Value(), s.UDP.PacketsSent.Value(), s.UDP.ReceiveBufferErrors.Value()}
		cur = int(t[4])
	}
	var w bytes.Buffer
	w.WriteString("Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates\n")
	fmt.Fprintf(&w, "Ip: 2 %d %d %d %d 0 0 0 %d %d %d 0 0 0 0 0 0 0 0\n", defaultTTL, ip[0], ip[1], ip[2], ip[3], ip[4], ip[5])
	w.WriteString("Icmp: InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps\n")
	w.WriteString("Icmp: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n")
	w.WriteString("Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n")
	fmt.Fprintf(&w, "Tcp: 1 200 120000 -1 %d %d %d %d %d %d %d %d %d %d 0\n", t[0], t[1], t[2], t[3], cur, t[5], t[6], t[7], t[8], t[9])
	w.WriteString("Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n")
	fmt.Fprintf(&w, "Udp: %d %d %d %d %d 0 0 0 0\n", u[0], u[1], u[2], u[3], u[4])
	w.WriteString("UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n")
	w.WriteString("UdpLite: 0 0 0 0 0 0 0 0 0\n")
	return w.Bytes()
}

// ProcNetSockstat gives /proc/net/sockstat; unixSockets are counted too.
func (st *Stack) ProcNetSockstat(unixSockets int) []byte {
	var n [4]int
	total := unixSockets
	if st != nil {
		for _, s := range st.sorted() {
			total++
			switch {
			case s.Family != unix.AF_INET:
			case s.isTCP():
				n[0]++
			case s.Type == unix.SOCK_RAW:
				n[2]++
			default:
				n[1]++
			}
		}
	}
	return fmt.Appendf(nil, "sockets: used %d\nTCP: inuse %d orphan 0 tw 0 alloc %d mem 0\nUDP: inuse %d mem 0\nUDPLITE: inuse 0\nRAW: inuse %d\nFRAG: inuse 0 memory 0\n",
		total, n[0], n[0], n[1], n[2])
}
