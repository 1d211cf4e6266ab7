// Package socket has what the families of sockets share: the Socket interface
// over vfs.File, messages with their control data, and the options of level
// SOL_SOCKET (socket(7)). The families are packages below: unix, inet, netlink.
//
// No operation of a Socket blocks: one that would have to wait returns EAGAIN,
// and says where to wait if that is not the socket's own queue. Sockets
// are found by their description: FileDescription.Impl.(Socket).
//
// Locks: Common has atomics only. A family names its own order.
package socket

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Socket is an open socket. Addresses are raw sockaddr structures of 2 to
// SockaddrMax bytes, not trusted.
type Socket interface {
	vfs.File

	// Opts gives the options that every family has.
	Opts() *Common

	// Bind is bind(2).
	Bind(c vfs.Caller, addr []byte) abi.Errno
	// Connect is connect(2). EAGAIN: the peer's backlog is full, wait on the
	// queue given. EINPROGRESS: wait for Out on the socket's own queue, then
	// ask ConnectResult.
	Connect(c vfs.Caller, addr []byte) (*waiter.Queue, abi.Errno)
	// ConnectResult ends a wait for EINPROGRESS: EINPROGRESS still, 0, or why
	// the connection failed.
	ConnectResult(c vfs.Caller) abi.Errno
	// Listen is listen(2).
	Listen(c vfs.Caller, backlog int) abi.Errno
	// Accept takes a connection off the queue: accept(2).
	Accept(c vfs.Caller) (Socket, abi.Errno)
	// Shutdown is shutdown(2); how has been checked.
	Shutdown(c vfs.Caller, how int) abi.Errno
	// SockName and PeerName append the local and the remote address.
	SockName(b []byte) ([]byte, abi.Errno)
	PeerName(b []byte) ([]byte, abi.Errno)
	// SetSockOpt and GetSockOpt are setsockopt(2) and getsockopt(2). val has
	// what the guest gave, at most SockoptMax bytes; the result is appended to
	// nothing and cut by the caller to what the guest offered, which is size.
	SetSockOpt(c vfs.Caller, level, name int, val []byte) abi.Errno
	GetSockOpt(c vfs.Caller, level, name int, size int, arg []byte) ([]byte, abi.Errno)

	// SendMsg sends m.Data; on success the files of m have changed hands.
	SendMsg(c vfs.Caller, m *Msg, flags uint32) (int, abi.Errno)
	// RecvMsg fills m.Data, and what m has for an answer. Descriptors arrive
	// in m.Files: the caller releases or installs them.
	RecvMsg(c vfs.Caller, m *Msg, flags uint32) (int, abi.Errno)
}

// SockoptMax is the longest value setsockopt copies in.
const SockoptMax = 4096

// Msg is one message on its way.
type Msg struct {
	// Data is the payload, or the buffer to fill.
	Data []byte
	// Name is the destination, or receives the source by append.
	Name []byte
	// Flags is recvmsg's msg_flags.
	Flags uint32
	// Len is the real length of a datagram that was cut (MSG_TRUNC).
	Len int

	// Control has the control messages to send that are not of SOL_SOCKET.
	Control []byte
	// Out takes the control messages received.
	Out abi.CmsgWriter
	// Files travel by SCM_RIGHTS; each is a reference.
	Files []*vfs.FileDescription
	// Creds were given by SCM_CREDENTIALS and checked.
	Creds    abi.Ucred
	HasCreds bool
	// FlightLimit bounds the sender's files in flight: RLIMIT_NOFILE; 0: no bound.
	FlightLimit uint64

	// Wait is where to wait after EAGAIN; nil: the socket's own queue.
	Wait *waiter.Queue
}

// Reset readies m for another message, keeping its buffers.
func (m *Msg) Reset() {
	clear(m.Files)
	*m = Msg{Name: m.Name[:0], Files: m.Files[:0], Out: abi.CmsgWriter{Buf: m.Out.Buf[:0]}}
}

// DropFiles releases the references that m holds.
func (m *Msg) DropFiles() {
	for i, f := range m.Files {
		f.DecRef()
		m.Files[i] = nil
	}
	m.Files = m.Files[:0]
}

// PipeSignaler is a Caller to whom SIGPIPE can be sent.
type PipeSignaler interface{ SignalPipe() }

// BrokenPipe gives EPIPE, and SIGPIPE unless flags have MSG_NOSIGNAL.
func BrokenPipe(c vfs.Caller, flags uint32) abi.Errno {
	if p, ok := c.(PipeSignaler); ok && flags&msgNoSignal == 0 {
		p.SignalPipe()
	}
	return errEPIPE
}
