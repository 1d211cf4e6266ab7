package monitor

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// catchSignals catches what is meant for init: this process's pid is what
// `state` shows. SIGKILL and SIGSTOP are the kernel's.
func catchSignals() <-chan os.Signal {
	c := make(chan os.Signal, 64)
	var list []os.Signal
	for s := syscall.Signal(1); s <= 64; s++ {
		switch s {
		case unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE, unix.SIGKILL, unix.SIGSTOP, unix.SIGTTIN, unix.SIGTTOU,
			unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGSYS, unix.SIGPROF, 32, 33, 34:
		default:
			list = append(list, s)
		}
	}
	signal.Ignore(unix.SIGPIPE, unix.SIGTTIN, unix.SIGTTOU)
	signal.Notify(c, list...)
	return c
}

// forwardSignals passes what is caught on to init: by send, or by resize if it says
// that the terminal has another size. Before init has begun this process stands for
// it, and a signal is its end.
func forwardSignals(caught <-chan os.Signal, begun func() bool, end func(code int), resize func(), send func(sig int)) {
	for s := range caught {
		s := s.(syscall.Signal)
		switch {
		case s == unix.SIGWINCH:
			resize()
		case begun():
			go send(int(s))
		case s == unix.SIGCONT || s == unix.SIGTSTP:
		default:
			end(128 + int(s))
		}
	}
}

func (m *guestContainer) hasBegun() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.begun
}

func (m *guestContainer) forward(sig int) {
	if err := m.Signal(wire.SignalArgs{Signal: sig}); err != nil {
		m.debugf("signal %d: %v", sig, err)
	}
}

// resizeInit gives init's terminal the size of the host's.
func (m *guestContainer) resizeInit() {
	if !m.conf.Process.Terminal {
		return
	}
	ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err == nil {
		_ = m.Resize(wire.ResizeArgs{Rows: ws.Row, Cols: ws.Col})
	}
}
