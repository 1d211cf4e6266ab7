package unix

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/socket/sockettest"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

func name(s string) []byte { return append([]byte{1, 0, 0}, s...) }

func pair(t *testing.T, typ int) (*sockettest.Caller, *Namespace, *Socket, *Socket) {
	t.Helper()
	ns, c := NewNamespace(), sockettest.Root()
	a, b, e := ns.Pair(c, typ, 0)
	if e != 0 {
		t.Fatal(e)
	}
	return c, ns, a, b
}

func send(t *testing.T, c vfs.Caller, s *Socket, b string) {
	t.Helper()
	n, e := s.SendMsg(c, &socket.Msg{Data: []byte(b)}, 0)
	if e != 0 || n != len(b) {
		t.Fatalf("send %q: %d, %v", b, n, e)
	}
}

func recv(t *testing.T, c vfs.Caller, s *Socket, size int, flags uint32) (string, *socket.Msg) {
	t.Helper()
	m := &socket.Msg{Data: make([]byte, size)}
	n, e := s.RecvMsg(c, m, flags)
	if e != 0 {
		t.Fatalf("recv: %v", e)
	}
	return string(m.Data[:n]), m
}

func wantErr(t *testing.T, what string, got, want abi.Errno) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d (%v), want %d (%v)", what, got, got, want, want)
	}
}

// The counts are those of Linux 6.18 for the default send buffer.
func TestFillAsLinux(t *testing.T) {
	for _, tc := range []struct{ typ, size, calls, bytes int }{
		{unix.SOCK_STREAM, 1, 278, 278},
		{unix.SOCK_STREAM, 200, 167, 33400},
		{unix.SOCK_STREAM, 1000, 93, 93000},
		{unix.SOCK_STREAM, 4096, 44, 180224},
		{unix.SOCK_STREAM, 60000, 4, 216544},
		{unix.SOCK_DGRAM, 1, 278, 278},
		{unix.SOCK_DGRAM, 200, 167, 33400},
		{unix.SOCK_DGRAM, 4096, 26, 106496},
		{unix.SOCK_SEQPACKET, 60000, 4, 240000},
	} {
		t.Run(fmt.Sprintf("%d/%d", tc.typ, tc.size), func(t *testing.T) {
			c, _, a, b := pair(t, tc.typ)
			calls, total := 0, 0
			for {
				n, e := a.SendMsg(c, &socket.Msg{Data: make([]byte, tc.size)}, 0)
				if e == unix.EAGAIN {
					break
				}
				if e != 0 {
					t.Fatal(e)
				}
				calls++
				total += n
			}
			if calls != tc.calls || total != tc.bytes {
				t.Errorf("%d calls, %d bytes; Linux %d, %d", calls, total, tc.calls, tc.bytes)
			}
			if a.Ready(nil)&waiter.Out != 0 {
				t.Error("still writable")
			}
			for total > 0 {
				s, _ := recv(t, c, b, 70000, 0)
				total -= len(s)
			}
			if a.wmem.Load() != 0 {
				t.Errorf("%d still charged", a.wmem.Load())
			}
			if a.Ready(nil)&waiter.Out == 0 {
				t.Error("not writable when all is read")
			}
		})
	}
}

func TestStreamJoinsAndPeeks(t *testing.T) {
	c, _, a, b := pair(t, unix.SOCK_STREAM)
	send(t, c, a, "hello ")
	send(t, c, a, "world")
	if s, _ := recv(t, c, b, 100, unix.MSG_PEEK); s != "hello world" {
		t.Errorf("peek %q", s)
	}
	if s, _ := recv(t, c, b, 3, 0); s != "hel" {
		t.Errorf("part %q", s)
	}
	if b.pendingBytes() != 8 {
		t.Errorf("FIONREAD %d", b.pendingBytes())
	}
	if s, _ := recv(t, c, b, 100, 0); s != "lo world" {
		t.Errorf("rest %q", s)
	}
	_, e := b.RecvMsg(c, &socket.Msg{Data: make([]byte, 1)}, 0)
	wantErr(t, "empty", e, unix.EAGAIN)
}

