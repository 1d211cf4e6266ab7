package inet

import (
	"bytes"
	"time"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Bounds of tcp(7)'s options (include/net/tcp.h).
const (
	maxKeepIdle  = 32767
	maxKeepIntvl = 32767
	maxKeepCnt   = 127
	maxSynCnt    = 127
	minMSS       = 88
	maxWindow    = 32767
	ulpNameMax   = 16
	caNameMax    = 16
)

func (s *Socket) setTCPOpt(name int, val []byte) abi.Errno {
	ep := s.ep()
	switch name {
	case unix.TCP_CONGESTION:
		return s.setCongestion(val)
	case unix.TCP_ULP:
		return unix.ENOENT // no such module
	}
	v, e := socket.Int(val)
	if e != 0 {
		return e
	}
	seconds := time.Duration(v) * time.Second
	switch name {
	case unix.TCP_NODELAY:
		ep.SocketOptions().SetDelayOption(v == 0)
	case unix.TCP_CORK:
		ep.SocketOptions().SetCorkOption(v != 0)
	case unix.TCP_QUICKACK:
		ep.SocketOptions().SetQuickAck(v != 0)
	case unix.TCP_KEEPIDLE:
		if v < 1 || v > maxKeepIdle {
			return unix.EINVAL
		}
		o := tcpip.KeepaliveIdleOption(seconds)
		return errno(ep.SetSockOpt(&o))
	case unix.TCP_KEEPINTVL:
		if v < 1 || v > maxKeepIntvl {
			return unix.EINVAL
		}
		o := tcpip.KeepaliveIntervalOption(seconds)
		return errno(ep.SetSockOpt(&o))
	case unix.TCP_KEEPCNT:
		if v < 1 || v > maxKeepCnt {
			return unix.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.KeepaliveCountOption, int(v)))
	case unix.TCP_USER_TIMEOUT:
		if v < 0 {
			return unix.EINVAL
		}
		o := tcpip.TCPUserTimeoutOption(time.Duration(v) * time.Millisecond)
		return errno(ep.SetSockOpt(&o))
	case unix.TCP_MAXSEG:
		if v != 0 && (v < minMSS || v > maxWindow) {
			return unix.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.MaxSegOption, int(v)))
	case unix.TCP_SYNCNT:
		if v < 1 || v > maxSynCnt {
			return unix.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.TCPSynCountOption, int(v)))
	case unix.TCP_DEFER_ACCEPT:
		o := tcpip.TCPDeferAcceptOption(max(seconds, 0))
		return errno(ep.SetSockOpt(&o))
	case unix.TCP_LINGER2:
		o := tcpip.TCPLingerTimeoutOption(seconds)
		return errno(ep.SetSockOpt(&o))
	case unix.TCP_WINDOW_CLAMP:
		if v == 0 && s.tcpState() != tcp.StateInitial && s.tcpState() != tcp.StateBound {
			return unix.EINVAL
		}
		return errno(ep.SetSockOptInt(tcpip.TCPWindowClampOption, int(v)))
	case unix.TCP_INQ:
		return s.keep(unix.SOL_TCP, name, val, 0, 1)
	case unix.TCP_NOTSENT_LOWAT, unix.TCP_THIN_LINEAR_TIMEOUTS, unix.TCP_THIN_DUPACK:
		s.opts.set(unix.SOL_TCP, name, v) // hints
	case unix.TCP_FASTOPEN:
		// A listener may always do without the option in a SYN.
		if v < 0 || s.tcpState() != tcp.StateInitial && s.tcpState() != tcp.StateBound && s.tcpState() != tcp.StateListen {
			return unix.EINVAL
		}
		s.opts.set(unix.SOL_TCP, name, v)
	case unix.TCP_FASTOPEN_CONNECT:
		return unix.EOPNOTSUPP
	case unix.TCP_REPAIR:
		return unix.EPERM
	default:
		return unix.ENOPROTOOPT
	}
	return 0
}

func (s *Socket) setCongestion(val []byte) abi.Errno {
	if len(val) < 1 {
		return unix.EINVAL
	}
	val = val[:min(len(val), caNameMax-1)]
	if i := bytes.IndexByte(val, 0); i >= 0 {
		val = val[:i]
	}
	o := tcpip.CongestionControlOption(val)
	if err := s.ep().SetSockOpt(&o); err != nil {
		return unix.ENOENT
	}
	return 0
}

