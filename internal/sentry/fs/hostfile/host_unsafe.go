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

// epollWait is epoll_wait(2) by the call that the Go runtime uses too.
func epollWait(epfd int, events []unix.EpollEvent) (int, abi.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), ^uintptr(0), 0, 0)
	return int(n), e
}
