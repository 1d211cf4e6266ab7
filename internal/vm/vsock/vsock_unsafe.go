package vsock

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// vhostVsockSetGuestCID is VHOST_VSOCK_SET_GUEST_CID of linux/vhost.h.
const vhostVsockSetGuestCID = 0x4008af60

func setGuestCID(f *os.File, cid uint64) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), vhostVsockSetGuestCID, uintptr(unsafe.Pointer(&cid)))
	if errno != 0 {
		return errno
	}
	return nil
}
