package agentconn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// helloSize is the size of a Hello: magic, version, flags, nonce.
const helloSize = 16

var helloMagic = []byte("BULKHEAD")

// flagTimers in the agent's Hello says that the kernel has measured the rate of
// its timers wrong (package word).
const flagTimers = 1

// maxStale bounds what is dropped before a Hello: what an earlier session can
// have left in the channel's buffers.
const maxStale = 4 << 20

// ErrVersion says that the other end speaks another version of the API.
var ErrVersion = errors.New("another version of the agent's API")

// hello is the first message of either side.
type hello struct {
	version, flags uint16
	nonce          uint32
}

func (h hello) encode() []byte {
	b := make([]byte, 0, helloSize)
	b = append(b, helloMagic...)
	b = binary.LittleEndian.AppendUint16(b, h.version)
	b = binary.LittleEndian.AppendUint16(b, h.flags)
	return binary.LittleEndian.AppendUint32(b, h.nonce)
}

// readHello finds the next Hello that pleases; what comes before it is dropped.
// It reads no byte beyond.
func readHello(r io.Reader, pleases func(hello) bool) (hello, error) {
	var buf [helloSize]byte
	have, dropped := 0, 0
	for {
		n, err := io.ReadFull(r, buf[have:])
		if err != nil {
			return hello{}, err
		}
		have += n
		if bytes.HasPrefix(buf[:], helloMagic) {
			h := hello{
				version: binary.LittleEndian.Uint16(buf[8:]),
				flags:   binary.LittleEndian.Uint16(buf[10:]),
				nonce:   binary.LittleEndian.Uint32(buf[12:]),
			}
			if pleases(h) {
				return h, nil
			}
		}
		skip := nextMagic(buf[1:]) + 1
		if dropped += skip; dropped > maxStale {
			return hello{}, fmt.Errorf("no hello in %d bytes", dropped)
		}
		have = copy(buf[:], buf[skip:])
	}
}

// nextMagic gives the offset in b at which the magic, or the part of it that
// fits, begins.
func nextMagic(b []byte) int {
	for i := range b {
		tail := b[i:]
		if bytes.HasPrefix(tail, helloMagic) || bytes.HasPrefix(helloMagic, tail) {
			return i
		}
	}
	return len(b)
}

func sayHello(w io.Writer, nonce uint32) error {
	if _, err := w.Write(hello{version: agentpb.Version, nonce: nonce}.encode()); err != nil {
		return fmt.Errorf("hello to the agent: %w", err)
	}
	return nil
}

// answer is the agent's side of the Hello.
func answer(rw io.ReadWriter, flags uint16) error {
	h, err := readHello(rw, func(hello) bool { return true })
	if err != nil {
		return fmt.Errorf("the host's hello: %w", err)
	}
	if _, err := rw.Write(hello{version: agentpb.Version, flags: flags, nonce: h.nonce}.encode()); err != nil {
		return fmt.Errorf("hello to the host: %w", err)
	}
	if h.version != agentpb.Version {
		return fmt.Errorf("%w: it speaks %d, the agent %d", ErrVersion, h.version, agentpb.Version)
	}
	return nil
}
