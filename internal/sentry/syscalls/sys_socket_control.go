package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	usock "bulkhead.dev/bulkhead/internal/sentry/socket/unix"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

// controlIn copies and checks the control messages to send: cmsg(3).
func (c *sockCall) controlIn(h *abi.Msghdr) abi.Errno {
	if h.Controllen == 0 || h.Control == 0 {
		return 0
	}
	if h.Controllen > abi.OptMemMax {
		return unix.ENOBUFS
	}
	if cap(c.ctl) < int(h.Controllen) {
		c.ctl = make([]byte, h.Controllen)
	}
	b := c.ctl[:h.Controllen]
	if e := c.t.CopyIn(h.Control, b); e != 0 {
		return e
	}
	c.m.Control = b
	family := c.s.Opts().Family
	for {
		m, rest, ok, e := abi.NextCmsg(b)
		if e != 0 || !ok {
			return e
		}
		b = rest
		if m.Level != unix.SOL_SOCKET {
			continue
		}
		switch {
		case m.Type == unix.SCM_RIGHTS && family == unix.AF_UNIX:
			e = c.rightsIn(m.Data)
		case m.Type == unix.SCM_CREDENTIALS && (family == unix.AF_UNIX || family == unix.AF_NETLINK):
			e = c.credsIn(m.Data)
		case (m.Type == unix.SCM_RIGHTS || m.Type == unix.SCM_CREDENTIALS) && family != unix.AF_NETLINK:
		case m.Type == unix.SO_MARK || m.Type == unix.SO_TIMESTAMPING_OLD:
			e = unix.EPERM
		default:
			e = unix.EINVAL
		}
		if e != 0 {
			return e
		}
	}
}

// rightsIn takes a reference to each descriptor of SCM_RIGHTS.
func (c *sockCall) rightsIn(b []byte) abi.Errno {
	n := len(b) / 4
	if n+len(c.m.Files) > abi.SCM_MAX_FD {
		return unix.EINVAL
	}
	for i := range n {
		fd, e := c.t.FDs().Get(int32(binary.LittleEndian.Uint32(b[4*i:])))
		if e != 0 {
			return e
		}
		c.m.Files = append(c.m.Files, fd)
	}
	return 0
}

// credsIn checks SCM_CREDENTIALS.
func (c *sockCall) credsIn(b []byte) abi.Errno {
	if len(b) != abi.UcredSize {
		return unix.EINVAL
	}
	u := abi.GetUcred(b)
	if e := usock.CheckCreds(c.t, u); e != 0 {
		return e
	}
	if u.PID != c.t.TGID() && c.t.Kernel().ThreadGroupByPID(u.PID) == nil {
		return unix.ESRCH
	}
	c.m.Creds, c.m.HasCreds = u, true
	return 0
}

// controlOut adds credentials and descriptors, and copies the control data to
// the guest.
func (c *sockCall) controlOut(h *abi.Msghdr, flags uint32) abi.Errno {
	o := c.s.Opts()
	w := &c.m.Out
	if o.Has(socket.FlagPassCred) {
		u := abi.Ucred{UID: abi.OverflowID, GID: abi.OverflowID}
		if c.m.HasCreds {
			u = c.m.Creds
		}
		var b [abi.UcredSize]byte
		u.Put(b[:])
		w.Put(unix.SOL_SOCKET, unix.SCM_CREDENTIALS, b[:])
	}
	if len(c.m.Files) > 0 {
		c.rightsOut(w, flags)
	}
	if o.Has(socket.FlagPassPIDFD) && c.m.HasCreds && w.Left() >= abi.CmsghdrSize+4 {
		if num, e := openPIDFD(c.t, c.m.Creds.PID); e == 0 {
			w.PutInt(unix.SOL_SOCKET, abi.SCM_PIDFD, int32(num))
		}
	} else if o.Has(socket.FlagPassPIDFD) {
		w.Truncated = true
	}
	if len(w.Buf) == 0 {
		return 0
	}
	return c.t.CopyOut(h.Control, w.Buf)
}

// rightsOut installs as many descriptors as there is room for; the others are
// closed.
func (c *sockCall) rightsOut(w *abi.CmsgWriter, flags uint32) {
	room := max((w.Left()-abi.CmsghdrSize)/4, 0)
	var b []byte
	files := c.m.Files
	for i := 0; i < len(files) && i < room; i++ {
		files[i].IncRef()
		num, e := install(c.t, files[i], flags&unix.MSG_CMSG_CLOEXEC != 0)
		if e != 0 {
			break
		}
		b = append(b, socket.PutInt(int32(num))...)
	}
	if len(b) > 0 {
		w.Put(unix.SOL_SOCKET, unix.SCM_RIGHTS, b)
	}
	if len(b)/4 < len(files) {
		w.Truncated = true
	}
	c.m.DropFiles()
}

// mmsgTime is recvmmsg's timeout.
type mmsgTime struct{ at int64 }

func mmsgDeadline(t *kernel.Task, addr uint64) (mmsgTime, abi.Errno) {
	if addr == 0 {
		return mmsgTime{}, 0
	}
	var b [16]byte
	if e := t.CopyIn(addr, b[:]); e != 0 {
		return mmsgTime{}, e
	}
	sec, ns := int64(binary.LittleEndian.Uint64(b[:])), int64(binary.LittleEndian.Uint64(b[8:]))
	if sec < 0 || ns < 0 || ns >= 1e9 {
		return mmsgTime{}, unix.EINVAL
	}
	return mmsgTime{deadlineIn(min(sec, 1<<32)*1e9 + ns)}, 0
}

func (m mmsgTime) past() bool { return m.at != 0 && ktime.Mono() >= m.at }

// left writes back what remains.
func (m mmsgTime) left(t *kernel.Task, addr uint64) abi.Errno {
	ns := max(m.at-ktime.Mono(), 0)
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(ns/1e9))
	binary.LittleEndian.PutUint64(b[8:], uint64(ns%1e9))
	return t.CopyOut(addr, b[:])
}

// openPIDFD makes a pidfd for a process; ESRCH if it is gone.
func openPIDFD(t *kernel.Task, pid int32) (uint64, abi.Errno) {
	tg := t.Kernel().ThreadGroupByPID(pid)
	if tg == nil {
		return 0, unix.ESRCH
	}
	return install(t, vfs.NewAnon("pidfd", kernel.NewPidFD(tg, nil), unix.O_RDWR), true)
}

// peerPIDFD is getsockopt of SO_PEERPIDFD: unix(7).
func peerPIDFD(t *kernel.Task, s socket.Socket, addr, lenAddr uint64, room uint32) abi.Errno {
	p, ok := s.(*usock.Socket)
	if !ok {
		return unix.ENODATA
	}
	u, ok := p.PeerCred()
	if !ok {
		return unix.ENODATA
	}
	num, e := openPIDFD(t, u.PID)
	if e != 0 {
		return e
	}
	b := socket.PutInt(int32(num))
	b = b[:min(room, 4)]
	if e = t.CopyOut(addr, b); e == 0 {
		e = put32(t, lenAddr, uint32(len(b)))
	}
	if e != 0 {
		t.FDs().Close(t, int32(num))
	}
	return e
}
