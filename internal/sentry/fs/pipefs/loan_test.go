package pipefs

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// stub accepts writes as a task's does.
type stub struct {
	lent   bool
	posted []byte
}

func (s *stub) Begin()                 { s.lent = true }
func (s *stub) End()                   { s.lent = false }
func (s *stub) Posted() bool           { return len(s.posted) > 0 }
func (s *stub) Serves(vfs.Caller) bool { return false }
func (s *stub) Take(buf []byte) int {
	n := copy(buf, s.posted)
	s.posted = nil
	return n
}

func lentPair(t *testing.T) (r, w *File, rd, wd *vfs.FileDescription, s *stub) {
	t.Helper()
	r, w, rd, wd = pair(t)
	w.p.plain = true
	s = &stub{}
	if !w.Lend(wd, s) || !s.lent {
		t.Fatal("not lent")
	}
	return r, w, rd, wd, s
}

// TestPostedIsThere: whoever looks sees what the stub has accepted.
func TestPostedIsThere(t *testing.T) {
	r, w, rd, _, s := lentPair(t)
	s.posted = []byte("ab")
	if r.Ready(rd)&waiter.In == 0 {
		t.Error("poll does not see it")
	}
	if n := r.First(); n != 2 {
		t.Error("FIONREAD's first", n)
	}
	s.posted = []byte("cd")
	b := make([]byte, 8)
	if n, e := r.Read(nil, rd, b, 0); e != 0 || !bytes.Equal(b[:n], []byte("abcd")) {
		t.Errorf("read %q, %v", b[:n], e)
	}
	s.posted = []byte("e")
	w.Settle()
	if r.p.bytes() != 1 || !s.lent {
		t.Error("settled", r.p.bytes(), s.lent)
	}
}

// TestLoanEnds: with another writer, with little room, with the last reader, on
// demand. What was accepted is kept, and comes first.
func TestLoanEnds(t *testing.T) {
	b := make([]byte, 8)
	r, w, rd, wd, s := lentPair(t)
	s.posted = []byte("a")
	w.Write(nil, wd, []byte("b"), 0)
	if n, _ := r.Read(nil, rd, b, 0); string(b[:n]) != "ab" || s.lent {
		t.Errorf("another writer: %q, lent %v", b[:n], s.lent)
	}
	if w.Lend(wd, s) {
		t.Error("lent again though two write")
	}

	r, w, rd, wd, s = lentPair(t)
	for i := 0; s.lent && i < 1000; i++ {
		s.posted = make([]byte, vfs.LoanMax)
		w.Settle()
	}
	if s.lent || r.p.full() {
		t.Error("no room: lent", s.lent, "full", r.p.full())
	}

	r, w, rd, wd, s = lentPair(t)
	s.posted = []byte("a")
	r.Release(rd)
	if _, _, e := w.Write(nil, wd, []byte("b"), 0); s.lent || e != unix.EPIPE {
		t.Error("no reader:", s.lent, e)
	}

	r, w, rd, wd, s = lentPair(t)
	w.Recall(&stub{})
	if !s.lent {
		t.Error("another's loan ended")
	}
	s.posted = []byte("b")
	w.Recall(s)
	if n, _ := r.Read(nil, rd, b, 0); s.lent || string(b[:n]) != "b" {
		t.Errorf("recalled: %q, lent %v", b[:n], s.lent)
	}
}
