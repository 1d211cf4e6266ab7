package hostfile

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// passed are the requests that reach the host's terminal, and the size of what
// their argument points to. out: the host fills it in; in: the guest does.
var passed = map[uint32]struct {
	size    int
	out, in bool
	changes bool // a background process gets SIGTTOU
}{
	unix.TCGETS:     {size: 36, out: true},
	unix.TCSETS:     {size: 36, in: true, changes: true},
	unix.TCSETSW:    {size: 36, in: true, changes: true},
	unix.TCSETSF:    {size: 36, in: true, changes: true},
	unix.TCGETS2:    {size: 44, out: true},
	unix.TCSETS2:    {size: 44, in: true, changes: true},
	unix.TCSETSW2:   {size: 44, in: true, changes: true},
	unix.TCSETSF2:   {size: 44, in: true, changes: true},
	0x5405:          {size: 18, out: true}, // TCGETA
	0x5406:          {size: 18, in: true, changes: true},
	0x5407:          {size: 18, in: true, changes: true},
	0x5408:          {size: 18, in: true, changes: true},
	unix.TIOCGWINSZ: {size: 8, out: true},
	unix.TIOCSWINSZ: {size: 8, in: true},
	unix.TIOCOUTQ:   {size: 4, out: true},
	unix.TIOCINQ:    {size: 4, out: true},
}

// byValue are requests that take a number and reach the host's terminal.
var byValue = map[uint32]bool{unix.TCFLSH: true, unix.TCXONC: true, unix.TCSBRK: true}

// HostRequests are all the requests that reach the host by ioctl(2): the
// Sentry's filter lets these through and no others.
func HostRequests() []uint32 {
	out := slices.Collect(maps.Keys(passed))
	for cmd := range byValue {
		out = append(out, cmd)
	}
	slices.Sort(out)
	return out
}

// Ioctl is ioctl(2): vfs.File.
func (f *File) Ioctl(c vfs.Caller, fd *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	if f.kind != kindTerminal {
		if cmd == unix.TIOCINQ {
			return 0, f.pass(cmd, arg, mem)
		}
		return 0, abi.ENOIOCTLCMD
	}
	r, e := f.control.Ioctl(c, &f.mu, fd.Mode&vfs.FMODE_READ != 0, false, cmd, arg, mem)
	if e != abi.ENOIOCTLCMD {
		return r, e
	}
	if p, ok := passed[cmd]; ok {
		if p.changes {
			if e := f.control.CheckWrite(c); e != 0 {
				return 0, e
			}
		}
		return 0, f.pass(cmd, arg, mem)
	}
	if byValue[cmd] {
		if e := f.control.CheckWrite(c); e != 0 {
			return 0, e
		}
		return 0, hostIoctl(f.host, cmd, uintptr(arg&3))
	}
	return 0, abi.ENOIOCTLCMD
}

func (f *File) pass(cmd uint32, arg uint64, mem vfs.UserMemory) abi.Errno {
	p := passed[cmd]
	var b [64]byte
	if p.in {
		if e := mem.CopyIn(arg, b[:p.size]); e != 0 {
			return e
		}
	}
	if e := hostIoctlPtr(f.host, cmd, &b); e != 0 {
		return e
	}
	if p.out {
		return mem.CopyOut(arg, b[:p.size])
	}
	return 0
}

// stopsOutput is what TOSTOP makes of a background process's output.
func (f *File) stopsOutput(c vfs.Caller) abi.Errno {
	if f.control.ForegroundGroup() == 0 {
		return 0
	}
	t, err := unix.IoctlGetTermios(f.host, unix.TCGETS)
	if err != nil || t.Lflag&unix.TOSTOP == 0 {
		return 0
	}
	return f.control.CheckWrite(c)
}

// DeviceNumber, TTYName, ForegroundGroup and SessionEnded are job.Terminal's.
func (i *Inode) DeviceNumber() uint32   { return uint32(vfs.MakeDev(5, 1)) }
func (i *Inode) TTYName() string        { return "console" }
func (i *Inode) ForegroundGroup() int32 { return i.control.ForegroundGroup() }

func (i *Inode) SessionEnded(sid int32, _ bool) {
	i.mu.Lock()
	i.control.Free(sid)
	i.mu.Unlock()
}

// OpenAgain opens the terminal as /dev/tty does.
func (i *Inode) OpenAgain(_ vfs.Caller, flags uint32) (vfs.File, abi.Errno) {
	if vfs.AccessMode(flags)&^i.access != 0 {
		return nil, unix.EACCES
	}
	f, e := i.open()
	if e != 0 {
		return nil, e
	}
	return f, 0
}

// SignalForeground sends sig to the foreground group: what the host's terminal
// did to the Sentry (SIGINT, SIGWINCH, …) is meant for it.
func (i *Inode) SignalForeground(sig int) { i.control.Signal(&i.mu, sig) }

// MakeControlling makes the terminal the controlling terminal of c's session,
// if it leads one that has none.
func (i *Inode) MakeControlling(c vfs.Caller) {
	i.mu.Lock()
	i.control.Adopt(c)
	i.mu.Unlock()
}

// IsTerminal tells whether the description is a host terminal.
func IsTerminal(fd *vfs.FileDescription) (*Inode, bool) {
	f, ok := fd.Impl.(*File)
	if !ok || f.kind != kindTerminal {
		return nil, false
	}
	return f.Inode, true
}
