package container

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pty is a pair made for --console-socket: the engine gets the master, the
// sandbox the slave. The slave is in raw mode, because the guest has a pty of
// its own and does line discipline there.
type pty struct {
	master, slave *os.File
}

func newPty(rows, cols uint16) (*pty, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a pseudo-terminal: /dev/ptmx: %w", err)
	}
	p := &pty{}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("unlocking a pseudo-terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("number of a pseudo-terminal: %w", err)
	}
	name := fmt.Sprintf("/dev/pts/%d", n)
	p.master = os.NewFile(uintptr(fd), name)
	// By the master and not by name, which another mount may hide.
	const how = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, how)
	slave, err := int(peer), error(nil)
	if errno != 0 { // before Linux 4.13
		slave, err = unix.Open(name, how, 0)
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.slave = os.NewFile(uintptr(slave), name)
	if err := p.setUp(rows, cols); err != nil {
		p.close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

func (p *pty) setUp(rows, cols uint16) error {
	termios, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	raw := rawTermios(*termios)
	if err := unix.IoctlSetTermios(int(p.slave.Fd()), unix.TCSETS, &raw); err != nil {
		return err
	}
	if rows == 0 && cols == 0 {
		return nil
	}
	return unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
}

// send passes the master to whoever listens on socket, with its name as the
// message, and closes it here. It does nothing without a pty.
func (p *pty) send(socket string) error {
	if p == nil || p.master == nil {
		return nil
	}
	ref, err := unix.Open(socket, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("--console-socket %s: %w", socket, err)
	}
	defer unix.Close(ref)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("--console-socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d", ref)}); err != nil {
		return fmt.Errorf("--console-socket %s: %w", socket, err)
	}
	if err := unix.Sendmsg(fd, []byte(p.master.Name()), unix.UnixRights(int(p.master.Fd())), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("--console-socket %s: %w", socket, err)
	}
	p.master.Close()
	p.master = nil
	return nil
}

func (p *pty) close() {
	if p == nil {
		return
	}
	for _, f := range []*os.File{p.master, p.slave} {
		if f != nil {
			f.Close()
		}
	}
	p.master, p.slave = nil, nil
}

// openTerminal makes the pty of --console-socket, or notes the caller's
// terminal.
func (c *creation) openTerminal() error {
	proc := &c.launch.sentry.Process
	if !proc.Terminal {
		return nil
	}
	if c.opts.ConsoleSocket == "" {
		proc.TerminalStderr = isTerminal(c.opts.Stderr)
		return nil
	}
	p, err := newPty(proc.Rows, proc.Cols)
	if err != nil {
		return err
	}
	c.pty = p
	c.launch.stdio = [3]*os.File{p.slave, p.slave, p.slave}
	c.launch.ctty = true
	proc.TerminalStderr = true
	return nil
}
