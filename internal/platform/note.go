package platform

import (
	"encoding/binary"
	"sync/atomic"
)

// NoteName is how long a name in a note may be, without its NUL.
const NoteName = noteNameMax - 1

// NoteRoom gives the room for a note's struct stat and its directory entries. It is
// the guest's memory: write it, and no more (own goroutine).
func (t *Thread) NoteRoom() (stat, dents []byte) {
	return t.note[noteStatAt:noteNameAt], t.note[noteDentsAt:]
}

// SetNote tells the stub what it wrote there of descriptor fd, which was opened as
// name in directory dir, or dir is -1; dents are the bytes of all of a directory's
// entries, 0 if they are not told. It stands until the thread's next event, or
// DropNote (own goroutine).
func (t *Thread) SetNote(fd, dir int32, name string, dents int) {
	le := binary.LittleEndian
	le.PutUint32(t.note, uint32(dir))
	le.PutUint32(t.note[4:], uint32(len(name)+1))
	le.PutUint32(t.note[8:], uint32(dents))
	n := copy(t.note[noteNameAt:noteDentsAt-1], name)
	t.note[noteNameAt+n] = 0
	t.ended = t.ended || dents > 0
	atomic.StoreUint32(&t.slot.note, uint32(fd)+1)
}

// DropNote is for anybody, as long as the slot is not freed.
func (t *Thread) DropNote() { atomic.StoreUint32(&t.slot.note, 0) }
