package kernel

import (
	"math/rand/v2"
	"unsafe"
)

// kcmpKey hides addresses, and keeps their order useless to a guest.
var kcmpKey = uintptr(rand.Uint64()) | 1

// Kinds of kcmp(2) that compare what tasks share.
const (
	KCMP_FILE = iota
	KCMP_VM
	KCMP_FILES
	KCMP_FS
	KCMP_SIGHAND
	KCMP_IO
	KCMP_SYSVSEM
	KCMP_EPOLL_TFD
)

// Kcmp compares a resource of two tasks: 0 the same, 1 less, 2 greater.
// Nothing is ever moved, so that addresses order them.
func Kcmp(a, b *Task, kind int32) uint64 {
	x, y := a.kcmpAddr(kind)*kcmpKey, b.kcmpAddr(kind)*kcmpKey
	switch {
	case x == y:
		return 0
	case x < y:
		return 1
	}
	return 2
}

func (t *Task) kcmpAddr(kind int32) uintptr {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch kind {
	case KCMP_VM:
		return uintptr(unsafe.Pointer(t.mm))
	case KCMP_FILES:
		return uintptr(unsafe.Pointer(t.fds))
	case KCMP_FS:
		return uintptr(unsafe.Pointer(t.fs))
	case KCMP_SIGHAND:
		return uintptr(unsafe.Pointer(t.tg.sig.handlers))
	}
	return uintptr(unsafe.Pointer(t)) // not shared
}
