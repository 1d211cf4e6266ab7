package word

import (
	"syscall"
	"unsafe"
)

// sysFinitModule is finit_module(2), that package syscall has no name for.
const sysFinitModule = 313

// clockBoottime is CLOCK_BOOTTIME of clock_gettime(2).
const clockBoottime = 7

// bootNanos is the time since the kernel began.
func bootNanos() uint64 {
	var ts syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return 0
	}
	return uint64(ts.Nano())
}

// noParameters is the empty string of C.
var noParameters byte

func finitModule(fd int) syscall.Errno {
	_, _, errno := syscall.Syscall(sysFinitModule, uintptr(fd), uintptr(unsafe.Pointer(&noParameters)), 0)
	return errno
}
