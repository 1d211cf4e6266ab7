package monitor

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withInput is a stdio whose stdin is a pipe.
func withInput(t *testing.T) (s *stdio, write int, guest net.Conn) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	in := os.NewFile(uintptr(p[0]), "stdin")
	ours, guest := net.Pipe()
	s = &stdio{stdin: in, kept: in, stop: [2]*os.File{r, w}}
	s.begin = func() { s.startInput(ours, true) }
	t.Cleanup(func() { unix.Close(p[1]); guest.Close() })
	return s, p[1], guest
}

// TestInput: stdin comes in order, and its end too.
func TestInput(t *testing.T) {
	s, w, guest := withInput(t)
	s.begin()
	unix.Write(w, []byte("one "))
	b := make([]byte, 4)
	if _, err := io.ReadFull(guest, b); err != nil || string(b) != "one " {
		t.Errorf("%q, %v", b, err)
	}
	unix.Write(w, []byte("two"))
	unix.Dup3(int(rawFD(s.stop[0])), w, unix.O_CLOEXEC) // closes the pipe's end
	if rest, err := io.ReadAll(guest); err != nil || string(rest) != "two" {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestInputLetGo: when the process has ended nobody holds its stdin, though
// nothing was written to it.
func TestInputLetGo(t *testing.T) {
	for _, begun := range []bool{true, false} {
		s, w, _ := withInput(t)
		if begun {
			s.begin()
		}
		s.abort()
		s.abort() // allowed twice
		s.begin() // too late
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			fds := []unix.PollFd{{Fd: int32(w)}}
			if unix.Poll(fds, 0); fds[0].Revents&unix.POLLERR != 0 {
				break // no reader is left
			}
			if time.Now().After(end) {
				t.Fatalf("begun %v: stdin is still open", begun)
			}
		}
	}
}
