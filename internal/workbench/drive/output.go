package drive

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"
)

// Outcome is what a command left behind.
type Outcome struct {
	Exit   int
	Stdout string
	Stderr string
	Wall   time.Duration
}

// maxOutput bounds what is kept of a container's output, which is hostile.
const maxOutput = 4 << 20

// buffer keeps the first maxOutput bytes and swallows the rest.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // under mu
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := maxOutput - b.b.Len(); room > 0 {
		b.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// watch reads a container's output through a pipe and remembers when the first
// byte came and when the last writer went away.
type watch struct {
	buffer
	first chan time.Time // one value, at the first byte
	ended chan struct{}  // closed at end of file
	w     *os.File
	r     *os.File
}

func newWatch() (*watch, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out := &watch{first: make(chan time.Time, 1), ended: make(chan struct{}), r: r, w: w}
	go out.read()
	return out, nil
}

func (o *watch) read() {
	defer close(o.ended)
	buf := make([]byte, 32<<10)
	for seen := false; ; {
		n, err := o.r.Read(buf)
		came := time.Now()
		o.buffer.Write(buf[:n])
		if n > 0 && !seen {
			seen = true
			o.first <- came
		}
		if err != nil {
			return
		}
	}
}

// handedOver closes the workbench's own end once a command holds it.
func (o *watch) handedOver() {
	if o.w != nil {
		o.w.Close()
		o.w = nil
	}
}

func (o *watch) close() {
	o.handedOver()
	o.r.Close()
	<-o.ended
}

// Complaint is the line of a runtime's error output that says most: a Go
// program's panic, else the last one, taken out of the JSON or key=value form that runtimes log in.
func Complaint(stderr string) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for _, line := range lines { // a trace of goroutines follows, which says less
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			lines = []string{line}
			break
		}
	}
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(lines[i])
		if line == "" {
			continue
		}
		var entry struct{ Msg string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg != "" {
			line = entry.Msg
		}
		if _, msg, ok := strings.Cut(line, ` msg="`); ok {
			line = strings.ReplaceAll(strings.TrimSuffix(msg, `"`), `\"`, `"`)
		}
		const limit = 240
		if r := []rune(line); len(r) > limit {
			line = string(r[:limit]) + "…"
		}
		return line
	}
	return ""
}
