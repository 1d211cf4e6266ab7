package unix

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

// SetSockOpt is setsockopt(2): AF_UNIX has options of level SOL_SOCKET only.
func (s *Socket) SetSockOpt(c vfs.Caller, level, name int, val []byte) abi.Errno {
	if level != unix.SOL_SOCKET {
		return unix.EOPNOTSUPP
	}
	s.endLoans()
	defer s.endLoans() // lent meanwhile
	e := s.SetCommonOpt(c, name, val)
	if e == 0 && (name == unix.SO_SNDBUF || name == unix.SO_SNDBUFFORCE) && s.writable() {
		s.queue.Notify(waiter.Out | waiter.WrNorm)
	}
	return e
}

// GetSockOpt is getsockopt(2).
func (s *Socket) GetSockOpt(c vfs.Caller, level, name int, size int, _ []byte) ([]byte, abi.Errno) {
	if level != unix.SOL_SOCKET {
		return nil, unix.EOPNOTSUPP
	}
	switch name {
	case unix.SO_ERROR:
		return socket.PutInt(int32(s.takeErr())), 0
	case unix.SO_ACCEPTCONN:
		return socket.PutBool(s.state.Load() == stateListen), 0
	case unix.SO_PEERCRED:
		u := abi.Ucred{UID: ^uint32(0), GID: ^uint32(0)}
		if p := s.peerCred.Load(); p != nil {
			u = p.Ucred
		}
		b := make([]byte, abi.UcredSize)
		u.Put(b)
		return b, 0
	case unix.SO_PEERGROUPS:
		return s.peerGroups(size)
	case unix.SO_PEERNAME:
		b, e := s.PeerName(nil)
		if e == 0 && len(b) < size {
			e = unix.EINVAL
		}
		return b, e
	case unix.SO_MEMINFO:
		b := make([]byte, 36)
		s.settleSent()
		s.lockRx()
		binary.LittleEndian.PutUint32(b, uint32(s.rx.bytes))
		s.unlockRx()
		binary.LittleEndian.PutUint32(b[4:], uint32(s.RcvBuf()))
		binary.LittleEndian.PutUint32(b[8:], uint32(s.wmem.Load()))
		binary.LittleEndian.PutUint32(b[12:], uint32(s.SndBuf()))
		return b, 0
	}
	return s.GetCommonOpt(name)
}

// PeerCred gives who the peer is (SO_PEERCRED, SO_PEERPIDFD).
func (s *Socket) PeerCred() (abi.Ucred, bool) {
	p := s.peerCred.Load()
	if p == nil {
		return abi.Ucred{}, false
	}
	return p.Ucred, true
}

func (s *Socket) peerGroups(size int) ([]byte, abi.Errno) {
	p := s.peerCred.Load()
	if p == nil {
		return nil, unix.ENODATA
	}
	b := make([]byte, 0, 4*len(p.groups))
	for _, g := range p.groups {
		b = binary.LittleEndian.AppendUint32(b, g)
	}
	if size < len(b) {
		return b, unix.ERANGE
	}
	return b, 0
}

// Ioctl has SIOCINQ (FIONREAD), SIOCOUTQ and those on devices.
func (s *Socket) Ioctl(c vfs.Caller, fd *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	switch cmd {
	case unix.SIOCOUTQ:
		s.settleSent()
		return 0, putInt(mem, arg, int(s.wmem.Load()))
	case unix.SIOCINQ:
		if s.state.Load() == stateListen {
			return 0, unix.EINVAL
		}
		return 0, putInt(mem, arg, s.pendingBytes())
	}
	if s.ns.DevIoctl != nil {
		return s.ns.DevIoctl(c, cmd, arg, mem)
	}
	return 0, abi.ENOIOCTLCMD
}

// pendingBytes is all there is to read, of datagrams the first's length.
func (s *Socket) pendingBytes() int {
	s.lockRx()
	defer s.unlockRx()
	if s.connection() {
		return s.rx.bytes
	}
	if s.rx.head == nil {
		return 0
	}
	return len(s.rx.head.data)
}

func putInt(mem vfs.UserMemory, addr uint64, v int) abi.Errno {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(v))
	return mem.CopyOut(addr, b[:])
}
