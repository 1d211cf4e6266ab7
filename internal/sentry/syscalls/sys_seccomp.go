package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/bpf"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(Row{Nr: unix.SYS_SECCOMP, Name: "seccomp", Args: "uint hex ptr", Fn: sysSeccomp,
		Note: "SECCOMP_RET_TRACE is ENOSYS: there is no tracer, as ptrace is refused"})
}

const (
	seccompSetStrict   = 0
	seccompSetFilter   = 1
	seccompActionAvail = 2
	seccompNotifSizes  = 3
	seccompKnownFlags  = kernel.SECCOMP_FILTER_FLAG_TSYNC | kernel.SECCOMP_FILTER_FLAG_LOG | kernel.SECCOMP_FILTER_FLAG_SPEC_ALLOW |
		kernel.SECCOMP_FILTER_FLAG_NEW_LISTENER | kernel.SECCOMP_FILTER_FLAG_TSYNC_ESRCH | kernel.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	sockFprogSize        = 16
	sockFilterSize       = 8
	prSeccompModeStrict  = 1
	prSeccompModeFilters = 2
)

// sysSeccomp is seccomp(2).
func sysSeccomp(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := a.Uint32(1)
	switch a.Uint32(0) {
	case seccompSetStrict:
		if flags != 0 || a[2] != 0 {
			return 0, unix.EINVAL
		}
		return 0, t.SetSeccompStrict()
	case seccompSetFilter:
		if !flagsGoTogether(flags) {
			return 0, unix.EINVAL
		}
		return setFilter(t, a[2], flags)
	case seccompActionAvail:
		if flags != 0 {
			return 0, unix.EINVAL
		}
		return actionAvail(t, a[2])
	case seccompNotifSizes:
		if flags != 0 {
			return 0, unix.EINVAL
		}
		return 0, t.CopyOut(a[2], []byte{kernel.SeccompNotifSize, 0, kernel.SeccompRespSize, 0, bpf.DataSize, 0})
	}
	return 0, unix.EINVAL
}

// flagsGoTogether: a listener and a thread that cannot follow would both be the
// result; to wait for signals that kill alone takes a listener.
func flagsGoTogether(flags uint32) bool {
	const listener, sync = kernel.SECCOMP_FILTER_FLAG_NEW_LISTENER, kernel.SECCOMP_FILTER_FLAG_TSYNC
	switch {
	case flags&^seccompKnownFlags != 0,
		flags&sync != 0 && flags&listener != 0 && flags&kernel.SECCOMP_FILTER_FLAG_TSYNC_ESRCH == 0,
		flags&kernel.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV != 0 && flags&listener == 0:
		return false
	}
	return true
}

// prSetSeccomp is prctl(2)'s PR_SET_SECCOMP.
func prSetSeccomp(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	switch a[1] {
	case prSeccompModeStrict:
		return 0, t.SetSeccompStrict()
	case prSeccompModeFilters:
		return setFilter(t, a[2], 0)
	}
	return 0, unix.EINVAL
}

// setFilter copies struct sock_fprog and its instructions.
func setFilter(t *kernel.Task, addr uint64, flags uint32) (uint64, abi.Errno) {
	var prog [sockFprogSize]byte
	if e := t.CopyIn(addr, prog[:]); e != 0 {
		return 0, e
	}
	n := int(uint16(prog[0]) | uint16(prog[1])<<8)
	if n == 0 || n > bpf.MaxLen {
		return 0, unix.EINVAL
	}
	at := uint64(0)
	for i := range 8 {
		at |= uint64(prog[8+i]) << (8 * i)
	}
	b := make([]byte, n*sockFilterSize)
	if e := t.CopyIn(at, b); e != 0 {
		return 0, e
	}
	return t.AddSeccompFilter(bpf.Decode(b), flags)
}

// actionAvail is SECCOMP_GET_ACTION_AVAIL.
func actionAvail(t *kernel.Task, addr uint64) (uint64, abi.Errno) {
	v, e := get32(t, addr)
	if e != 0 {
		return 0, e
	}
	switch v {
	case kernel.SECCOMP_RET_KILL_PROCESS, kernel.SECCOMP_RET_KILL_THREAD, kernel.SECCOMP_RET_TRAP,
		kernel.SECCOMP_RET_ERRNO, kernel.SECCOMP_RET_USER_NOTIF, kernel.SECCOMP_RET_TRACE, kernel.SECCOMP_RET_LOG, kernel.SECCOMP_RET_ALLOW:
		return 0, 0
	}
	return 0, unix.EOPNOTSUPP
}
