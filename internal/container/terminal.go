package container

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hostTerminal is the terminal of the user who runs `do`, `run` or `exec` in
// the foreground. While the sandbox runs it is in raw mode: what is typed goes
// to the guest's own pty, whose line discipline makes the signals.
type hostTerminal struct {
	file  *os.File
	saved unix.Termios
	raw   bool
}

// isTerminal says whether f is a terminal, by TCGETS as isatty(3).
func isTerminal(f *os.File) bool {
	if f == nil {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// inForeground says whether this process may change the terminal f without
// being stopped by SIGTTOU.
func inForeground(f *os.File) bool {
	pgrp, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && pgrp == unix.Getpgrp()
}

// openTerminal takes over f, which must be a terminal.
func openTerminal(f *os.File) (*hostTerminal, error) {
	termios, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s is not a terminal: %w", f.Name(), err)
	}
	t := &hostTerminal{file: f, saved: *termios}
	return t, t.makeRaw()
}

// rawTermios is cfmakeraw(3).
func rawTermios(t unix.Termios) unix.Termios {
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag &^= unix.CSIZE | unix.PARENB
	t.Cflag |= unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return t
}

func (t *hostTerminal) makeRaw() error {
	raw := rawTermios(t.saved)
	if err := unix.IoctlSetTermios(int(t.file.Fd()), unix.TCSETSW, &raw); err != nil {
		return fmt.Errorf("terminal %s: raw mode: %w", t.file.Name(), err)
	}
	t.raw = true
	return nil
}

// restore gives the terminal its mode back. It may be called twice, and on
// nil.
func (t *hostTerminal) restore() {
	if t == nil || !t.raw {
		return
	}
	unix.IoctlSetTermios(int(t.file.Fd()), unix.TCSETSW, &t.saved)
	t.raw = false
}

func windowSize(f *os.File) (rows, cols uint16, err error) {
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, fmt.Errorf("terminal %s: window size: %w", f.Name(), err)
	}
	return ws.Row, ws.Col, nil
}
