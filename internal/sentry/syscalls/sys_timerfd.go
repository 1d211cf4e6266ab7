package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/fs/timerfd"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_TIMERFD_CREATE, Name: "timerfd_create", Args: "int flags:open", Fn: sysTimerfdCreate},
		Row{Nr: unix.SYS_TIMERFD_SETTIME, Name: "timerfd_settime", Args: "fd flags:timerfd ptr ptr", Fn: sysTimerfdSettime},
		Row{Nr: unix.SYS_TIMERFD_GETTIME, Name: "timerfd_gettime", Args: "fd ptr", Fn: sysTimerfdGettime},
	)
}

// sysTimerfdCreate is timerfd_create(2). The alarm clocks wake nobody from
// suspend: no guest can suspend the host.
func sysTimerfdCreate(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	clock, flags := a.Int(0), a.Uint32(1)
	if flags&^(unix.TFD_CLOEXEC|unix.TFD_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	switch clock {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME:
	case unix.CLOCK_REALTIME_ALARM, unix.CLOCK_BOOTTIME_ALARM:
		if !t.Creds().Capable(auth.CAP_WAKE_ALARM) {
			return 0, unix.EPERM
		}
	default:
		return 0, unix.EINVAL
	}
	fd := vfs.NewAnon("timerfd", timerfd.New(int(clock)), unix.O_RDWR|flags&unix.TFD_NONBLOCK)
	return install(t, fd, flags&unix.TFD_CLOEXEC != 0)
}

// withTimer gets a timer for f.
func withTimer(t *kernel.Task, num int32, f func(*timerfd.File) abi.Errno) (uint64, abi.Errno) {
	return withFD(t, num, func(fd *vfs.FileDescription) abi.Errno {
		tf, ok := fd.Impl.(*timerfd.File)
		if !ok {
			return unix.EINVAL
		}
		return f(tf)
	})
}

func putSpec(t *kernel.Task, addr uint64, s timerfd.Spec) abi.Errno {
	var b [abi.ItimerspecSize]byte
	abi.PutItimerspec(b[:], s.Interval, s.Value)
	return t.CopyOut(addr, b[:])
}

// sysTimerfdSettime is timerfd_settime(2).
func sysTimerfdSettime(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	var b [abi.ItimerspecSize]byte
	if e := t.CopyIn(a[2], b[:]); e != 0 {
		return 0, e
	}
	var s timerfd.Spec
	var ok bool
	s.Interval, s.Value, ok = abi.Itimerspec(b[:])
	flags := a.Uint32(1)
	if !ok || flags&^(unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET) != 0 {
		return 0, unix.EINVAL
	}
	return withTimer(t, a.Int(0), func(f *timerfd.File) abi.Errno {
		old, e := f.Set(flags, s)
		if e != 0 || a[3] == 0 {
			return e
		}
		return putSpec(t, a[3], old)
	})
}

// sysTimerfdGettime is timerfd_gettime(2).
func sysTimerfdGettime(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return withTimer(t, a.Int(0), func(f *timerfd.File) abi.Errno { return putSpec(t, a[1], f.Get()) })
}
