package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_KILL, Name: "kill", Args: "pid sig", Fn: sysKill},
		Row{Nr: unix.SYS_TKILL, Name: "tkill", Args: "pid sig", Fn: sysTkill},
		Row{Nr: unix.SYS_TGKILL, Name: "tgkill", Args: "pid pid sig", Fn: sysTgkill},
		Row{Nr: unix.SYS_RT_SIGQUEUEINFO, Name: "rt_sigqueueinfo", Args: "pid sig ptr", Fn: sysRtSigqueueinfo},
		Row{Nr: unix.SYS_RT_TGSIGQUEUEINFO, Name: "rt_tgsigqueueinfo", Args: "pid pid sig ptr", Fn: sysRtTgsigqueueinfo},
	)
}

// sysKill is kill(2).
func sysKill(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return 0, t.Kill(a.Int(0), a.Int(1))
}

// sysTkill is tkill(2).
func sysTkill(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Int(0) <= 0 {
		return 0, unix.EINVAL
	}
	return 0, t.Tgkill(0, a.Int(0), a.Int(1))
}

// sysTgkill is tgkill(2).
func sysTgkill(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Int(0) <= 0 || a.Int(1) <= 0 {
		return 0, unix.EINVAL
	}
	return 0, t.Tgkill(a.Int(0), a.Int(1), a.Int(2))
}

// copySiginfo copies a siginfo_t, and makes it one of signal sig.
func copySiginfo(t *kernel.Task, addr uint64, sig int32) (*kernel.SigInfo, abi.Errno) {
	info := new(kernel.SigInfo)
	if e := t.CopyIn(addr, info[:]); e != 0 {
		return nil, e
	}
	info.SetSigno(sig)
	if info.TooNew() {
		return nil, unix.E2BIG
	}
	return info, 0
}

// sysRtSigqueueinfo is rt_sigqueueinfo(2).
func sysRtSigqueueinfo(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	info, e := copySiginfo(t, a[2], a.Int(1))
	if e != 0 {
		return 0, e
	}
	return 0, t.Sigqueue(a.Int(0), a.Int(1), info)
}

// sysRtTgsigqueueinfo is rt_tgsigqueueinfo(2).
func sysRtTgsigqueueinfo(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	info, e := copySiginfo(t, a[3], a.Int(2))
	if e != 0 {
		return 0, e
	}
	if a.Int(0) <= 0 || a.Int(1) <= 0 {
		return 0, unix.EINVAL
	}
	return 0, t.TgSigqueue(a.Int(0), a.Int(1), a.Int(2), info)
}
