package inet

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/socket/sockettest"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

func newStack(t testing.TB) (*Stack, *sockettest.Caller) {
	t.Helper()
	st, err := NewStack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	return st, sockettest.Root()
}

func addr(s string) []byte {
	ap := netip.MustParseAddrPort(s)
	a := abi.SockaddrIn6{Is4: ap.Addr().Is4(), Port: ap.Port()}
	copy(a.Addr[:], ap.Addr().AsSlice())
	return a.Append(nil)
}

func family(s string) int {
	if netip.MustParseAddrPort(s).Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func open(t testing.TB, st *Stack, c vfs.Caller, fam, typ int) *Socket {
	t.Helper()
	s, e := st.New(c, fam, typ, 0)
	if e != 0 {
		t.Fatal(e)
	}
	return s
}

func wantErr(t testing.TB, what string, got, want abi.Errno) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d (%v), want %d (%v)", what, got, got, want, want)
	}
}

// await repeats f on the socket's events until it does not say EAGAIN.
func await(s *Socket, mask uint32, f func() abi.Errno) abi.Errno {
	l := sockettest.NewListener()
	en := waiter.Entry{Listener: l}
	s.queue.Register(&en, mask)
	defer s.queue.Unregister(&en)
	for {
		e := f()
		if e != unix.EAGAIN && e != unix.EINPROGRESS {
			return e
		}
		l.Wait()
	}
}

func recv(t testing.TB, c vfs.Caller, s *Socket, size int) (string, *socket.Msg) {
	t.Helper()
	m := &socket.Msg{Data: make([]byte, size), Out: abi.CmsgWriter{Space: 256}}
	n := 0
	e := await(s, waiter.In, func() (e abi.Errno) { n, e = s.RecvMsg(c, m, 0); return e })
	if e != 0 {
		t.Fatalf("recv: %v", e)
	}
	return string(m.Data[:n]), m
}

func listen(t testing.TB, st *Stack, c vfs.Caller, at string) *Socket {
	t.Helper()
	s := open(t, st, c, family(at), unix.SOCK_STREAM)
	wantErr(t, "bind", s.Bind(c, addr(at)), 0)
	wantErr(t, "listen", s.Listen(c, 5), 0)
	return s
}

func connect(t testing.TB, c vfs.Caller, s *Socket, b []byte) abi.Errno {
	t.Helper()
	if _, e := s.Connect(c, b); e != unix.EINPROGRESS {
		return e
	}
	return await(s, waiter.Out, func() abi.Errno { return s.ConnectResult(c) })
}

func accept(t testing.TB, c vfs.Caller, s *Socket) *Socket {
	t.Helper()
	var n socket.Socket
	e := await(s, waiter.In, func() (e abi.Errno) { n, e = s.Accept(c); return e })
	if e != 0 {
		t.Fatalf("accept: %v", e)
	}
	return n.(*Socket)
}

func connected(t testing.TB, at string) (*Stack, *sockettest.Caller, *Socket, *Socket) {
	t.Helper()
	st, c := newStack(t)
	srv := listen(t, st, c, at)
	cl := open(t, st, c, family(at), unix.SOCK_STREAM)
	if e := connect(t, c, cl, addr(at)); e != 0 {
		t.Fatalf("connect: %v", e)
	}
	return st, c, cl, accept(t, c, srv)
}

func TestTCP(t *testing.T) {
	for _, at := range []string{"127.0.0.1:8080", "[::1]:8080"} {
		t.Run(at, func(t *testing.T) {
			_, c, cl, srv := connected(t, at)
			_, e := cl.Connect(c, addr(at))
			wantErr(t, "connect again", e, unix.EISCONN)
			name, e := cl.PeerName(nil)
			if e != 0 || !bytes.Equal(name, addr(at)) {
				t.Errorf("peer %x", name)
			}
			if _, e := cl.SendMsg(c, &socket.Msg{Data: []byte("hello")}, 0); e != 0 {
				t.Fatal(e)
			}
			if s, _ := recv(t, c, srv, 100); s != "hello" {
				t.Errorf("%q", s)
			}
			_, e = srv.RecvMsg(c, &socket.Msg{Data: make([]byte, 9)}, 0)
			wantErr(t, "empty", e, unix.EAGAIN)
			wantErr(t, "shutdown", cl.Shutdown(c, unix.SHUT_WR), 0)
			if s, _ := recv(t, c, srv, 100); s != "" {
				t.Errorf("%q", s)
			}
			if srv.Ready(nil)&(waiter.In|waiter.RdHup) != waiter.In|waiter.RdHup {
				t.Errorf("events %#x", srv.Ready(nil))
			}
			_, e = cl.SendMsg(c, &socket.Msg{Data: []byte("x")}, 0)
			wantErr(t, "send after shutdown", e, unix.EPIPE)
			if c.Pipes != 1 {
				t.Errorf("%d SIGPIPEs", c.Pipes)
			}
		})
	}
}

