package kernel

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

// Clocks are the host's (clock_gettime(2)), but for the CPU-time clocks, which
// are those of guest tasks. A CPU-time clock of another process has the form
//
//	bits 31–3: ~id   bit 2: of a thread   bits 1–0: 0 PROF, 1 VIRT, 2 SCHED, 3 a descriptor
const (
	clockPerThread = 4
	clockProf      = 0
	clockVirt      = 1
	clockSched     = 2
)

// cpuClock is a decoded CPU-time clock.
type cpuClock struct {
	tg   *ThreadGroup
	task *Task // nil: of the whole process
	kind int32
}

func (c *cpuClock) read() int64 {
	var u Usage
	if c.task != nil {
		u = c.task.Usage()
	} else {
		u = c.tg.Usage()
	}
	if c.kind == clockVirt {
		return u.UTime
	}
	return u.UTime + u.STime
}

// cpuClockOf decodes a clock id; ok false: it is not a CPU-time clock.
func (t *Task) cpuClockOf(id int32) (c cpuClock, ok bool, e abi.Errno) {
	switch {
	case id == unix.CLOCK_PROCESS_CPUTIME_ID:
		return cpuClock{tg: t.tg, kind: clockSched}, true, 0
	case id == unix.CLOCK_THREAD_CPUTIME_ID:
		return cpuClock{tg: t.tg, task: t, kind: clockSched}, true, 0
	case id >= 0:
		return c, false, 0
	case id&3 == 3:
		return c, true, unix.EINVAL // none, or a device's own clock
	}
	return t.foreignClock(^(id >> 3), id&clockPerThread != 0, id&3)
}

func (t *Task) foreignClock(id int32, perThread bool, kind int32) (c cpuClock, ok bool, e abi.Errno) {
	c.kind = kind
	if !perThread {
		c.tg = t.tg
		if id != 0 {
			c.tg = t.k.ThreadGroupByPID(id)
		}
		if c.tg == nil {
			return c, true, unix.EINVAL
		}
		return c, true, 0
	}
	c.task = t
	if id != 0 {
		c.task = t.k.Task(id)
	}
	if c.task == nil || c.task.tg != t.tg {
		return c, true, unix.EINVAL
	}
	c.tg = t.tg
	return c, true, 0
}

// isHostClock tells whether id is a clock that is the host's own.
func isHostClock(id int32) bool {
	switch id {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_MONOTONIC_RAW,
		unix.CLOCK_REALTIME_COARSE, unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_BOOTTIME, unix.CLOCK_TAI:
		return true
	}
	return false
}

// isAlarmClock tells whether a clock would wake a suspended machine. There is
// none inside: they are refused as on a machine without an RTC.
func isAlarmClock(id int32) bool {
	return id == unix.CLOCK_REALTIME_ALARM || id == unix.CLOCK_BOOTTIME_ALARM
}

// LateClockError tells whether a clock that is refused is so only after a call
// has looked at its other arguments: CPU-time and alarm clocks.
func LateClockError(id int32) bool { return id < 0 || isAlarmClock(id) }

// hostClock reads a host's clock, in nanoseconds.
func hostClock(id int32) int64 {
	switch id {
	case unix.CLOCK_MONOTONIC:
		return ktime.Mono()
	case unix.CLOCK_REALTIME:
		return ktime.Real()
	}
	var ts unix.Timespec
	unix.ClockGettime(id, &ts)
	return ts.Nano()
}

// ClockGet is clock_gettime(2).
func (t *Task) ClockGet(id int32) (int64, abi.Errno) {
	c, ok, e := t.cpuClockOf(id)
	if e != 0 {
		return 0, e
	}
	if ok {
		return c.read(), 0
	}
	if !isHostClock(id) {
		return 0, unix.EINVAL
	}
	return hostClock(id), 0
}

// coarseRes is the resolution of the host's coarse clocks: its timer tick. New
// asks once: later the Sentry's filter does not let the call through.
var coarseRes = sync.OnceValue(func() int64 {
	var ts unix.Timespec
	if unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &ts) != nil {
		return 4e6
	}
	return ts.Nano()
})

// ClockRes is clock_getres(2), in nanoseconds.
func (t *Task) ClockRes(id int32) (int64, abi.Errno) {
	_, ok, e := t.cpuClockOf(id)
	if e != 0 {
		return 0, e
	}
	switch {
	case ok:
		return 1, 0
	case id == unix.CLOCK_REALTIME_COARSE || id == unix.CLOCK_MONOTONIC_COARSE:
		return coarseRes(), 0
	case isHostClock(id):
		return 1, 0
	}
	return 0, unix.EINVAL
}

// monoDeadline turns a time of host clock id into CLOCK_MONOTONIC.
func monoDeadline(id int32, at int64) int64 {
	if id == unix.CLOCK_MONOTONIC {
		return at
	}
	return satAdd(ktime.Mono(), at-hostClock(id))
}

// satAdd adds, and stays at the largest time.
func satAdd(a, b int64) int64 {
	s := a + b
	if b > 0 && s < a {
		return 1<<63 - 1
	}
	return s
}

// SleepClock tells whether clock_nanosleep(2) may sleep on clock id, and
// whether that is a CPU-time clock.
func (t *Task) SleepClock(id int32) (cpu bool, e abi.Errno) {
	c, ok, e := t.cpuClockOf(id)
	switch {
	case e != 0:
		return ok, e
	case id == unix.CLOCK_THREAD_CPUTIME_ID:
		return true, unix.EOPNOTSUPP
	case ok && c.task == t:
		return true, unix.EINVAL // it would never wake
	case ok:
		return true, 0
	case id == unix.CLOCK_MONOTONIC_RAW, id == unix.CLOCK_REALTIME_COARSE, id == unix.CLOCK_MONOTONIC_COARSE, isAlarmClock(id):
		return false, unix.EOPNOTSUPP
	case !isHostClock(id):
		return false, unix.EINVAL
	}
	return false, 0
}

// MonoDeadline turns a time of a host's clock into CLOCK_MONOTONIC.
func MonoDeadline(id int32, at int64) int64 { return monoDeadline(id, at) }