func TestCloseAndShutdown(t *testing.T) {
	c, _, a, b := pair(t, unix.SOCK_STREAM)
	send(t, c, a, "left")
	wantErr(t, "shutdown", a.Shutdown(c, unix.SHUT_WR), 0)
	if s, _ := recv(t, c, b, 10, 0); s != "left" {
		t.Errorf("%q", s)
	}
	if s, _ := recv(t, c, b, 10, 0); s != "" {
		t.Errorf("no EOF: %q", s)
	}
	_, e := a.SendMsg(c, &socket.Msg{Data: []byte("x")}, 0)
	wantErr(t, "send after shutdown", e, unix.EPIPE)
	if c.Pipes != 1 {
		t.Errorf("%d SIGPIPEs", c.Pipes)
	}
	_, e = a.SendMsg(c, &socket.Msg{Data: []byte("x")}, unix.MSG_NOSIGNAL)
	wantErr(t, "send after shutdown", e, unix.EPIPE)
	if c.Pipes != 1 {
		t.Errorf("MSG_NOSIGNAL: %d SIGPIPEs", c.Pipes)
	}

	c, _, a, b = pair(t, unix.SOCK_STREAM)
	send(t, c, a, "never read")
	send(t, c, b, "pending")
	b.Release(nil)
	if ev := a.Ready(nil); ev&(waiter.Hup|waiter.In|waiter.RdHup|waiter.Err) != waiter.Hup|waiter.In|waiter.RdHup|waiter.Err {
		t.Errorf("events %#x", ev)
	}
	if s, _ := recv(t, c, a, 10, 0); s != "pending" {
		t.Errorf("%q", s)
	}
	_, e = a.RecvMsg(c, &socket.Msg{Data: make([]byte, 1)}, 0)
	wantErr(t, "recv after reset", e, unix.ECONNRESET)
	if s, _ := recv(t, c, a, 10, 0); s != "" {
		t.Errorf("no EOF: %q", s)
	}
}

func TestConnectRules(t *testing.T) {
	ns, c := NewNamespace(), sockettest.Root()
	srv, _ := ns.New(unix.SOCK_STREAM, 0)
	cl, _ := ns.New(unix.SOCK_STREAM, 0)
	wantErr(t, "listen unbound", srv.Listen(c, 1), unix.EINVAL)
	_, e := cl.Connect(c, name("srv"))
	wantErr(t, "connect to nothing", e, unix.ECONNREFUSED)
	wantErr(t, "bind", srv.Bind(c, name("srv")), 0)
	wantErr(t, "bind twice", srv.Bind(c, name("other")), unix.EINVAL)
	_, e = cl.Connect(c, name("srv"))
	wantErr(t, "connect to bound", e, unix.ECONNREFUSED)
	wantErr(t, "listen", srv.Listen(c, 0), 0)
	dg, _ := ns.New(unix.SOCK_DGRAM, 0)
	_, e = dg.Connect(c, name("srv"))
	wantErr(t, "wrong type", e, unix.EPROTOTYPE)
	_, e = cl.Connect(c, name("srv"))
	wantErr(t, "connect", e, 0)
	_, e = cl.Connect(c, name("srv"))
	wantErr(t, "connect with full backlog", e, unix.EAGAIN)
	cl2, _ := ns.New(unix.SOCK_STREAM, 0)
	q, e := cl2.Connect(c, name("srv"))
	wantErr(t, "connect with full backlog", e, unix.EAGAIN)
	if q != &srv.acceptRoom {
		t.Error("wrong queue to wait on")
	}
	send(t, c, cl, "early")
	acc, e := srv.Accept(c)
	wantErr(t, "accept", e, 0)
	if s, _ := recv(t, c, acc.(*Socket), 10, 0); s != "early" {
		t.Errorf("%q", s)
	}
	_, e = cl.Connect(c, name("srv"))
	wantErr(t, "connect again", e, unix.EISCONN)
	_, e = cl2.Connect(c, name("srv"))
	wantErr(t, "connect", e, 0)
	srv.Release(nil)
	_, e = cl2.RecvMsg(c, &socket.Msg{Data: make([]byte, 1)}, 0)
	wantErr(t, "connection that was never accepted", e, unix.ECONNRESET)
	_, e = srv.Accept(c)
	wantErr(t, "accept closed", e, unix.EINVAL)
}

