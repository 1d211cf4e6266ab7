package qemu

import (
	"os"
	"strings"
	"sync"
)

// tail keeps the end of what a program says.
type tail struct {
	mu   sync.Mutex
	buf  []byte
	done chan struct{}
}

// tailBytes is how much is kept.
const tailBytes = 2048

// newTail reads r to its end and closes it.
func newTail(r *os.File) *tail {
	t := &tail{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		defer r.Close()
		var b [512]byte
		for {
			n, err := r.Read(b[:])
			t.mu.Lock()
			t.buf = append(t.buf, b[:n]...)
			if len(t.buf) > tailBytes {
				t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailBytes:]...)
			}
			t.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return t
}

func (t *tail) wait() { <-t.done }

// String is the text on one line, printable bytes alone: it may be a
// compromised program's.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return ';'
		case r < ' ' || r >= 0x7f:
			return -1
		}
		return r
	}, strings.TrimSpace(string(t.buf)))
	return s
}
