package tty

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Requests that x/sys does not name (asm-generic/ioctls.h).
const (
	tcgeta     = 0x5405
	tcseta     = 0x5406
	tcsetaw    = 0x5407
	tcsetaf    = 0x5408
	tiocgsid   = 0x5429
	tiocgdev   = 0x80045432
	tiocgptlck = 0x80045439
	tiocgpkt   = 0x80045438
	tiocgexcl  = 0x80045440
	tiocsig    = 0x40045436
)

func put32(mem vfs.UserMemory, addr uint64, v uint32) abi.Errno {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return mem.CopyOut(addr, b[:])
}

func get32(mem vfs.UserMemory, addr uint64) (uint32, abi.Errno) {
	var b [4]byte
	e := mem.CopyIn(addr, b[:])
	return binary.LittleEndian.Uint32(b[:]), e
}

// Ioctl is ioctl_tty(2): vfs.File.
func (f *File) Ioctl(c vfs.Caller, fd *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	t := f.t
	t.pair.mu.Lock()
	hung := f.hungUp()
	t.pair.unlock()
	if hung {
		if cmd == unix.TIOCSPGRP {
			return 0, unix.ENOTTY
		}
		return 0, unix.EIO
	}
	r, e := t.real().control.Ioctl(c, &t.pair.mu, fd.Mode&vfs.FMODE_READ != 0, t.master, cmd, arg, mem)
	if e == abi.ENOIOCTLCMD {
		r, e = t.ptyIoctl(c, fd, cmd, arg, mem)
	}
	if e == abi.ENOIOCTLCMD {
		r, e = t.ttyIoctl(c, cmd, arg, mem)
	}
	if e == abi.ENOIOCTLCMD {
		e = t.modeIoctl(c, cmd, arg, mem)
	}
	return r, e
}

// real is the end whose settings and job control count: the slave.
func (t *TTY) real() *TTY { return &t.pair.slave }

// ptyIoctl has the requests of pseudoterminals (pty(7)), most for the master.
func (t *TTY) ptyIoctl(c vfs.Caller, fd *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	p := t.pair
	if !t.master {
		return 0, abi.ENOIOCTLCMD
	}
	flag := func(on bool) (uint64, abi.Errno) {
		if on {
			return 0, put32(mem, arg, 1)
		}
		return 0, put32(mem, arg, 0)
	}
	switch cmd {
	case unix.TIOCGPTN:
		return 0, put32(mem, arg, p.index)
	case unix.TIOCSPTLCK:
		v, e := get32(mem, arg)
		if e != 0 {
			return 0, e
		}
		p.mu.Lock()
		p.locked = v != 0
		p.unlock()
		return 0, 0
	case tiocgptlck:
		p.mu.Lock()
		v := p.locked
		p.unlock()
		return flag(v)
	case unix.TIOCPKT:
		v, e := get32(mem, arg)
		if e != 0 {
			return 0, e
		}
		p.mu.Lock()
		if v != 0 && !t.packet {
			t.peer.pktStatus = 0
		}
		t.packet = v != 0
		p.unlock()
		return 0, 0
	case tiocgpkt:
		p.mu.Lock()
		v := t.packet
		p.unlock()
		return flag(v)
	case tiocsig:
		switch unix.Signal(arg) {
		case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP:
			t.peer.SignalForeground(int(arg))
			return 0, 0
		}
		return 0, unix.EINVAL
	case unix.TIOCGPTPEER:
		return t.openPeer(c, fd, uint32(arg))
	}
	return 0, abi.ENOIOCTLCMD
}

// FDInstaller is a Caller that can be given a new descriptor: a kernel.Task.
type FDInstaller interface {
	InstallFD(fd *vfs.FileDescription, cloexec bool) (int32, abi.Errno)
}

func (t *TTY) openPeer(c vfs.Caller, master *vfs.FileDescription, flags uint32) (uint64, abi.Errno) {
	in, ok := c.(FDInstaller)
	if !ok || t.pair.openSlave == nil {
		return 0, unix.ENOTTY
	}
	fd, e := t.pair.openSlave(c, master, flags)
	if e != 0 {
		return 0, e
	}
	n, e := in.InstallFD(fd, flags&unix.O_CLOEXEC != 0)
	if e != 0 {
		fd.DecRef()
		return 0, e
	}
	return uint64(n), 0
}