func TestDgram(t *testing.T) {
	ns, c := NewNamespace(), sockettest.Root()
	srv, _ := ns.New(unix.SOCK_DGRAM, 0)
	cl, _ := ns.New(unix.SOCK_DGRAM, 0)
	srv.Bind(c, name("srv"))
	_, e := cl.SendMsg(c, &socket.Msg{Data: []byte("x")}, 0)
	wantErr(t, "no peer", e, unix.ENOTCONN)
	to := func(b string) abi.Errno {
		_, e := cl.SendMsg(c, &socket.Msg{Data: []byte(b), Name: name("srv")}, 0)
		return e
	}
	for i := range maxDgramQlen + 1 {
		wantErr(t, fmt.Sprint("datagram ", i), to("datagram"), 0)
	}
	wantErr(t, "queue full", to("x"), unix.EAGAIN)
	l := &sockettest.Listener{}
	en := waiter.Entry{Listener: l}
	cl.queue.Register(&en, waiter.Out)
	s, m := recv(t, c, srv, 4, 0)
	if s != "data" || m.Flags&unix.MSG_TRUNC == 0 || m.Len != 8 || len(m.Name) != 0 {
		t.Errorf("%q flags %#x len %d from %q", s, m.Flags, m.Len, m.Name)
	}
	if l.Count() == 0 {
		t.Error("blocked sender was not woken")
	}
	cl.Bind(c, name("cl"))
	_, e = cl.Connect(c, name("srv"))
	wantErr(t, "connect", e, 0)
	third, _ := ns.New(unix.SOCK_DGRAM, 0)
	_, e = third.SendMsg(c, &socket.Msg{Data: []byte("x"), Name: name("cl")}, 0)
	wantErr(t, "to a socket with another peer", e, unix.EPERM)
	srv.Release(nil)
	_, e = cl.SendMsg(c, &socket.Msg{Data: []byte("x")}, 0)
	wantErr(t, "to the dead", e, unix.ECONNREFUSED)
	_, e = cl.SendMsg(c, &socket.Msg{Data: []byte("x")}, 0)
	wantErr(t, "peer forgotten", e, unix.ENOTCONN)
	_, e = cl.SendMsg(c, &socket.Msg{Data: make([]byte, 300000)}, 0)
	wantErr(t, "too long", e, unix.ENOTCONN)
}

func TestCredentials(t *testing.T) {
	c, _, a, b := pair(t, unix.SOCK_STREAM)
	b.SetSockOpt(c, unix.SOL_SOCKET, unix.SO_PASSCRED, socket.PutInt(1))
	send(t, c, a, "x")
	other := sockettest.User(1000, 77)
	send(t, other, a, "y")
	s, m := recv(t, c, b, 10, 0)
	if s != "x" || !m.HasCreds || m.Creds.PID != c.TGID() || m.Creds.UID != 0 {
		t.Errorf("%q %+v", s, m.Creds)
	}
	s, m = recv(t, c, b, 10, 0)
	if s != "y" || m.Creds != (abi.Ucred{PID: 77, UID: 1000, GID: 1000}) {
		t.Errorf("%q %+v", s, m.Creds)
	}
	wantErr(t, "own", CheckCreds(other, abi.Ucred{PID: 77, UID: 1000, GID: 1000}), 0)
	wantErr(t, "pid of another", CheckCreds(other, abi.Ucred{PID: 1, UID: 1000, GID: 1000}), unix.EPERM)
	wantErr(t, "uid of another", CheckCreds(other, abi.Ucred{PID: 77, UID: 0, GID: 1000}), unix.EPERM)
	wantErr(t, "root", CheckCreds(c, abi.Ucred{PID: 1, UID: 5, GID: 5}), 0)
}

func describe(s *Socket) *vfs.FileDescription {
	return vfs.NewDescription(vfs.Path{}, s, unix.O_RDWR, vfs.FMODE_READ|vfs.FMODE_WRITE)
}

func TestRightsAreABarrier(t *testing.T) {
	c, ns, a, b := pair(t, unix.SOCK_STREAM)
	x, _ := ns.New(unix.SOCK_STREAM, 0)
	f := describe(x)
	send(t, c, a, "one")
	f.IncRef()
	m := &socket.Msg{Data: []byte("two"), Files: []*vfs.FileDescription{f}}
	if _, e := a.SendMsg(c, m, 0); e != 0 {
		t.Fatal(e)
	}
	send(t, c, a, "three")
	s, got := recv(t, c, b, 100, unix.MSG_PEEK)
	if s != "onetwo" || len(got.Files) != 1 {
		t.Errorf("peek %q, %d files", s, len(got.Files))
	}
	got.DropFiles()
	s, got = recv(t, c, b, 100, 0)
	if s != "onetwo" || len(got.Files) != 1 || got.Files[0] != f {
		t.Errorf("%q, %d files", s, len(got.Files))
	}
	got.DropFiles()
	if f.Refs() != 1 || len(ns.inflight) != 0 || len(ns.perUser) != 0 {
		t.Errorf("%d references, %d in flight", f.Refs(), len(ns.inflight))
	}
	if s, _ = recv(t, c, b, 100, 0); s != "three" {
		t.Errorf("%q", s)
	}
	f.DecRef()
	if !x.dead.Load() {
		t.Error("not released")
	}
}

func TestFlightLimit(t *testing.T) {
	_, ns, a, _ := pair(t, unix.SOCK_DGRAM)
	x, _ := ns.New(unix.SOCK_STREAM, 0)
	f := describe(x)
	u := sockettest.User(1000, 5)
	var e abi.Errno
	n := 0
	for ; n < 100 && e == 0; n++ {
		f.IncRef()
		_, e = a.SendMsg(u, &socket.Msg{Data: []byte("x"), Files: []*vfs.FileDescription{f}, FlightLimit: 8}, 0)
	}
	wantErr(t, "too many in flight", e, unix.ETOOMANYREFS)
	if n != 10 {
		t.Errorf("after %d", n)
	}
}

