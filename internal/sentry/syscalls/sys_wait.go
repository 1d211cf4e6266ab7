package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_WAIT4, Name: "wait4", Args: "pid ptr flags:wait ptr", Fn: sysWait4},
		Row{Nr: unix.SYS_WAITID, Name: "waitid", Args: "int pid ptr flags:wait ptr", Fn: sysWaitid},
	)
}

const (
	waitThreads = kernel.WNOTHREAD | kernel.WCLONE | kernel.WALL
	wait4Known  = kernel.WNOHANG | kernel.WUNTRACED | kernel.WCONTINUED | waitThreads
	waitidKnown = kernel.WNOHANG | kernel.WNOWAIT | kernel.WEXITED | kernel.WSTOPPED | kernel.WCONTINUED | waitThreads
	rusageSize  = 144
)

// sysWait4 is wait4(2).
func sysWait4(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	pid, flags := a.Int(0), a.Uint32(2)
	if flags&^wait4Known != 0 {
		return 0, unix.EINVAL
	}
	o := kernel.WaitOptions{Flags: flags | kernel.WEXITED}
	switch {
	case pid == -1<<31:
		return 0, unix.ESRCH
	case pid > 0:
		o.PID = pid
	case pid == 0:
		o.PGID = t.ThreadGroup().PGID()
	case pid < -1:
		o.PGID = -pid
	}
	r, e := t.Wait(o)
	if e != 0 || r.PID == 0 {
		return 0, e
	}
	if a[1] != 0 {
		if e := put32(t, a[1], r.Status); e != 0 {
			return 0, e
		}
	}
	if a[3] != 0 {
		if e := putRusage(t, a[3], &r.Usage); e != 0 {
			return 0, e
		}
	}
	return uint64(r.PID), 0
}

// sysWaitid is waitid(2): siginfo_t is written even when the call fails.
func sysWaitid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	r, e := waitid(t, a)
	if e2 := putWaitid(t, a, &r); e2 != 0 {
		return 0, e2
	}
	return 0, e
}

func waitid(t *kernel.Task, a *Args) (r kernel.WaitResult, e abi.Errno) {
	id, flags := a.Int(1), a.Uint32(3)
	if flags&^waitidKnown != 0 || flags&(kernel.WEXITED|kernel.WSTOPPED|kernel.WCONTINUED) == 0 {
		return r, unix.EINVAL
	}
	o := kernel.WaitOptions{Flags: flags}
	nonblock := false
	switch a.Uint32(0) {
	case unix.P_ALL:
	case unix.P_PID:
		if o.PID = id; id <= 0 {
			return r, unix.EINVAL
		}
	case unix.P_PGID:
		if o.PGID = id; id < 0 {
			return r, unix.EINVAL
		}
		if id == 0 {
			o.PGID = t.ThreadGroup().PGID()
		}
	case unix.P_PIDFD:
		if id < 0 {
			return r, unix.EINVAL
		}
		p, fl, e := pidFD(t, id)
		if e != 0 {
			return r, e
		}
		o.Group, nonblock = p.ThreadGroup(), fl&unix.O_NONBLOCK != 0
	default:
		return r, unix.EINVAL
	}
	if nonblock {
		o.Flags |= kernel.WNOHANG
	}
	r, e = t.Wait(o)
	if e == 0 && r.PID == 0 && nonblock && flags&kernel.WNOHANG == 0 {
		e = unix.EAGAIN
	}
	return r, e
}

// putWaitid copies out what waitid(2) tells: only the fields that it fills in.
func putWaitid(t *kernel.Task, a *Args, r *kernel.WaitResult) abi.Errno {
	if r.PID != 0 && a[4] != 0 {
		if e := putRusage(t, a[4], &r.Usage); e != 0 {
			return e
		}
	}
	if a[2] == 0 {
		return 0
	}
	le := binary.LittleEndian
	var b [28]byte
	if r.PID != 0 {
		le.PutUint32(b[:], kernel.SIGCHLD)
		le.PutUint32(b[8:], uint32(r.Code))
		le.PutUint32(b[16:], uint32(r.PID))
		le.PutUint32(b[20:], r.UID)
		le.PutUint32(b[24:], uint32(r.Value))
	}
	if e := t.CopyOut(a[2], b[:12]); e != 0 {
		return e
	}
	return t.CopyOut(a[2]+16, b[16:])
}

// putRusage copies out struct rusage.
func putRusage(t *kernel.Task, addr uint64, u *kernel.Usage) abi.Errno {
	var b [rusageSize]byte
	abi.PutTimeval(b[:], u.UTime)
	abi.PutTimeval(b[16:], u.STime)
	for i, v := range [...]int64{
		u.MaxRSS, 0, 0, 0, u.MinFaults, u.MajFaults, 0, u.InBlock, u.OutBlock, 0, 0, 0, u.Voluntary, u.Forced,
	} {
		binary.LittleEndian.PutUint64(b[32+8*i:], uint64(v))
	}
	return t.CopyOut(addr, b[:])
}
