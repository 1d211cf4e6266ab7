// Package netns is a network namespace: it makes the sockets of every family,
// and has the content of /proc/net. The TCP/IP stack is made when the first
// socket needs it, or, when interfaces were handed over, at Start.
//
// Lock order: Namespace.mu is held while the stack is made, and never else.
package netns

import (
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/socket/inet"
	"bulkhead.dev/bulkhead/internal/sentry/socket/netlink"
	"bulkhead.dev/bulkhead/internal/sentry/socket/unix"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	host "golang.org/x/sys/unix"
)

// Namespace is one network namespace.
type Namespace struct {
	Unix    *unix.Namespace
	netlink *netlink.Namespace
	somax   atomic.Int32
	lowPort atomic.Int32
	ports   atomic.Uint32 // net.ipv4.ip_local_port_range

	inet atomic.Pointer[inet.Stack]
	mu   sync.Mutex
	// links brings the interfaces beside lo into a new stack. Under mu.
	links func(*inet.Stack) error
}

// New gives a namespace that has lo only.
func New() *Namespace {
	n := &Namespace{Unix: unix.NewNamespace()}
	n.somax.Store(4096)
	n.lowPort.Store(1024)
	n.ports.Store(32768<<16 | 60999)
	n.netlink = netlink.NewNamespace(n)
	n.Unix.DevIoctl = n.devIoctl
	return n
}

// Inet gives the stack, made now if need be.
func (n *Namespace) Inet() (*inet.Stack, abi.Errno) {
	if st := n.inet.Load(); st != nil {
		return st, 0
	}
	if _, err := n.start(); err != nil {
		return nil, host.ENOBUFS
	}
	return n.inet.Load(), 0
}

func (n *Namespace) start() (*inet.Stack, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if st := n.inet.Load(); st != nil {
		return st, nil
	}
	st, err := inet.NewStack()
	if err != nil {
		return nil, err
	}
	st.SetSomaxconn(int(n.somax.Load()))
	st.SetUnprivilegedPort(int(n.lowPort.Load()))
	st.SetPortRange(n.PortRange())
	if n.links != nil {
		if err := n.links(st); err != nil {
			st.Close()
			return nil, err
		}
	}
	n.inet.Store(st)
	return st, nil
}

// Socket makes a socket: socket(2).
func (n *Namespace) Socket(c vfs.Caller, family, typ, protocol int) (socket.Socket, abi.Errno) {
	if family < 0 || family >= abi.AF_MAX {
		return nil, host.EAFNOSUPPORT
	}
	if typ < 1 || typ > host.SOCK_PACKET {
		return nil, host.EINVAL
	}
	switch family {
	case host.AF_UNIX:
		return result(n.Unix.New(typ, protocol))
	case host.AF_INET, host.AF_INET6:
		st, e := n.Inet()
		if e != 0 {
			return nil, e
		}
		return result(st.New(c, family, typ, protocol))
	case host.AF_NETLINK:
		return result(n.netlink.New(c, typ, protocol))
	case host.AF_PACKET:
		if !c.Creds().Capable(auth.CAP_NET_RAW) {
			return nil, host.EPERM
		}
	}
	return nil, host.EAFNOSUPPORT
}

// result keeps a nil pointer from becoming an interface that is not nil.
func result[S socket.Socket](s S, e abi.Errno) (socket.Socket, abi.Errno) {
	if e != 0 {
		return nil, e
	}
	return s, 0
}

// Pair makes two connected sockets: socketpair(2).
func (n *Namespace) Pair(c vfs.Caller, family, typ, protocol int) (a, b socket.Socket, e abi.Errno) {
	switch {
	case family == host.AF_UNIX && typ >= 1 && typ <= host.SOCK_PACKET:
		x, y, e := n.Unix.Pair(c, typ, protocol)
		if e != 0 {
			return nil, nil, e
		}
		return x, y, 0
	case family == host.AF_INET, family == host.AF_INET6, family == host.AF_NETLINK:
		s, e := n.Socket(c, family, typ, protocol)
		if e != 0 {
			return nil, nil, e
		}
		s.Release(nil)
		return nil, nil, host.EOPNOTSUPP
	case family < 0 || family >= abi.AF_MAX || typ >= 1 && typ <= host.SOCK_PACKET:
		return nil, nil, host.EAFNOSUPPORT
	}
	return nil, nil, host.EINVAL
}

func (n *Namespace) devIoctl(c vfs.Caller, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	if cmd < 0x8900 || cmd > 0x89ff { // not a socket's: spare the stack
		return 0, abi.ENOIOCTLCMD
	}
	st, e := n.Inet()
	if e != 0 {
		return 0, e
	}
	return st.DevIoctl(c, cmd, arg, mem)
}

// Somaxconn is net.core.somaxconn.
func (n *Namespace) Somaxconn() int { return int(n.somax.Load()) }

// SetSomaxconn and SetUnprivilegedPort are the sysctls net.core.somaxconn and
// net.ipv4.ip_unprivileged_port_start.
func (n *Namespace) SetSomaxconn(v int) {
	n.somax.Store(int32(v))
	if st := n.inet.Load(); st != nil {
		st.SetSomaxconn(v)
	}
}

func (n *Namespace) SetUnprivilegedPort(v int) {
	n.lowPort.Store(int32(v))
	if st := n.inet.Load(); st != nil {
		st.SetUnprivilegedPort(v)
	}
}

// UnprivilegedPort is the sysctl's value.
func (n *Namespace) UnprivilegedPort() int { return int(n.lowPort.Load()) }
