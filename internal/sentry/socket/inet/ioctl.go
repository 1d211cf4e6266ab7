package inet

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Ioctl has FIONREAD, SIOCOUTQ, SIOCATMARK and those on devices.
func (s *Socket) Ioctl(c vfs.Caller, _ *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	switch cmd {
	case unix.SIOCINQ: // FIONREAD
		if s.isTCP() && s.tcpState() == tcp.StateListen {
			return 0, unix.EINVAL
		}
		if d := s.direct.Load(); d != nil {
			return 0, mem.CopyOut(arg, socket.PutInt(int32(d.unread())))
		}
		return 0, s.queueSize(tcpip.ReceiveQueueSizeOption, arg, mem)
	case unix.SIOCOUTQ:
		if s.isTCP() && s.tcpState() == tcp.StateListen {
			return 0, unix.EINVAL
		}
		return 0, s.queueSize(tcpip.SendQueueSizeOption, arg, mem)
	case siocAtMark:
		if !s.isTCP() {
			return 0, abi.ENOIOCTLCMD
		}
		return 0, mem.CopyOut(arg, socket.PutInt(0))
	}
	return s.st.DevIoctl(c, cmd, arg, mem)
}

func (s *Socket) queueSize(o tcpip.SockOptInt, arg uint64, mem vfs.UserMemory) abi.Errno {
	v, err := s.ep().GetSockOptInt(o)
	switch err.(type) {
	case nil:
	case *tcpip.ErrQueueSizeNotSupported, *tcpip.ErrUnknownProtocolOption:
		v = 0
	default:
		return errno(err)
	}
	return mem.CopyOut(arg, socket.PutInt(int32(v)))
}

const siocAtMark = 0x8905

// ifreq is struct ifreq: a name and a union.
const (
	ifreqSize = 40
	ifrUnion  = unix.IFNAMSIZ
)

// DevIoctl answers the ioctls of netdevice(7) that read; those that write are
// refused: the launch has set up the interfaces.
func (st *Stack) DevIoctl(c vfs.Caller, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	switch cmd {
	case unix.SIOCGIFCONF:
		return 0, st.ifconf(arg, mem)
	case unix.SIOCGIFNAME, unix.SIOCGIFFLAGS, unix.SIOCGIFADDR, unix.SIOCGIFDSTADDR, unix.SIOCGIFBRDADDR,
		unix.SIOCGIFNETMASK, unix.SIOCGIFMETRIC, unix.SIOCGIFMTU, unix.SIOCGIFHWADDR, unix.SIOCGIFINDEX,
		unix.SIOCGIFTXQLEN, unix.SIOCGIFMAP:
		return 0, st.ifreq(cmd, arg, mem)
	case unix.SIOCETHTOOL:
		return 0, unix.EOPNOTSUPP
	case unix.SIOCSIFNAME, unix.SIOCSIFFLAGS, unix.SIOCSIFADDR, unix.SIOCSIFDSTADDR, unix.SIOCSIFBRDADDR,
		unix.SIOCSIFNETMASK, unix.SIOCSIFMETRIC, unix.SIOCSIFMTU, unix.SIOCSIFHWADDR, unix.SIOCSIFTXQLEN,
		unix.SIOCADDRT, unix.SIOCDELRT, unix.SIOCADDMULTI, unix.SIOCDELMULTI, unix.SIOCDIFADDR:
		if !c.Creds().Capable(auth.CAP_NET_ADMIN) {
			return 0, unix.EPERM
		}
		return 0, unix.EOPNOTSUPP
	}
	return 0, abi.ENOIOCTLCMD
}