// ttyIoctl has what every terminal does.
func (t *TTY) ttyIoctl(c vfs.Caller, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	p := t.pair
	switch cmd {
	case unix.TIOCSTI:
		return 0, unix.EIO // as with dev.tty.legacy_tiocsti = 0
	case unix.TIOCSBRK, unix.TIOCCBRK, unix.TCSBRK, unix.TCSBRKP:
		return 0, t.control.checkChange(c, int(unix.SIGTTOU)) // a pty has no breaks
	case unix.TIOCSETD:
		if e := t.control.checkChange(c, int(unix.SIGTTOU)); e != 0 {
			return 0, e
		}
		v, e := get32(mem, arg)
		if e == 0 && v != 0 {
			e = unix.EINVAL // N_TTY is the only one
		}
		return 0, e
	case unix.TIOCGETD:
		return 0, put32(mem, arg, 0)
	case unix.TIOCGWINSZ:
		p.mu.Lock()
		b := t.winsize.encode()
		p.unlock()
		return 0, mem.CopyOut(arg, b[:])
	case unix.TIOCSWINSZ:
		var b [8]byte
		if e := mem.CopyIn(arg, b[:]); e != 0 {
			return 0, e
		}
		var w Winsize
		w.decode(b[:])
		t.SetWinsize(w)
		return 0, 0
	case unix.TIOCEXCL, unix.TIOCNXCL:
		p.mu.Lock()
		t.exclusive = cmd == unix.TIOCEXCL
		p.unlock()
		return 0, 0
	case tiocgexcl:
		p.mu.Lock()
		v := t.exclusive
		p.unlock()
		if v {
			return 0, put32(mem, arg, 1)
		}
		return 0, put32(mem, arg, 0)
	case unix.TIOCVHANGUP:
		if !c.Creds().Capable(auth.CAP_SYS_ADMIN) {
			return 0, unix.EPERM
		}
		p.mu.Lock()
		t.hangUp()
		p.unlock()
		return 0, 0
	case tiocgdev:
		return 0, put32(mem, arg, t.real().DeviceNumber())
	case unix.TIOCOUTQ:
		return 0, put32(mem, arg, 0)
	case unix.TIOCINQ:
		p.mu.Lock()
		n := t.readable()
		p.unlock()
		return 0, put32(mem, arg, n)
	}
	return 0, abi.ENOIOCTLCMD
}

// readable is FIONREAD: ends of file do not count.
func (t *TTY) readable() uint32 {
	in := &t.in
	if !t.lines() {
		return uint32(in.commit - in.tail)
	}
	n := uint32(0)
	for p := in.tail; p != in.canonHead; p++ {
		if !in.isEnd(p) || in.at(p) != disabled {
			n++
		}
	}
	return n
}

// modeIoctl has the settings, flow control and flushes. On the master they
// are the slave's settings.
func (t *TTY) modeIoctl(c vfs.Caller, cmd uint32, arg uint64, mem vfs.UserMemory) abi.Errno {
	r := t.real()
	switch cmd {
	case unix.TCGETS, unix.TCGETS2:
		t.pair.mu.Lock()
		b := r.termios.encode()
		t.pair.unlock()
		if cmd == unix.TCGETS {
			return mem.CopyOut(arg, b[:termiosSize])
		}
		return mem.CopyOut(arg, b[:])
	case tcgeta:
		t.pair.mu.Lock()
		b := r.termios.encodeTermio()
		t.pair.unlock()
		return mem.CopyOut(arg, b[:])
	case unix.TCSETS, unix.TCSETSW, unix.TCSETSF:
		return r.setTermios(c, arg, mem, termiosSize, cmd == unix.TCSETSF)
	case unix.TCSETS2, unix.TCSETSW2, unix.TCSETSF2:
		return r.setTermios(c, arg, mem, termios2Size, cmd == unix.TCSETSF2)
	case tcseta, tcsetaw, tcsetaf:
		return r.setTermios(c, arg, mem, termioSize, cmd == tcsetaf)
	case unix.TIOCGSOFTCAR:
		t.pair.mu.Lock()
		v := r.termios.Cflag & unix.CLOCAL
		t.pair.unlock()
		if v != 0 {
			v = 1
		}
		return put32(mem, arg, v)
	case unix.TIOCSSOFTCAR:
		v, e := get32(mem, arg)
		if e != 0 {
			return e
		}
		t.pair.mu.Lock()
		r.termios.Cflag &^= unix.CLOCAL
		if v != 0 {
			r.termios.Cflag |= unix.CLOCAL
		}
		t.pair.unlock()
		return 0
	case unix.TCXONC:
		return t.flowCall(c, arg)
	case unix.TCFLSH:
		return t.flushCall(c, arg)
	}
	return abi.ENOIOCTLCMD
}

