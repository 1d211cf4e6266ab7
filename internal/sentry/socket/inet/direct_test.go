package inet

import (
	"testing"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/socket/sockettest"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

func write(s *Socket, c *sockettest.Caller, b string) abi.Errno {
	_, e := s.SendMsg(c, &socket.Msg{Data: []byte(b)}, 0)
	return e
}

func read(s *Socket, c *sockettest.Caller) (string, abi.Errno) {
	m := &socket.Msg{Data: make([]byte, 100)}
	n, e := s.RecvMsg(c, m, 0)
	return string(m.Data[:n]), e
}

func wantDirect(t *testing.T, a, b *Socket) {
	t.Helper()
	if a.direct.Load() == nil || b.direct.Load() == nil {
		t.Fatal("the connection is not direct")
	}
}

func TestEarlyDataComesFirst(t *testing.T) {
	st, c := newStack(t)
	l := listen(t, st, c, "127.0.0.1:6000")
	cl := open(t, st, c, unix.AF_INET, unix.SOCK_STREAM)
	wantErr(t, "connect", connect(t, c, cl, addr("127.0.0.1:6000")), 0)
	wantErr(t, "early", write(cl, c, "early"), 0)
	srv := accept(t, c, l)
	wantDirect(t, cl, srv)
	wantErr(t, "late", write(cl, c, "late"), 0)
	if s, _ := recv(t, c, srv, 3); s != "ear" {
		t.Errorf("%q", s)
	}
	if n := srv.direct.Load().unread(); n != 6 {
		t.Errorf("FIONREAD %d", n)
	}
	if s, _ := recv(t, c, srv, 100); s != "ly" {
		t.Errorf("%q", s)
	}
	if s, _ := recv(t, c, srv, 100); s != "late" {
		t.Errorf("%q", s)
	}
}

func TestEarlyHalfCloseStaysWithNetstack(t *testing.T) {
	st, c := newStack(t)
	l := listen(t, st, c, "127.0.0.1:6001")
	cl := open(t, st, c, unix.AF_INET, unix.SOCK_STREAM)
	wantErr(t, "connect", connect(t, c, cl, addr("127.0.0.1:6001")), 0)
	wantErr(t, "early", write(cl, c, "all there is"), 0)
	wantErr(t, "shutdown", cl.Shutdown(c, unix.SHUT_WR), 0)
	srv := accept(t, c, l)
	if s, _ := recv(t, c, srv, 100); s != "all there is" {
		t.Errorf("%q", s)
	}
	if s, _ := recv(t, c, srv, 100); s != "" {
		t.Errorf("no end: %q", s)
	}
	wantErr(t, "answer", write(srv, c, "answer"), 0)
	if s, _ := recv(t, c, cl, 100); s != "answer" {
		t.Errorf("%q", s)
	}
}

func TestReset(t *testing.T) {
	for _, how := range []string{"linger", "unread"} {
		t.Run(how, func(t *testing.T) {
			_, c, cl, srv := connected(t, "127.0.0.1:6002")
			wantDirect(t, cl, srv)
			wantErr(t, "send", write(srv, c, "read it first"), 0)
			if how == "linger" {
				srv.SetSockOpt(c, unix.SOL_SOCKET, unix.SO_LINGER, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			} else {
				wantErr(t, "send", write(cl, c, "never read"), 0)
			}
			srv.Release(nil)
			if ev := cl.Ready(nil); ev&(waiter.In|waiter.Err|waiter.Hup) != waiter.In|waiter.Err|waiter.Hup {
				t.Errorf("events %#x", ev)
			}
			if s, e := read(cl, c); s != "read it first" {
				t.Errorf("%q, %v", s, e)
			}
			_, e := read(cl, c)
			wantErr(t, "read", e, unix.ECONNRESET)
			s, e := read(cl, c)
			wantErr(t, "read after reset", e, 0)
			if s != "" {
				t.Errorf("%q", s)
			}
			wantErr(t, "write after reset", write(cl, c, "x"), unix.EPIPE)
		})
	}
}

func TestWriteAfterClose(t *testing.T) {
	_, c, cl, srv := connected(t, "127.0.0.1:6003")
	wantDirect(t, cl, srv)
	srv.Release(nil)
	s, e := read(cl, c)
	if s != "" || e != 0 {
		t.Errorf("%q, %v", s, e)
	}
	wantErr(t, "first write", write(cl, c, "x"), 0)
	wantErr(t, "second write", write(cl, c, "x"), unix.EPIPE)
	if c.Pipes != 1 {
		t.Errorf("%d SIGPIPEs", c.Pipes)
	}
	cl.Release(nil)
}

func TestBothHalvesShut(t *testing.T) {
	_, c, cl, srv := connected(t, "127.0.0.1:6004")
	cl.Shutdown(c, unix.SHUT_WR)
	if ev := srv.Ready(nil); ev&waiter.Hup != 0 || ev&waiter.RdHup == 0 {
		t.Errorf("events %#x", ev)
	}
	srv.Shutdown(c, unix.SHUT_WR)
	for _, s := range []*Socket{cl, srv} {
		if ev := s.Ready(nil); ev&waiter.Hup == 0 {
			t.Errorf("events %#x", ev)
		}
	}
}

func TestDirectFillsAndDrains(t *testing.T) {
	_, c, cl, srv := connected(t, "127.0.0.1:6005")
	wantDirect(t, cl, srv)
	total := 0
	b := make([]byte, 50000)
	for {
		n, e := cl.SendMsg(c, &socket.Msg{Data: b}, 0)
		if e != 0 {
			wantErr(t, "full", e, unix.EAGAIN)
			break
		}
		total += n
	}
	if cl.Ready(nil)&waiter.Out != 0 {
		t.Error("writable though full")
	}
	l := &sockettest.Listener{}
	en := waiter.Entry{Listener: l}
	cl.queue.Register(&en, waiter.Out)
	for total > 0 {
		n, e := srv.RecvMsg(c, &socket.Msg{Data: b}, 0)
		if e != 0 {
			t.Fatal(e)
		}
		total -= n
	}
	if l.Count() == 0 || cl.Ready(nil)&waiter.Out == 0 {
		t.Error("the writer was not woken")
	}
}

func TestBufferSizesBound(t *testing.T) {
	_, c, cl, srv := connected(t, "127.0.0.1:6006")
	wantDirect(t, cl, srv)
	wantErr(t, "SO_SNDBUF", cl.SetSockOpt(c, unix.SOL_SOCKET, unix.SO_SNDBUF, socket.PutInt(4096)), 0)
	wantErr(t, "SO_RCVBUF", srv.SetSockOpt(c, unix.SOL_SOCKET, unix.SO_RCVBUF, socket.PutInt(4096)), 0)
	b := make([]byte, 100000)
	n, e := cl.SendMsg(c, &socket.Msg{Data: b}, 0)
	if e != 0 || n != 8192 {
		t.Errorf("sent %d, %v; want 8192", n, e)
	}
	recv(t, c, srv, 8192)
	srv.Release(nil)
	if n, e := cl.SendMsg(c, &socket.Msg{Data: b}, 0); e != 0 || n != 8192 {
		t.Errorf("sent %d, %v after the close; want 8192", n, e)
	}
	wantErr(t, "second write", write(cl, c, "x"), unix.EPIPE)
}
