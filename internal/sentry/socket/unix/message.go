package unix

import (
	"math/bits"
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// message is one datagram, or a run of a stream's bytes that came with the
// same control data.
type message struct {
	next  *message
	data  []byte // data[off:] is unread
	off   int
	files []*vfs.FileDescription
	creds abi.Ucred
	known bool    // creds are to be told
	owner *Socket // whose send buffer is charged
	uid   uint32  // who is charged for files in flight
	at    int64   // time of arrival, if the receiver wants it

	charge int64
	large  *[]byte // the pooled buffer behind data, if not inline
	inline [inlineSize]byte
}

// Sizes of the buffers behind messages.
const inlineSize = 320

var bufSizes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10}

var (
	messages = sync.Pool{New: func() any { return new(message) }}
	buffers  [len(bufSizes)]sync.Pool
)

// newMessage gives a message with room for n bytes and none in it.
func newMessage(n int) *message {
	m := messages.Get().(*message)
	if n <= inlineSize {
		m.data = m.inline[:0]
		return m
	}
	for i, size := range bufSizes {
		if n > size {
			continue
		}
		if p, ok := buffers[i].Get().(*[]byte); ok {
			m.large = p
		} else {
			b := make([]byte, size)
			m.large = &b
		}
		m.data = (*m.large)[:0]
		return m
	}
	b := make([]byte, n)
	m.large = &b
	m.data = b[:0]
	return m
}

// free gives the message back; its files have been taken.
func (m *message) free() {
	if m.large != nil {
		for i, size := range bufSizes {
			if cap(*m.large) == size {
				buffers[i].Put(m.large)
			}
		}
	}
	m.next, m.data, m.off, m.files, m.owner, m.large = nil, nil, 0, nil, nil, nil
	m.known, m.charge, m.at, m.creds = false, 0, 0, abi.Ucred{}
	messages.Put(m)
}

// unread is what is left to read.
func (m *message) unread() []byte { return m.data[m.off:] }

// sender puts the sender's address into b, or nothing if it has none.
func (m *message) sender(b []byte) []byte {
	if a := m.owner.addr.Load(); a != nil {
		return a.append(b[:0])
	}
	return b[:0]
}

// Linux charges a send buffer for what a socket buffer takes in the kernel:
// its head with the shared information, rounded up to a size of the allocator,
// its own structure, and whole pages beyond. Programs see it in how much they
// can send before they have to wait.
const (
	skbShared  = 320
	skbStruct  = 256
	skbMaxHead = 4096 - skbShared  // SKB_MAX_HEAD(0)
	skbMaxBuf  = 16384 - skbShared // SKB_MAX_ALLOC
	pageSize   = 4096

	// streamChunk is how much of a stream goes into one socket buffer.
	streamChunk = skbMaxHead + 32768
)

func pageAlign(n int) int { return (n + pageSize - 1) &^ (pageSize - 1) }

// truesize is the charge for n bytes of which at most head lie in the head.
func truesize(n, head int) int64 {
	pages := 0
	if n > head {
		pages = min(pageAlign(n-head), n)
	}
	linear := n - pages + skbShared
	size := 512
	if linear > size {
		size = 1 << bits.Len(uint(linear-1))
	}
	return int64(size + skbStruct + pageAlign(pages))
}