// setTermios is TCSETS and its kin: size says which structure.
func (t *TTY) setTermios(c vfs.Caller, arg uint64, mem vfs.UserMemory, size int, flush bool) abi.Errno {
	if e := t.control.checkChange(c, int(unix.SIGTTOU)); e != 0 {
		return e
	}
	var b [termios2Size]byte
	if e := mem.CopyIn(arg, b[:size]); e != 0 {
		return e
	}
	t.pair.mu.Lock()
	defer t.pair.unlock()
	if flush {
		t.flushInput()
	}
	n := t.termios
	if size == termioSize {
		n.decodeTermio(b[:size])
	} else {
		n.decode(b[:size])
	}
	t.apply(n)
	return 0
}

// apply puts settings to use. A pty's characters have eight bits, always.
func (t *TTY) apply(n Termios) {
	old := t.termios
	n.Cflag = n.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8 | unix.CREAD
	t.termios = n
	if was, is := stdFlow(&old), stdFlow(&n); was != is {
		if is {
			t.tellPeer(pktDoStop)
		} else {
			t.tellPeer(pktNoStop)
		}
	}
	if (old.Lflag|n.Lflag)&unix.EXTPROC != 0 {
		t.tellPeer(pktIoctl)
	}
	t.configure(&old)
}

// stdFlow tells whether ^S and ^Q stop and start output.
func stdFlow(n *Termios) bool {
	return n.Iflag&unix.IXON != 0 && n.CC[unix.VSTOP] == 0x13 && n.CC[unix.VSTART] == 0x11
}

// flowCall is TCXONC (tcflow(3)).
func (t *TTY) flowCall(c vfs.Caller, arg uint64) abi.Errno {
	if e := t.control.checkChange(c, int(unix.SIGTTOU)); e != 0 {
		return e
	}
	t.pair.mu.Lock()
	defer t.pair.unlock()
	switch arg {
	case unix.TCOOFF:
		if !t.stoppedByCall {
			t.stop()
			t.stoppedByCall = true
		}
	case unix.TCOON:
		if t.stoppedByCall {
			t.stoppedByCall = false
			t.start()
		}
	case unix.TCIOFF:
		t.sendFlow(t.termios.CC[unix.VSTOP])
	case unix.TCION:
		t.sendFlow(t.termios.CC[unix.VSTART])
	default:
		return unix.EINVAL
	}
	return 0
}

func (t *TTY) sendFlow(c byte) {
	if c != disabled {
		t.emit(c)
	}
}

// flushCall is TCFLSH (tcflush(3)).
func (t *TTY) flushCall(c vfs.Caller, arg uint64) abi.Errno {
	if e := t.control.checkChange(c, int(unix.SIGTTOU)); e != 0 {
		return e
	}
	t.pair.mu.Lock()
	defer t.pair.unlock()
	switch arg {
	case unix.TCIFLUSH:
		t.flushInput()
	case unix.TCOFLUSH:
		t.flushOutput()
	case unix.TCIOFLUSH:
		t.flushInput()
		t.flushOutput()
	default:
		return unix.EINVAL
	}
	t.peer.q.Notify(waiter.Out | waiter.WrNorm)
	t.q.Notify(waiter.Out | waiter.WrNorm)
	return 0
}