func TestRefusedAndTriedAgain(t *testing.T) {
	st, c := newStack(t)
	s := open(t, st, c, unix.AF_INET, unix.SOCK_STREAM)
	if ev := s.Ready(nil); ev != waiter.Out|waiter.WrNorm|waiter.Hup {
		t.Errorf("events of a new socket %#x", ev)
	}
	s.SetSockOpt(c, unix.SOL_TCP, unix.TCP_NODELAY, socket.PutInt(1))
	wantErr(t, "connect", connect(t, c, s, addr("127.0.0.1:81")), unix.ECONNREFUSED)
	listen(t, st, c, "127.0.0.1:81")
	wantErr(t, "connect again", connect(t, c, s, addr("127.0.0.1:81")), 0)
	if b, _ := s.GetSockOpt(c, unix.SOL_TCP, unix.TCP_NODELAY, 4, nil); b[0] != 1 {
		t.Error("an option was lost")
	}
	far := open(t, st, c, unix.AF_INET, unix.SOCK_STREAM)
	wantErr(t, "no route", connect(t, c, far, addr("192.0.2.1:80")), unix.ENETUNREACH)
	far6 := open(t, st, c, unix.AF_INET6, unix.SOCK_STREAM)
	wantErr(t, "no route", connect(t, c, far6, addr("[2001:db8::1]:80")), unix.ENETUNREACH)
}

