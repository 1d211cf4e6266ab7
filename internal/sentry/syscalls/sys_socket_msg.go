package syscalls

import (
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_SENDTO, Name: "sendto", Args: "fd buf size flags:msg ptr size", Fn: sysSendto,
			Missing: "urgent data: MSG_OOB goes in line on TCP, whose stack knows none"},
		Row{Nr: unix.SYS_RECVFROM, Name: "recvfrom", Args: "fd buf:out size flags:msg ptr ptr", Fn: sysRecvfrom},
		Row{Nr: unix.SYS_SENDMSG, Name: "sendmsg", Args: "fd ptr flags:msg", Fn: sysSendmsg},
		Row{Nr: unix.SYS_RECVMSG, Name: "recvmsg", Args: "fd ptr flags:msg", Fn: sysRecvmsg},
		Row{Nr: unix.SYS_SENDMMSG, Name: "sendmmsg", Args: "fd ptr size flags:msg", Fn: sysSendmmsg},
		Row{Nr: unix.SYS_RECVMMSG, Name: "recvmmsg", Args: "fd ptr size flags:msg ptr", Fn: sysRecvmmsg},
	)
}

// sockCall is one call that moves a message.
type sockCall struct {
	t    *kernel.Task
	fd   *vfs.FileDescription
	s    socket.Socket
	m    socket.Msg
	name [abi.SockaddrMax]byte
	ctl  []byte // control data being sent, a buffer that is kept
	v    *iovecs
}

var sockCalls = sync.Pool{New: func() any { return new(sockCall) }}

// startSock readies a call on descriptor num.
func startSock(t *kernel.Task, num int32) (*sockCall, abi.Errno) {
	fd, s, e := getSocket(t, num)
	if e != 0 {
		return nil, e
	}
	c := sockCalls.Get().(*sockCall)
	c.t, c.fd, c.s = t, fd, s
	return c, 0
}

// next readies the call for a further message.
func (c *sockCall) next() {
	c.m.DropFiles()
	c.m.Reset()
	if c.v != nil {
		c.v.put()
		c.v = nil
	}
}

func (c *sockCall) end() {
	c.next()
	c.fd.DecRef()
	c.t, c.fd, c.s = nil, nil, nil
	sockCalls.Put(c)
}

func (c *sockCall) stream() bool { return c.s.Opts().Type == unix.SOCK_STREAM }

func (c *sockCall) blocks(flags uint32) bool { return flags&unix.MSG_DONTWAIT == 0 && blocks(c.fd) }

// data gives want bytes of the guest's from offset done on.
func (c *sockCall) data(sc **scratch, done, want int) ([]byte, abi.Errno) {
	switch {
	case want == 0:
		return nil, 0
	case len(c.v.v) == 1 && c.stream():
		b, s, e := inPart(c.t, c.v.v[0].addr+uint64(done), want)
		if s != nil {
			if *sc != nil {
				(*sc).put()
			}
			*sc = s
		}
		return b, e
	case len(c.v.v) == 1:
		return c.t.WriteBuf(c.v.v[0].addr, want)
	}
	if *sc == nil {
		*sc = getScratch(min(c.v.total, chunkSize))
	}
	n, e := c.v.copyIn(c.t, done, (*sc).b[:want])
	if e != 0 && (n == 0 || !c.stream()) {
		return nil, e
	}
	return (*sc).b[:n], 0
}

// send sends what c.v holds: a stream's bytes piece by piece, a datagram at
// once.
func (c *sockCall) send(flags uint32) (uint64, abi.Errno) {
	if !c.stream() && c.v.total > chunkSize {
		return 0, unix.EMSGSIZE
	}
	c.m.FlightLimit = noFile(c.t)
	var sc *scratch
	done := 0
	var e abi.Errno
	for {
		want := min(c.v.total-done, chunkSize)
		var b []byte
		if b, e = c.data(&sc, done, want); e != 0 {
			break
		}
		var n int
		n, e = c.sendWait(b, flags)
		done += n
		if e != 0 || n < want || done >= c.v.total {
			break
		}
		flags |= unix.MSG_NOSIGNAL
	}
	if sc != nil {
		sc.put()
	}
	if done > 0 {
		return uint64(done), 0
	}
	return 0, e
}

