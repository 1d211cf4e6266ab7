package abi

import "encoding/binary"

// Socket constants that golang.org/x/sys/unix does not have
// (include/linux/socket.h, include/net/scm.h, net/unix).
const (
	SCM_MAX_FD   = 253    // descriptors in one SCM_RIGHTS message
	SOCK_TYPE    = 0xf    // the type without its flags
	SOMAXCONN    = 4096   // net.core.somaxconn
	OptMemMax    = 131072 // net.core.optmem_max: the longest control buffer
	UIO_MAXIOV   = 1024
	SockaddrMax  = 128 // sizeof(struct sockaddr_storage)
	OverflowID   = 65534
	MaxRWCount   = 0x7ffff000
	SCM_SECURITY = 3
	SCM_PIDFD    = 4

	MSG_SPLICE_PAGES   = 0x8000000
	MSG_NO_SHARED      = 0x80000
	MSG_INTERNAL       = MSG_SPLICE_PAGES | MSG_NO_SHARED | 0x10000 // never from user space
	SO_PASSRIGHTS      = 83
	SO_DEVMEM_DONTNEED = 80
	SO_RCVPRIORITY     = 82
	SO_INQ             = 84
)

// Ucred is struct ucred.
type Ucred struct {
	PID      int32
	UID, GID uint32
}

// UcredSize is sizeof(struct ucred).
const UcredSize = 12

// Put writes the structure to b.
func (u Ucred) Put(b []byte) {
	binary.LittleEndian.PutUint32(b, uint32(u.PID))
	binary.LittleEndian.PutUint32(b[4:], u.UID)
	binary.LittleEndian.PutUint32(b[8:], u.GID)
}

// GetUcred reads the structure from b, which has UcredSize bytes at least.
func GetUcred(b []byte) Ucred {
	return Ucred{
		PID: int32(binary.LittleEndian.Uint32(b)),
		UID: binary.LittleEndian.Uint32(b[4:]),
		GID: binary.LittleEndian.Uint32(b[8:]),
	}
}

// MsghdrSize is sizeof(struct msghdr); MmsghdrSize that of struct mmsghdr.
const (
	MsghdrSize  = 56
	MmsghdrSize = 64
	IovecSize   = 16
	CmsghdrSize = 16
)

// Msghdr is struct msghdr as it lies in the guest's memory:
//
//	 0 name     8 namelen (4, padded)
//	16 iov     24 iovlen
//	32 control 40 controllen
//	48 flags
type Msghdr struct {
	Name       uint64
	Namelen    uint32
	Iov        uint64
	Iovlen     uint64
	Control    uint64
	Controllen uint64
	Flags      uint32
}

// GetMsghdr reads the structure.
func GetMsghdr(b *[MsghdrSize]byte) Msghdr {
	le := binary.LittleEndian
	return Msghdr{
		Name:       le.Uint64(b[0:]),
		Namelen:    le.Uint32(b[8:]),
		Iov:        le.Uint64(b[16:]),
		Iovlen:     le.Uint64(b[24:]),
		Control:    le.Uint64(b[32:]),
		Controllen: le.Uint64(b[40:]),
		Flags:      le.Uint32(b[48:]),
	}
}
