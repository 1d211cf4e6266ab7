package hostfile

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// hostIoctlPtr passes a request whose argument is at most 64 bytes.
func hostIoctlPtr(fd int, cmd uint32, b *[64]byte) abi.Errno {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(cmd), uintptr(unsafe.Pointer(b)))
	return e
}

func hostIoctl(fd int, cmd uint32, arg uintptr) abi.Errno {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(cmd), arg)
	return e
}
