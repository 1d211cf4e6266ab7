package unix

import (
	"fmt"
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"golang.org/x/sys/unix"
)

// maxDgramQlen is net.unix.max_dgram_qlen: how many datagrams wait at a socket
// before senders that it is not connected to have to wait.
const maxDgramQlen = 10

// Namespace is what the sockets of one network namespace share.
type Namespace struct {
	// gcMu guards what is in flight, and is held while messages with files
	// enter or leave a queue.
	gcMu     sync.Mutex
	inflight map[*vfs.FileDescription]int // sockets of this package in flight, how often
	perUser  map[uint32]int               // files in flight by sender's uid
	closes   int                          // since the last collection

	// mu guards the topology: Socket fields that say so.
	mu       sync.Mutex
	abstract map[string]*Socket
	sockets  map[*Socket]struct{}
	autobind uint32

	graveMu sync.Mutex // a leaf
	grave   []*vfs.FileDescription
	digging bool // somebody releases what is in grave

	// DevIoctl answers the ioctls on network devices, which every socket
	// takes (netdevice(7)); nil: ENOTTY. Set before the first socket.
	DevIoctl func(c vfs.Caller, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno)
}

// NewNamespace gives an empty namespace.
func NewNamespace() *Namespace {
	return &Namespace{
		inflight: make(map[*vfs.FileDescription]int),
		perUser:  make(map[uint32]int),
		abstract: make(map[string]*Socket),
		sockets:  make(map[*Socket]struct{}),
	}
}

// address is a bound name; it never changes.
type address struct {
	raw  []byte // sun_path: a path with its NUL, or NUL and an abstract name
	path bool
}

// parseAddress checks a sockaddr_un. autobind says that it has a family only.
func parseAddress(b []byte) (a *address, autobind bool, e abi.Errno) {
	f, ok := abi.Family(b)
	switch {
	case !ok || len(b) > abi.SockaddrUnMax:
		return nil, false, unix.EINVAL
	case f != abi.AF_UNIX:
		return nil, false, unix.EINVAL
	case len(b) == 2:
		return nil, true, 0
	}
	p := b[2:]
	if p[0] == 0 {
		return &address{raw: append([]byte(nil), p...)}, false, 0
	}
	n := 0
	for n < len(p) && p[n] != 0 {
		n++
	}
	raw := make([]byte, n+1)
	copy(raw, p[:n])
	return &address{raw: raw, path: true}, false, 0
}

// append adds the sockaddr to b; a nil address has a family only.
func (a *address) append(b []byte) []byte {
	b = append(b, abi.AF_UNIX, 0)
	if a != nil {
		b = append(b, a.raw...)
	}
	return b
}

// name is the path.
func (a *address) name() string { return string(a.raw[:len(a.raw)-1]) }

// namer is a Caller that has a view of the tree.
type namer interface{ FS() *vfs.FSContext }

func (s *Socket) at(c vfs.Caller) (vfs.At, abi.Errno) {
	n, ok := c.(namer)
	if !ok {
		return vfs.At{}, unix.EACCES
	}
	return vfs.At{FS: n.FS()}, 0
}

// find gives the socket of s's type that addr names.
func (s *Socket) find(c vfs.Caller, a *address) (*Socket, abi.Errno) {
	var other *Socket
	if a.path {
		at, e := s.at(c)
		if e != 0 {
			return nil, e
		}
		v, p, e := vfs.LookupSocket(c, at, a.name())
		if e != 0 {
			return nil, e
		}
		p.DecRef()
		other, _ = v.(*Socket)
	} else {
		s.ns.mu.Lock()
		other = s.ns.abstract[string(a.raw)]
		s.ns.mu.Unlock()
	}
	switch {
	case other == nil || other.dead.Load():
		return nil, unix.ECONNREFUSED
	case other.Type != s.Type:
		return nil, unix.EPROTOTYPE
	}
	return other, 0
}

// Bind is bind(2): unix(7).
func (s *Socket) Bind(c vfs.Caller, b []byte) abi.Errno {
	a, auto, e := parseAddress(b)
	switch {
	case e != 0:
		return e
	case auto:
		return s.autobind()
	case a.path:
		return s.bindPath(c, a)
	}
	s.ns.mu.Lock()
	defer s.ns.mu.Unlock()
	if s.addr.Load() != nil {
		return unix.EINVAL
	}
	if _, ok := s.ns.abstract[string(a.raw)]; ok {
		return unix.EADDRINUSE
	}
	s.ns.abstract[string(a.raw)] = s
	s.addr.Store(a)
	return 0
}

func (s *Socket) bindPath(c vfs.Caller, a *address) abi.Errno {
	if s.addr.Load() != nil {
		return unix.EINVAL
	}
	at, e := s.at(c)
	if e != 0 {
		return e
	}
	p, e := vfs.BindSocket(c, at, a.name(), s.mode.Load(), s)
	if e == unix.EEXIST {
		e = unix.EADDRINUSE
	}
	if e != 0 {
		return e
	}
	s.ns.mu.Lock()
	lost := s.addr.Load() != nil
	if !lost {
		s.path, s.hasPath = p, true
		s.addr.Store(a)
	}
	s.ns.mu.Unlock()
	if lost {
		p.DecRef()
		return unix.EINVAL
	}
	return 0
}

// autobind gives the socket an abstract name of five hexadecimal digits.
func (s *Socket) autobind() abi.Errno {
	s.ns.mu.Lock()
	defer s.ns.mu.Unlock()
	if s.addr.Load() != nil {
		return 0
	}
	for range 1 << 20 {
		s.ns.autobind = (s.ns.autobind + 1) & 0xfffff
		raw := fmt.Appendf(nil, "\x00%05x", s.ns.autobind)
		if _, ok := s.ns.abstract[string(raw)]; ok {
			continue
		}
		s.ns.abstract[string(raw)] = s
		s.addr.Store(&address{raw: raw})
		return 0
	}
	return unix.ENOSPC
}

// SockName and PeerName are getsockname(2) and getpeername(2).
func (s *Socket) SockName(b []byte) ([]byte, abi.Errno) { return s.addr.Load().append(b), 0 }

func (s *Socket) PeerName(b []byte) ([]byte, abi.Errno) {
	p := s.peer.Load()
	if p == nil {
		return b, unix.ENOTCONN
	}
	return p.addr.Load().append(b), 0
}

// peerCred are credentials as of connect, listen or socketpair.
type peerCred struct {
	abi.Ucred
	groups []uint32
}

func credOf(c vfs.Caller) *peerCred {
	k := c.Creds()
	return &peerCred{Ucred: abi.Ucred{PID: c.TGID(), UID: k.EUID, GID: k.EGID}, groups: k.Groups}
}

// sendCred are the credentials a message carries unasked: real ids.
func sendCred(c vfs.Caller) abi.Ucred {
	k := c.Creds()
	return abi.Ucred{PID: c.TGID(), UID: k.UID, GID: k.GID}
}

// CheckCreds applies the rules on what SCM_CREDENTIALS may say: unix(7).
func CheckCreds(c vfs.Caller, u abi.Ucred) abi.Errno {
	k := c.Creds()
	okPID := u.PID == c.TGID() || k.Capable(auth.CAP_SYS_ADMIN)
	okUID := u.UID == k.UID || u.UID == k.EUID || u.UID == k.SUID || k.Capable(auth.CAP_SETUID)
	okGID := u.GID == k.GID || u.GID == k.EGID || u.GID == k.SGID || k.Capable(auth.CAP_SETGID)
	if !okPID || !okUID || !okGID {
		return unix.EPERM
	}
	return 0
}
