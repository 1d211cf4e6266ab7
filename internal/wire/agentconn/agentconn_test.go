package agentconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// fakeAgent answers Info alone.
type fakeAgent struct{ agentpb.AgentService }

func (fakeAgent) Info(context.Context, *agentpb.InfoRequest) (*agentpb.InfoResponse, error) {
	return &agentpb.InfoResponse{Version: agentpb.Version, Agent: "fake"}, nil
}

// oneListener gives its connection once.
type oneListener struct{ conns chan net.Conn }

func (l *oneListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l *oneListener) Close() error   { return nil }
func (l *oneListener) Addr() net.Addr { return &net.UnixAddr{} }

func pair(t *testing.T) (host, guest net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := func(fd int) net.Conn {
		f := os.NewFile(uintptr(fd), "pair")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	return conn(fds[0]), conn(fds[1])
}

func TestConnection(t *testing.T) {
	host, guest := pair(t)
	// What an earlier session left in both directions, a Hello of another
	// nonce and a part of one among it.
	host.Write([]byte("staleBULKHEBULK"))
	guest.Write(append([]byte("stale"), hello{version: 9, nonce: 1}.encode()...))
	sessions := make(chan *Session, 1)
	go func() {
		s, err := Accept(guest, false)
		if err != nil {
			t.Error(err)
		}
		sessions <- s
	}()
	c, err := Connect(host)
	if err != nil {
		t.Fatal(err)
	}
	s := <-sessions
	srv, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	agentpb.RegisterAgentService(srv, fakeAgent{})
	l := &oneListener{conns: make(chan net.Conn, 1)}
	l.conns <- s.Control()
	go srv.Serve(context.Background(), l)
	info, err := c.Agent().Info(context.Background(), &agentpb.InfoRequest{})
	if err != nil || info.Agent != "fake" {
		t.Fatalf("Info: %v, %v", info, err)
	}

	// The stream may be taken before it has come, and once.
	got := make(chan []byte, 1)
	go func() {
		conn, err := s.Take(context.Background(), 1)
		if err != nil {
			t.Error(err)
			got <- nil
			return
		}
		b, _ := io.ReadAll(conn)
		conn.Write([]byte("answer"))
		conn.Close()
		s.Drop(1)
		got <- b
	}()
	number, stream, err := c.Stream()
	if err != nil || number != 1 {
		t.Fatalf("Stream: %d, %v", number, err)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<15) // more than a window
	if _, err := stream.Write(big); err != nil {
		t.Fatal(err)
	}
	stream.Close()
	if b := <-got; !bytes.Equal(b, big) {
		t.Fatalf("the stream gave %d bytes, want %d", len(b), len(big))
	}
	if b, err := io.ReadAll(stream); err != nil || string(b) != "answer" {
		t.Fatalf("the answer: %q, %v", b, err)
	}
	c.Close()
	<-s.Done()
	if _, err := s.Take(context.Background(), 7); err == nil {
		t.Fatal("a stream came after the end")
	}
}

// TestAgain: an agent whose timers are wrong is greeted anew if its machine begins
// anew.
func TestAgain(t *testing.T) {
	host, guest := pair(t)
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		h, err := readHello(guest, func(hello) bool { return true })
		if err != nil {
			t.Error(err)
			return
		}
		guest.Write(hello{version: agentpb.Version, flags: flagTimers, nonce: h.nonce}.encode())
		if _, err := Accept(guest, false); err != nil { // the next one's
			t.Error(err)
		}
	}()
	times := 0
	c, err := NewGreeter(host, func() bool { times++; return true }).Connect()
	if err != nil || times != 1 || c.TimersWrong {
		t.Fatalf("%d times: %+v, %v", times, c, err)
	}
	<-accepted
	c.Close()
}

// TestHelloOnceMore: a machine began anew whose agent had read the first Hello, or
// had not.
func TestHelloOnceMore(t *testing.T) {
	for _, read := range []bool{true, false} {
		host, guest := pair(t)
		g := NewGreeter(host, nil)
		connected := make(chan error, 1)
		go func() {
			c, err := g.Connect()
			if err == nil {
				defer c.Close()
				_, err = c.Agent().Info(context.Background(), &agentpb.InfoRequest{})
			}
			connected <- err
		}()
		var first [helloSize]byte
		if _, err := io.ReadFull(guest, first[:]); err != nil {
			t.Fatal(err)
		}
		if err := g.Hello(); err != nil {
			t.Fatal(err)
		}
		// What a port does that keeps what was read too far.
		port := &keeper{Conn: guest}
		if !read {
			port.Unread(first[:])
		}
		go serveFake(t, port)
		if err := <-connected; err != nil {
			t.Errorf("read %v: %v", read, err)
		}
	}
}