func TestStates(t *testing.T) {
	st, c := newStack(t)
	s := open(t, st, c, unix.AF_INET, unix.SOCK_STREAM)
	_, e := s.RecvMsg(c, &socket.Msg{Data: make([]byte, 1)}, 0)
	wantErr(t, "recv unconnected", e, unix.ENOTCONN)
	_, e = s.SendMsg(c, &socket.Msg{Data: []byte("x")}, 0)
	wantErr(t, "send unconnected", e, unix.EPIPE)
	wantErr(t, "shutdown unconnected", s.Shutdown(c, unix.SHUT_WR), unix.ENOTCONN)
	_, e = s.Accept(c)
	wantErr(t, "accept", e, unix.EINVAL)
	_, e = s.PeerName(nil)
	wantErr(t, "getpeername", e, unix.ENOTCONN)
	wantErr(t, "bind to another's address", s.Bind(c, addr("192.0.2.1:80")), unix.EADDRNOTAVAIL)
	wantErr(t, "family", s.Bind(c, addr("[::1]:80")), unix.EAFNOSUPPORT)
	wantErr(t, "bind", s.Bind(c, addr("127.0.0.1:7000")), 0)
	wantErr(t, "bind twice", s.Bind(c, addr("127.0.0.1:7001")), unix.EINVAL)
	s2 := open(t, st, c, unix.AF_INET, unix.SOCK_STREAM)
	wantErr(t, "port in use", s2.Bind(c, addr("127.0.0.1:7000")), unix.EADDRINUSE)
	u := sockettest.User(1000, 5)
	wantErr(t, "privileged port", open(t, st, u, unix.AF_INET, unix.SOCK_STREAM).Bind(u, addr("0.0.0.0:80")), unix.EACCES)
	_, e = st.New(u, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	wantErr(t, "raw", e, unix.EPERM)
	_, e = st.New(c, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_UDP)
	wantErr(t, "protocol", e, unix.EPROTONOSUPPORT)
	d := open(t, st, c, unix.AF_INET, unix.SOCK_DGRAM)
	wantErr(t, "listen on datagrams", d.Listen(c, 1), unix.EOPNOTSUPP)
	_, e = d.SendMsg(c, &socket.Msg{Data: []byte("x")}, 0)
	wantErr(t, "no destination", e, unix.EDESTADDRREQ)
}

func TestUDP(t *testing.T) {
	st, c := newStack(t)
	srv := open(t, st, c, unix.AF_INET6, unix.SOCK_DGRAM)
	wantErr(t, "bind", srv.Bind(c, addr("[::]:53")), 0)
	srv.SetSockOpt(c, unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, socket.PutInt(1))
	cl := open(t, st, c, unix.AF_INET, unix.SOCK_DGRAM)
	_, e := cl.SendMsg(c, &socket.Msg{Data: []byte("datagram"), Name: addr("127.0.0.1:53")}, 0)
	wantErr(t, "send", e, 0)
	s, m := recv(t, c, srv, 4)
	if s != "data" || m.Len != 8 || m.Flags&unix.MSG_TRUNC == 0 {
		t.Errorf("%q of %d, flags %#x", s, m.Len, m.Flags)
	}
	from, _ := abi.GetSockaddrIn(m.Name)
	if netip.AddrFrom16(from.Addr).String() != "::ffff:127.0.0.1" {
		t.Errorf("from %v", netip.AddrFrom16(from.Addr))
	}
	_, e = srv.SendMsg(c, &socket.Msg{Data: []byte("answer"), Name: m.Name}, 0)
	wantErr(t, "answer", e, 0)
	if s, _ := recv(t, c, cl, 40); s != "answer" {
		t.Errorf("%q", s)
	}
	_, e = cl.SendMsg(c, &socket.Msg{Data: make([]byte, 65508), Name: addr("127.0.0.1:53")}, 0)
	wantErr(t, "too long", e, unix.EMSGSIZE)
	_, e = cl.Connect(c, addr("127.0.0.1:9"))
	wantErr(t, "connect", e, 0)
	cl.SendMsg(c, &socket.Msg{Data: []byte("nobody there")}, 0)
	e = await(cl, waiter.In, func() abi.Errno {
		_, e := cl.RecvMsg(c, &socket.Msg{Data: make([]byte, 1)}, 0)
		return e
	})
	wantErr(t, "port unreachable", e, unix.ECONNREFUSED)
}

func TestCork(t *testing.T) {
	st, c := newStack(t)
	srv := open(t, st, c, unix.AF_INET, unix.SOCK_DGRAM)
	srv.Bind(c, addr("127.0.0.1:99"))
	cl := open(t, st, c, unix.AF_INET, unix.SOCK_DGRAM)
	cl.Connect(c, addr("127.0.0.1:99"))
	cl.SendMsg(c, &socket.Msg{Data: []byte("one ")}, unix.MSG_MORE)
	cl.SendMsg(c, &socket.Msg{Data: []byte("two")}, 0)
	if s, _ := recv(t, c, srv, 40); s != "one two" {
		t.Errorf("%q", s)
	}
}

func TestOptions(t *testing.T) {
	st, c := newStack(t)
	s := open(t, st, c, unix.AF_INET6, unix.SOCK_STREAM)
	for _, o := range []struct{ level, name, set, get int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, 1},
		{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 5, 1},
		{unix.SOL_SOCKET, unix.SO_RCVBUF, 5000, 10000},
		{unix.SOL_SOCKET, unix.SO_SNDBUF, 1, 4608},
		{unix.SOL_SOCKET, unix.SO_SNDBUF, 1 << 30, 425984},
		{unix.SOL_TCP, unix.TCP_NODELAY, 1, 1},
		{unix.SOL_TCP, unix.TCP_CORK, 1, 1},
		{unix.SOL_TCP, unix.TCP_KEEPIDLE, 60, 60},
		{unix.SOL_TCP, unix.TCP_KEEPINTVL, 10, 10},
		{unix.SOL_TCP, unix.TCP_KEEPCNT, 4, 4},
		{unix.SOL_TCP, unix.TCP_USER_TIMEOUT, 3000, 3000},
		{unix.SOL_TCP, unix.TCP_SYNCNT, 3, 3},
		{unix.SOL_IPV6, unix.IPV6_V6ONLY, 1, 1},
		{unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, 30, 30},
		{unix.SOL_IPV6, unix.IPV6_RECVERR, 1, 1},
		{unix.SOL_IP, unix.IP_TTL, 33, 33},
		{unix.SOL_IP, unix.IP_TOS, 0x10, 0x10},
	} {
		what := fmt.Sprintf("option %d/%d", o.level, o.name)
		wantErr(t, "set "+what, s.SetSockOpt(c, o.level, o.name, socket.PutInt(int32(o.set))), 0)
		b, e := s.GetSockOpt(c, o.level, o.name, 4, nil)
		wantErr(t, "get "+what, e, 0)
		if e == 0 && int(le.Uint32(b)) != o.get {
			t.Errorf("%s is %d, want %d", what, le.Uint32(b), o.get)
		}
	}
	wantErr(t, "short value", s.SetSockOpt(c, unix.SOL_TCP, unix.TCP_NODELAY, []byte{1}), unix.EINVAL)
	wantErr(t, "unknown", s.SetSockOpt(c, unix.SOL_TCP, 9999, socket.PutInt(1)), unix.ENOPROTOOPT)
	wantErr(t, "device", s.SetSockOpt(c, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte("eth7")), unix.ENODEV)
	wantErr(t, "device", s.SetSockOpt(c, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte("lo\x00")), 0)
	if b, e := s.GetSockOpt(c, unix.SOL_TCP, unix.TCP_INFO, 300, nil); e != 0 || b[0] != 7 {
		t.Errorf("TCP_INFO of a closed socket: %v, %v", b, e)
	}
}

