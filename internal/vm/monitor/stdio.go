package monitor

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// stdio joins a process's descriptors on the host to its streams in the guest.
type stdio struct {
	streams *agentpb.Streams
	conns   []net.Conn
	files   []*os.File

	// begin starts the copy of stdin. It waits until the agent has taken the
	// stream: one that ends before it was accepted is never acknowledged by
	// the multiplexer, and the next could not be opened.
	begin func()

	outputs sync.WaitGroup // copies of stdout and stderr
	moved   atomic.Int64   // bytes of output so far

	// stdin is read as it comes, and must be let go of when the process has
	// ended: an engine waits for the end of a terminal until nobody has it open.
	mu      sync.Mutex
	stdin   *os.File // until input has it, whose it is then
	kept    *os.File // the same: one of the monitor's own three must not be finalized
	stopped bool
	stop    [2]*os.File // a pipe; its second end is closed to stop input
}

// joinStdio opens streams for in, out and errout, any of which may be nil for
// /dev/null. A terminal has one stream, and stderr one of its own where it is
// not the terminal. The files are the stdio's from then
// on.
func (m *monitor) joinStdio(terminal bool, in, out, errout *os.File) (*stdio, error) {
	s := &stdio{streams: &agentpb.Streams{}, begin: func() {}}
	for _, f := range []*os.File{out, errout} {
		if f != nil {
			s.files = append(s.files, f)
		}
	}
	if s.stdin, s.kept = in, in; in != nil {
		r, w, err := os.Pipe()
		if err != nil {
			s.abort()
			return nil, err
		}
		s.stop = [2]*os.File{r, w}
	}
	open := func(number *uint32) (net.Conn, error) {
		n, c, err := m.conn.Stream()
		if err != nil {
			return nil, err
		}
		*number = n
		s.conns = append(s.conns, c)
		return c, nil
	}
	if terminal {
		c, err := open(&s.streams.Stdin)
		if err != nil {
			s.abort()
			return nil, err
		}
		s.output(out, c)
		s.begin = func() { s.startInput(c, false) }
		if errout != nil {
			c, err := open(&s.streams.Stderr)
			if err != nil {
				s.abort()
				return nil, err
			}
			s.output(errout, c)
		}
		return s, nil
	}
	if in != nil {
		c, err := open(&s.streams.Stdin)
		if err != nil {
			s.abort()
			return nil, err
		}
		s.begin = func() { s.startInput(c, true) }
	}
	for _, o := range []struct {
		f      *os.File
		number *uint32
	}{{out, &s.streams.Stdout}, {errout, &s.streams.Stderr}} {
		if o.f == nil {
			continue
		}
		c, err := open(o.number)
		if err != nil {
			s.abort()
			return nil, err
		}
		s.output(o.f, c)
	}
	return s, nil
}

// startInput begins the copy of stdin, unless the process has ended already.
func (s *stdio) startInput(c net.Conn, closes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdin == nil || s.stopped {
		return
	}
	f := s.stdin
	s.stdin = nil
	go s.input(c, f, closes)
}

// input copies to the guest. End of file is passed on where the stream has no
// other direction.
func (s *stdio) input(c net.Conn, f *os.File, closes bool) {
	defer s.stop[0].Close()
	defer closeFiles(f)
	fd, wake := rawFD(f), rawFD(s.stop[0])
	buf := make([]byte, 32<<10)
	for {
		// The mode of the descriptor is not this process's to change: it may
		// be a shell's too. So it is asked first, and read when there is some.
		ready := []unix.PollFd{{Fd: fd, Events: unix.POLLIN}, {Fd: wake, Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err == unix.EINTR {
			continue
		}
		if ready[1].Revents != 0 {
			return
		}
		n, err := unix.Read(int(fd), buf)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if n > 0 {
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
			continue
		}
		if closes {
			c.Close()
		}
		return
	}
}

// rawFD is the number of a descriptor whose mode stays as it is.
func rawFD(f *os.File) int32 {
	fd := int32(-1)
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(n uintptr) { fd = int32(n) })
	}
	return fd
}

// output copies from the guest. What nobody reads any more is thrown away, so
// that the process sees its own end and not a full pipe for ever.
func (s *stdio) output(f *os.File, c net.Conn) {
	s.outputs.Add(1)
	go func() {
		defer s.outputs.Done()
		buf := make([]byte, 64<<10)
		dead := false
		for {
			n, err := c.Read(buf)
			if n > 0 && !dead {
				if _, werr := f.Write(buf[:n]); werr != nil {
					dead = true
					c.Close() // the writer gets SIGPIPE as far as the agent can tell it
				}
			}
			s.moved.Add(int64(n))
			if err != nil {
				if err != io.EOF {
					return
				}
				return
			}
		}
	}()
}

// quiet is how long output may pause after a process's end before it counts as
// complete: a child in the background may hold the stream open for ever.
const quiet = 150 * time.Millisecond

// drain waits until the output has ended, or paused after the process's end.
func (s *stdio) drain() {
	done := make(chan struct{})
	go func() {
		s.outputs.Wait()
		close(done)
	}()
	for last := s.moved.Load(); ; {
		select {
		case <-done:
			return
		case <-time.After(quiet):
		}
		now := s.moved.Load()
		if now == last {
			return
		}
		last = now
	}
}

// release closes the descriptors once the output has ended.
func (s *stdio) release() {
	go func() {
		s.outputs.Wait()
		s.abort()
	}()
}

func (s *stdio) abort() {
	s.mu.Lock()
	stdin, first := s.stdin, !s.stopped
	s.stdin, s.stopped = nil, true
	s.mu.Unlock()
	if stdin != nil && first {
		closeFiles(stdin, s.stop[0])
	}
	if first && s.stop[1] != nil {
		s.stop[1].Close()
	}
	for _, c := range s.conns {
		c.Close()
	}
	closeFiles(s.files...)
}

// isNull says whether a descriptor is /dev/null, which needs no stream.
func isNull(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

// fileOf wraps a descriptor; nil for /dev/null, which it closes unless it is
// one of the monitor's own three.
func fileOf(fd int) *os.File {
	if isNull(fd) {
		if fd > 2 {
			unix.Close(fd)
		}
		return nil
	}
	return os.NewFile(uintptr(fd), "stream")
}

// stderrOf is fileOf for stderr: nil for that of a terminal, which has no
// stream but the terminal's. /dev/null beside a terminal needs one, or the
// guest would write to the terminal instead.
func stderrOf(p *wire.Process, fd int) *os.File {
	switch {
	case !p.Terminal:
		return fileOf(fd)
	case !p.TerminalStderr:
		return os.NewFile(uintptr(fd), "stderr")
	case fd > 2:
		unix.Close(fd)
	}
	return nil
}
