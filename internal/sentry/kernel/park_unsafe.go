package kernel

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	futexWaitBitsetPrivate = 9 | 128
	futexWakePrivate       = 1 | 128
)

func futexWait(word *atomic.Uint32, val uint32, deadline int64) {
	var tsp *unix.Timespec
	if deadline != 0 {
		ts := unix.NsecToTimespec(deadline)
		tsp = &ts
	}
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWaitBitsetPrivate,
		uintptr(val), uintptr(unsafe.Pointer(tsp)), 0, ^uintptr(0))
}

func futexWake(word *atomic.Uint32) {
	unix.RawSyscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWakePrivate, 1)
}
