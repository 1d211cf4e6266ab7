package vfs

import (
	"sync"
	"testing"
)

// TestNotesAreDropped: a change takes every note away that was begun before it.
func TestNotesAreDropped(t *testing.T) {
	dropped := 0
	h := NewNoteHolder(func() { dropped++ })
	DropNotes()
	if h.Stands() || dropped != 0 {
		t.Fatal("a note that was not begun", h.Stands(), dropped)
	}
	h.Begin()
	h.Begin()
	if !h.Stands() {
		t.Error("begun, and does not stand")
	}
	DropNotes()
	DropNotes()
	if h.Stands() || dropped != 1 {
		t.Error("after a change", h.Stands(), dropped)
	}
	h.Begin()
	h.End()
	DropNotes()
	if h.Stands() || dropped != 2 {
		t.Error("after its end", h.Stands(), dropped)
	}
}

// TestNoteRace: what a note says is older than no change that has returned.
func TestNoteRace(t *testing.T) {
	const rounds = 20000
	var mu sync.Mutex // of the file and the note, which the stub reads as one
	file, note, valid := 0, 0, false
	h := NewNoteHolder(func() {
		mu.Lock()
		valid = false
		mu.Unlock()
	})
	defer h.End()
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		for range rounds {
			mu.Lock()
			file++
			mu.Unlock()
			DropNotes()
			mu.Lock()
			if h.Stands() && valid && note != file {
				t.Errorf("the note says %d of a file that is at %d", note, file)
			}
			mu.Unlock()
		}
	}()
	for range rounds {
		h.Begin()
		mu.Lock()
		v := file
		mu.Unlock()
		mu.Lock()
		note, valid = v, true
		mu.Unlock()
		if !h.Stands() {
			mu.Lock()
			valid = false
			mu.Unlock()
		}
	}
	done.Wait()
}

// TestDirectoryReadByStub: the table moves the place of the one directory that the
// stub was told of, once.
func TestDirectoryReadByStub(t *testing.T) {
	tab, s := NewFDTable(), &fdStub{}
	told, other := busy(), busy()
	tab.Install(told, 0, false, 1024)
	tab.Install(other, 0, false, 1024)
	tab.LendTo(s, 1024)
	s.ops = append(s.ops, FDOp{FD: 0, Read: true})
	if tab.Settle(); told.Offset() != 0 {
		t.Error("a directory that it was not told of was read")
	}
	tab.told.fd, tab.told.end = told, 7
	if !tab.Unread() {
		t.Error("told, and not unread")
	}
	s.ops = append(s.ops, FDOp{FD: 1, Read: true}, FDOp{FD: 9, Read: true}, FDOp{FD: -1, Read: true}, FDOp{FD: 0, Read: true})
	if tab.Settle(); told.Offset() != 7 || other.Offset() != 0 || tab.Unread() {
		t.Error("offsets", told.Offset(), other.Offset(), tab.Unread())
	}
	told.off = 3
	s.ops = append(s.ops, FDOp{FD: 0, Read: true})
	if tab.Settle(); told.Offset() != 3 {
		t.Error("it was read twice")
	}
}
