package unix

import (
	"sync"
	"sync/atomic"
	"testing"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/socket/sockettest"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

// stub does with a box what a task's stub does: vfs.Box.
type stub struct {
	loan, posted, note atomic.Uint32
	out, in            [vfs.BoxMax]byte
}

const taken = 0x10000

func (s *stub) Begin()       { s.loan.Store(1) }
func (s *stub) End()         { s.loan.Swap(0) }
func (s *stub) Posted() bool { return s.posted.Load() != 0 }
func (s *stub) Taken() bool  { return s.note.Load()&taken != 0 }
func (s *stub) Drop() bool   { return s.note.Swap(0)&taken != 0 }
func (s *stub) Note(b []byte) {
	copy(s.in[:], b)
	s.note.Store(uint32(len(b)))
}

func (s *stub) Take(buf []byte) int {
	n := s.posted.Load()
	copy(buf, s.out[:n])
	if n == 0 || !s.posted.CompareAndSwap(n, 0) {
		return 0
	}
	return int(n)
}

// write and read are the guest's; false: they go to the Sentry.
func (s *stub) write(b string) bool {
	if s.loan.Load() == 0 || s.posted.Load() != 0 {
		return false
	}
	copy(s.out[:], b)
	s.posted.Swap(uint32(len(b)))
	return s.loan.Load() != 0 || !s.posted.CompareAndSwap(uint32(len(b)), 0)
}

func (s *stub) read() (string, bool) {
	n := s.note.Load()
	if s.loan.Load() == 0 || n == 0 || n > vfs.BoxMax {
		return "", false
	}
	b := string(s.in[:n])
	return b, s.note.CompareAndSwap(n, n|taken)
}

func lentSocket(t *testing.T) (*sockettest.Caller, *Socket, *Socket, *stub) {
	t.Helper()
	c, _, a, b := pair(t, unix.SOCK_STREAM)
	s := &stub{}
	if !a.LendBox(nil, s) || s.loan.Load() == 0 {
		t.Fatal("not lent")
	}
	return c, a, b, s
}

func mustWrite(t *testing.T, s *stub, b string) {
	t.Helper()
	if !s.write(b) {
		t.Fatalf("the stub refuses %q", b)
	}
}

// TestPostedIsThere: whoever looks at either end sees what the stub has accepted.
func TestPostedIsThere(t *testing.T) {
	c, a, b, s := lentSocket(t)
	mustWrite(t, s, "ab")
	if b.Ready(nil)&waiter.In == 0 {
		t.Error("poll does not see it")
	}
	mustWrite(t, s, "cd")
	if n := b.pendingBytes(); n != 4 {
		t.Error("FIONREAD", n)
	}
	mustWrite(t, s, "e")
	send(t, c, a, "f")
	if got, _ := recv(t, c, b, 10, unix.MSG_PEEK); got != "abcdef" {
		t.Errorf("peeked %q", got)
	}
	if got, _ := recv(t, c, b, 10, 0); got != "abcdef" {
		t.Errorf("read %q", got)
	}
	mustWrite(t, s, "g")
	if a.Ready(nil); a.wmem.Load() == 0 {
		t.Error("the writer's own look does not see it")
	}
}

// TestPostedIsTold: those who wait are told when the post is taken.
func TestPostedIsTold(t *testing.T) {
	_, a, b, s := lentSocket(t)
	var l listener
	e := waiter.Entry{Listener: &l}
	b.queue.Register(&e, waiter.In)
	for i := range 3 {
		mustWrite(t, s, "x")
		if a.SettleBox(); l.n != i+1 {
			t.Fatalf("told %d times, not %d", l.n, i+1)
		}
	}
}

type listener struct{ n int }

func (l *listener) Notified(*waiter.Entry, uint32) { l.n++ }

// TestNote: what was noted is read once, by the stub or by somebody else.
func TestNote(t *testing.T) {
	c, a, b, s := lentSocket(t)
	note := func(want string) {
		t.Helper()
		if a.NoteBox(s); string(s.in[:s.note.Load()]) != want {
			t.Errorf("note %q, want %q", s.in[:s.note.Load()], want)
		}
	}
	note("")
	send(t, c, b, "abc")
	note("abc")
	if got, ok := s.read(); !ok || got != "abc" {
		t.Errorf("read %q, %v", got, ok)
	}
	if a.Ready(nil)&waiter.In != 0 || a.pendingBytes() != 0 || b.wmem.Load() != 0 {
		t.Error("what the stub read is still there")
	}
	send(t, c, b, "de")
	note("de")
	send(t, c, b, "f")
	if _, ok := s.read(); ok {
		t.Error("an old note was read")
	}
	note("def")
	if got, _ := recv(t, c, a, 2, 0); got != "de" {
		t.Errorf("read %q", got)
	}
	if _, ok := s.read(); ok {
		t.Error("a note was read that another had read")
	}
	note("f")
	s.read()
	if _, e := a.RecvMsg(c, &socket.Msg{Data: make([]byte, 9)}, 0); e != unix.EAGAIN {
		t.Error("read twice", e)
	}
	send(t, c, b, string(make([]byte, vfs.BoxMax+1)))
	note("")
}

// TestLoanEnds: with a shutdown, a close, an option, on demand, with little room.
func TestLoanEnds(t *testing.T) {
	opt := []byte{1, 0, 0, 0}
	for what, end := range map[string]func(c *sockettest.Caller, a, b *Socket){
		"own shutdown":    func(c *sockettest.Caller, a, b *Socket) { a.Shutdown(c, unix.SHUT_WR) },
		"peer's shutdown": func(c *sockettest.Caller, a, b *Socket) { b.Shutdown(c, unix.SHUT_WR) },
		"peer's option":   func(c *sockettest.Caller, a, b *Socket) { b.SetSockOpt(c, unix.SOL_SOCKET, unix.SO_PASSCRED, opt) },
		"own option":      func(c *sockettest.Caller, a, b *Socket) { a.SetSockOpt(c, unix.SOL_SOCKET, unix.SO_RCVLOWAT, opt) },
		"demand":          func(c *sockettest.Caller, a, b *Socket) { a.RecallBox(nil) },
		"a large write":   func(c *sockettest.Caller, a, b *Socket) { send(t, c, a, string(make([]byte, 60000))) },
	} {
		c, a, b, s := lentSocket(t)
		send(t, c, b, "in")
		a.NoteBox(s)
		mustWrite(t, s, "out")
		end(c, a, b)
		if s.loan.Load() != 0 {
			t.Errorf("%s: lent still", what)
		}
		if got, _ := recv(t, c, b, 3, 0); got != "out" {
			t.Errorf("%s: received %q", what, got)
		}
		if got, _ := recv(t, c, a, 9, 0); got != "in" {
			t.Errorf("%s: %q was to be read", what, got)
		}
	}
	c, a, b, s := lentSocket(t)
	mustWrite(t, s, "out")
	b.Release(nil)
	_, e := a.SendMsg(c, &socket.Msg{Data: []byte("x")}, 0)
	wantErr(t, "peer's close", e, unix.EPIPE)
	_, e = a.RecvMsg(c, &socket.Msg{Data: make([]byte, 9)}, 0)
	wantErr(t, "with bytes unread", e, unix.ECONNRESET)
	if s.loan.Load() != 0 || a.LendBox(nil, s) {
		t.Error("lent without a peer")
	}
	_, a, _, s = lentSocket(t)
	a.RecallBox(&stub{})
	if s.loan.Load() == 0 {
		t.Error("another's loan ended")
	}
	for i := 0; s.loan.Load() != 0 && i < 1000; i++ {
		s.write("x")
		a.SettleBox()
	}
	if s.loan.Load() != 0 || a.writable() {
		t.Error("lent without room")
	}
}

// TestNotLent: sockets with anything unusual.
func TestNotLent(t *testing.T) {
	c, _, a, b := pair(t, unix.SOCK_SEQPACKET)
	if a.LendBox(nil, &stub{}) {
		t.Error("of messages")
	}
	for _, opt := range []int{unix.SO_PASSCRED, unix.SO_TIMESTAMP} {
		c, _, a, b = pair(t, unix.SOCK_STREAM)
		if e := b.SetSockOpt(c, unix.SOL_SOCKET, opt, []byte{1, 0, 0, 0}); e != 0 {
			t.Fatal(e)
		}
		if a.LendBox(nil, &stub{}) || b.LendBox(nil, &stub{}) {
			t.Error("with option", opt)
		}
	}
}

// TestLentStress: two tasks talk through stubs and the Sentry by turns, while loans
// are recalled: every byte arrives once, in order.
func TestLentStress(t *testing.T) {
	c, _, a, b := pair(t, unix.SOCK_STREAM)
	const total = 5000
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for _, end := range []*Socket{a, b} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			stressEnd(t, c, end, total)
		}()
	}
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				a.RecallBox(nil)
				b.Ready(nil)
				b.endLoans()
				a.pendingBytes()
			}
		}
	}()
	wg.Wait()
	close(stop)
	if a.RecallBox(nil); a.pendingBytes() != 0 || b.pendingBytes() != 0 || a.wmem.Load() != 0 || b.wmem.Load() != 0 {
		t.Error("something is left")
	}
}

func stressEnd(t *testing.T, c vfs.Caller, end *Socket, total int) {
	s := &stub{}
	sent, got := 0, 0
	for round := 0; sent < total || got < total; round++ {
		if round%64 == 0 {
			end.RecallBox(s)
			end.LendBox(nil, s)
		}
		if sent < total && sent < got+2000 {
			if s.write(string([]byte{byte(sent)})) {
				sent++
			} else if n, e := end.SendMsg(c, &socket.Msg{Data: []byte{byte(sent)}}, 0); e == 0 {
				sent += n
			}
		}
		end.SettleBox()
		end.NoteBox(s)
		b, ok := s.read()
		if !ok {
			m := socket.Msg{Data: make([]byte, 100)}
			n, e := end.RecvMsg(c, &m, 0)
			if e != 0 && e != abi.Errno(unix.EAGAIN) {
				t.Error(e)
				return
			}
			b = string(m.Data[:n])
		}
		for i := range len(b) {
			if b[i] != byte(got) {
				t.Errorf("byte %d is %d", got, b[i])
				return
			}
			got++
		}
	}
	end.RecallBox(s)
}
