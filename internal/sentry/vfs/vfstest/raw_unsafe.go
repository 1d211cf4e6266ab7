package vfstest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawSetgroups sets the supplementary groups of this thread alone.
func rawSetgroups(g []uint32) {
	var p unsafe.Pointer
	if len(g) > 0 {
		p = unsafe.Pointer(&g[0])
	}
	unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(g)), uintptr(p), 0)
}
