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

func (m *monitor) forwardSignals(caught <-chan os.Signal) {
	for s := range caught {
		s := s.(syscall.Signal)
		if s == unix.SIGWINCH {
			m.resizeInit()
			continue
		}
		m.mu.Lock()
		begun := m.begun
		m.mu.Unlock()
		if !begun {
			// There is no process inside yet: this one stands for it.
			switch s {
			case unix.SIGCONT, unix.SIGTSTP:
			default:
				m.finish(128+int(s), nil)
			}
			continue
		}
		go func() {
			if err := m.Signal(wire.SignalArgs{Signal: int(s)}); err != nil {
				m.debugf("signal %d: %v", s, err)
			}
		}()
	}
}

// resizeInit gives init's terminal the size of the host's.
func (m *monitor) resizeInit() {
	if !m.cfg.Container.Process.Terminal {
		return
	}
	ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err == nil {
		_ = m.Resize(wire.ResizeArgs{Rows: ws.Row, Cols: ws.Col})
	}
}
