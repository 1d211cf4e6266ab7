package word

import (
	"syscall"
	"unsafe"
)

// sysFinitModule is finit_module(2), which package syscall has no name for.
const sysFinitModule = 313

// noParameters is the empty string of C.
var noParameters byte

func finitModule(fd int) syscall.Errno {
	_, _, errno := syscall.Syscall(sysFinitModule, uintptr(fd), uintptr(unsafe.Pointer(&noParameters)), 0)
	return errno
}