func (st *Stack) ifreq(cmd uint32, arg uint64, mem vfs.UserMemory) abi.Errno {
	var r [ifreqSize]byte
	if e := mem.CopyIn(arg, r[:]); e != 0 {
		return e
	}
	l, ok := st.ifreqLink(cmd, r[:])
	if !ok {
		return unix.ENODEV
	}
	u := r[ifrUnion:]
	clear(u)
	switch cmd {
	case unix.SIOCGIFNAME:
		le.PutUint32(u, uint32(l.Index))
		clear(r[:ifrUnion])
		copy(r[:ifrUnion-1], l.Name)
	case unix.SIOCGIFFLAGS:
		le.PutUint16(u, uint16(l.Flags()))
	case unix.SIOCGIFMTU:
		le.PutUint32(u, uint32(l.MTU))
	case unix.SIOCGIFINDEX:
		le.PutUint32(u, uint32(l.Index))
	case unix.SIOCGIFTXQLEN:
		le.PutUint32(u, 1000)
	case unix.SIOCGIFHWADDR:
		le.PutUint16(u, l.HardwareType())
		copy(u[2:], l.MAC[:])
	case unix.SIOCGIFADDR, unix.SIOCGIFDSTADDR, unix.SIOCGIFBRDADDR, unix.SIOCGIFNETMASK:
		if !l.putAddr(cmd, u) {
			return unix.EADDRNOTAVAIL
		}
	}
	return mem.CopyOut(arg, r[:])
}

func (st *Stack) ifreqLink(cmd uint32, r []byte) (LinkInfo, bool) {
	if cmd == unix.SIOCGIFNAME {
		return st.link(int(int32(le.Uint32(r[ifrUnion:]))))
	}
	name := r[:ifrUnion]
	for i, b := range name {
		if b == 0 {
			name = name[:i]
			break
		}
	}
	for _, l := range st.Links() {
		if l.Name == string(name) {
			return l, true
		}
	}
	return LinkInfo{}, false
}

// putAddr writes the first IPv4 address, or what belongs to it, as a sockaddr.
func (l *LinkInfo) putAddr(cmd uint32, u []byte) bool {
	for _, p := range l.Addrs {
		if !p.Addr().Is4() {
			continue
		}
		a := abi.SockaddrIn6{Is4: true}
		v := p.Addr().As4()
		mask := ^uint32(0) << (32 - p.Bits())
		m := [4]byte{byte(mask >> 24), byte(mask >> 16), byte(mask >> 8), byte(mask)}
		for i := range v {
			switch {
			case cmd == unix.SIOCGIFNETMASK:
				v[i] = m[i]
			case cmd == unix.SIOCGIFBRDADDR && l.Loopback:
				v[i] = 0
			case cmd == unix.SIOCGIFBRDADDR:
				v[i] |= ^m[i]
			}
		}
		copy(a.Addr[:], v[:])
		copy(u, a.Append(nil))
		return true
	}
	return false
}

// Flags gives IFF_* as SIOCGIFFLAGS and netlink tell them.
func (l *LinkInfo) Flags() uint32 {
	f := uint32(0)
	if l.Up {
		f |= unix.IFF_UP | unix.IFF_RUNNING
	}
	if l.Loopback {
		return f | unix.IFF_LOOPBACK
	}
	return f | unix.IFF_BROADCAST | unix.IFF_MULTICAST
}

// HardwareType gives ARPHRD_*.
func (l *LinkInfo) HardwareType() uint16 {
	if l.Loopback {
		return unix.ARPHRD_LOOPBACK
	}
	return unix.ARPHRD_ETHER
}

// ifconf is SIOCGIFCONF: the interfaces that have IPv4 addresses.
func (st *Stack) ifconf(arg uint64, mem vfs.UserMemory) abi.Errno {
	var h [16]byte
	if e := mem.CopyIn(arg, h[:]); e != 0 {
		return e
	}
	room, buf := int64(int32(le.Uint32(h[:]))), le.Uint64(h[8:])
	var out []byte
	for _, l := range st.Links() {
		var r [ifreqSize]byte
		copy(r[:ifrUnion-1], l.Name)
		if l.putAddr(unix.SIOCGIFADDR, r[ifrUnion:]) {
			out = append(out, r[:]...)
		}
	}
	if buf != 0 {
		fit := max(min(int64(len(out)), room), 0)
		out = out[:fit/ifreqSize*ifreqSize]
		if e := mem.CopyOut(buf, out); e != 0 {
			return e
		}
	}
	le.PutUint32(h[:], uint32(len(out)))
	return mem.CopyOut(arg, h[:])
}
