package unix

import (
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

// States, as Linux numbers them for /proc/net/unix.
const (
	stateClosed    = 7 // TCP_CLOSE
	stateConnected = 1 // TCP_ESTABLISHED
	stateListen    = 10
)

const (
	rcvShutdown = 1
	sndShutdown = 2
	allShutdown = 3
)

// Socket is one AF_UNIX socket.
type Socket struct {
	vfs.FileDefaults
	socket.Common
	ns    *Namespace
	queue waiter.Queue

	addr     atomic.Pointer[address]  // written under ns.mu, once
	peer     atomic.Pointer[Socket]   // written under ns.mu
	state    atomic.Int32             // written under ns.mu
	shut     atomic.Uint32            // written under ns.mu
	peerCred atomic.Pointer[peerCred] // written under ns.mu
	dead     atomic.Bool              // written under rx.mu
	err      atomic.Uint32            // sk_err
	wmem     atomic.Int64             // charged for what was sent and is unread
	lent     atomic.Bool              // a stub may have sent more; written under the peer's rx.mu
	mode     atomic.Uint32            // permissions of the socket's own inode

	// Under ns.mu.
	path       vfs.Path
	hasPath    bool
	backlog    int
	pending    []*Socket
	embryo     bool         // in a listener's queue, not accepted
	acceptRoom waiter.Queue // connecting tasks wait here for room in pending
	rx         rxQueue
}

// rxQueue is a socket's receive queue.
type rxQueue struct {
	mu         sync.Mutex
	head, tail *message
	n          int
	bytes      int
	blocked    []*Socket // senders to wake when there is room
	loan       loan
}

// New makes a socket. Protocol 0 or PF_UNIX: socket(2).
func (ns *Namespace) New(typ, protocol int) (*Socket, abi.Errno) {
	if protocol != 0 && protocol != unix.AF_UNIX {
		return nil, unix.EPROTONOSUPPORT
	}
	switch typ {
	case unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET:
	case unix.SOCK_RAW: // an old name of SOCK_DGRAM
		typ = unix.SOCK_DGRAM
	default:
		return nil, unix.ESOCKTNOSUPPORT
	}
	s := ns.newSocket(typ)
	ns.mu.Lock()
	ns.sockets[s] = struct{}{}
	ns.mu.Unlock()
	return s, 0
}

func (ns *Namespace) newSocket(typ int) *Socket {
	s := &Socket{ns: ns}
	s.Init(unix.AF_UNIX, typ, 0)
	s.state.Store(stateClosed)
	s.mode.Store(0777)
	return s
}

// Pair makes two connected sockets: socketpair(2).
func (ns *Namespace) Pair(c vfs.Caller, typ, protocol int) (a, b *Socket, e abi.Errno) {
	if a, e = ns.New(typ, protocol); e != 0 {
		return nil, nil, e
	}
	b, _ = ns.New(typ, protocol)
	cred := credOf(c)
	ns.mu.Lock()
	for _, s := range []*Socket{a, b} {
		s.state.Store(stateConnected)
		s.peerCred.Store(cred)
	}
	a.peer.Store(b)
	b.peer.Store(a)
	ns.mu.Unlock()
	return a, b, 0
}

// connection tells whether the type has connections.
func (s *Socket) connection() bool { return s.Type != unix.SOCK_DGRAM }

// takeErr gives and clears the pending error.
func (s *Socket) takeErr() abi.Errno {
	if s.err.Load() == 0 {
		return 0
	}
	return abi.Errno(s.err.Swap(0))
}

// Queue and Ready are vfs.File's.
func (s *Socket) Queue(*vfs.FileDescription) *waiter.Queue { return &s.queue }

// Read is a recvmsg without flags or control data.
func (s *Socket) Read(c vfs.Caller, fd *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	if len(dst) == 0 {
		return 0, 0
	}
	m := socket.Msg{Data: dst}
	n, e := s.recv(c, &m, 0)
	m.DropFiles()
	return n, e
}

// Write is a sendmsg without control data. Whoever calls it sends SIGPIPE.
func (s *Socket) Write(c vfs.Caller, fd *vfs.FileDescription, src []byte, _ int64) (int, int64, abi.Errno) {
	m := socket.Msg{Data: src}
	n, e := s.send(c, &m, unix.MSG_NOSIGNAL)
	return n, 0, e
}

// SendMsg and RecvMsg are socket.Socket's.
func (s *Socket) SendMsg(c vfs.Caller, m *socket.Msg, flags uint32) (int, abi.Errno) {
	return s.send(c, m, flags)
}

func (s *Socket) RecvMsg(c vfs.Caller, m *socket.Msg, flags uint32) (int, abi.Errno) {
	return s.recv(c, m, flags)
}

func (s *Socket) send(c vfs.Caller, m *socket.Msg, flags uint32) (int, abi.Errno) {
	if flags&unix.MSG_OOB != 0 {
		return 0, unix.EOPNOTSUPP
	}
	if s.Type == unix.SOCK_STREAM {
		return s.sendStream(c, m, flags)
	}
	return s.sendDgram(c, m)
}

func (s *Socket) recv(c vfs.Caller, m *socket.Msg, flags uint32) (int, abi.Errno) {
	switch {
	case flags&unix.MSG_OOB != 0 && s.Type == unix.SOCK_STREAM:
		return 0, unix.EINVAL // nothing urgent there
	case flags&unix.MSG_OOB != 0:
		return 0, unix.EOPNOTSUPP
	case s.Type == unix.SOCK_STREAM:
		return s.recvStream(m, flags)
	}
	return s.recvDgram(m, flags)
}

// ConnectResult: connections are made at once.
func (s *Socket) ConnectResult(vfs.Caller) abi.Errno { return 0 }

// Ready gives poll(2)'s events.
func (s *Socket) Ready(*vfs.FileDescription) uint32 {
	var ev uint32
	if s.lent.Load() {
		s.settleSent()
	}
	shut, state := s.shut.Load(), s.state.Load()
	if s.err.Load() != 0 {
		ev |= waiter.Err
	}
	if shut == allShutdown {
		ev |= waiter.Hup
	}
	if shut&rcvShutdown != 0 {
		ev |= waiter.RdHup | waiter.In | waiter.RdNorm
	}
	if s.readable(state) {
		ev |= waiter.In | waiter.RdNorm
	}
	if s.connection() && state == stateClosed {
		ev |= waiter.Hup
	}
	if state != stateListen && s.writable() && !s.peerFull() {
		ev |= waiter.Out | waiter.WrNorm | waiter.WrBand
	}
	return ev
}

func (s *Socket) readable(state int32) bool {
	if state == stateListen {
		s.ns.mu.Lock()
		defer s.ns.mu.Unlock()
		return len(s.pending) > 0
	}
	s.lockRx()
	defer s.unlockRx()
	return s.rx.n > 0
}

// writable is unix_writable: a quarter of the send buffer at most is in use.
func (s *Socket) writable() bool { return s.wmem.Load()<<2 <= s.SndBuf() }

// peerFull tells whether a datagram to the peer would have to wait; then the
// peer will notify s.
func (s *Socket) peerFull() bool {
	if s.connection() {
		return false
	}
	p := s.peer.Load()
	if p == nil || p.peer.Load() == s {
		return false
	}
	p.rx.mu.Lock()
	defer p.rx.mu.Unlock()
	if p.rx.n <= maxDgramQlen || p.dead.Load() {
		return false
	}
	p.rx.block(s)
	return true
}

func (q *rxQueue) block(s *Socket) {
	for _, b := range q.blocked {
		if b == s {
			return
		}
	}
	q.blocked = append(q.blocked, s)
}

func (q *rxQueue) push(m *message) {
	if q.tail != nil {
		q.tail.next = m
	} else {
		q.head = m
	}
	q.tail = m
	q.n++
	q.bytes += len(m.data)
}

func (q *rxQueue) pop() *message {
	m := q.head
	q.head = m.next
	if q.head == nil {
		q.tail = nil
	}
	m.next = nil
	q.n--
	return m
}

// uncharge gives back n of s's send buffer, and wakes writers when a quarter
// or less is in use.
func (s *Socket) uncharge(n int64) {
	after := s.wmem.Add(-n)
	if quarter := s.SndBuf() / 4; after <= quarter && after+n > quarter {
		s.queue.Notify(waiter.Out | waiter.WrNorm | waiter.WrBand)
	}
}
