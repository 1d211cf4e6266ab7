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
