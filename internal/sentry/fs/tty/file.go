package tty

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// File is an open terminal: an end of a pair.
type File struct {
	vfs.FileDefaults
	t   *TTY
	era uint32 // t's at the time of opening
}

// TTY gives the terminal behind the file.
func (f *File) TTY() *TTY { return f.t }

// hungUp tells whether the terminal has hung up since f was opened. The caller
// holds mu.
func (f *File) hungUp() bool { return f.era != f.t.era }

// Release closes the end: vfs.File.
func (f *File) Release(*vfs.FileDescription) { f.t.closed() }

// Read is read(2) of a terminal: vfs.File.
func (f *File) Read(c vfs.Caller, fd *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	t := f.t
	t.pair.mu.Lock()
	if f.hungUp() {
		t.pair.unlock()
		return 0, 0
	}
	if t.ioError {
		t.pair.unlock()
		return 0, unix.EIO
	}
	t.pair.unlock()
	if e := t.control.checkChange(c, int(unix.SIGTTIN)); e != 0 {
		return 0, e
	}
	t.pair.mu.Lock()
	defer t.pair.unlock()
	if f.hungUp() {
		return 0, 0
	}
	return t.read(c, dst, fd.Flags()&unix.O_NONBLOCK != 0)
}

// Write is write(2) to a terminal: vfs.File.
func (f *File) Write(c vfs.Caller, fd *vfs.FileDescription, src []byte, _ int64) (int, int64, abi.Errno) {
	t := f.t
	t.pair.mu.Lock()
	check := t.termios.Lflag&unix.TOSTOP != 0
	t.pair.unlock()
	if check {
		if e := t.control.checkChange(c, int(unix.SIGTTOU)); e != 0 {
			return 0, 0, e
		}
	}
	t.pair.mu.Lock()
	defer t.pair.unlock()
	if f.hungUp() || t.ioError || (!t.master && t.peerGone) {
		return 0, 0, unix.EIO
	}
	if len(src) == 0 {
		return 0, 0, 0
	}
	n := t.output(src)
	if n == 0 {
		return 0, 0, unix.EAGAIN
	}
	return n, 0, 0
}

// Ready is poll(2)'s view: vfs.File.
func (f *File) Ready(*vfs.FileDescription) uint32 {
	t := f.t
	t.pair.mu.Lock()
	defer t.pair.unlock()
	if f.hungUp() {
		return waiter.In | waiter.Out | waiter.Err | waiter.Hup | waiter.RdNorm | waiter.WrNorm
	}
	var ev uint32
	if t.available(t.pollMin()) {
		ev |= waiter.In | waiter.RdNorm
	}
	if t.packet && t.peer.pktStatus != 0 {
		ev |= waiter.Pri | waiter.In | waiter.RdNorm
	}
	if t.peerGone {
		ev |= waiter.Hup
	}
	if t.writeRoom() > 0 {
		ev |= waiter.Out | waiter.WrNorm
	}
	return ev
}

// Queue is where readers and writers wait: vfs.File.
func (f *File) Queue(*vfs.FileDescription) *waiter.Queue { return &f.t.q }
