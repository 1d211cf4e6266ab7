package wire

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendmsg and recvmsg are the system calls without an allocation.
func sendmsg(fd int, b, oob []byte) error {
	var iov unix.Iovec
	var msg unix.Msghdr
	iov.Base = unsafe.SliceData(b)
	iov.SetLen(len(b))
	msg.Iov, msg.Iovlen = &iov, 1
	if len(oob) > 0 {
		msg.Control = unsafe.SliceData(oob)
		msg.SetControllen(len(oob))
	}
	_, _, e := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_NOSIGNAL)
	if e != 0 {
		return e
	}
	return nil
}

func recvmsg(fd int, b, oob []byte) (n, oobn, flags int, err error) {
	var iov unix.Iovec
	var msg unix.Msghdr
	iov.Base = unsafe.SliceData(b)
	iov.SetLen(len(b))
	msg.Iov, msg.Iovlen = &iov, 1
	msg.Control = unsafe.SliceData(oob)
	msg.SetControllen(len(oob))
	r, _, e := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_CMSG_CLOEXEC)
	if e != 0 {
		return 0, 0, 0, e
	}
	return int(r), int(msg.Controllen), int(msg.Flags), nil
}
