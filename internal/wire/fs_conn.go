package wire

import (
	"golang.org/x/sys/unix"
)

// GoferProcs is the Go scheduler's GOMAXPROCS of a Gofer. One goroutine serves;
// were there no other P, the runtime's monitor would take its own away in each
// system call.
const GoferProcs = 2

// FSConn is one end of the file protocol's connection. It is used by one
// goroutine at a time, and allocates nothing per message.
type FSConn struct {
	fd  int
	in  []byte
	oob [64]byte
}

// NewFSConn takes over fd, a SOCK_SEQPACKET socket.
func NewFSConn(fd int) *FSConn { return &FSConn{fd: fd, in: make([]byte, MaxFSMessage)} }

// FD gives the descriptor.
func (c *FSConn) FD() int { return c.fd }

// Close closes it.
func (c *FSConn) Close() { unix.Close(c.fd) }

// Send sends one message, with a descriptor beside it unless fd is -1. Who has
// gone is EPIPE, without a signal.
func (c *FSConn) Send(b []byte, fd int) error {
	var oob []byte
	if fd >= 0 {
		oob = rights(c.oob[:], fd)
	}
	for {
		err := sendmsg(c.fd, b, oob)
		if err != unix.EINTR {
			return err
		}
	}
}

// Receive gives the next message, valid until the next call, and the one
// descriptor beside it or -1. At the end of the connection it is nil.
func (c *FSConn) Receive() (b []byte, fd int, err error) {
	for {
		n, oobn, flags, err := recvmsg(c.fd, c.in, c.oob[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, -1, err
		}
		fd = takeRights(c.oob[:oobn])
		if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			if fd >= 0 {
				unix.Close(fd)
			}
			return nil, -1, unix.EMSGSIZE
		}
		if n == 0 {
			return nil, -1, nil
		}
		return c.in[:n], fd, nil
	}
}

// cmsgHeader is the size of struct cmsghdr on 64-bit machines.
const cmsgHeader = 16

// rights encodes an SCM_RIGHTS message with one descriptor.
func rights(b []byte, fd int) []byte {
	b = b[:24]
	clear(b)
	b[0] = cmsgHeader + 4 // cmsg_len
	b[8] = unix.SOL_SOCKET
	b[12] = unix.SCM_RIGHTS
	b[16], b[17], b[18], b[19] = byte(fd), byte(fd>>8), byte(fd>>16), byte(fd>>24)
	return b
}

// takeRights gives the first descriptor of the control messages in b, and
// closes any other.
func takeRights(b []byte) int {
	first := -1
	for len(b) >= cmsgHeader {
		n := int(b[0]) | int(b[1])<<8
		if n < cmsgHeader || n > len(b) {
			break
		}
		if b[8] == unix.SOL_SOCKET && b[12] == unix.SCM_RIGHTS {
			for f := b[cmsgHeader:n]; len(f) >= 4; f = f[4:] {
				fd := int(int32(uint32(f[0]) | uint32(f[1])<<8 | uint32(f[2])<<16 | uint32(f[3])<<24))
				if first < 0 {
					first = fd
				} else {
					unix.Close(fd)
				}
			}
		}
		b = b[min(len(b), (n+7)&^7):]
	}
	return first
}
