package inet

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// A TCP connection between two sockets of the sandbox is made by netstack,
// handshake, names, states and all; but once it is accepted, its bytes go
// straight from one socket to the other. What the client sent before that is
// still read from netstack first: slow counts it down.
//
// Lock order: direct.slowMu → netstack's; Socket.mu → stream.mu → waiter.Queue.

// direct is one end of such a connection.
type direct struct {
	in, out *stream
	peer    *Socket

	slowMu sync.Mutex
	slow   atomic.Int64 // bytes to read from netstack first; changed under slowMu
}

// connKey names a connection by its client's addresses.
type connKey struct{ local, remote netip.AddrPort }

func addrPort(a tcpip.FullAddress) netip.AddrPort {
	return netip.AddrPortFrom(netipAddr(a.Addr).Unmap(), a.Port)
}

// dial begins a client's connection, and remembers the client by its names.
// st.mu is held meanwhile, so that join finds it.
func (st *Stack) dial(s *Socket, to tcpip.FullAddress) tcpip.Error {
	st.mu.Lock()
	defer st.mu.Unlock()
	err := s.ep().Connect(to)
	if _, ok := err.(*tcpip.ErrConnectStarted); !ok {
		return err
	}
	if local, e := s.ep().GetLocalAddress(); e == nil {
		if st.dials == nil {
			st.dials = make(map[connKey]*Socket)
		}
		s.dial = connKey{addrPort(local), addrPort(to)}
		st.dials[s.dial] = s
	}
	return err
}

// forget drops what dial remembers.
func (st *Stack) forget(s *Socket) {
	st.mu.Lock()
	if st.dials[s.dial] == s {
		delete(st.dials, s.dial)
	}
	st.mu.Unlock()
}

// join makes the connection of a socket that accept has made direct, if its
// client is a socket of this stack.
func (st *Stack) join(srv *Socket) {
	remote, err := srv.ep().GetRemoteAddress()
	if err != nil {
		return
	}
	local, err := srv.ep().GetLocalAddress()
	if err != nil {
		return
	}
	k := connKey{addrPort(remote), addrPort(local)}
	st.mu.Lock()
	cl := st.dials[k]
	delete(st.dials, k)
	st.mu.Unlock()
	if cl == nil {
		return
	}
	up, down := new(stream), new(stream)
	sd := &direct{in: up, out: down, peer: cl}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closing || cl.shut {
		return
	}
	sd.slow.Store(cl.sent)
	srv.direct.Store(sd)
	cl.direct.Store(&direct{in: down, out: up, peer: srv})
}

// sendDirect writes to the peer.
func (s *Socket) sendDirect(c vfs.Caller, d *direct, b []byte, flags uint32) (int, abi.Errno) {
	o := d.out
	o.mu.Lock()
	if e := s.sendRefused(d); e != 0 {
		o.mu.Unlock()
		if e == unix.EPIPE {
			e = socket.BrokenPipe(c, flags)
		}
		return 0, e
	}
	if o.gone {
		o.swallowed = true // the reset that answers it is yet to come
		o.mu.Unlock()
		return min(len(b), s.roomTo(d.peer)), 0
	}
	n := o.put(b, s.roomTo(d.peer))
	o.mu.Unlock()
	if n > 0 {
		d.peer.queue.Notify(waiter.In | waiter.RdNorm)
	} else if len(b) > 0 {
		return 0, unix.EAGAIN
	}
	return n, 0
}

// roomTo is how many bytes may stand unread between s and the peer. Of the
// sizes set, half is data, as the kernel has it.
func (s *Socket) roomTo(peer *Socket) int {
	n := 2 * bufTuned
	if s.Has(socket.FlagSndBufLock) {
		n += int(s.SndBuf()/2) - bufTuned
	}
	if peer.Has(socket.FlagRcvBufLock) {
		n += int(peer.RcvBuf()/2) - bufTuned
	}
	return n
}

// lowTo is where a waiting writer is woken: two thirds of the room.
func (s *Socket) lowTo(peer *Socket) int { return s.roomTo(peer) * 2 / 3 }

// sendRefused tells why nothing can be sent; d.out.mu is held.
func (s *Socket) sendRefused(d *direct) abi.Errno {
	switch {
	case d.out.fin, d.out.swallowed:
		return unix.EPIPE
	case d.out.gone:
		d.in.mu.Lock() // out before in: only the sender takes both
		defer d.in.mu.Unlock()
		if d.in.reset && d.in.told {
			return unix.EPIPE
		}
		if d.in.reset {
			d.in.told = true
			return unix.ECONNRESET
		}
	}
	return 0
}

