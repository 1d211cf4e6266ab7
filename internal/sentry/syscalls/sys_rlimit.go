package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_GETRLIMIT, Name: "getrlimit", Args: "int ptr", Fn: sysGetrlimit},
		Row{Nr: unix.SYS_SETRLIMIT, Name: "setrlimit", Args: "int ptr", Fn: sysSetrlimit},
		Row{Nr: unix.SYS_PRLIMIT64, Name: "prlimit64", Args: "pid int ptr ptr", Fn: sysPrlimit64},
		Row{Nr: unix.SYS_GETRUSAGE, Name: "getrusage", Args: "int ptr", Fn: sysGetrusage},
		Row{Nr: unix.SYS_TIMES, Name: "times", Args: "ptr", Fn: sysTimes},
	)
}

const rlimitSize = 16

func copyRlimit(t *kernel.Task, addr uint64) (kernel.Rlimit, abi.Errno) {
	var b [rlimitSize]byte
	e := t.CopyIn(addr, b[:])
	return kernel.Rlimit{Cur: binary.LittleEndian.Uint64(b[:]), Max: binary.LittleEndian.Uint64(b[8:])}, e
}

func putRlimit(t *kernel.Task, addr uint64, r kernel.Rlimit) abi.Errno {
	var b [rlimitSize]byte
	binary.LittleEndian.PutUint64(b[:], r.Cur)
	binary.LittleEndian.PutUint64(b[8:], r.Max)
	return t.CopyOut(addr, b[:])
}

// sysGetrlimit is getrlimit(2).
func sysGetrlimit(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	n := a.Uint32(0)
	if n >= kernel.RLIM_NLIMITS {
		return 0, unix.EINVAL
	}
	return 0, putRlimit(t, a[1], t.ThreadGroup().Limit(int(n)))
}

// sysSetrlimit is setrlimit(2).
func sysSetrlimit(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	r, e := copyRlimit(t, a[1])
	if e != 0 {
		return 0, e
	}
	n := a.Uint32(0)
	if n >= kernel.RLIM_NLIMITS {
		return 0, unix.EINVAL
	}
	return 0, t.ThreadGroup().SetLimit(t.Creds(), int(n), r)
}

// sysPrlimit64 is prlimit(2).
func sysPrlimit64(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	var set *kernel.Rlimit
	if a[2] != 0 {
		r, e := copyRlimit(t, a[2])
		if e != 0 {
			return 0, e
		}
		set = &r
	}
	target, pid := t, a.Int(0)
	if pid != 0 {
		if target = t.Kernel().Task(pid); target == nil {
			return 0, unix.ESRCH
		}
	}
	if !mayPrlimit(t, target) {
		return 0, unix.EPERM
	}
	n := a.Uint32(1)
	if n >= kernel.RLIM_NLIMITS {
		return 0, unix.EINVAL
	}
	tg := target.ThreadGroup()
	old := tg.Limit(int(n))
	if set != nil {
		if e := tg.SetLimit(t.Creds(), int(n), *set); e != 0 {
			return 0, e
		}
	}
	if a[3] == 0 {
		return 0, 0
	}
	return 0, putRlimit(t, a[3], old)
}

// mayPrlimit is prlimit(2)'s permission: all ids are the caller's, or
// CAP_SYS_RESOURCE.
func mayPrlimit(t, target *kernel.Task) bool {
	if t == target {
		return true
	}
	c, d := t.Creds(), target.Creds()
	if c.UID == d.EUID && c.UID == d.SUID && c.UID == d.UID && c.GID == d.EGID && c.GID == d.SGID && c.GID == d.GID {
		return true
	}
	return c.Capable(auth.CAP_SYS_RESOURCE)
}

// sysGetrusage is getrusage(2).
func sysGetrusage(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	var u kernel.Usage
	switch a.Int(0) {
	case unix.RUSAGE_SELF:
		u = t.ThreadGroup().FullUsage()
	case unix.RUSAGE_CHILDREN:
		u = t.ThreadGroup().ChildrenUsage()
	case unix.RUSAGE_THREAD:
		u = t.Usage()
	default:
		return 0, unix.EINVAL
	}
	return 0, putRusage(t, a[1], &u)
}

// ticks gives nanoseconds as clock ticks of times(2).
func ticks(ns int64) uint64 { return uint64(ns / 1e7) }

// sysTimes is times(2).
func sysTimes(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	now := uint64(t.Kernel().Ticks())
	if a[0] == 0 {
		return now, 0
	}
	tg := t.ThreadGroup()
	own, kids := tg.Usage(), tg.ChildrenUsage()
	var b [32]byte
	for i, v := range [...]int64{own.UTime, own.STime, kids.UTime, kids.STime} {
		binary.LittleEndian.PutUint64(b[8*i:], ticks(v))
	}
	return now, t.CopyOut(a[0], b[:])
}
