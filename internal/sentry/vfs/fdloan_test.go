package vfs

import (
	"testing"

	"golang.org/x/sys/unix"
)

// fdStub does what a stub does, as the table told it.
type fdStub struct {
	state [FDsLent]FDState
	ops   []FDOp
	lent  bool
}

func (s *fdStub) SetFD(fd int32, st FDState, _ uint32) { s.state[fd] = st }
func (s *fdStub) BeginFDs()                            { s.lent = true }
func (s *fdStub) EndFDs()                              { s.lent = false }
func (s *fdStub) TakeFD() (op FDOp, ok bool) {
	if len(s.ops) == 0 {
		return op, false
	}
	op, s.ops = s.ops[0], s.ops[1:]
	return op, true
}

func (s *fdStub) close(fd int32) {
	s.ops = append(s.ops, FDOp{FD: fd})
	s.state[fd] = FDFree
}

func (s *fdStub) dup(fd, to int32) {
	s.ops = append(s.ops, FDOp{FD: fd, To: to, Dup: true, Cloexec: true})
	s.state[to] = FDQuiet | FDCloexec
}

func busy() *FileDescription { return NewAnon("anon_inode:[test]", nullFile{}, unix.O_RDONLY) }

type nullFile struct{ FileDefaults }

// TestTableFollows: the table does what the stub did before anybody looks, and
// tells the stub what it does itself.
func TestTableFollows(t *testing.T) {
	tab, s := NewFDTable(), &fdStub{}
	f := busy()
	tab.Install(f, 0, false, 1024)
	if !tab.LendTo(s, 1024) || !s.lent || s.state[0] != FDBusy || s.state[1] != FDFree {
		t.Fatal("lent", s.lent, s.state[:2])
	}
	f.IncRef()
	if tab.Install(f, 3, true, 1024); s.state[3] != FDBusy|FDCloexec {
		t.Error("installed", s.state[3])
	}
	s.dup(3, 5)
	s.close(3)
	if got := tab.FDs(); len(got) != 2 || got[1] != 5 {
		t.Error("open", got)
	}
	if on, e := tab.Cloexec(5); e != 0 || !on {
		t.Error("cloexec of the duplicate", on, e)
	}
	if s.state[3] != FDFree || s.state[5] != FDQuiet|FDCloexec {
		t.Error("the stub's own were changed", s.state[3], s.state[5])
	}
	s.close(5)
	tab.Recall(false)
	if _, e := tab.Get(5); e != unix.EBADF || s.lent {
		t.Error("recalled", e, s.lent)
	}
	if n := f.refs.Load(); n != 1 {
		t.Error("references", n)
	}
}

// TestTamperedStub: what cannot be is not done.
func TestTamperedStub(t *testing.T) {
	tab, s := NewFDTable(), &fdStub{}
	tab.Install(busy(), 0, false, 1024)
	tab.Install(busy(), 0, false, 1024)
	tab.LendTo(s, 1024)
	s.ops = []FDOp{{FD: 9}, {FD: 255}, {FD: 9, To: 10, Dup: true}, {FD: 0, To: 1, Dup: true}, {FD: 0, To: 200, Dup: true}, {FD: 0, To: 255, Dup: true}}
	if got := tab.FDs(); len(got) != 2 {
		t.Error("open", got)
	}
}

// TestLentToOneUser: a second user ends the loan, and a table that must not be lent
// is not.
func TestLentToOneUser(t *testing.T) {
	tab, s := NewFDTable(), &fdStub{}
	tab.LendTo(s, 1024)
	tab.IncRef()
	if s.lent || tab.LendTo(s, 1024) {
		t.Error("lent to two")
	}
	tab.users.Add(-1)
	if tab.LendTo(s, FDsLent-1) {
		t.Error("lent beyond the limit")
	}
	tab.LendTo(s, 1024)
	tab.Recall(true)
	if s.lent || tab.LendTo(s, 1024) {
		t.Error("lent for good")
	}
}

// endless does more and more.
type endless struct{ fdStub }

func (*endless) TakeFD() (FDOp, bool) { return FDOp{FD: 63}, true }

// TestEndlessStub: a stub that never stops does not keep the table.
func TestEndlessStub(t *testing.T) {
	tab, s := NewFDTable(), &endless{}
	tab.LendTo(s, 1024)
	tab.Settle()
	tab.Recall(false)
	if s.lent || len(tab.FDs()) != 0 {
		t.Error("lent", s.lent, tab.FDs())
	}
}