// recvDirect reads what the peer wrote.
func (s *Socket) recvDirect(d *direct, m *socket.Msg, flags uint32) (int, abi.Errno) {
	if len(m.Data) == 0 {
		return 0, 0
	}
	if d.slow.Load() > 0 {
		if n, e := s.recvSlow(d, m, flags); n > 0 || e != 0 {
			return n, e
		}
	}
	b := m.Data
	if flags&unix.MSG_TRUNC != 0 {
		b = nil
	}
	in := d.in
	in.mu.Lock()
	before := in.n
	n := in.get(b, len(m.Data), flags&unix.MSG_PEEK != 0)
	after := in.n
	var e abi.Errno
	switch {
	case n > 0 || in.deaf:
	case in.reset && !in.told:
		in.told = true
		s.ep().LastError() // netstack's word of the same
		e = unix.ECONNRESET
	case !in.fin && !in.reset:
		e = unix.EAGAIN
	}
	in.mu.Unlock()
	if low := d.peer.lowTo(s); before > low && after <= low {
		d.peer.queue.Notify(waiter.Out | waiter.WrNorm)
	}
	if n > 0 && s.opts.get(unix.SOL_TCP, unix.TCP_INQ) != 0 {
		m.Out.PutInt(unix.SOL_TCP, unix.TCP_CM_INQ, int32(after))
	}
	return n, e
}

// recvSlow reads what was sent by way of netstack. Nothing and no error: it is
// all read.
func (s *Socket) recvSlow(d *direct, m *socket.Msg, flags uint32) (int, abi.Errno) {
	d.slowMu.Lock()
	defer d.slowMu.Unlock()
	left := d.slow.Load()
	if left == 0 {
		return 0, 0
	}
	all := m.Data
	m.Data = m.Data[:min(int64(len(all)), left)]
	n, e := s.recvNet(m, flags)
	m.Data = all
	if e == 0 && n == 0 {
		d.slow.Store(0) // cut short by a reset
		return 0, 0
	}
	if e == 0 && flags&unix.MSG_PEEK == 0 {
		d.slow.Add(-int64(n))
	}
	return n, e
}

// readyDirect gives poll(2)'s events.
func (s *Socket) readyDirect(d *direct) uint32 {
	var ev uint32
	in, out := d.in, d.out
	in.mu.Lock()
	readable := in.n > 0
	fin := in.fin || in.reset || in.deaf
	reset := in.reset && !in.told
	in.mu.Unlock()
	if d.slow.Load() > 0 {
		readable = s.ep().Readiness(pollMask)&waiterIn != 0
	}
	out.mu.Lock()
	writable := out.n <= s.lowTo(d.peer) || out.fin || out.gone
	over := out.fin || out.swallowed || out.gone && fin
	out.mu.Unlock()
	if readable || fin {
		ev |= waiter.In | waiter.RdNorm
	}
	if fin {
		ev |= waiter.RdHup
	}
	if fin && over {
		ev |= waiter.Hup
	}
	if reset {
		ev |= waiter.Err | waiter.Hup
	}
	if writable {
		ev |= waiter.Out | waiter.WrNorm
	}
	return ev
}

// shutDirect is shutdown(2)'s part in the streams.
func (s *Socket) shutDirect(d *direct, how int) {
	if how != unix.SHUT_RD {
		d.out.mu.Lock()
		d.out.fin = true
		d.out.mu.Unlock()
		d.peer.queue.Notify(waiter.All)
	}
	if how != unix.SHUT_WR {
		d.in.mu.Lock()
		d.in.deaf = true
		d.in.mu.Unlock()
	}
}

// closeDirect ends both streams, and tells whether it was with a reset.
func (s *Socket) closeDirect(d *direct) (reset bool) {
	d.in.mu.Lock()
	reset = d.in.n > 0 || d.slow.Load() > 0
	d.in.gone = true
	d.in.clear()
	d.in.mu.Unlock()
	if sec, on := s.Linger(); on && sec == 0 {
		reset = true
	}
	d.out.mu.Lock()
	if d.out.gone {
		reset = false // nobody is there to be told
	}
	d.out.fin = true
	d.out.reset = reset
	d.out.mu.Unlock()
	d.peer.queue.Notify(waiter.All)
	return reset
}

// takeReset gives and clears the error that a reset has left.
func (d *direct) takeReset() abi.Errno {
	d.in.mu.Lock()
	defer d.in.mu.Unlock()
	if d.in.reset && !d.in.told {
		d.in.told = true
		return unix.ECONNRESET
	}
	return 0
}

// unread is FIONREAD's number.
func (d *direct) unread() int {
	d.in.mu.Lock()
	defer d.in.mu.Unlock()
	return d.in.n + int(d.slow.Load())
}
