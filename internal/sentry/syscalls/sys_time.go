package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"

	"golang.org/x/sys/unix"
)

// Clocks are the host's: most reads are the vDSO's, and come here only from
// programs that do without it. Nobody sets them from inside.
func init() {
	const hostsClock = "setting is EPERM for all, as in a user namespace: the clock is the host's"
	register(
		Row{Nr: unix.SYS_TIME, Name: "time", Args: "ptr", Fn: sysTime},
		Row{Nr: unix.SYS_GETTIMEOFDAY, Name: "gettimeofday", Args: "ptr ptr", Fn: sysGettimeofday},
		Row{Nr: unix.SYS_SETTIMEOFDAY, Name: "settimeofday", Args: "ptr ptr", Fn: sysSettimeofday, Note: hostsClock},
		Row{Nr: unix.SYS_CLOCK_GETTIME, Name: "clock_gettime", Args: "int ptr", Fn: sysClockGettime},
		Row{Nr: unix.SYS_CLOCK_GETRES, Name: "clock_getres", Args: "int ptr", Fn: sysClockGetres},
		Row{Nr: unix.SYS_CLOCK_SETTIME, Name: "clock_settime", Args: "int ptr", Fn: sysClockSettime, Note: hostsClock},
		Row{Nr: unix.SYS_CLOCK_NANOSLEEP, Name: "clock_nanosleep", Args: "int int ptr ptr", Fn: sysClockNanosleep},
		Row{Nr: unix.SYS_NANOSLEEP, Name: "nanosleep", Args: "ptr ptr", Fn: sysNanosleep},
		Row{Nr: unix.SYS_ADJTIMEX, Name: "adjtimex", Args: "ptr", Fn: sysAdjtimex, Note: hostsClock},
		Row{Nr: unix.SYS_CLOCK_ADJTIME, Name: "clock_adjtime", Args: "int ptr", Fn: sysClockAdjtime, Note: hostsClock},
	)
}

// sysTime is time(2).
func sysTime(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	now := uint64(ktime.Real() / 1e9)
	if a[0] == 0 {
		return now, 0
	}
	return now, put64(t, a[0], now)
}

// sysGettimeofday is gettimeofday(2).
func sysGettimeofday(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[0] != 0 {
		var b [abi.TimevalSize]byte
		abi.PutTimeval(b[:], ktime.Real())
		if e := t.CopyOut(a[0], b[:]); e != 0 {
			return 0, e
		}
	}
	if a[1] != 0 {
		return 0, put64(t, a[1], 0) // UTC
	}
	return 0, 0
}

// sysSettimeofday is settimeofday(2).
func sysSettimeofday(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[0] != 0 {
		var b [abi.TimevalSize]byte
		if e := t.CopyIn(a[0], b[:]); e != 0 {
			return 0, e
		}
		if binary.LittleEndian.Uint64(b[8:]) > 1e6 {
			return 0, unix.EINVAL
		}
	}
	if a[1] != 0 {
		if _, e := get64(t, a[1]); e != 0 {
			return 0, e
		}
	}
	return 0, unix.EPERM
}

// sysClockGettime is clock_gettime(2).
func sysClockGettime(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	ns, e := t.ClockGet(a.Int(0))
	if e != 0 {
		return 0, e
	}
	return 0, putTimespec(t, a[1], ns)
}

// sysClockGetres is clock_getres(2).
func sysClockGetres(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	ns, e := t.ClockRes(a.Int(0))
	if e != 0 || a[1] == 0 {
		return 0, e
	}
	return 0, putTimespec(t, a[1], ns)
}

// sysClockSettime is clock_settime(2).
func sysClockSettime(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id := a.Int(0)
	if id > 0 {
		return 0, unix.EINVAL
	}
	var b [abi.TimespecSize]byte
	if e := t.CopyIn(a[1], b[:]); e != 0 {
		return 0, e
	}
	if id != unix.CLOCK_REALTIME {
		if _, e := t.ClockRes(id); e != 0 {
			return 0, e
		}
		return 0, unix.EPERM
	}
	if _, ok := abi.Timespec(b[:]); !ok {
		return 0, unix.EINVAL
	}
	return 0, unix.EPERM
}

// sysNanosleep is nanosleep(2).
func sysNanosleep(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	ns, e := copyTimespec(t, a[0])
	if e != 0 {
		return 0, e
	}
	return sleepUntil(t, deadlineIn(ns), a[1])
}

// sleepUntil sleeps until a time of CLOCK_MONOTONIC. Interrupted, it writes
// what is left to rem (unless 0), and goes on when no handler runs.
func sleepUntil(t *kernel.Task, deadline int64, rem uint64) (uint64, abi.Errno) {
	e := block(t, deadline)
	if e == 0 {
		return 0, 0
	}
	if rem != 0 {
		if e := putTimespec(t, rem, max(0, deadline-ktime.Mono())); e != 0 {
			return 0, e
		}
	}
	return 0, t.SetRestart(func(t *kernel.Task) (uint64, abi.Errno) { return sleepUntil(t, deadline, rem) })
}

// block sleeps to the deadline: 0, or ERESTARTSYS for a signal.
func block(t *kernel.Task, deadline int64) abi.Errno {
	for {
		switch e := t.Block(deadline); e {
		case 0: // woken by chance
		case unix.ETIMEDOUT:
			return 0
		default:
			return e
		}
	}
}

const timerAbstime = 1

// sysClockNanosleep is clock_nanosleep(2).
func sysClockNanosleep(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	clock, flags := a.Int(0), a.Uint32(1)
	cpu, e := t.SleepClock(clock)
	if e != 0 && !kernel.LateClockError(clock) {
		return 0, e
	}
	ns, e2 := copyTimespec(t, a[2])
	if e2 != 0 {
		return 0, e2
	}
	if e != 0 {
		return 0, e
	}
	abs := flags&timerAbstime != 0
	if cpu {
		return cpuSleep(t, clock, ns, abs, a[3])
	}
	if !abs {
		return sleepUntil(t, deadlineIn(ns), a[3])
	}
	e = block(t, max(1, kernel.MonoDeadline(clock, ns)))
	if e == abi.ERESTARTSYS {
		e = abi.ERESTARTNOHAND
	}
	return 0, e
}

// cpuSleep sleeps until a CPU-time clock reads at; it looks at the clock again
// and again.
func cpuSleep(t *kernel.Task, clock int32, ns int64, abs bool, rem uint64) (uint64, abi.Errno) {
	at := ns
	if !abs {
		now, e := t.ClockGet(clock)
		if e != 0 {
			return 0, e
		}
		at = now + ns
	}
	for {
		now, e := t.ClockGet(clock)
		if e != 0 || now >= at {
			return 0, e
		}
		e = block(t, deadlineIn(min(max(at-now, 1e6), 50e6)))
		switch {
		case e == 0:
			continue
		case abs:
			return 0, abi.ERESTARTNOHAND
		}
		if rem != 0 {
			if e := putTimespec(t, rem, max(0, at-now)); e != 0 {
				return 0, e
			}
		}
		return 0, t.SetRestart(func(t *kernel.Task) (uint64, abi.Errno) {
			return cpuSleep(t, clock, at, true, 0)
		})
	}
}

const (
	timexSize = 208
	timeError = 5 // TIME_ERROR: the clock is not said to be synchronised
)

// sysAdjtimex is adjtimex(2).
func sysAdjtimex(t *kernel.Task, a *Args) (uint64, abi.Errno) { return adjtimex(t, a[0]) }

// sysClockAdjtime is clock_adjtime(2).
func sysClockAdjtime(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Int(0) != unix.CLOCK_REALTIME {
		if _, e := t.ClockRes(a.Int(0)); e != 0 {
			return 0, e
		}
		return 0, unix.EOPNOTSUPP
	}
	return adjtimex(t, a[1])
}

// adjtimex tells of a clock that nobody disciplines from inside.
func adjtimex(t *kernel.Task, addr uint64) (uint64, abi.Errno) {
	var b [timexSize]byte
	if e := t.CopyIn(addr, b[:]); e != 0 {
		return 0, e
	}
	le := binary.LittleEndian
	if modes := le.Uint32(b[:]); modes != 0 && modes != 0xa001 { // ADJ_OFFSET_SS_READ
		return 0, unix.EPERM
	}
	b = [timexSize]byte{}
	le.PutUint64(b[24:], 16000000) // maxerror
	le.PutUint64(b[32:], 16000000) // esterror
	le.PutUint32(b[40:], 0x40)     // STA_UNSYNC
	le.PutUint64(b[48:], 7)        // constant
	le.PutUint64(b[56:], 1)        // precision
	le.PutUint64(b[64:], 32768000) // tolerance
	abi.PutTimeval(b[72:], ktime.Real())
	le.PutUint64(b[88:], 10000) // tick
	return timeError, t.CopyOut(addr, b[:])
}