func (s *Socket) getTCPOpt(name, size int) ([]byte, abi.Errno) {
	ep := s.ep()
	so := ep.SocketOptions()
	switch name {
	case unix.TCP_NODELAY:
		return socket.PutBool(!so.GetDelayOption()), 0
	case unix.TCP_CORK:
		return socket.PutBool(so.GetCorkOption()), 0
	case unix.TCP_QUICKACK:
		return socket.PutBool(so.GetQuickAck()), 0
	case unix.TCP_KEEPIDLE:
		var o tcpip.KeepaliveIdleOption
		return duration(ep.GetSockOpt(&o), time.Duration(o), time.Second)
	case unix.TCP_KEEPINTVL:
		var o tcpip.KeepaliveIntervalOption
		return duration(ep.GetSockOpt(&o), time.Duration(o), time.Second)
	case unix.TCP_USER_TIMEOUT:
		var o tcpip.TCPUserTimeoutOption
		return duration(ep.GetSockOpt(&o), time.Duration(o), time.Millisecond)
	case unix.TCP_DEFER_ACCEPT:
		var o tcpip.TCPDeferAcceptOption
		return duration(ep.GetSockOpt(&o), time.Duration(o), time.Second)
	case unix.TCP_LINGER2:
		var o tcpip.TCPLingerTimeoutOption
		return duration(ep.GetSockOpt(&o), time.Duration(o), time.Second)
	case unix.TCP_KEEPCNT:
		return intOpt(ep, tcpip.KeepaliveCountOption)
	case unix.TCP_MAXSEG:
		return intOpt(ep, tcpip.MaxSegOption)
	case unix.TCP_SYNCNT:
		return intOpt(ep, tcpip.TCPSynCountOption)
	case unix.TCP_WINDOW_CLAMP:
		return intOpt(ep, tcpip.TCPWindowClampOption)
	case unix.TCP_CONGESTION:
		var o tcpip.CongestionControlOption
		if err := ep.GetSockOpt(&o); err != nil {
			return nil, errno(err)
		}
		b := make([]byte, caNameMax)
		copy(b, o)
		return b, 0
	case unix.TCP_INFO:
		return s.tcpInfo(), 0
	case unix.TCP_INQ, unix.TCP_NOTSENT_LOWAT, unix.TCP_THIN_LINEAR_TIMEOUTS, unix.TCP_THIN_DUPACK, unix.TCP_FASTOPEN:
		return socket.PutInt(s.opts.get(unix.SOL_TCP, name)), 0
	case unix.TCP_ULP:
		return nil, 0
	case unix.TCP_FASTOPEN_CONNECT, unix.TCP_TIMESTAMP, unix.TCP_REPAIR:
		return socket.PutInt(0), 0
	}
	return nil, unix.ENOPROTOOPT
}

func duration(err tcpip.Error, d, unit time.Duration) ([]byte, abi.Errno) {
	if err != nil {
		return nil, errno(err)
	}
	return socket.PutInt(int32(d / unit)), 0
}

func intOpt(ep tcpip.Endpoint, o tcpip.SockOptInt) ([]byte, abi.Errno) {
	v, err := ep.GetSockOptInt(o)
	if err != nil {
		return nil, errno(err)
	}
	return socket.PutInt(int32(v)), 0
}

// linuxState gives TCP_ESTABLISHED … as Linux numbers them.
func linuxState(st tcp.EndpointState) uint8 {
	switch st {
	case tcp.StateEstablished:
		return 1
	case tcp.StateConnecting, tcp.StateSynSent:
		return 2
	case tcp.StateSynRecv:
		return 3
	case tcp.StateFinWait1:
		return 4
	case tcp.StateFinWait2:
		return 5
	case tcp.StateTimeWait:
		return 6
	case tcp.StateCloseWait:
		return 8
	case tcp.StateLastAck:
		return 9
	case tcp.StateListen:
		return 10
	case tcp.StateClosing:
		return 11
	}
	return 7 // TCP_CLOSE
}

// tcpInfoLen is sizeof(struct tcp_info) of Linux 6.1.
const tcpInfoLen = 240

// tcpInfo fills in struct tcp_info as far as netstack knows it.
func (s *Socket) tcpInfo() []byte {
	b := make([]byte, tcpInfoLen)
	b[0] = linuxState(s.tcpState())
	var o tcpip.TCPInfoOption
	if s.ep().GetSockOpt(&o) == nil {
		b[1] = uint8(o.CcState)
		le.PutUint32(b[8:], uint32(o.RTO/time.Microsecond))
		le.PutUint32(b[68:], uint32(o.RTT/time.Microsecond))
		le.PutUint32(b[72:], uint32(o.RTTVar/time.Microsecond))
		le.PutUint32(b[76:], o.SndSsthresh)
		le.PutUint32(b[80:], o.SndCwnd)
		if o.ReorderSeen {
			le.PutUint32(b[236:], 1)
		}
	}
	le.PutUint32(b[12:], 40000) // ato
	if v, err := s.ep().GetSockOptInt(tcpip.MaxSegOption); err == nil {
		le.PutUint32(b[16:], uint32(v)) // snd_mss
		le.PutUint32(b[20:], uint32(v)) // rcv_mss
		le.PutUint32(b[84:], uint32(v)) // advmss
	}
	le.PutUint32(b[88:], 3) // reordering
	return b
}

func (s *Socket) setUDPOpt(name int, val []byte) abi.Errno {
	v, e := socket.Int(val)
	if e != 0 {
		return e
	}
	if name != unix.UDP_CORK {
		return unix.ENOPROTOOPT
	}
	s.opts.set(unix.SOL_UDP, name, v)
	if v == 0 {
		s.mu.Lock()
		s.uncork(tcpip.WriteOptions{})
		s.mu.Unlock()
	}
	return 0
}

func (s *Socket) getUDPOpt(name int) ([]byte, abi.Errno) {
	if name != unix.UDP_CORK {
		return nil, unix.ENOPROTOOPT
	}
	return socket.PutInt(s.opts.get(unix.SOL_UDP, name)), 0
}
