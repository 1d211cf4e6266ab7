package kernel

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

// walksBefore is how many directories a task opens and reads to the end before
// the entries of the next come with its opening.
const walksBefore = 4

// Opened notes that fd was just opened for reading, as num: the task's stub is told
// of it (vfs.NoteHolder). dir is where it was opened from under name, which was not
// followed; -1: some other way (own goroutine).
func (t *Task) Opened(num int32, fd *vfs.FileDescription, dir int32, name string) {
	l := &t.plat.loans
	if !l.fds || !t.fds.Notable(num, fd) {
		return
	}
	if dir < 0 || len(name) > platform.NoteName {
		dir, name = -1, ""
	}
	th := t.plat.th.Load()
	stat, dents := th.NoteRoom()
	l.note.Begin()
	a, e := fd.Path.Stat(t)
	if e != 0 {
		return
	}
	s := a.Stat()
	s.Put((*[abi.StatSize]byte)(stat))
	n := 0
	if a.Mode&unix.S_IFMT == unix.S_IFDIR {
		n = t.tellDir(num, fd, dents)
	}
	if th.SetNote(num, dir, name, n); !l.note.Stands() {
		th.DropNote()
	}
}

// tellDir writes the entries of a directory to dents, if the task is likely to read
// them, and gives their length; 0: they are not told.
func (t *Task) tellDir(num int32, fd *vfs.FileDescription, dents []byte) (n int) {
	l := &t.plat.loans
	if l.told && t.fds.Unread() {
		l.walks -= 2 // often enough, and they are told no more
	}
	l.walks = min(l.walks, 2*walksBefore)
	l.opened, l.told = num, false
	if l.walks < walksBefore {
		return 0
	}
	all := t.fds.TellDir(t, fd, func(d vfs.Dirent) bool {
		k := abi.PutDirent64(dents[n:], d.Ino, d.Next, d.Type, d.Name)
		n += k
		return k > 0
	})
	if !all {
		return 0
	}
	l.told = true
	return n
}
