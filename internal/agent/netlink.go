package agent

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// rtnetlink(7), as much as it takes to set up interfaces:
//
//	nlmsghdr  len(4) type(2) flags(2) seq(4) pid(4)
//	body      of the type
//	rtattr…   len(2) type(2) data, padded to 4

// nlMessage is a request in the making.
type nlMessage struct{ b []byte }

var le = binary.LittleEndian

func newMessage(kind, flags uint16, body []byte) *nlMessage {
	m := &nlMessage{make([]byte, unix.NLMSG_HDRLEN, 128)}
	le.PutUint16(m.b[4:], kind)
	le.PutUint16(m.b[6:], flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	m.b = append(m.b, body...)
	return m
}

func (m *nlMessage) attr(kind uint16, data []byte) {
	m.b = le.AppendUint16(m.b, uint16(4+len(data)))
	m.b = le.AppendUint16(m.b, kind)
	m.b = append(m.b, data...)
	for len(m.b)%4 != 0 {
		m.b = append(m.b, 0)
	}
}

func (m *nlMessage) attr32(kind uint16, v uint32) { m.attr(kind, le.AppendUint32(nil, v)) }

// linkBody is struct ifinfomsg.
func linkBody(index int, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	le.PutUint32(b[4:], uint32(index))
	le.PutUint32(b[8:], flags)
	le.PutUint32(b[12:], change)
	return b
}

// netlink is a socket for requests one after another.
type netlink struct {
	fd  int
	seq uint32
}

func openNetlink() (*netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &netlink{fd: fd}, nil
}

func (n *netlink) close() { unix.Close(n.fd) }

// do sends a request and waits for its acknowledgement.
func (n *netlink) do(m *nlMessage) error {
	n.seq++
	le.PutUint32(m.b, uint32(len(m.b)))
	le.PutUint32(m.b[8:], n.seq)
	if err := unix.Sendto(n.fd, m.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	buf := make([]byte, 8192)
	for {
		got, from, err := unix.Recvfrom(n.fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // of a process, not of the kernel
		}
		for b := buf[:got]; len(b) >= unix.NLMSG_HDRLEN; {
			size := int(le.Uint32(b))
			if size < unix.NLMSG_HDRLEN || size > len(b) {
				break
			}
			if le.Uint32(b[8:]) == n.seq && le.Uint16(b[4:]) == unix.NLMSG_ERROR && size >= unix.NLMSG_HDRLEN+4 {
				if errno := -int32(le.Uint32(b[unix.NLMSG_HDRLEN:])); errno != 0 {
					return unix.Errno(errno)
				}
				return nil
			}
			b = b[min(len(b), (size+3)&^3):]
		}
	}
}
