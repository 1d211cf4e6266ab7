package vfs

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A note tells a task's stub of a file that the task has just opened: its
// attributes, and a directory's entries, for the calls that mostly follow. It
// stands until the task's next call, or until anybody makes one that could change
// what it says; to every observer the stub's answer was given before that.

// Steady is an Inode whose attributes may be in a note: reading it does not change
// them, nor does anybody outside.
type Steady interface{ Steady() bool }

// NoteHolder is a stub that may have a note. Its lock order: notes.mu is a leaf.
type NoteHolder struct {
	drop   func() // takes the note away, at once
	listed atomic.Bool
}

// notes are the holders that have to be told of a change.
var notes struct {
	mu      sync.Mutex
	holders []*NoteHolder
	some    atomic.Bool // holders is not empty
}

// NewNoteHolder is for the stub whose note drop takes away.
func NewNoteHolder(drop func()) *NoteHolder { return &NoteHolder{drop: drop} }

// Begin is called before the attributes are looked at.
func (h *NoteHolder) Begin() {
	if h.listed.Load() {
		return
	}
	notes.mu.Lock()
	defer notes.mu.Unlock()
	notes.holders = append(notes.holders, h)
	h.listed.Store(true)
	notes.some.Store(true)
}

// Stands tells, once the note is there, that nothing has changed since Begin.
// False: take it away.
func (h *NoteHolder) Stands() bool { return h.listed.Load() }

// End is the end of the stub: drop is not called any more.
func (h *NoteHolder) End() {
	notes.mu.Lock()
	defer notes.mu.Unlock()
	if i := slices.Index(notes.holders, h); i >= 0 {
		notes.holders = slices.Delete(notes.holders, i, i+1)
	}
	h.listed.Store(false)
	h.drop()
}

// DropNotes ends every note: something may have changed.
func DropNotes() {
	if !notes.some.Load() {
		return
	}
	notes.mu.Lock()
	defer notes.mu.Unlock()
	for _, h := range notes.holders {
		h.listed.Store(false)
		h.drop()
	}
	clear(notes.holders)
	notes.holders = notes.holders[:0]
	notes.some.Store(false)
}

// Notable tells whether a note may tell of fd, which was just opened as num: the
// stub knows the table, the attributes are steady, and nobody has the file open for
// writing.
func (t *FDTable) Notable(num int32, fd *FileDescription) bool {
	s, ok := fd.Inode().(Steady)
	return ok && t.Knows(num, fd) && s.Steady() && fd.Inode().Base().writers.Load() <= 0
}

// TellDir emits all entries of a directory that was just opened, for a note. It gives
// false if emit did not take all, or it is to be noticed who reads.
func (t *FDTable) TellDir(c Caller, fd *FileDescription, emit func(Dirent) bool) bool {
	if watched.Load() != 0 || fd.Path.Dentry.flags.Load()&dentryUnlinked != 0 {
		return false
	}
	end, all := int64(0), true
	e := fd.Impl.ReadDir(c, fd, 0, func(d Dirent) bool {
		if all = emit(d); all {
			end = d.Next
		}
		return all
	})
	if e != 0 || !all || end == 0 {
		return false
	}
	t.lock()
	t.told.fd, t.told.end = fd, end
	t.unlock()
	return true
}

// Unread tells whether the entries that the stub was told last were not read.
func (t *FDTable) Unread() bool {
	t.lock()
	defer t.unlock()
	return t.told.fd != nil
}

// readTo is what ReadDir up to end leaves behind. Watchers need not know: there was
// none when the note was made, and who adds a watch takes the note away first.
func (fd *FileDescription) readTo(end int64) { fd.readEnd.Store(end) }

// position gives the offset. offMu is held.
func (fd *FileDescription) position() int64 {
	if fd.readEnd.Load() != 0 {
		fd.off = fd.readEnd.Swap(0)
	}
	return fd.off
}
