package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/socket/netns"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

func init() {
	Net.Publish()
	register(
		Row{Nr: unix.SYS_SOCKET, Name: "socket", Args: "int flags:sock int", Fn: sysSocket,
			Note: "other families than AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK: EAFNOSUPPORT; MPTCP, SCTP, UDP-Lite and sock_diag: EPROTONOSUPPORT; as without their modules"},
		Row{Nr: unix.SYS_SOCKETPAIR, Name: "socketpair", Args: "int flags:sock int ptr", Fn: sysSocketpair},
		Row{Nr: unix.SYS_BIND, Name: "bind", Args: "fd buf size", Fn: sysBind},
		Row{Nr: unix.SYS_CONNECT, Name: "connect", Args: "fd buf size", Fn: sysConnect},
		Row{Nr: unix.SYS_LISTEN, Name: "listen", Args: "fd int", Fn: sysListen},
		Row{Nr: unix.SYS_ACCEPT, Name: "accept", Args: "fd ptr ptr", Fn: sysAccept},
		Row{Nr: unix.SYS_ACCEPT4, Name: "accept4", Args: "fd ptr ptr flags:sock", Fn: sysAccept4},
		Row{Nr: unix.SYS_SHUTDOWN, Name: "shutdown", Args: "fd int", Fn: sysShutdown},
		Row{Nr: unix.SYS_GETSOCKNAME, Name: "getsockname", Args: "fd ptr ptr", Fn: sysGetsockname},
		Row{Nr: unix.SYS_GETPEERNAME, Name: "getpeername", Args: "fd ptr ptr", Fn: sysGetpeername},
		Row{Nr: unix.SYS_SETSOCKOPT, Name: "setsockopt", Args: "fd int int buf size", Fn: sysSetsockopt,
			Missing: "SO_ATTACH_FILTER on TCP, SO_TIMESTAMPING, UDP_SEGMENT and source-specific multicast are refused"},
		Row{Nr: unix.SYS_GETSOCKOPT, Name: "getsockopt", Args: "fd int int ptr ptr", Fn: sysGetsockopt},
	)
}

// Net is the sandbox's network; /proc/net shows it.
var Net = netns.New()

// getSocket gets the socket behind a descriptor; EBADF, ENOTSOCK.
func getSocket(t *kernel.Task, num int32) (*vfs.FileDescription, socket.Socket, abi.Errno) {
	fd, e := t.FDs().GetFile(num)
	if e != 0 {
		return nil, nil, e
	}
	s, ok := fd.Impl.(socket.Socket)
	if !ok {
		fd.DecRef()
		return nil, nil, unix.ENOTSOCK
	}
	return fd, s, 0
}

const sockFlags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK

// describeSocket makes the description of a new socket.
func describeSocket(t *kernel.Task, s socket.Socket, flags uint32) *vfs.FileDescription {
	ino := vfs.NewAnonInode(t, vfs.AnonSocket, unix.S_IFSOCK|0777)
	s.Opts().Ino = ino.Ino()
	return ino.Describe(s, unix.O_RDWR|flags&unix.SOCK_NONBLOCK, vfs.FMODE_READ|vfs.FMODE_WRITE)
}

// sysSocket is socket(2).
func sysSocket(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	family, typ, protocol := a.Int(0), a.Uint32(1), a.Int(2)
	flags := typ &^ abi.SOCK_TYPE
	if flags&^sockFlags != 0 {
		return 0, unix.EINVAL
	}
	s, e := Net.Socket(t, int(family), int(typ&abi.SOCK_TYPE), int(protocol))
	if e != 0 {
		return 0, e
	}
	return install(t, describeSocket(t, s, flags), flags&unix.SOCK_CLOEXEC != 0)
}

