package inet

import (
	"encoding/binary"
	"sync"

	"bulkhead.dev/bulkhead/internal/sentry/bpf"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// sieve is what a filtered socket of datagrams knows of the first one in its
// queue. netstack has it queued already; it is filtered when somebody looks.
type sieve struct {
	mu  sync.Mutex // before netstack's own
	buf []byte
}

const udpHead = 8

// sift throws away what the filter drops from the head of the queue, and gives
// how much of the next datagram's payload is to be kept. sieve.mu is held.
func (s *Socket) sift() (keep int) {
	for {
		if s.sieve.buf == nil {
			s.sieve.buf = make([]byte, udpHead+64<<10)
		}
		b := s.sieve.buf
		head := 0
		if s.Protocol == unix.IPPROTO_UDP && s.Type == unix.SOCK_DGRAM {
			head = udpHead
		}
		w := tcpip.SliceWriter(b[head:])
		r, err := s.ep().Read(&w, tcpip.ReadOptions{Peek: true, NeedRemoteAddr: true})
		if err != nil {
			return 1 << 30
		}
		if head > 0 {
			local, _ := s.ep().GetLocalAddress()
			binary.BigEndian.PutUint16(b, r.RemoteAddr.Port)
			binary.BigEndian.PutUint16(b[2:], local.Port)
			binary.BigEndian.PutUint16(b[4:], uint16(head+r.Total))
			binary.BigEndian.PutUint16(b[6:], 0)
		}
		p := bpf.Packet{Data: b[:head+r.Count], Protocol: unix.ETH_P_IP, Ifindex: uint32(r.RemoteAddr.NIC)}
		if s.Family == unix.AF_INET6 {
			p.Protocol = unix.ETH_P_IPV6
		}
		if n := s.Keep(&p, head); n > 0 {
			return n - head
		}
		w = tcpip.SliceWriter(b)
		if _, err := s.ep().Read(&w, tcpip.ReadOptions{}); err != nil {
			return 1 << 30
		}
	}
}

// sifted throws away what the filter drops before somebody asks whether there is
// something to read.
func (s *Socket) sifted() {
	s.sieve.mu.Lock()
	s.sift()
	s.sieve.mu.Unlock()
}