// sendWait sends b, waiting for room if it may.
func (c *sockCall) sendWait(b []byte, flags uint32) (int, abi.Errno) {
	c.m.Data = b
	n, e := c.s.SendMsg(c.t, &c.m, flags)
	if e == 0 && (n == len(b) || !c.stream()) || e != 0 && e != unix.EAGAIN || !c.blocks(flags) {
		return n, e
	}
	w := startWait(c.t, c.fd, waiter.Out|waiter.WrNorm)
	defer w.end()
	for {
		if n > 0 {
			flags |= unix.MSG_NOSIGNAL
		}
		c.m.Data = b[n:]
		k, e := c.s.SendMsg(c.t, &c.m, flags)
		n += k
		switch {
		case e == 0 && n == len(b), e == 0 && !c.stream():
			return n, 0
		case e == unix.EAGAIN:
			e = w.sleep()
		}
		if e != 0 && n > 0 {
			return n, 0
		}
		if e != 0 {
			return 0, e
		}
	}
}

// recv fills what c.v describes. With MSG_TRUNC the result is a datagram's real
// length.
func (c *sockCall) recv(flags uint32) (uint64, abi.Errno) {
	target := 1
	if c.stream() && flags&(unix.MSG_PEEK|unix.MSG_ERRQUEUE) == 0 {
		target = min(c.s.Opts().RcvLowat(), c.v.total)
		if flags&unix.MSG_WAITALL != 0 {
			target = c.v.total
		}
	}
	if c.stream() && flags&(unix.MSG_TRUNC|unix.MSG_ERRQUEUE) == 0 && c.v.total > 0 {
		w := rwCall{t: c.t, fd: c.fd}
		if flags&unix.MSG_DONTWAIT != 0 {
			w.flags = rwfNoWait
		}
		if e := c.v.fit(&w); e != 0 {
			return 0, e
		}
	}
	done := 0
	for {
		want := min(c.v.total-done, chunkSize)
		o := getOut(c.t, want)
		b := o.b
		n, e := c.recvWait(b, flags)
		if e != 0 {
			o.put()
			if done > 0 {
				return uint64(done), 0
			}
			return 0, e
		}
		if c.stream() && flags&unix.MSG_TRUNC != 0 && c.s.Opts().Family != unix.AF_UNIX {
			done += n // thrown away
		} else {
			k, e := c.v.copyOut(c.t, &o, done, b[:n])
			done += k
			if e != 0 && (done == 0 || !c.stream()) {
				o.put()
				return 0, e
			}
		}
		o.put()
		if !c.stream() {
			if flags&unix.MSG_TRUNC != 0 && c.m.Len > done {
				return uint64(c.m.Len), 0
			}
			return uint64(done), 0
		}
		if n == 0 || done >= target || len(c.m.Files) > 0 {
			return uint64(done), 0
		}
	}
}

// recvWait receives into b, waiting if it may.
func (c *sockCall) recvWait(b []byte, flags uint32) (int, abi.Errno) {
	c.m.Data = b
	n, e := c.s.RecvMsg(c.t, &c.m, flags)
	if e != unix.EAGAIN || !c.blocks(flags) || flags&unix.MSG_ERRQUEUE != 0 {
		return n, e
	}
	w := startWait(c.t, c.fd, waiter.In|waiter.RdNorm|waiter.RdHup)
	defer w.end()
	for {
		if n, e = c.s.RecvMsg(c.t, &c.m, flags); e != unix.EAGAIN {
			return n, e
		}
		if e = w.sleep(); e != 0 {
			return 0, e
		}
	}
}

// buffer makes c.v of one part.
func (c *sockCall) buffer(addr, n uint64) (e abi.Errno) {
	c.v, e = single(addr, n)
	return e
}

