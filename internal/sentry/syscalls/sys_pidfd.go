package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/epoll"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_PIDFD_OPEN, Name: "pidfd_open", Args: "pid flags:open", Fn: sysPidfdOpen},
		Row{Nr: unix.SYS_PIDFD_SEND_SIGNAL, Name: "pidfd_send_signal", Args: "fd sig ptr hex", Fn: sysPidfdSendSignal},
		Row{Nr: unix.SYS_PIDFD_GETFD, Name: "pidfd_getfd", Args: "fd fd hex", Fn: sysPidfdGetfd},
		Row{Nr: unix.SYS_KCMP, Name: "kcmp", Args: "pid pid int uint uint", Fn: sysKcmp},
	)
}

// pidFD gives the pidfd at number num, and its description's flags.
func pidFD(t *kernel.Task, num int32) (*kernel.PidFD, uint32, abi.Errno) {
	fd, e := t.FDs().Get(num)
	if e != 0 {
		return nil, 0, e
	}
	defer fd.DecRef()
	p, ok := fd.Impl.(*kernel.PidFD)
	if !ok {
		return nil, 0, unix.EBADF
	}
	return p, fd.Flags(), 0
}

// sysPidfdOpen is pidfd_open(2).
func sysPidfdOpen(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	pid, flags := a.Int(0), a.Uint32(1)
	if flags&^(unix.PIDFD_NONBLOCK|unix.PIDFD_THREAD) != 0 || pid <= 0 {
		return 0, unix.EINVAL
	}
	task, tg := t.Kernel().Task(pid), t.Kernel().ThreadGroupByPID(pid)
	switch {
	case task == nil && tg == nil:
		return 0, unix.ESRCH
	case flags&unix.PIDFD_THREAD != 0:
		if task == nil {
			return 0, unix.ESRCH
		}
		tg = task.ThreadGroup()
	case tg == nil:
		return 0, unix.ENOENT // a thread that leads no group
	default:
		task = nil
	}
	return install(t, newPidFD(tg, task, flags), true)
}

func newPidFD(tg *kernel.ThreadGroup, task *kernel.Task, flags uint32) *vfs.FileDescription {
	return vfs.NewAnon("pidfd", kernel.NewPidFD(tg, task), unix.O_RDWR|flags&unix.O_NONBLOCK)
}

// sysPidfdSendSignal is pidfd_send_signal(2).
func sysPidfdSendSignal(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	const known = kernel.PIDFD_SIGNAL_THREAD | kernel.PIDFD_SIGNAL_THREAD_GROUP | kernel.PIDFD_SIGNAL_PROCESS_GROUP
	flags := a.Uint32(3)
	if flags&^known != 0 || flags&(flags-1) != 0 {
		return 0, unix.EINVAL
	}
	p, _, e := pidFD(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	var info *kernel.SigInfo
	if a[2] != 0 {
		info = new(kernel.SigInfo)
		if e := t.CopyIn(a[2], info[:]); e != 0 {
			return 0, e
		}
		if info.TooNew() {
			return 0, unix.E2BIG
		}
	}
	return 0, t.PidFDSendSignal(p, a.Int(1), info, flags)
}

// sysPidfdGetfd is pidfd_getfd(2).
func sysPidfdGetfd(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Uint32(2) != 0 {
		return 0, unix.EINVAL
	}
	p, _, e := pidFD(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	target := p.Task()
	if target == nil {
		if p.ThreadGroup().Exited() {
			return 0, unix.ESRCH
		}
		target = p.ThreadGroup().Leader()
	}
	if !t.MayAccess(target, false) {
		return 0, unix.EPERM
	}
	fd, e := target.PeerFD(a.Int(1))
	if e != 0 {
		return 0, e
	}
	return install(t, fd, true)
}

// sysKcmp is kcmp(2).
func sysKcmp(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	x, y := t.Kernel().Task(a.Int(0)), t.Kernel().Task(a.Int(1))
	if x == nil || y == nil {
		return 0, unix.ESRCH
	}
	if !t.MayAccess(x, false) || !t.MayAccess(y, false) {
		return 0, unix.EPERM
	}
	switch kind := a.Int(2); {
	case kind == kernel.KCMP_FILE:
		return kcmpFiles(x, y, int32(a[3]), int32(a[4]))
	case kind > kernel.KCMP_FILE && kind <= kernel.KCMP_SYSVSEM:
		return kernel.Kcmp(x, y, kind), 0
	case kind == kernel.KCMP_EPOLL_TFD:
		return kcmpEpoll(t, x, y, int32(a[3]), a[4])
	}
	return 0, unix.EINVAL
}

// kcmpEpoll compares descriptor i of x with what an epoll instance of y
// watches: struct kcmp_epoll_slot at addr.
func kcmpEpoll(t, x, y *kernel.Task, i int32, addr uint64) (uint64, abi.Errno) {
	var slot [12]byte // efd, tfd, toff
	if e := t.CopyIn(addr, slot[:]); e != 0 {
		return 0, e
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(slot[at:]) }
	f, e := x.PeerFD(i)
	if e != 0 {
		return 0, unix.EBADF
	}
	defer f.DecRef()
	g, e := y.PeerFD(int32(word(0)))
	if e != 0 {
		return 0, unix.EBADF
	}
	defer g.DecRef()
	ep, ok := g.Impl.(*epoll.Instance)
	if !ok {
		return 0, unix.EINVAL
	}
	id, ok := ep.Target(int32(word(4)), word(8))
	if !ok {
		return 0, unix.ENOENT
	}
	return order(f.ID, id), 0
}

func kcmpFiles(x, y *kernel.Task, i, j int32) (uint64, abi.Errno) {
	f, e := x.PeerFD(i)
	if e != 0 {
		return 0, unix.EBADF
	}
	defer f.DecRef()
	g, e := y.PeerFD(j)
	if e != 0 {
		return 0, unix.EBADF
	}
	defer g.DecRef()
	return order(f.ID, g.ID), 0
}

// order is kcmp(2)'s result: 0 equal, 1 less, 2 greater.
func order(x, y uint64) uint64 {
	switch {
	case x == y:
		return 0
	case x < y:
		return 1
	}
	return 2
}
