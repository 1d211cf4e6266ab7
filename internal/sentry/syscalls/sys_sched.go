package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

// Policies and priorities are kept and shown; the host's scheduler treats all
// guest threads alike. Affinities place the guest's threads.
func init() {
	const kept = "settings are kept and shown; the host's scheduler does not follow them"
	register(
		Row{Nr: unix.SYS_SCHED_SETPARAM, Name: "sched_setparam", Args: "pid ptr", Fn: sysSchedSetparam, Missing: kept},
		Row{Nr: unix.SYS_SCHED_GETPARAM, Name: "sched_getparam", Args: "pid ptr", Fn: sysSchedGetparam},
		Row{Nr: unix.SYS_SCHED_SETSCHEDULER, Name: "sched_setscheduler", Args: "pid int ptr", Fn: sysSchedSetscheduler, Missing: kept},
		Row{Nr: unix.SYS_SCHED_GETSCHEDULER, Name: "sched_getscheduler", Args: "pid", Fn: sysSchedGetscheduler},
		Row{Nr: unix.SYS_SCHED_GET_PRIORITY_MAX, Name: "sched_get_priority_max", Args: "int", Fn: sysSchedPriorityMax},
		Row{Nr: unix.SYS_SCHED_GET_PRIORITY_MIN, Name: "sched_get_priority_min", Args: "int", Fn: sysSchedPriorityMin},
		Row{Nr: unix.SYS_SCHED_RR_GET_INTERVAL, Name: "sched_rr_get_interval", Args: "pid ptr", Fn: sysSchedRRInterval},
		Row{Nr: unix.SYS_SCHED_SETAFFINITY, Name: "sched_setaffinity", Args: "pid size ptr", Fn: sysSchedSetaffinity},
		Row{Nr: unix.SYS_SCHED_GETAFFINITY, Name: "sched_getaffinity", Args: "pid size ptr", Fn: sysSchedGetaffinity},
		Row{Nr: unix.SYS_SCHED_SETATTR, Name: "sched_setattr", Args: "pid ptr hex", Fn: sysSchedSetattr, Missing: kept + "; SCHED_DEADLINE is EINVAL"},
		Row{Nr: unix.SYS_SCHED_GETATTR, Name: "sched_getattr", Args: "pid ptr size hex", Fn: sysSchedGetattr},
		Row{Nr: unix.SYS_SCHED_YIELD, Name: "sched_yield", Fn: sysSchedYield},
		Row{Nr: unix.SYS_GETPRIORITY, Name: "getpriority", Args: "int int", Fn: sysGetpriority},
		Row{Nr: unix.SYS_SETPRIORITY, Name: "setpriority", Args: "int int int", Fn: sysSetpriority, Missing: kept},
		Row{Nr: unix.SYS_IOPRIO_SET, Name: "ioprio_set", Args: "int int hex", Fn: sysIoprioSet, Note: "priorities are kept and shown, and change nothing, as with an I/O scheduler without them (none, kyber)"},
		Row{Nr: unix.SYS_IOPRIO_GET, Name: "ioprio_get", Args: "int int", Fn: sysIoprioGet},
		Row{Nr: unix.SYS_GETCPU, Name: "getcpu", Args: "ptr ptr ptr", Fn: sysGetcpu},
	)
}

// schedTask finds the task of a sched_* call.
func schedTask(t *kernel.Task, pid int32) (*kernel.Task, abi.Errno) {
	switch {
	case pid < 0:
		return nil, unix.EINVAL
	case pid == 0:
		return t, 0
	}
	if o := t.Kernel().Task(pid); o != nil {
		return o, 0
	}
	return nil, unix.ESRCH
}

// sysSchedSetparam is sched_setparam(2).
func sysSchedSetparam(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return setScheduler(t, a.Int(0), -1, a[1])
}

// sysSchedSetscheduler is sched_setscheduler(2).
func sysSchedSetscheduler(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Int(1) < 0 {
		return 0, unix.EINVAL
	}
	return setScheduler(t, a.Int(0), a.Int(1), a[2])
}

func setScheduler(t *kernel.Task, pid, policy int32, addr uint64) (uint64, abi.Errno) {
	if addr == 0 || pid < 0 {
		return 0, unix.EINVAL
	}
	prio, e := get32(t, addr)
	if e != 0 {
		return 0, e
	}
	target, e := schedTask(t, pid)
	if e != 0 {
		return 0, e
	}
	p := kernel.SchedParams{Policy: policy, Priority: int32(prio)}
	if policy != -1 {
		p.Policy, p.Reset = policy&^kernel.SCHED_RESET_ON_FORK, policy&kernel.SCHED_RESET_ON_FORK != 0
	}
	return 0, target.SetSched(t, p)
}

// sysSchedGetparam is sched_getparam(2).
func sysSchedGetparam(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[1] == 0 {
		return 0, unix.EINVAL
	}
	target, e := schedTask(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	return 0, put32(t, a[1], uint32(target.Sched().Priority))
}

// sysSchedGetscheduler is sched_getscheduler(2).
func sysSchedGetscheduler(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	target, e := schedTask(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	p := target.Sched()
	if p.Reset {
		p.Policy |= kernel.SCHED_RESET_ON_FORK
	}
	return uint64(p.Policy), 0
}

// priorityRange gives the static priorities of a policy.
func priorityRange(policy int32) (lo, hi uint64, e abi.Errno) {
	switch policy {
	case kernel.SCHED_FIFO, kernel.SCHED_RR:
		return 1, 99, 0
	case kernel.SCHED_NORMAL, kernel.SCHED_BATCH, kernel.SCHED_IDLE, kernel.SCHED_DEADLINE:
		return 0, 0, 0
	}
	return 0, 0, unix.EINVAL
}

// sysSchedPriorityMax is sched_get_priority_max(2).
func sysSchedPriorityMax(_ *kernel.Task, a *Args) (uint64, abi.Errno) {
	_, hi, e := priorityRange(a.Int(0))
	return hi, e
}

// sysSchedPriorityMin is sched_get_priority_min(2).
func sysSchedPriorityMin(_ *kernel.Task, a *Args) (uint64, abi.Errno) {
	lo, _, e := priorityRange(a.Int(0))
	return lo, e
}

// sysSchedRRInterval is sched_rr_get_interval(2).
func sysSchedRRInterval(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	target, e := schedTask(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	ns := int64(0)
	switch target.Sched().Policy {
	case kernel.SCHED_RR:
		ns = 100e6
	case kernel.SCHED_NORMAL, kernel.SCHED_BATCH, kernel.SCHED_IDLE:
		ns = 3e6
	}
	return 0, putTimespec(t, a[1], ns)
}

func putTimespec(t *kernel.Task, addr uint64, ns int64) abi.Errno {
	var b [abi.TimespecSize]byte
	abi.PutTimespec(b[:], ns)
	return t.CopyOut(addr, b[:])
}

// sysSchedSetaffinity is sched_setaffinity(2).
func sysSchedSetaffinity(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	var s kernel.CPUSet
	b := make([]byte, 8*len(s))
	if e := t.CopyIn(a[2], b[:min(uint64(a.Uint32(1)), uint64(len(b)))]); e != 0 {
		return 0, e
	}
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	if a.Int(0) < 0 {
		return 0, unix.ESRCH // not EINVAL, as the others give
	}
	target, e := schedTask(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	c, d := t.Creds(), target.Creds()
	if c.EUID != d.UID && c.EUID != d.EUID && !c.Capable(auth.CAP_SYS_NICE) {
		return 0, unix.EPERM
	}
	return 0, target.SetAffinity(s)
}

// sysSchedGetaffinity is sched_getaffinity(2): the result is the size of the
// kernel's mask.
func sysSchedGetaffinity(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	size := a.Uint32(1)
	if size%8 != 0 || uint64(size)*8 < uint64(highestCPU())+1 {
		return 0, unix.EINVAL
	}
	if a.Int(0) < 0 {
		return 0, unix.ESRCH // not EINVAL, as the others give
	}
	target, e := schedTask(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	s := target.Affinity()
	n := min(size, uint32(maskBytes()))
	b := make([]byte, 8*len(s))
	for i, w := range s {
		binary.LittleEndian.PutUint64(b[8*i:], w)
	}
	return uint64(n), t.CopyOut(a[2], b[:n])
}

// highestCPU is the number of the last CPU.
func highestCPU() int {
	s, _ := kernel.OnlineCPUs()
	high := 0
	for i := range len(s) * 64 {
		if s[i/64]>>(i%64)&1 != 0 {
			high = i
		}
	}
	return high
}

// maskBytes is the size of a CPU mask as this machine needs it.
func maskBytes() int { return (highestCPU()/64 + 1) * 8 }

const (
	schedAttrSize0    = 48
	schedAttrSize     = 56
	schedFlagReset    = 1
	schedFlagKnown    = 0x7f
	schedFlagKeepPol  = 8
	schedFlagKeepPrm  = 16
	schedFlagUtilMask = 0x60
)

// sysSchedSetattr is sched_setattr(2).
func sysSchedSetattr(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[1] == 0 || a.Int(0) < 0 || a.Uint32(2) != 0 {
		return 0, unix.EINVAL
	}
	size, e := get32(t, a[1])
	if e != 0 {
		return 0, e
	}
	if size == 0 {
		size = schedAttrSize0
	}
	if size < schedAttrSize0 || size > pageSize {
		put32(t, a[1], schedAttrSize)
		return 0, unix.E2BIG
	}
	raw := make([]byte, max(size, schedAttrSize))
	if e := t.CopyIn(a[1], raw[:size]); e != 0 {
		return 0, e
	}
	for _, x := range raw[schedAttrSize:] {
		if x != 0 {
			put32(t, a[1], schedAttrSize)
			return 0, unix.E2BIG
		}
	}
	le := binary.LittleEndian
	flags := le.Uint64(raw[8:])
	if int32(le.Uint32(raw[4:])) < 0 || flags&^schedFlagKnown != 0 {
		return 0, unix.EINVAL
	}
	if flags&schedFlagUtilMask != 0 {
		return 0, unix.EOPNOTSUPP
	}
	target, e := schedTask(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	p := kernel.SchedParams{Policy: int32(le.Uint32(raw[4:])), Priority: int32(le.Uint32(raw[20:])), Reset: flags&schedFlagReset != 0}
	if flags&schedFlagKeepPol != 0 {
		p.Policy = target.Sched().Policy
	}
	if flags&schedFlagKeepPrm != 0 {
		p.Priority = target.Sched().Priority
		return 0, target.SetSched(t, p)
	}
	if e := target.SetSched(t, p); e != 0 {
		return 0, e
	}
	if p.Policy == kernel.SCHED_NORMAL || p.Policy == kernel.SCHED_BATCH {
		return 0, target.SetNice(t, int32(le.Uint32(raw[16:])))
	}
	return 0, 0
}

// sysSchedGetattr is sched_getattr(2).
func sysSchedGetattr(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	size := a.Uint32(2)
	if a[1] == 0 || a.Int(0) < 0 || size < schedAttrSize0 || size > pageSize || a.Uint32(3) != 0 {
		return 0, unix.EINVAL
	}
	target, e := schedTask(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	p := target.Sched()
	var b [schedAttrSize]byte
	n := min(size, schedAttrSize)
	le := binary.LittleEndian
	le.PutUint32(b[:], n)
	le.PutUint32(b[4:], uint32(p.Policy))
	le.PutUint64(b[8:], uint64(b2u(p.Reset)))
	le.PutUint32(b[16:], uint32(target.Nice()))
	le.PutUint32(b[20:], uint32(p.Priority))
	if p.Policy == kernel.SCHED_NORMAL || p.Policy == kernel.SCHED_BATCH || p.Policy == kernel.SCHED_IDLE {
		le.PutUint64(b[24:], 2_800_000) // the slice
	}
	le.PutUint32(b[52:], 1024) // sched_util_max
	return 0, t.CopyOut(a[1], b[:n])
}

// sysGetpriority is getpriority(2): the result is 20 less the nice value.
func sysGetpriority(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	which := a.Int(0)
	if which < 0 || which > 2 {
		return 0, unix.EINVAL
	}
	best := int32(-1)
	for _, o := range t.Select(int(which), a.Int(1)) {
		best = max(best, 20-o.Nice())
	}
	if best < 0 {
		return 0, unix.ESRCH
	}
	return uint64(best), 0
}

// sysSetpriority is setpriority(2).
func sysSetpriority(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	which := a.Int(0)
	if which < 0 || which > 2 {
		return 0, unix.EINVAL
	}
	result := abi.Errno(unix.ESRCH)
	for _, o := range t.Select(int(which), a.Int(1)) {
		if e := o.SetNice(t, a.Int(2)); e != 0 {
			result = e
		} else if result == unix.ESRCH {
			result = 0
		}
	}
	return 0, result
}

// Classes of ioprio_set(2).
const (
	ioprioNone = iota
	ioprioRealTime
	ioprioBestEffort
	ioprioIdle
)

// sysIoprioSet is ioprio_set(2).
func sysIoprioSet(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	which, prio := a.Int(0), a.Int(2)
	class, level := uint32(prio)>>13&7, uint32(prio)&7
	c := t.Creds()
	switch class {
	case ioprioRealTime:
		if !c.Capable(auth.CAP_SYS_ADMIN) && !c.Capable(auth.CAP_SYS_NICE) {
			return 0, unix.EPERM
		}
	case ioprioBestEffort, ioprioIdle:
	case ioprioNone:
		if level != 0 {
			return 0, unix.EINVAL
		}
	default:
		return 0, unix.EINVAL
	}
	if which < 1 || which > 3 {
		return 0, unix.EINVAL
	}
	result := abi.Errno(unix.ESRCH)
	for _, o := range t.Select(int(which-1), a.Int(1)) {
		d := o.Creds()
		if d.UID != c.EUID && d.UID != c.UID && !c.Capable(auth.CAP_SYS_NICE) {
			return 0, unix.EPERM
		}
		o.SetIOPrio(prio)
		result = 0
	}
	return 0, result
}

// sysIoprioGet is ioprio_get(2): the best priority of those meant.
func sysIoprioGet(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	which := a.Int(0)
	if which < 1 || which > 3 {
		return 0, unix.EINVAL
	}
	best, found := int32(0), false
	for _, o := range t.Select(int(which-1), a.Int(1)) {
		p := o.IOPrio()
		if !found || betterIO(p, best) {
			best = p
		}
		found = true
	}
	if !found {
		return 0, unix.ESRCH
	}
	return uint64(best), 0
}

// betterIO compares priorities; no class counts as best effort.
func betterIO(a, b int32) bool {
	if a>>13 == ioprioNone {
		a = ioprioBestEffort<<13 | 4
	}
	if b>>13 == ioprioNone {
		b = ioprioBestEffort<<13 | 4
	}
	return a < b
}

// sysGetcpu is getcpu(2): the CPU is where the guest's thread made the call.
// The Sentry's may be another, but is of the same machine's only node or near.
func sysGetcpu(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	_, node := kernel.HostCPU()
	cpu := t.Thread().Req.CPU & 0xfff
	if a[0] != 0 {
		if e := put32(t, a[0], cpu); e != 0 {
			return 0, e
		}
	}
	if a[1] != 0 {
		return 0, put32(t, a[1], node)
	}
	return 0, 0
}

// sysSchedYield is sched_yield(2): the Sentry's thread stands for the guest's.
func sysSchedYield(*kernel.Task, *Args) (uint64, abi.Errno) {
	unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	return 0, 0
}
