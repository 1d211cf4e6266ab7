package inet

import "sync"

// bufTuned is what a send or receive buffer adds to the room in one direction
// of a connection inside the sandbox, unless SO_SNDBUF or SO_RCVBUF set it.
const (
	bufTuned = 256 << 10
	chunkLen = 16 << 10
)

// chunk is a part of a stream's bytes: data[r:w].
type chunk struct {
	next *chunk
	r, w int
	data [chunkLen]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// stream is one direction of a connection whose ends are both in the sandbox.
type stream struct {
	mu         sync.Mutex
	head, tail *chunk
	n          int
	fin        bool // the writer is done
	reset      bool // the writer's socket was closed with a reset
	told       bool // the reader knows of the reset
	gone       bool // the reader's socket is closed
	deaf       bool // the reader has shut down reading
	swallowed  bool // one write was lost after gone
}

// put appends as much of b as there is room for; st.mu is held.
func (st *stream) put(b []byte, room int) int {
	total := 0
	b = b[:max(min(len(b), room-st.n), 0)]
	for len(b) > 0 {
		t := st.tail
		if t == nil || t.w == chunkLen {
			c := chunks.Get().(*chunk)
			c.next, c.r, c.w = nil, 0, 0
			if t == nil {
				st.head = c
			} else {
				t.next = c
			}
			st.tail, t = c, c
		}
		k := copy(t.data[t.w:], b)
		t.w += k
		st.n += k
		total += k
		b = b[k:]
	}
	return total
}

// get fills b, or, if b is nil, drops n bytes; with peek the bytes stay. st.mu
// is held.
func (st *stream) get(b []byte, n int, peek bool) int {
	total := 0
	for c := st.head; c != nil && total < n; {
		k := min(c.w-c.r, n-total)
		if b != nil {
			copy(b[total:], c.data[c.r:c.r+k])
		}
		total += k
		next := c.next
		if !peek {
			c.r += k
			if c.r == c.w {
				st.drop(c)
			}
		}
		c = next
	}
	if !peek {
		st.n -= total
	}
	return total
}

// drop gives back the first chunk, which is read.
func (st *stream) drop(c *chunk) {
	st.head = c.next
	if st.head == nil {
		st.tail = nil
	}
	c.next = nil
	chunks.Put(c)
}

// clear throws away what is unread; st.mu is held.
func (st *stream) clear() {
	for st.head != nil {
		st.drop(st.head)
	}
	st.n = 0
}
