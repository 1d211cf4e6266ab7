// Package qmp speaks the QEMU Machine Protocol (docs/interop/qmp-spec) over a
// connected Unix socket: greeting, negotiation, commands one at a time,
// events on the side. QEMU is not trusted: a message is bounded in size, and
// what does not parse ends the connection.
//
// Lock order: Client.call, then Client.mu.
package qmp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage bounds one line from QEMU.
const maxMessage = 1 << 20

// Error is a refusal by QEMU.
type Error struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *Error) Error() string { return e.Desc }

// Event is something that QEMU tells unasked.
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

// ErrClosed is a connection that QEMU has ended.
var ErrClosed = errors.New("qmp: QEMU has closed its monitor")

// Client is one connection. Commands take turns.
type Client struct {
	conn *net.UnixConn

	call    sync.Mutex // held from command to reply
	replies chan message
	done    chan struct{}

	mu      sync.Mutex
	err     error
	handler func(Event)
}

type message struct {
	Greeting json.RawMessage `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *Error          `json:"error"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
}

// New takes over a connected socket, reads QEMU's greeting and negotiates. It
// waits for at most timeout. Events go to handler, one after another.
func New(conn *net.UnixConn, timeout time.Duration, handler func(Event)) (*Client, error) {
	c := &Client{conn: conn, replies: make(chan message), done: make(chan struct{}), handler: handler}
	greeted := make(chan struct{})
	go c.read(greeted)
	select {
	case <-greeted:
	case <-c.done:
		return nil, c.failure()
	case <-time.After(timeout):
		conn.Close()
		return nil, fmt.Errorf("qmp: QEMU has not greeted within %v", timeout)
	}
	if err := c.Do("qmp_capabilities", nil, nil); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) read(greeted chan struct{}) {
	defer close(c.done)
	r := bufio.NewReaderSize(c.conn, 4096)
	for {
		line, err := readLine(r)
		if err != nil {
			c.fail(err)
			return
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			c.fail(fmt.Errorf("qmp: malformed message: %w", err))
			c.conn.Close()
			return
		}
		switch {
		case m.Greeting != nil:
			if greeted != nil {
				close(greeted)
				greeted = nil
			}
		case m.Event != "":
			if c.handler != nil {
				c.handler(Event{Name: m.Event, Data: m.Data})
			}
		default:
			select {
			case c.replies <- m:
			case <-time.After(time.Minute):
				c.fail(errors.New("qmp: a reply to nothing"))
				c.conn.Close()
				return
			}
		}
	}
}

// readLine reads one line of bounded length.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case err != bufio.ErrBufferFull:
			return nil, err
		case len(line) > maxMessage:
			return nil, fmt.Errorf("qmp: a message is longer than %d bytes", maxMessage)
		}
	}
}

func (c *Client) fail(err error) {
	if err == io.EOF || errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ECONNRESET) {
		err = ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

func (c *Client) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Do runs one command. args and result may be nil.
func (c *Client) Do(command string, args, result any) error {
	return c.do(command, args, nil, result)
}

// PassFD hands a descriptor to QEMU under a name (getfd).
func (c *Client) PassFD(name string, f *os.File) error {
	return c.do("getfd", map[string]string{"fdname": name}, f, nil)
}

func (c *Client) do(command string, args any, f *os.File, result any) error {
	raw, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, args})
	if err != nil {
		return fmt.Errorf("qmp %s: %w", command, err)
	}
	c.call.Lock()
	defer c.call.Unlock()
	if f != nil {
		_, _, err = c.conn.WriteMsgUnix(raw, unix.UnixRights(int(f.Fd())), nil)
	} else {
		_, err = c.conn.Write(raw)
	}
	if err != nil {
		c.fail(err)
		return fmt.Errorf("qmp %s: %w", command, c.failure())
	}
	select {
	case m := <-c.replies:
		return decode(command, m, result)
	case <-c.done:
		return fmt.Errorf("qmp %s: %w", command, c.failure())
	}
}

func decode(command string, m message, result any) error {
	if m.Error != nil {
		return fmt.Errorf("qmp %s: %w", command, m.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("qmp %s: malformed answer: %w", command, err)
	}
	return nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }
