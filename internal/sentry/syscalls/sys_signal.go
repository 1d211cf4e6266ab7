package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_RT_SIGACTION, Name: "rt_sigaction", Args: "sig ptr ptr size", Fn: sysRtSigaction},
		Row{Nr: unix.SYS_RT_SIGPROCMASK, Name: "rt_sigprocmask", Args: "int ptr ptr size", Fn: sysRtSigprocmask},
		Row{Nr: unix.SYS_RT_SIGPENDING, Name: "rt_sigpending", Args: "ptr size", Fn: sysRtSigpending},
		Row{Nr: unix.SYS_RT_SIGTIMEDWAIT, Name: "rt_sigtimedwait", Args: "ptr ptr ptr size", Fn: sysRtSigtimedwait},
		Row{Nr: unix.SYS_RT_SIGSUSPEND, Name: "rt_sigsuspend", Args: "ptr size", Fn: sysRtSigsuspend},
		Row{Nr: unix.SYS_SIGALTSTACK, Name: "sigaltstack", Args: "ptr ptr", Fn: sysSigaltstack},
		Row{Nr: unix.SYS_PAUSE, Name: "pause", Fn: sysPause},
		Row{Nr: unix.SYS_RESTART_SYSCALL, Name: "restart_syscall", Fn: sysRestartSyscall},
	)
}

const (
	sigsetSize    = 8
	sigactionSize = 32 // handler, flags, restorer, mask
	stackSize     = 24 // sp, flags, size
)

// copySigset copies a sigset_t of the size that the kernel knows.
func copySigset(t *kernel.Task, addr, size uint64) (kernel.SignalSet, abi.Errno) {
	if size != sigsetSize {
		return 0, unix.EINVAL
	}
	v, e := get64(t, addr)
	return kernel.SignalSet(v), e
}

// sysRtSigaction is sigaction(2).
func sysRtSigaction(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[3] != sigsetSize {
		return 0, unix.EINVAL
	}
	le := binary.LittleEndian
	var b [sigactionSize]byte
	var act *kernel.SigAction
	if a[1] != 0 {
		if e := t.CopyIn(a[1], b[:]); e != 0 {
			return 0, e
		}
		act = &kernel.SigAction{
			Handler: le.Uint64(b[:]), Flags: le.Uint64(b[8:]),
			Restorer: le.Uint64(b[16:]), Mask: kernel.SignalSet(le.Uint64(b[24:])),
		}
	}
	old, e := t.SetAction(a.Int(0), act)
	if e != 0 || a[2] == 0 {
		return 0, e
	}
	le.PutUint64(b[:], old.Handler)
	le.PutUint64(b[8:], old.Flags)
	le.PutUint64(b[16:], old.Restorer)
	le.PutUint64(b[24:], uint64(old.Mask))
	return 0, t.CopyOut(a[2], b[:])
}

// sysRtSigprocmask is sigprocmask(2).
func sysRtSigprocmask(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[3] != sigsetSize {
		return 0, unix.EINVAL
	}
	old := t.SignalMask()
	if a[1] != 0 {
		set, e := get64(t, a[1])
		if e != 0 {
			return 0, e
		}
		if _, e = t.ChangeMask(a.Int(0), kernel.SignalSet(set)); e != 0 {
			return 0, e
		}
	}
	if a[2] == 0 {
		return 0, 0
	}
	return 0, put64(t, a[2], uint64(old))
}

// sysRtSigpending is sigpending(2).
func sysRtSigpending(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[1] > sigsetSize {
		return 0, unix.EINVAL
	}
	var b [sigsetSize]byte
	binary.LittleEndian.PutUint64(b[:], uint64(t.PendingSignals()))
	return 0, t.CopyOut(a[0], b[:a[1]])
}

// sysRtSigtimedwait is sigtimedwait(2).
func sysRtSigtimedwait(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	set, e := copySigset(t, a[0], a[3])
	if e != 0 {
		return 0, e
	}
	deadline, poll := int64(0), false
	if a[2] != 0 {
		ns, e := copyTimespec(t, a[2])
		if e != 0 {
			return 0, e
		}
		if poll = ns == 0; !poll {
			deadline = deadlineIn(ns)
		}
	}
	info, e := t.SigTimedWait(set, deadline, poll)
	if e != 0 {
		return 0, e
	}
	if a[1] != 0 {
		if e := t.CopyOut(a[1], info[:]); e != 0 {
			return 0, e
		}
	}
	return uint64(info.Signo()), 0
}

// copyTimespec copies a struct timespec that must be valid.
func copyTimespec(t *kernel.Task, addr uint64) (int64, abi.Errno) {
	var b [abi.TimespecSize]byte
	if e := t.CopyIn(addr, b[:]); e != 0 {
		return 0, e
	}
	ns, ok := abi.Timespec(b[:])
	if !ok {
		return 0, unix.EINVAL
	}
	return ns, 0
}

// sysRtSigsuspend is sigsuspend(2).
func sysRtSigsuspend(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	set, e := copySigset(t, a[0], a[1])
	if e != 0 {
		return 0, e
	}
	return 0, t.SigSuspend(set)
}

// sysPause is pause(2).
func sysPause(t *kernel.Task, _ *Args) (uint64, abi.Errno) { return 0, t.Pause() }

// sysRestartSyscall is restart_syscall(2).
func sysRestartSyscall(t *kernel.Task, _ *Args) (uint64, abi.Errno) { return t.RestartSyscall() }

// sysSigaltstack is sigaltstack(2).
func sysSigaltstack(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	le := binary.LittleEndian
	sp := t.UserSP()
	old := t.AltStack(sp)
	var b [stackSize]byte
	if a[0] != 0 {
		if e := t.CopyIn(a[0], b[:]); e != 0 {
			return 0, e
		}
		n := kernel.AltStack{SP: le.Uint64(b[:]), Flags: le.Uint32(b[8:]), Size: le.Uint64(b[16:])}
		if e := t.SetAltStack(n, sp); e != 0 {
			return 0, e
		}
	}
	if a[1] == 0 {
		return 0, 0
	}
	b = [stackSize]byte{}
	le.PutUint64(b[:], old.SP)
	le.PutUint32(b[8:], old.Flags)
	le.PutUint64(b[16:], old.Size)
	return 0, t.CopyOut(a[1], b[:])
}
