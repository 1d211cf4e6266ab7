package agentconn

import (
	"encoding/binary"
	"io"
	"time"

	"github.com/hashicorp/yamux"
)

// muxConfig: no keepalives and no time limit on writes, because a paused VM is
// no dead one; who watches the VM (its pidfd, QMP) says when it is.
func muxConfig(accept int) *yamux.Config {
	c := yamux.DefaultConfig()
	c.AcceptBacklog = accept
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = 24 * time.Hour
	c.StreamOpenTimeout = 0
	c.StreamCloseTimeout = 24 * time.Hour
	c.LogOutput = io.Discard
	return c
}

// headerSize and the offsets are those of yamux's frame:
// version(1) type(1) flags(2) stream(4) length(4), big endian.
const (
	headerSize = 12
	typeData   = 0
)

// Unreader is a channel that can take bytes back, to be read again.
type Unreader interface {
	Unread([]byte)
}

// frames follows the frames that are read, to find the Hello of a host that has
// come in the place of another: a channel may tell of neither's coming or going
// before the agent looks. A frame begins with its version, 0.
type frames struct {
	io.ReadWriteCloser
	head  [headerSize]byte
	have  int    // of head
	body  uint32 // left of a frame's body
	ended bool
}

func (f *frames) Read(p []byte) (int, error) {
	if f.ended {
		return 0, io.EOF
	}
	n, err := f.ReadWriteCloser.Read(p)
	for i := 0; i < n; {
		if f.body > 0 {
			k := min(f.body, uint32(n-i))
			f.body -= k
			i += int(k)
			continue
		}
		if f.have == 0 && p[i] == helloMagic[0] {
			f.ended = true
			if u, ok := f.ReadWriteCloser.(Unreader); ok {
				u.Unread(append([]byte(nil), p[i:n]...))
			}
			if i == 0 {
				return 0, io.EOF
			}
			return i, nil
		}
		k := copy(f.head[f.have:], p[i:n])
		f.have += k
		i += k
		if f.have == headerSize {
			f.have = 0
			if f.head[1] == typeData {
				f.body = binary.BigEndian.Uint32(f.head[8:])
			}
		}
	}
	return n, err
}

// joiner writes a frame's header and its body at once: the multiplexer writes
// them apart, and each write to a virtio port is a message to the host with an
// exit of its own.
type joiner struct {
	io.ReadWriteCloser
	pending []byte
}

// Write is called by one goroutine, the multiplexer's sender.
func (j *joiner) Write(p []byte) (int, error) {
	if len(j.pending) == 0 && len(p) == headerSize && p[1] == typeData && binary.BigEndian.Uint32(p[8:]) > 0 {
		j.pending = append(j.pending, p...)
		return len(p), nil
	}
	if len(j.pending) == 0 {
		return writeAll(j.ReadWriteCloser, p)
	}
	j.pending = append(j.pending, p...)
	_, err := writeAll(j.ReadWriteCloser, j.pending)
	j.pending = j.pending[:0]
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// writeAll writes all of p: a character device may take less at a time.
func writeAll(w io.Writer, p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := w.Write(p[done:])
		done += n
		if err != nil {
			return done, err
		}
		if n == 0 {
			return done, io.ErrShortWrite
		}
	}
	return done, nil
}

// streamHeader begins a stream: "BHS", 0, its number.
func streamHeader(number uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte("BHS\x00"), number)
}