// sysSendto is sendto(2).
func sysSendto(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := startSock(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer c.end()
	if e := c.buffer(a[1], a[2]); e != 0 {
		return 0, e
	}
	if a[4] != 0 {
		if c.m.Name, e = sockaddrIn(t, &c.name, a[4], a.Int(5)); e != 0 {
			return 0, e
		}
	}
	n, e := c.send(a.Uint32(3) &^ abi.MSG_INTERNAL)
	if e == 0 && n <= vfs.BoxMax && a[4] == 0 {
		t.WroteSmall(a.Int(0), c.fd)
	}
	return n, e
}

// sysRecvfrom is recvfrom(2).
func sysRecvfrom(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := startSock(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer c.end()
	if e := c.buffer(a[1], a[2]); e != 0 {
		return 0, e
	}
	c.m.Name = c.name[:0]
	n, e := c.recv(a.Uint32(3))
	if e == 0 && a[4] != 0 {
		e = sockaddrOut(t, c.m.Name, a[4], a[5])
	}
	if e != 0 {
		return 0, e
	}
	return n, 0
}

// header copies a struct msghdr and its list of parts.
func (c *sockCall) header(addr uint64) (h abi.Msghdr, e abi.Errno) {
	var b [abi.MsghdrSize]byte
	if e := c.t.CopyIn(addr, b[:]); e != 0 {
		return h, e
	}
	h = abi.GetMsghdr(&b)
	if h.Name == 0 {
		h.Namelen = 0
	}
	if int32(h.Namelen) < 0 {
		return h, unix.EINVAL
	}
	h.Namelen = min(h.Namelen, abi.SockaddrMax)
	if h.Iovlen > abi.UIO_MAXIOV {
		return h, unix.EMSGSIZE
	}
	c.v, e = importIovecs(c.t, h.Iov, h.Iovlen)
	return h, e
}

// sysSendmsg is sendmsg(2).
func sysSendmsg(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := startSock(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer c.end()
	return c.sendmsg(a[1], a.Uint32(2)&^abi.MSG_INTERNAL)
}

func (c *sockCall) sendmsg(addr uint64, flags uint32) (uint64, abi.Errno) {
	h, e := c.header(addr)
	if e != 0 {
		return 0, e
	}
	if c.m.Name, e = sockaddrIn(c.t, &c.name, h.Name, int32(h.Namelen)); e != 0 {
		return 0, e
	}
	if e := c.controlIn(&h); e != 0 {
		return 0, e
	}
	return c.send(flags)
}

// sysRecvmsg is recvmsg(2).
func sysRecvmsg(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := startSock(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer c.end()
	return c.recvmsg(a[1], a.Uint32(2))
}

func (c *sockCall) recvmsg(addr uint64, flags uint32) (uint64, abi.Errno) {
	h, e := c.header(addr)
	if e != 0 {
		return 0, e
	}
	c.m.Name = c.name[:0]
	c.m.Out.Space = int(min(h.Controllen, 1<<20))
	if h.Control == 0 {
		c.m.Out.Space = 0
	}
	n, e := c.recv(flags)
	if e != 0 {
		return 0, e
	}
	if h.Name != 0 {
		if e := c.nameOut(addr, &h); e != 0 {
			return 0, e
		}
	}
	if e := c.controlOut(&h, flags); e != 0 {
		return 0, e
	}
	out := c.m.Flags | flags&unix.MSG_CMSG_CLOEXEC
	if c.m.Out.Truncated {
		out |= unix.MSG_CTRUNC
	}
	if e := put32(c.t, addr+48, out); e != 0 {
		return 0, e
	}
	return n, put64(c.t, addr+40, uint64(len(c.m.Out.Buf)))
}

// nameOut writes the source address and its length.
func (c *sockCall) nameOut(addr uint64, h *abi.Msghdr) abi.Errno {
	if n := min(int(h.Namelen), len(c.m.Name)); n > 0 {
		if e := c.t.CopyOut(h.Name, c.m.Name[:n]); e != 0 {
			return e
		}
	}
	return put32(c.t, addr+8, uint32(len(c.m.Name)))
}

// sysSendmmsg is sendmmsg(2).
func sysSendmmsg(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := startSock(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer c.end()
	flags := a.Uint32(3) &^ abi.MSG_INTERNAL
	count := min(a.Uint32(2), abi.UIO_MAXIOV)
	for i := range uint64(count) {
		addr := a[1] + i*abi.MmsghdrSize
		n, e := c.sendmsg(addr, flags)
		if e == 0 {
			e = put32(t, addr+abi.MsghdrSize, uint32(n))
		}
		if e != 0 && i == 0 {
			return 0, e
		}
		if e != 0 {
			return i, 0
		}
		c.next()
	}
	return uint64(count), 0
}

// sysRecvmmsg is recvmmsg(2).
func sysRecvmmsg(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	deadline, e := mmsgDeadline(t, a[4])
	if e != 0 {
		return 0, e
	}
	c, e := startSock(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer c.end()
	flags := a.Uint32(3)
	count := min(a.Uint32(2), abi.UIO_MAXIOV)
	n := uint64(0)
	for n < uint64(count) {
		addr := a[1] + n*abi.MmsghdrSize
		var k uint64
		k, e = c.recvmsg(addr, flags&^unix.MSG_WAITFORONE)
		if e == 0 {
			e = put32(t, addr+abi.MsghdrSize, uint32(k))
		}
		if e != 0 {
			break
		}
		n++
		if flags&unix.MSG_WAITFORONE != 0 {
			flags |= unix.MSG_DONTWAIT
		}
		if c.m.Flags&unix.MSG_OOB != 0 || deadline.past() {
			break
		}
		c.next()
	}
	if a[4] != 0 {
		if e := deadline.left(t, a[4]); e != 0 {
			return 0, e
		}
	}
	if n > 0 {
		return n, 0
	}
	return 0, e
}