// sysSocketpair is socketpair(2).
func sysSocketpair(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	family, typ, protocol := a.Int(0), a.Uint32(1), a.Int(2)
	flags := typ &^ abi.SOCK_TYPE
	if flags&^sockFlags != 0 {
		return 0, unix.EINVAL
	}
	x, y, e := Net.Pair(t, int(family), int(typ&abi.SOCK_TYPE), int(protocol))
	if e != 0 {
		return 0, e
	}
	cloexec := flags&unix.SOCK_CLOEXEC != 0
	fy := describeSocket(t, y, flags)
	nx, e := install(t, describeSocket(t, x, flags), cloexec)
	if e != 0 {
		fy.DecRef()
		return 0, e
	}
	ny, e := install(t, fy, cloexec)
	if e != 0 {
		t.FDs().Close(t, int32(nx))
		return 0, e
	}
	var b [8]byte
	copy(b[:], socket.PutInt(int32(nx)))
	copy(b[4:], socket.PutInt(int32(ny)))
	if e := t.CopyOut(a[3], b[:]); e != 0 {
		t.FDs().Close(t, int32(nx))
		t.FDs().Close(t, int32(ny))
		return 0, e
	}
	return 0, 0
}

// sockaddrIn copies an address in; an address of no length is empty.
func sockaddrIn(t *kernel.Task, buf *[abi.SockaddrMax]byte, addr uint64, n int32) ([]byte, abi.Errno) {
	if n < 0 || n > abi.SockaddrMax {
		return nil, unix.EINVAL
	}
	if n == 0 {
		return nil, 0
	}
	return buf[:n], t.CopyIn(addr, buf[:n])
}

// sockaddrOut copies an address out, as much as the guest has room for, and
// its whole length to lenAddr.
func sockaddrOut(t *kernel.Task, b []byte, addr, lenAddr uint64) abi.Errno {
	room, e := get32(t, lenAddr)
	if e != 0 {
		return e
	}
	if int32(room) < 0 {
		return unix.EINVAL
	}
	if n := min(int(room), len(b)); n > 0 {
		if e := t.CopyOut(addr, b[:n]); e != 0 {
			return e
		}
	}
	return put32(t, lenAddr, uint32(len(b)))
}