// keeper is a channel that outlives its sessions, as the agent's port does.
type keeper struct {
	net.Conn
	kept []byte
}

func (k *keeper) Unread(b []byte) { k.kept = append(b, k.kept...) }
func (k *keeper) Close() error    { return nil }

func (k *keeper) Read(b []byte) (int, error) {
	if len(k.kept) > 0 {
		n := copy(b, k.kept)
		k.kept = k.kept[n:]
		return n, nil
	}
	return k.Conn.Read(b)
}

// serveFake is the agent's loop: a session after another, until one is served.
func serveFake(t *testing.T, channel io.ReadWriteCloser) {
	for {
		s, err := Accept(channel, false)
		if errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		srv, err := ttrpc.NewServer()
		if err != nil {
			t.Error(err)
			return
		}
		agentpb.RegisterAgentService(srv, fakeAgent{})
		l := &oneListener{conns: make(chan net.Conn, 1)}
		l.conns <- s.Control()
		_ = srv.Serve(context.Background(), l)
		return
	}
}

func TestOtherVersion(t *testing.T) {
	host, guest := pair(t)
	done := make(chan error, 1)
	go func() {
		_, err := Connect(host)
		done <- err
	}()
	h, err := readHello(guest, func(hello) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	guest.Write(hello{version: agentpb.Version + 1, nonce: h.nonce}.encode())
	if err := <-done; !errors.Is(err, ErrVersion) {
		t.Fatalf("another version: %v", err)
	}
}

func TestHelloNeverComes(t *testing.T) {
	r := io.MultiReader(bytes.NewReader(bytes.Repeat([]byte("BULKHEA"), maxStale/7+10)))
	if _, err := readHello(r, func(hello) bool { return true }); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("an endless stream of no hello: %v", err)
	}
}

func FuzzReadHello(f *testing.F) {
	f.Add([]byte("xBULKHEAD\x01\x00\x00\x00\x05\x00\x00\x00rest"))
	f.Add([]byte("BULKBULKHEAD\x01\x00\x00\x00\x05\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		at := bytes.Index(b, helloMagic)
		want := at >= 0 && at+helloSize <= len(b)
		r := bytes.NewReader(b)
		_, err := readHello(r, func(hello) bool { return true })
		if (err == nil) != want {
			t.Fatalf("%q: %v", b, err)
		}
		if err == nil && len(b)-r.Len() != at+helloSize {
			t.Fatalf("%q: read to %d, want %d", b, len(b)-r.Len(), at+helloSize)
		}
	})
}

// countingWriter counts writes.
type countingWriter struct {
	io.ReadWriteCloser
	writes int
}

func (w *countingWriter) Write(p []byte) (int, error) { w.writes++; return min(len(p), 1000), nil }

func TestJoiner(t *testing.T) {
	w := &countingWriter{}
	j := &joiner{ReadWriteCloser: w}
	j.Write([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5})
	j.Write([]byte("hello"))
	if w.writes != 1 {
		t.Fatalf("header and body took %d writes", w.writes)
	}
	j.Write([]byte{0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5}) // a window update has no body
	if w.writes != 2 || len(j.pending) != 0 {
		t.Fatal("a window update waits")
	}
	if n, err := j.Write(make([]byte, 2500)); n != 2500 || err != nil || w.writes != 5 {
		t.Fatalf("short writes: %d %v, %d writes", n, err, w.writes)
	}
}

// unreader is a channel that keeps what is given back.
type unreader struct {
	io.ReadWriteCloser
	back []byte
}

func (u *unreader) Unread(b []byte) { u.back = b }

func TestFrames(t *testing.T) {
	data := []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 'B', 'B', 'B'}
	update := []byte{0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3}
	again := hello{version: 1, nonce: 5}.encode()
	all := append(append(append([]byte(nil), data...), update...), again...)
	for step := 1; step <= len(all); step++ {
		u := &unreader{ReadWriteCloser: struct {
			io.Reader
			io.WriteCloser
		}{&chunks{all, step}, nil}}
		f := &frames{ReadWriteCloser: u}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, all[:len(data)+len(update)]) {
			t.Fatalf("chunks of %d: %q, %v", step, got, err)
		}
		if !bytes.HasPrefix(again, u.back) || len(u.back) == 0 {
			t.Fatalf("chunks of %d: %q was kept", step, u.back)
		}
	}
}

// chunks reads a few bytes at a time.
type chunks struct {
	b    []byte
	step int
}

func (c *chunks) Read(p []byte) (int, error) {
	n := copy(p, c.b[:min(len(c.b), c.step)])
	c.b = c.b[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
