package hostfile

import (
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/tty"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Relay copies between a host terminal, which is in raw mode, and the master
// of a guest's pty.
type Relay struct {
	in, out *vfs.FileDescription // the host's
	master  *vfs.FileDescription
	pair    *tty.Pair
	stop    chan struct{} // closed when the host's side has gone
	done    chan struct{} // closed when all output has been written
}

// NewRelay begins to copy. in and out are host descriptors of the terminal,
// which it takes over (they may be one and the same twice, not one number
// twice); master is the pair's. The pty takes the terminal's size.
func NewRelay(in, out int, pair *tty.Pair, master *tty.File) (*Relay, abi.Errno) {
	fin, e := New(in, vfs.Internal)
	if e != 0 {
		return nil, e
	}
	fout, e := New(out, vfs.Internal)
	if e != 0 {
		return nil, e
	}
	r := &Relay{
		in: fin, out: fout, pair: pair,
		master: vfs.DescribeLoose(mount(), "/dev/ptmx", fin.Inode(), master, unix.O_RDWR|unix.O_NONBLOCK, vfs.FMODE_READ|vfs.FMODE_WRITE),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	r.Resize()
	go r.copyIn()
	go r.copyOut()
	return r, 0
}

// Resize takes over the host terminal's size: after SIGWINCH.
func (r *Relay) Resize() {
	ws, err := unix.IoctlGetWinsize(r.in.Impl.(*File).host, unix.TIOCGWINSZ)
	if err == nil {
		r.SetSize(tty.Winsize{Rows: ws.Row, Cols: ws.Col, XPixel: ws.Xpixel, YPixel: ws.Ypixel})
	}
}

// SetSize sets the pty's size.
func (r *Relay) SetSize(w tty.Winsize) { r.pair.Slave().SetWinsize(w) }

// Drain waits until the guest's output has been written, or limit is over,
// and lets go of everything. Once, when the guest's processes have ended.
func (r *Relay) Drain(limit time.Duration) {
	select {
	case <-r.done:
	case <-time.After(limit):
	}
}

// copyIn carries keys. When the host's terminal goes, the guest's hangs up.
func (r *Relay) copyIn() {
	buf := make([]byte, 4096)
	w := newWaiting()
	for {
		n, e := w.read(r.in, buf, nil)
		if e != 0 || n == 0 {
			break
		}
		if e := w.write(r.master, buf[:n]); e != 0 {
			break
		}
	}
	close(r.stop)
	r.in.DecRef()
}

// copyOut carries output until the slave is closed.
func (r *Relay) copyOut() {
	defer close(r.done)
	buf := make([]byte, 16384)
	w := newWaiting()
	for {
		n, e := w.read(r.master, buf, r.stop)
		if e != 0 || n == 0 {
			break
		}
		if e := w.write(r.out, buf[:n]); e != 0 {
			break
		}
	}
	r.master.DecRef()
	r.out.DecRef()
}

// waiting is a goroutine that waits for descriptions.
type waiting struct {
	wake  chan struct{}
	entry waiter.Entry
}

func newWaiting() *waiting {
	w := &waiting{wake: make(chan struct{}, 1)}
	w.entry.Listener = w
	return w
}

// Notified is waiter.Listener's.
func (w *waiting) Notified(*waiter.Entry, uint32) {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// until runs try whenever the description may be ready, until it need not wait.
func (w *waiting) until(fd *vfs.FileDescription, stop chan struct{}, try func() abi.Errno) abi.Errno {
	if e := try(); e != unix.EAGAIN {
		return e
	}
	q := fd.Queue()
	if q == nil {
		return unix.EIO
	}
	q.Register(&w.entry, waiter.In|waiter.Out)
	defer q.Unregister(&w.entry)
	for {
		if e := try(); e != unix.EAGAIN {
			return e
		}
		select {
		case <-w.wake:
		case <-stop:
			return unix.EIO
		}
	}
}

func (w *waiting) read(fd *vfs.FileDescription, buf []byte, stop chan struct{}) (n int, e abi.Errno) {
	e = w.until(fd, stop, func() (e abi.Errno) {
		n, e = fd.Read(vfs.Internal, buf)
		return e
	})
	return n, e
}

func (w *waiting) write(fd *vfs.FileDescription, buf []byte) abi.Errno {
	for len(buf) > 0 {
		e := w.until(fd, nil, func() (e abi.Errno) {
			n, e := fd.Write(vfs.Internal, buf)
			if e == 0 {
				buf = buf[n:]
			}
			return e
		})
		if e != 0 {
			return e
		}
	}
	return 0
}
