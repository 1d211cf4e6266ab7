package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/pipefs"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

// What is read from a stream is gone from it, and a bad buffer is found only
// when the call ends: so the buffer is looked at first. As on Linux, bytes that
// find no room stay where they are.

// streamOf tells whether fd is a pipe or a stream socket.
func streamOf(fd *vfs.FileDescription) (pipe *pipefs.File, sock socket.Socket) {
	if fd.Seekable() {
		return nil, nil
	}
	switch f := fd.Impl.(type) {
	case *pipefs.File:
		return f, nil
	case socket.Socket:
		if f.Opts().Type == unix.SOCK_STREAM {
			return nil, f
		}
	}
	return nil, nil
}

// room gives how much of count bytes at addr a read may fill.
func (c *rwCall) room(addr, count uint64) (uint64, abi.Errno) {
	pipe, sock := streamOf(c.fd)
	if pipe == nil && sock == nil {
		return count, 0
	}
	n := c.t.MM().WritableLen(addr, count)
	if n == count {
		return n, 0
	}
	return n, c.noRoom(n, pipe, sock)
}

// noRoom is EFAULT if what would be read first does not fit into n bytes; the
// call waits for it as any other.
func (c *rwCall) noRoom(n uint64, pipe *pipefs.File, sock socket.Socket) abi.Errno {
	if c.flags&rwfNoWait != 0 || !blocks(c.fd) {
		if readyOf(c.t, c.fd)&input == 0 {
			return unix.EAGAIN
		}
	} else if e := c.awaitInput(); e != 0 {
		return e
	}
	switch {
	case pipe != nil && uint64(pipe.First()) > n:
		return unix.EFAULT
	case sock != nil && n == 0 && peeks(c.t, sock):
		return unix.EFAULT
	}
	return 0
}

// peeks tells whether there is a byte to receive.
func peeks(t *kernel.Task, s socket.Socket) bool {
	var b [1]byte
	m := socket.Msg{Data: b[:]}
	n, e := s.RecvMsg(t, &m, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	m.DropFiles()
	return e == 0 && n > 0
}

// fit cuts the parts to what a read of fd may fill.
func (v *iovecs) fit(c *rwCall) abi.Errno {
	pipe, sock := streamOf(c.fd)
	if pipe == nil && sock == nil {
		return 0
	}
	total := 0
	for i, p := range v.v {
		n := int(c.t.MM().WritableLen(p.addr, uint64(p.n)))
		total += n
		if n < p.n {
			v.v[i].n = n
			v.v, v.total = v.v[:i+1], total
			return c.noRoom(uint64(total), pipe, sock)
		}
	}
	return 0
}
