package goferfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/wire"
)

// Client is the connection to a Gofer, shared by all its mounts.
type Client struct {
	mu   sync.Mutex
	conn *wire.FSConn
	enc  *wire.Encoder
	gone bool
	// sent reads the reply to a request that was sent ahead; nil if there is none.
	sent func(d *wire.Decoder)
	more bool // another may follow it
	// changes counts the requests that change the host's files.
	changes atomic.Uint64
	// CPU, if set, tells on which CPU the caller runs; the Gofer comes there.
	CPU func() int
	// Spare, if set, tells whether there is a CPU for the Gofer to work ahead on.
	Spare func() bool
	// Ahead, if set, is told that the Gofer begins to work ahead, and ends.
	Ahead func(begins bool)
	// Calls counts the requests, for tests and statistics.
	calls uint64
}

// NewClient takes over fd, the Sentry's end of the connection.
func NewClient(fd int) *Client {
	return &Client{conn: wire.NewFSConn(fd), enc: wire.NewEncoder()}
}

// Close ends the connection, and with it the Gofer.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone {
		c.gone = true
		c.conn.Close()
	}
}

// Finish tells the Gofer that nothing more will be asked: an empty message is
// the end of its connection. While somebody still waits for it, it does nothing.
func (c *Client) Finish() {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	if !c.gone {
		c.gone = true
		_ = c.conn.Send(nil, -1)
	}
}

// Calls is the number of requests so far.
func (c *Client) Calls() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// exchange sends the request in c.enc and gives the reply. mu is held until
// the reply has been read.
func (c *Client) exchange(send int) (d wire.Decoder, fd int, e abi.Errno) {
	if c.enc.Full {
		return d, -1, unix.ENAMETOOLONG
	}
	if c.gone {
		return d, -1, unix.EIO
	}
	c.calls++
	if c.CPU != nil {
		c.enc.Near(c.CPU())
	}
	b, fd, err := []byte(nil), -1, c.conn.Send(c.enc.B, send)
	if err == nil {
		b, fd, err = c.conn.Receive()
	}
	if err != nil || b == nil {
		c.gone = true
		return d, -1, unix.EIO
	}
	d, e = reply(b)
	if e != 0 && fd >= 0 {
		unix.Close(fd)
		fd = -1
	}
	return d, fd, e
}

// reply reads a reply's header.
func reply(b []byte) (d wire.Decoder, e abi.Errno) {
	d = wire.Decoder{B: b}
	e = abi.Errno(d.U32())
	if d.Bad || e > 4095 {
		e = unix.EIO
	}
	return d, e
}

// send sends a request whose reply done reads when the next one is made, or at
// settle. mu is held, and nothing else is under way.
func (c *Client) send(r request, args func(e *wire.Encoder), done func(d *wire.Decoder)) {
	c.enc.Request(r.op, r.flag, r.ino.fs.mount)
	c.enc.Anywhere()
	ok := c.putPath(r.ino, r.name)
	args(c.enc)
	if !ok || c.enc.Full || c.gone {
		return
	}
	c.calls++
	if c.conn.Send(c.enc.B, -1) != nil {
		c.gone = true
		return
	}
	c.setSent(done)
}

func (c *Client) setSent(done func(d *wire.Decoder)) {
	c.sent = done
	if c.Ahead != nil {
		c.Ahead(done != nil)
	}
}

// receive reads the reply to what was sent ahead; more: another request may
// be sent ahead then. mu is held.
func (c *Client) receive(more bool) {
	done := c.sent
	if done == nil || c.gone {
		return
	}
	b, fd, err := c.conn.Receive()
	c.setSent(nil)
	c.more = more
	defer func() { c.more = false }()
	if err != nil || b == nil {
		c.gone = true
		return
	}
	if fd >= 0 {
		unix.Close(fd)
	}
	if d, e := reply(b); e == 0 {
		done(&d)
	}
}

// settle reads the reply to what was sent ahead.
func (c *Client) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.receive(true)
}

// request is one call about an inode, or about name in it.
type request struct {
	op   wire.FSOp
	ino  *inode
	name string
	send int // descriptor to send along; 0: none
	flag uint8
}

// call makes a request: args appends its arguments, done reads the results,
// both under the client's lock. Either may be nil. A descriptor that comes
// back is done's to keep.
func (fs *FS) call(r request, args func(e *wire.Encoder), done func(d *wire.Decoder, fd int) abi.Errno) abi.Errno {
	c := fs.client
	c.mu.Lock()
	defer c.mu.Unlock()
	c.receive(false)
	if r.op.Changes() {
		c.changes.Add(1)
	}
	c.enc.Request(r.op, r.flag, fs.mount)
	if !c.putPath(r.ino, r.name) && !(r.op == wire.FSSetAttr && r.send != 0) {
		return unix.ESTALE // gone, and no descriptor to act by
	}
	if args != nil {
		args(c.enc)
	}
	send := r.send
	if send == 0 {
		send = -1
	}
	d, fd, e := c.exchange(send)
	if e != 0 {
		return e
	}
	if done != nil {
		e = done(&d, fd)
	} else if fd >= 0 {
		unix.Close(fd)
	}
	if d.Bad {
		return unix.EIO
	}
	return e
}

// putPath appends the path of ino, or of name in it. false: it has none.
func (c *Client) putPath(ino *inode, name string) bool {
	e := c.enc
	at := len(e.B)
	e.B = append(e.B, 0, 0)
	b, ok := ino.appendPath(e.B)
	if name != "" {
		if len(b) > len(e.B) {
			b = append(b, '/')
		}
		b = append(b, name...)
	}
	n := len(b) - len(e.B)
	if n > 60000 || len(b) > wire.MaxFSMessage {
		e.Full = true
		return ok
	}
	e.B = b
	b[at], b[at+1] = byte(n), byte(n>>8)
	return ok
}

// place is a name of an inode.
type place struct {
	dir  *inode
	name string
}

// appendPath appends the path of i from the mount's root. Client.mu is held.
func (i *inode) appendPath(b []byte) ([]byte, bool) {
	if i == i.fs.root {
		return b, true
	}
	if len(i.places) == 0 {
		return b, false
	}
	p := i.places[0]
	n := len(b)
	b, ok := p.dir.appendPath(b)
	if len(b) > n {
		b = append(b, '/')
	}
	return append(b, p.name...), ok
}

// moved changes where an inode stands: it leaves from, if that has a name, and
// gets to. Client.mu is held.
func (i *inode) moved(from, to place) {
	if from.name != "" {
		for k, p := range i.places {
			if p == from {
				i.places = append(i.places[:k:k], i.places[k+1:]...)
				break
			}
		}
	}
	if to.name == "" {
		return
	}
	for _, p := range i.places {
		if p == to {
			return
		}
	}
	i.places = append(i.places, to)
}
