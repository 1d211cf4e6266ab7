package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/fs/epoll"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_EPOLL_CREATE, Name: "epoll_create", Args: "int", Fn: sysEpollCreate},
		Row{Nr: unix.SYS_EPOLL_CREATE1, Name: "epoll_create1", Args: "flags:open", Fn: sysEpollCreate1},
		Row{Nr: unix.SYS_EPOLL_CTL, Name: "epoll_ctl", Args: "fd flags:epoll_ctl fd ptr", Fn: sysEpollCtl},
		Row{Nr: unix.SYS_EPOLL_WAIT, Name: "epoll_wait", Args: "fd ptr int int", Fn: sysEpollWait},
		Row{Nr: unix.SYS_EPOLL_PWAIT, Name: "epoll_pwait", Args: "fd ptr int int ptr size", Fn: sysEpollPwait},
		Row{Nr: unix.SYS_EPOLL_PWAIT2, Name: "epoll_pwait2", Args: "fd ptr int ptr ptr size", Fn: sysEpollPwait2},
	)
}

// epollWakeUp is EPOLLWAKEUP, which is dropped without CAP_BLOCK_SUSPEND.
const epollWakeUp = 1 << 29

func newEpoll(t *kernel.Task, cloexec bool) (uint64, abi.Errno) {
	fd := vfs.NewAnon("eventpoll", epoll.New(), unix.O_RDWR)
	return install(t, fd, cloexec)
}

// sysEpollCreate is epoll_create(2); the size only has to be positive.
func sysEpollCreate(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Int(0) <= 0 {
		return 0, unix.EINVAL
	}
	return newEpoll(t, false)
}

// sysEpollCreate1 is epoll_create1(2).
func sysEpollCreate1(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Uint32(0)&^unix.EPOLL_CLOEXEC != 0 {
		return 0, unix.EINVAL
	}
	return newEpoll(t, a.Uint32(0) != 0)
}

// sysEpollCtl is epoll_ctl(2).
func sysEpollCtl(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	op := a.Int(1)
	var b [abi.EpollEventSize]byte
	if op != unix.EPOLL_CTL_DEL {
		if e := t.CopyIn(a[3], b[:]); e != 0 {
			return 0, e
		}
	}
	ef, e := t.FDs().GetFile(a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer ef.DecRef()
	fd, e := t.FDs().GetFile(a.Int(2))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	if queueOf(t, fd) == nil {
		return 0, unix.EPERM
	}
	ep, ok := ef.Impl.(*epoll.Instance)
	if !ok || ef == fd {
		return 0, unix.EINVAL
	}
	events, data := abi.EpollEvent(&b)
	if !t.Creds().Capable(auth.CAP_BLOCK_SUSPEND) {
		events &^= epollWakeUp
	}
	e = unix.EINVAL
	switch op {
	case unix.EPOLL_CTL_ADD:
		e = ep.Add(t, a.Int(2), fd, events, data)
	case unix.EPOLL_CTL_MOD:
		e = ep.Modify(t, a.Int(2), fd, events, data)
	case unix.EPOLL_CTL_DEL:
		e = ep.Delete(t, a.Int(2), fd)
	}
	if e == 0 {
		t.UsedCtl(a.Int(0), ef, ep)
	}
	return 0, e
}

// maxEvents is EP_MAX_EVENTS.
const maxEvents = (1<<31 - 1) / abi.EpollEventSize

// doEpollWait is epoll_wait(2) with its timeout worked out; ERESTARTSYS if a
// signal came.
func doEpollWait(t *kernel.Task, num int32, addr uint64, count int32, d timeout) (uint64, abi.Errno) {
	if count <= 0 || count > maxEvents {
		return 0, unix.EINVAL
	}
	if !accessOK(addr, uint64(count)*abi.EpollEventSize) {
		return 0, unix.EFAULT
	}
	fd, e := t.FDs().GetFile(num)
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	ep, ok := fd.Impl.(*epoll.Instance)
	if !ok {
		return 0, unix.EINVAL
	}
	b := t.ReadBuf(min(int(count)*abi.EpollEventSize, sharedOut))
	n := ep.Collect(t, b)
	if n == 0 && !d.past {
		w := startWait(t, fd, waiter.In).until(d.deadline)
		for {
			if n = ep.Collect(t, b); n > 0 {
				break
			}
			if e = w.sleep(); e != 0 {
				break
			}
		}
		w.end()
	}
	switch {
	case n > 0:
		return uint64(n), t.CopyOut(addr, b[:n*abi.EpollEventSize])
	case e == unix.ETIMEDOUT:
		return 0, 0
	}
	return 0, e
}

// epollEnd turns an interruption into EINTR: epoll_wait is never made again.
func epollEnd(e abi.Errno) abi.Errno {
	if e == abi.ERESTARTSYS {
		return unix.EINTR
	}
	return e
}

// sysEpollWait is epoll_wait(2).
func sysEpollWait(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	n, e := doEpollWait(t, a.Int(0), a[1], a.Int(2), timeoutMs(a.Int(3)))
	return n, epollEnd(e)
}

// sysEpollPwait is epoll_pwait(2).
func sysEpollPwait(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if e := tempMask(t, a[4], a[5]); e != 0 {
		return 0, e
	}
	n, e := doEpollWait(t, a.Int(0), a[1], a.Int(2), timeoutMs(a.Int(3)))
	t.RestoreMask(e == abi.ERESTARTSYS)
	return n, epollEnd(e)
}

// sysEpollPwait2 is epoll_pwait2(2).
func sysEpollPwait2(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	d, e := copyTimeout(t, a[3], abi.Timespec)
	if e != 0 {
		return 0, e
	}
	if e := tempMask(t, a[4], a[5]); e != 0 {
		return 0, e
	}
	n, e := doEpollWait(t, a.Int(0), a[1], a.Int(2), d)
	t.RestoreMask(e == abi.ERESTARTSYS)
	return n, epollEnd(e)
}