func TestCycleIsCollected(t *testing.T) {
	c, ns, a, b := pair(t, unix.SOCK_STREAM)
	fa, fb := describe(a), describe(b)
	for _, p := range []struct {
		via *Socket
		f   *vfs.FileDescription
	}{{a, fb}, {b, fa}} {
		p.f.IncRef()
		if _, e := p.via.SendMsg(c, &socket.Msg{Data: []byte("x"), Files: []*vfs.FileDescription{p.f}}, 0); e != 0 {
			t.Fatal(e)
		}
	}
	keep, _ := ns.New(unix.SOCK_STREAM, 0)
	fk := describe(keep)
	fa.DecRef()
	fb.DecRef() // both live on only in each other's queue
	if a.dead.Load() || b.dead.Load() {
		t.Fatal("closed too early")
	}
	fk.DecRef() // any close collects
	if !a.dead.Load() || !b.dead.Load() || len(ns.inflight) != 0 || len(ns.sockets) != 0 {
		t.Errorf("a dead %v, b dead %v, %d in flight, %d sockets", a.dead.Load(), b.dead.Load(), len(ns.inflight), len(ns.sockets))
	}
}

func TestLongChainIsReleased(t *testing.T) {
	c, ns, a, b := pair(t, unix.SOCK_STREAM)
	b.Release(nil)
	held := describe(a)
	for range 5000 {
		x, y, _ := ns.Pair(c, unix.SOCK_STREAM, 0)
		m := &socket.Msg{Data: []byte("x"), Files: []*vfs.FileDescription{held}}
		if _, e := x.SendMsg(c, m, 0); e != 0 {
			t.Fatal(e)
		}
		held = describe(y)
		ns.mu.Lock()
		x.dead.Store(true) // closed without a collection, which is slow here
		delete(ns.sockets, x)
		ns.mu.Unlock()
	}
	held.DecRef()
	if ns.Count() != 0 {
		t.Errorf("%d sockets are left", ns.Count())
	}
}

func TestHostileAddresses(t *testing.T) {
	ns, c := NewNamespace(), sockettest.Root()
	for _, b := range [][]byte{nil, {1}, {2, 0, 0, 1}, make([]byte, 1000), append([]byte{1, 0}, bytes.Repeat([]byte{'a'}, 109)...)} {
		s, _ := ns.New(unix.SOCK_STREAM, 0)
		if e := s.Bind(c, b); e != unix.EINVAL {
			t.Errorf("bind to %d bytes %.8q: %v", len(b), b, e)
		}
	}
	s, _ := ns.New(unix.SOCK_DGRAM, 0)
	wantErr(t, "autobind", s.Bind(c, []byte{1, 0}), 0)
	b, _ := s.SockName(nil)
	if len(b) != 2+6 || b[2] != 0 {
		t.Errorf("autobind gave %q", b)
	}
}

func TestConcurrentStream(t *testing.T) {
	c, _, a, b := pair(t, unix.SOCK_STREAM)
	const total = 4 << 20
	var wg sync.WaitGroup
	wg.Go(func() {
		chunk := bytes.Repeat([]byte("0123456789abcdef"), 700)
		l := sockettest.NewListener()
		en := waiter.Entry{Listener: l}
		a.queue.Register(&en, waiter.Out)
		for sent := 0; sent < total; {
			k := min(len(chunk)-sent%16, total-sent)
			n, e := a.SendMsg(c, &socket.Msg{Data: chunk[sent%16:][:k]}, 0)
			if e == unix.EAGAIN {
				l.Wait()
				continue
			}
			if e != 0 {
				t.Error(e)
				return
			}
			sent += n
		}
		a.Shutdown(c, unix.SHUT_WR)
	})
	l := sockettest.NewListener()
	en := waiter.Entry{Listener: l}
	b.queue.Register(&en, waiter.In)
	got, buf := 0, make([]byte, 9999)
	for {
		n, e := b.RecvMsg(c, &socket.Msg{Data: buf}, 0)
		if e == unix.EAGAIN {
			l.Wait()
			continue
		}
		if e != 0 || n == 0 {
			break
		}
		for i := range n {
			if buf[i] != "0123456789abcdef"[(got+i)%16] {
				t.Fatalf("byte %d is %q", got+i, buf[i])
			}
		}
		got += n
	}
	wg.Wait()
	if got != total {
		t.Errorf("%d bytes of %d", got, total)
	}
}

func BenchmarkPingPong(b *testing.B) {
	ns, c := NewNamespace(), sockettest.Root()
	x, y, _ := ns.Pair(c, unix.SOCK_STREAM, 0)
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		x.Write(c, nil, buf, 0)
		y.Read(c, nil, buf, 0)
	}
}
