package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_ALARM, Name: "alarm", Args: "uint", Fn: sysAlarm},
		Row{Nr: unix.SYS_GETITIMER, Name: "getitimer", Args: "int ptr", Fn: sysGetitimer},
		Row{Nr: unix.SYS_SETITIMER, Name: "setitimer", Args: "int ptr ptr", Fn: sysSetitimer},
		Row{Nr: unix.SYS_TIMER_CREATE, Name: "timer_create", Args: "int ptr ptr", Fn: sysTimerCreate},
		Row{Nr: unix.SYS_TIMER_SETTIME, Name: "timer_settime", Args: "int int ptr ptr", Fn: sysTimerSettime},
		Row{Nr: unix.SYS_TIMER_GETTIME, Name: "timer_gettime", Args: "int ptr", Fn: sysTimerGettime},
		Row{Nr: unix.SYS_TIMER_GETOVERRUN, Name: "timer_getoverrun", Args: "int", Fn: sysTimerGetoverrun},
		Row{Nr: unix.SYS_TIMER_DELETE, Name: "timer_delete", Args: "int", Fn: sysTimerDelete},
	)
}

// sysAlarm is alarm(2).
func sysAlarm(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	old := t.ThreadGroup().SetItimer(kernel.ITIMER_REAL, kernel.Itimer{Value: int64(a.Uint32(0)) * 1e9})
	sec, rest := old.Value/1e9, old.Value%1e9
	if rest >= 5e8 || (sec == 0 && rest > 0) {
		sec++
	}
	return uint64(sec), 0
}

const itimervalSize = 32

func putItimerval(t *kernel.Task, addr uint64, v kernel.Itimer) abi.Errno {
	var b [itimervalSize]byte
	if v.Value > 0 && v.Value < 1000 {
		v.Value = 1000 // what is armed does not read as 0
	}
	abi.PutTimeval(b[:], v.Interval)
	abi.PutTimeval(b[16:], v.Value)
	return t.CopyOut(addr, b[:])
}

// sysGetitimer is getitimer(2).
func sysGetitimer(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Uint32(0) > kernel.ITIMER_PROF {
		return 0, unix.EINVAL
	}
	return 0, putItimerval(t, a[1], t.ThreadGroup().GetItimer(a.Int(0)))
}

// sysSetitimer is setitimer(2). No new value disarms, as ever.
func sysSetitimer(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	var n kernel.Itimer
	if a[1] != 0 {
		var b [itimervalSize]byte
		if e := t.CopyIn(a[1], b[:]); e != 0 {
			return 0, e
		}
		iv, ok1 := abi.Timeval(b[:])
		v, ok2 := abi.Timeval(b[16:])
		if !ok1 || !ok2 {
			return 0, unix.EINVAL
		}
		n = kernel.Itimer{Interval: iv, Value: v}
	}
	if a.Uint32(0) > kernel.ITIMER_PROF {
		return 0, unix.EINVAL
	}
	old := t.ThreadGroup().SetItimer(a.Int(0), n)
	if a[2] == 0 {
		return 0, 0
	}
	return 0, putItimerval(t, a[2], old)
}

// sysTimerCreate is timer_create(2).
func sysTimerCreate(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	var ev *kernel.SigEvent
	if a[1] != 0 {
		var b [64]byte // struct sigevent
		if e := t.CopyIn(a[1], b[:]); e != 0 {
			return 0, e
		}
		le := binary.LittleEndian
		ev = &kernel.SigEvent{
			Value: le.Uint64(b[:]), Signo: int32(le.Uint32(b[8:])),
			Notify: int32(le.Uint32(b[12:])), TID: int32(le.Uint32(b[16:])),
		}
	}
	id, e := t.CreateTimer(a.Int(0), ev)
	if e != 0 {
		return 0, e
	}
	if e := put32(t, a[2], uint32(id)); e != 0 {
		t.DeleteTimer(id)
		return 0, e
	}
	return 0, 0
}

// sysTimerSettime is timer_settime(2).
func sysTimerSettime(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[2] == 0 {
		return 0, unix.EINVAL
	}
	var b [abi.ItimerspecSize]byte
	if e := t.CopyIn(a[2], b[:]); e != 0 {
		return 0, e
	}
	iv, v, ok := abi.Itimerspec(b[:])
	if !ok {
		return 0, unix.EINVAL
	}
	old, e := t.SetTimer(a.Int(0), a.Uint32(1), kernel.Itimer{Interval: iv, Value: v})
	if e != 0 || a[3] == 0 {
		return 0, e
	}
	return 0, putItimerspec(t, a[3], old)
}

func putItimerspec(t *kernel.Task, addr uint64, v kernel.Itimer) abi.Errno {
	var b [abi.ItimerspecSize]byte
	abi.PutTimespec(b[:], v.Interval)
	abi.PutTimespec(b[16:], v.Value)
	return t.CopyOut(addr, b[:])
}

// sysTimerGettime is timer_gettime(2).
func sysTimerGettime(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	v, e := t.GetTimer(a.Int(0))
	if e != 0 {
		return 0, e
	}
	return 0, putItimerspec(t, a[1], v)
}

// sysTimerGetoverrun is timer_getoverrun(2).
func sysTimerGetoverrun(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	n, e := t.TimerOverrun(a.Int(0))
	return uint64(n), e
}

// sysTimerDelete is timer_delete(2).
func sysTimerDelete(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return 0, t.DeleteTimer(a.Int(0))
}
