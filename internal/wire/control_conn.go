package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// errFrame is a frame that breaks the protocol; the connection is of no more
// use.
var errFrame = errors.New("control connection: malformed frame")

// writeFrame sends one frame, descriptors on its first byte.
func writeFrame(fd int, body []byte, fds []int) error {
	if len(body) > MaxControlFrame {
		return fmt.Errorf("control message of %d bytes is longer than %d", len(body), MaxControlFrame)
	}
	if len(fds) > MaxControlFDs {
		return fmt.Errorf("control message with %d descriptors; at most %d can be passed", len(fds), MaxControlFDs)
	}
	buf := make([]byte, 4+len(body))
	binary.LittleEndian.PutUint32(buf, uint32(len(body)))
	copy(buf[4:], body)
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for len(buf) > 0 {
		n, err := unix.SendmsgN(fd, buf, oob, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("sending a control message: %w", err)
		}
		buf, oob = buf[n:], nil
	}
	return nil
}

// readFrame receives one frame. The caller owns the descriptors. io.EOF means
// that the other side has closed the connection between frames.
func readFrame(fd int) (body []byte, fds []int, err error) {
	var head [4]byte
	fds, err = readFull(fd, head[:], true)
	if err != nil {
		return nil, nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > MaxControlFrame {
		closeAll(fds)
		return nil, nil, fmt.Errorf("%w: length %d", errFrame, n)
	}
	body = make([]byte, n)
	more, err := readFull(fd, body, false)
	closeAll(more)
	if err != nil {
		closeAll(fds)
		return nil, nil, err
	}
	return body, fds, nil
}

// readFull fills buf. Descriptors are taken with the first bytes of a frame
// only; any that come later are a protocol error.
func readFull(fd int, buf []byte, first bool) (fds []int, err error) {
	var oob [256 + 4*MaxControlFDs]byte
	for off := 0; off < len(buf); {
		n, oobn, flags, _, err := unix.Recvmsg(fd, buf[off:], oob[:], unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			closeAll(fds)
			return nil, fmt.Errorf("receiving a control message: %w", err)
		}
		got, perr := parseRights(oob[:oobn])
		if perr != nil || flags&unix.MSG_CTRUNC != 0 || (len(got) > 0 && (!first || off > 0)) {
			closeAll(fds)
			closeAll(got)
			return nil, fmt.Errorf("%w: descriptors out of place", errFrame)
		}
		fds = append(fds, got...)
		if n == 0 {
			closeAll(fds)
			if first && off == 0 {
				return nil, io.EOF
			}
			return nil, io.ErrUnexpectedEOF
		}
		off += n
	}
	return fds, nil
}

func parseRights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // some other kind of message; not asked for
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// ControlClient is the lifecycle's end of one control connection. Calls take
// turns: one that waits should have a client of its own.
type ControlClient struct {
	// Container, if not empty, is whom the requests are about, in a pod's VM.
	Container string

	fd int

	mu sync.Mutex // held from request to reply
}

// NewControlClient takes over a connected descriptor.
func NewControlClient(fd int) *ControlClient { return &ControlClient{fd: fd} }

// DialControl connects to a control socket. The path is opened first and
// reached through /proc/self/fd, so that it may be longer than the 107 bytes
// that a Unix address holds.
func DialControl(path string) (*ControlClient, error) {
	ref, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	defer unix.Close(ref)
	return dialControl(path, ref)
}

// DialControlFD connects to the control socket that ref was opened on, with O_PATH.
func DialControlFD(ref int) (*ControlClient, error) { return dialControl("of the pod", ref) }

func dialControl(path string, ref int) (*ControlClient, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d", ref)}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("control socket %s: %w (the sandbox has ended?)", path, err)
	}
	return NewControlClient(fd), nil
}

// Close ends the connection; a call that waits on it fails.
func (c *ControlClient) Close() error {
	unix.Shutdown(c.fd, unix.SHUT_RDWR)
	return unix.Close(c.fd)
}

// Call sends one request and waits for its answer. args and result may be nil.
// A refusal by the Sentry is a *ControlError.
func (c *ControlClient) Call(method Method, args any, fds []int, result any) error {
	got, err := c.call(method, args, fds, result)
	closeAll(got)
	return err
}

// Place asks for where a pod's trees are put: PlaceFDs descriptors, the caller's.
func (c *ControlClient) Place() ([]int, error) {
	got, err := c.call(MethodPlace, nil, nil, nil)
	if err == nil && len(got) != PlaceFDs {
		err = fmt.Errorf("%s: %d descriptors; want %d", MethodPlace, len(got), PlaceFDs)
	}
	if err != nil {
		closeAll(got)
		return nil, err
	}
	return got, nil
}

// Ended waits until the other side has closed the connection, on which nothing
// more is asked.
func (c *ControlClient) Ended() {
	_, fds, _ := readFrame(c.fd)
	closeAll(fds)
}

// call gives the descriptors of the answer, too.
func (c *ControlClient) call(method Method, args any, fds []int, result any) (got []int, err error) {
	body, err := encodeRequest(method, c.Container, args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := writeFrame(c.fd, body, fds); err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	answer, got, err := readFrame(c.fd)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	if result == nil && string(answer) == emptyReply {
		return got, nil
	}
	var rep reply
	if err := json.Unmarshal(answer, &rep); err != nil {
		return got, fmt.Errorf("%s: malformed reply: %w", method, err)
	}
	if rep.Error != nil {
		return got, rep.Error
	}
	if result == nil {
		return got, nil
	}
	if err := json.Unmarshal(rep.Result, result); err != nil {
		return got, fmt.Errorf("%s: malformed reply: %w", method, err)
	}
	return got, nil
}

// plainStart is the Start that needs no arguments, emptyReply the answer to what
// gives nothing. Both are compared as they are: they are part of every start,
// where the first use of an encoder would cost a millisecond.
const (
	plainStart = `{"method":"Start"}`
	emptyReply = "{}"
)

func encodeRequest(method Method, container string, args any) ([]byte, error) {
	if a, ok := args.(StartArgs); ok && method == MethodStart && a.Network == nil && container == "" {
		return []byte(plainStart), nil
	}
	req := request{Method: method, Container: container}
	if args != nil {
		raw, err := json.Marshal(args)
		if err != nil {
			return nil, err
		}
		req.Args = raw
	}
	return json.Marshal(&req)
}