// sysBind is bind(2).
func sysBind(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, s, e := getSocket(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	var buf [abi.SockaddrMax]byte
	addr, e := sockaddrIn(t, &buf, a[1], a.Int(2))
	if e != 0 {
		return 0, e
	}
	return 0, s.Bind(t, addr)
}

// sysConnect is connect(2).
func sysConnect(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, s, e := getSocket(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	var buf [abi.SockaddrMax]byte
	addr, e := sockaddrIn(t, &buf, a[1], a.Int(2))
	if e != 0 {
		return 0, e
	}
	q, e := s.Connect(t, addr)
	if !blocks(fd) {
		return 0, e
	}
	switch e {
	case unix.EAGAIN:
		return 0, connectQueued(t, fd, s, q, addr)
	case unix.EINPROGRESS, unix.EALREADY:
		return 0, connectWait(t, fd, s)
	}
	return 0, e
}

// connectQueued waits for room in a listener's backlog.
func connectQueued(t *kernel.Task, fd *vfs.FileDescription, s socket.Socket, q *waiter.Queue, addr []byte) abi.Errno {
	for {
		w := startWaitOn(t, fd, q, waiter.Out)
		next, e := s.Connect(t, addr)
		if e == unix.EAGAIN && next == q {
			e = w.sleep()
			if e == 0 {
				e = unix.EAGAIN
			} else if e == unix.EAGAIN {
				w.end()
				return e // SO_SNDTIMEO is over
			}
		}
		w.end()
		if e != unix.EAGAIN {
			return e
		}
		q = next
	}
}

// startWaitOn is startWait for sending, on another queue than fd's own.
func startWaitOn(t *kernel.Task, fd *vfs.FileDescription, q *waiter.Queue, events uint32) *waitFor {
	w := startWait(t, fd, waiter.Out)
	w.queue.Unregister(&w.entry)
	w.queue = q
	q.Register(&w.entry, events)
	return w
}

// connectWait waits for a connection that is being made.
func connectWait(t *kernel.Task, fd *vfs.FileDescription, s socket.Socket) abi.Errno {
	w := startWait(t, fd, waiter.Out|waiter.WrNorm)
	defer w.end()
	for {
		e := s.ConnectResult(t)
		if e != unix.EINPROGRESS {
			return e
		}
		switch e := w.sleep(); e {
		case 0:
		case unix.EAGAIN: // SO_SNDTIMEO is over
			return unix.EINPROGRESS
		default:
			return e
		}
	}
}

// sysListen is listen(2).
func sysListen(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, s, e := getSocket(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	backlog := int(min(a.Uint32(1), uint32(Net.Somaxconn())))
	return 0, s.Listen(t, backlog)
}

// sysAccept is accept(2).
func sysAccept(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return accept(t, a.Int(0), a[1], a[2], 0)
}

// sysAccept4 is accept4(2).
func sysAccept4(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return accept(t, a.Int(0), a[1], a[2], a.Uint32(3))
}

func accept(t *kernel.Task, num int32, addr, lenAddr uint64, flags uint32) (uint64, abi.Errno) {
	if flags&^sockFlags != 0 {
		return 0, unix.EINVAL
	}
	fd, s, e := getSocket(t, num)
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	n, e := acceptWait(t, fd, s)
	if e != 0 {
		return 0, e
	}
	nfd := describeSocket(t, n, flags)
	if addr != 0 {
		var buf [abi.SockaddrMax]byte
		peer, e := n.PeerName(buf[:0])
		if e != 0 {
			e = unix.ECONNABORTED
		} else {
			e = sockaddrOut(t, peer, addr, lenAddr)
		}
		if e != 0 {
			nfd.DecRef()
			return 0, e
		}
	}
	return install(t, nfd, flags&unix.SOCK_CLOEXEC != 0)
}

func acceptWait(t *kernel.Task, fd *vfs.FileDescription, s socket.Socket) (socket.Socket, abi.Errno) {
	n, e := s.Accept(t)
	if e != unix.EAGAIN || !blocks(fd) {
		return n, e
	}
	w := startWait(t, fd, waiter.In|waiter.RdNorm)
	defer w.end()
	for {
		if n, e = s.Accept(t); e != unix.EAGAIN {
			return n, e
		}
		if e = w.sleep(); e != 0 {
			return nil, e
		}
	}
}

// sysShutdown is shutdown(2).
func sysShutdown(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, s, e := getSocket(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	how := a.Int(1)
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return 0, unix.EINVAL
	}
	return 0, s.Shutdown(t, int(how))
}

// sysGetsockname is getsockname(2).
func sysGetsockname(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return socketName(t, a, socket.Socket.SockName)
}

// sysGetpeername is getpeername(2).
func sysGetpeername(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return socketName(t, a, socket.Socket.PeerName)
}

func socketName(t *kernel.Task, a *Args, name func(socket.Socket, []byte) ([]byte, abi.Errno)) (uint64, abi.Errno) {
	fd, s, e := getSocket(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	var buf [abi.SockaddrMax]byte
	b, e := name(s, buf[:0])
	if e != 0 {
		return 0, e
	}
	return 0, sockaddrOut(t, b, a[1], a[2])
}

// sysSetsockopt is setsockopt(2).
func sysSetsockopt(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, s, e := getSocket(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	n := a.Int(4)
	if n < 0 {
		return 0, unix.EINVAL
	}
	var small [64]byte
	val := small[:min(int(n), len(small))]
	if int(n) > len(small) {
		val = make([]byte, min(int(n), socket.SockoptMax))
	}
	if len(val) > 0 {
		if e := t.CopyIn(a[3], val); e != 0 {
			return 0, e
		}
	}
	return 0, s.SetSockOpt(t, int(a.Int(1)), int(a.Int(2)), val)
}

// sysGetsockopt is getsockopt(2).
func sysGetsockopt(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, s, e := getSocket(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	room, e := get32(t, a[4])
	if e != 0 {
		return 0, e
	}
	if int32(room) < 0 {
		return 0, unix.EINVAL
	}
	level, name := int(a.Int(1)), int(a.Int(2))
	if level == unix.SOL_SOCKET && name == unix.SO_PEERPIDFD {
		return 0, peerPIDFD(t, s, a[3], a[4], room)
	}
	b, e := s.GetSockOpt(t, level, name, int(room), nil)
	if e == unix.ERANGE {
		if e := put32(t, a[4], uint32(len(b))); e != 0 {
			return 0, e
		}
	}
	if e != 0 {
		return 0, e
	}
	b = b[:min(len(b), int(room))]
	if len(b) > 0 {
		if e := t.CopyOut(a[3], b); e != 0 {
			return 0, e
		}
	}
	return 0, put32(t, a[4], uint32(len(b)))
}
