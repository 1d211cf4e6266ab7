package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_GETPID, Name: "getpid", Fn: sysGetpid},
		Row{Nr: unix.SYS_GETTID, Name: "gettid", Fn: sysGettid},
		Row{Nr: unix.SYS_GETPPID, Name: "getppid", Fn: sysGetppid},
		Row{Nr: unix.SYS_GETPGRP, Name: "getpgrp", Fn: sysGetpgrp},
		Row{Nr: unix.SYS_GETPGID, Name: "getpgid", Args: "pid", Fn: sysGetpgid},
		Row{Nr: unix.SYS_SETPGID, Name: "setpgid", Args: "pid pid", Fn: sysSetpgid},
		Row{Nr: unix.SYS_GETSID, Name: "getsid", Args: "pid", Fn: sysGetsid},
		Row{Nr: unix.SYS_SETSID, Name: "setsid", Fn: sysSetsid},
		Row{Nr: unix.SYS_VHANGUP, Name: "vhangup", Refuse: unix.EPERM, Why: "terminals hang up with their master side"},
	)
}

// sysGetpid is getpid(2).
func sysGetpid(t *kernel.Task, _ *Args) (uint64, abi.Errno) { return uint64(t.TGID()), 0 }

// sysGettid is gettid(2).
func sysGettid(t *kernel.Task, _ *Args) (uint64, abi.Errno) { return uint64(t.TID()), 0 }

// sysGetppid is getppid(2).
func sysGetppid(t *kernel.Task, _ *Args) (uint64, abi.Errno) {
	return uint64(t.ThreadGroup().PPID()), 0
}

// sysGetpgrp is getpgrp(2).
func sysGetpgrp(t *kernel.Task, _ *Args) (uint64, abi.Errno) {
	return uint64(t.ThreadGroup().PGID()), 0
}

// sysGetpgid is getpgid(2).
func sysGetpgid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id, e := t.GetPGID(a.Int(0))
	return uint64(id), e
}

// sysSetpgid is setpgid(2).
func sysSetpgid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return 0, t.SetPGID(a.Int(0), a.Int(1))
}

// sysGetsid is getsid(2).
func sysGetsid(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id, e := t.GetSID(a.Int(0))
	return uint64(id), e
}

// sysSetsid is setsid(2).
func sysSetsid(t *kernel.Task, _ *Args) (uint64, abi.Errno) {
	id, e := t.SetSID()
	return uint64(id), e
}