func TestAcceptUnlistened(t *testing.T) {
	st, c := newStack(t)
	s := listen(t, st, c, "127.0.0.1:70")
	wantErr(t, "shutdown", s.Shutdown(c, unix.SHUT_RD), 0)
	_, e := s.Accept(c)
	wantErr(t, "accept", e, unix.EINVAL)
	cl := open(t, st, c, unix.AF_INET, unix.SOCK_STREAM)
	wantErr(t, "connect", connect(t, c, cl, addr("127.0.0.1:70")), unix.ECONNREFUSED)
}

func TestBulk(t *testing.T) {
	_, c, cl, srv := connected(t, "127.0.0.1:5001")
	const total = 8 << 20
	var wg sync.WaitGroup
	wg.Go(func() {
		chunk := bytes.Repeat([]byte("0123456789abcdef"), 4096)
		for sent := 0; sent < total; {
			n := 0
			e := await(cl, waiter.Out, func() (e abi.Errno) {
				n, e = cl.SendMsg(c, &socket.Msg{Data: chunk[sent%16:][:min(len(chunk)-sent%16, total-sent)]}, 0)
				return e
			})
			if e != 0 {
				t.Error(e)
				return
			}
			sent += n
		}
		cl.Shutdown(c, unix.SHUT_WR)
	})
	got := 0
	for {
		s, _ := recv(t, c, srv, 70000)
		if s == "" {
			break
		}
		for i := range s {
			if s[i] != "0123456789abcdef"[(got+i)%16] {
				t.Fatalf("byte %d is %q", got+i, s[i])
			}
		}
		got += len(s)
	}
	wg.Wait()
	if got != total {
		t.Errorf("%d of %d", got, total)
	}
}

func TestDeviceIoctls(t *testing.T) {
	st, c := newStack(t)
	mem := make(sockettest.Memory, 256)
	le.PutUint32(mem[16:], 80)
	le.PutUint64(mem[24:], 64)
	_, e := st.DevIoctl(c, unix.SIOCGIFCONF, 16, mem)
	wantErr(t, "SIOCGIFCONF", e, 0)
	if le.Uint32(mem[16:]) != 40 || string(mem[64:66]) != "lo" || !bytes.Equal(mem[84:88], []byte{127, 0, 0, 1}) {
		t.Errorf("SIOCGIFCONF: %d %q", le.Uint32(mem[16:]), mem[64:104])
	}
	copy(mem[128:], "lo\x00")
	_, e = st.DevIoctl(c, unix.SIOCGIFFLAGS, 128, mem)
	wantErr(t, "SIOCGIFFLAGS", e, 0)
	if le.Uint16(mem[144:]) != unix.IFF_UP|unix.IFF_LOOPBACK|unix.IFF_RUNNING {
		t.Errorf("flags %#x", le.Uint16(mem[144:]))
	}
	_, e = st.DevIoctl(c, unix.SIOCGIFMTU, 128, mem)
	if e != 0 || le.Uint32(mem[144:]) != 65536 {
		t.Errorf("mtu %d", le.Uint32(mem[144:]))
	}
}

func BenchmarkTCPPingPong(b *testing.B) {
	_, c, cl, srv := connected(b, "127.0.0.1:5002")
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		cl.Write(c, nil, buf, 0)
		await(srv, waiter.In, func() abi.Errno { _, e := srv.Read(c, nil, buf, 0); return e })
		srv.Write(c, nil, buf, 0)
		await(cl, waiter.In, func() abi.Errno { _, e := cl.Read(c, nil, buf, 0); return e })
	}
}
