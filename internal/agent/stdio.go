package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentconn"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// stdio is what a process's standard descriptors are joined to.
type stdio struct {
	child  [3]int      // the child's
	master *os.File    // of its terminal
	fd     int         // master's; File.Fd would make it block
	ends   [3]*os.File // of pipes whose streams come later
	pumps  []func()
	conns  []net.Conn
}

// streamWait is how long a stream that a request names may take to come.
const streamWait = 30 * time.Second

// newStdio joins pipes to the streams, or a terminal to the one. pts gives the
// two ends of a new terminal.
func newStdio(s *agentconn.Session, streams *agentpb.Streams, p *agentpb.Process, pts func() (int, int, error)) (*stdio, error) {
	io := &stdio{child: [3]int{-1, -1, -1}, fd: -1}
	var err error
	if p.Terminal {
		err = io.terminal(s, streams, p, pts)
	} else {
		err = io.pipes(s, streams, p)
	}
	if err != nil {
		io.close()
		return nil, err
	}
	return io, nil
}

// terminal joins a terminal to the first stream; stderr may have one apart.
func (io *stdio) terminal(s *agentconn.Session, streams *agentpb.Streams, p *agentpb.Process, pts func() (int, int, error)) error {
	master, slave, err := pts()
	if err != nil {
		return err
	}
	io.fd, io.master = master, os.NewFile(uintptr(master), "ptmx")
	if slave, err = low(slave); err != nil {
		return err
	}
	io.child = [3]int{slave, slave, slave}
	if n := streams.GetStderr(); n != 0 {
		io.child[2] = -1
		if err := io.pipe(s, 2, n, p); err != nil {
			return err
		}
	}
	if err := unix.Fchown(slave, int(p.Uid), -1); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	if p.Rows != 0 || p.Cols != 0 {
		if err := io.resize(p.Rows, p.Cols); err != nil {
			return err
		}
	}
	number := streams.GetStdin()
	if number == 0 {
		io.pumps = append(io.pumps, func() { copyTo(discard{}, io.master) })
		return nil
	}
	conn, err := io.take(s, number)
	if err != nil {
		return err
	}
	io.pumps = append(io.pumps,
		func() { copyTo(io.master, conn) },
		func() {
			copyTo(conn, io.master) // EIO when nobody has the terminal open
			conn.Close()
			s.Drop(number)
		})
	return nil
}

func (io *stdio) pipes(s *agentconn.Session, streams *agentpb.Streams, p *agentpb.Process) error {
	for i, number := range []uint32{streams.GetStdin(), streams.GetStdout(), streams.GetStderr()} {
		if number == 0 {
			var err error
			if io.child[i], err = nullEnd(); err != nil {
				return err
			}
			continue
		}
		if err := io.pipe(s, i, number, p); err != nil {
			return err
		}
	}
	return nil
}

// pipe joins standard descriptor i to a stream.
func (io *stdio) pipe(s *agentconn.Session, i int, number uint32, p *agentpb.Process) error {
	mine, theirs, err := pipePair(i == 0)
	if err != nil {
		return err
	}
	io.child[i] = theirs
	return io.join(s, i, number, mine, p)
}

// join joins the agent's end of a pipe to a stream.
func (io *stdio) join(s *agentconn.Session, i int, number uint32, mine *os.File, p *agentpb.Process) error {
	conn, err := io.take(s, number)
	if err != nil {
		mine.Close()
		return err
	}
	// The process may open /dev/stdout again.
	if err := chownPipe(mine, int(p.Uid), int(p.Gid)); err != nil {
		mine.Close()
		return fmt.Errorf("standard descriptor %d: %w", i, err)
	}
	from, to := rw(conn), rw(mine)
	if i > 0 {
		from, to = to, from
	}
	io.pumps = append(io.pumps, func() {
		copyTo(to, from)
		mine.Close()
		conn.Close()
		s.Drop(number)
	})
	return nil
}

// chownPipe is fchown(2) of a descriptor that stays non-blocking.
func chownPipe(f *os.File, uid, gid int) error {
	if uid == 0 && gid == 0 { // as it was made
		return nil
	}
	return f.Chown(uid, gid)
}

// announcedStdio has a pipe in the place of each stream that will come.
func announcedStdio(streams *agentpb.Streams) (*stdio, error) {
	io := &stdio{child: [3]int{-1, -1, -1}, fd: -1}
	for i, number := range []uint32{streams.GetStdin(), streams.GetStdout(), streams.GetStderr()} {
		var err error
		if number == 0 {
			io.child[i], err = nullEnd()
		} else {
			io.ends[i], io.child[i], err = pipePair(i == 0)
		}
		if err != nil {
			io.close()
			return nil, err
		}
	}
	return io, nil
}

// attach joins the streams to the pipes that were made for them, and lets the
// bytes flow.
func (io *stdio) attach(s *agentconn.Session, streams *agentpb.Streams, p *agentpb.Process) error {
	for i, number := range []uint32{streams.GetStdin(), streams.GetStdout(), streams.GetStderr()} {
		mine := io.ends[i]
		if (number != 0) != (mine != nil) {
			return fmt.Errorf("streams %w: standard descriptor %d was announced otherwise", errInvalid, i)
		}
		if mine == nil {
			continue
		}
		io.ends[i] = nil
		if err := io.join(s, i, number, mine, p); err != nil {
			return err
		}
	}
	io.start()
	return nil
}

// nullEnd opens /dev/null for a child.
func nullEnd() (int, error) {
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("/dev/null: %w", err)
	}
	return low(fd)
}

func (io *stdio) take(s *agentconn.Session, number uint32) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), streamWait)
	defer cancel()
	conn, err := s.Take(ctx, number)
	if err == nil {
		io.conns = append(io.conns, conn)
	}
	return conn, err
}

// rw is an end of a pump.
type rw interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
}

type discard struct{}

func (discard) Read([]byte) (int, error)    { return 0, os.ErrClosed }
func (discard) Write(b []byte) (int, error) { return len(b), nil }

// copyTo copies until either side has ended. A writer whose reader has gone
// must not block its process: what it says is dropped, as a closed pipe would
// kill it with SIGPIPE.
func copyTo(to, from rw) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// start lets the bytes flow, once the child has its ends.
func (io *stdio) start() {
	io.closeChildEnds()
	for _, pump := range io.pumps {
		go pump()
	}
}

func (io *stdio) closeChildEnds() {
	last := -1
	for i, fd := range io.child {
		if fd >= 0 && fd != last {
			unix.Close(fd)
			last = fd
		}
		io.child[i] = -1
	}
}

// close is for one that was never started.
func (io *stdio) close() {
	io.closeChildEnds()
	if io.master != nil {
		io.master.Close()
	}
	for _, f := range io.ends {
		if f != nil {
			f.Close()
		}
	}
	for _, c := range io.conns {
		c.Close()
	}
}

func (io *stdio) resize(rows, cols uint32) error {
	if io.master == nil {
		return errNoTerminal
	}
	if err := unix.IoctlSetWinsize(io.fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(cols)}); err != nil {
		return fmt.Errorf("window size: %w", err)
	}
	return nil
}

// newPTY opens a terminal of a devpts instance by its root directory, whatever
// the container has made of its /dev.
func newPTY(devpts int) (master, slave int, err error) {
	master, err = unix.Openat(devpts, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("terminal: ptmx: %w", err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		unix.Close(master)
		return -1, -1, fmt.Errorf("terminal: TIOCSPTLCK: %w", err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		unix.Close(master)
		return -1, -1, fmt.Errorf("terminal: TIOCGPTPEER: %w", errno)
	}
	return master, int(fd), nil
}
