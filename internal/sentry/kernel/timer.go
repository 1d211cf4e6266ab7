package kernel

import (
	"time"

	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

// tgTimers are a process's timers, guarded by its sig.mu.
type tgTimers struct {
	real   wallTimer // ITIMER_REAL and alarm(2)
	realIv int64     // its interval
	virt   cpuAlarm  // ITIMER_VIRTUAL
	prof   cpuAlarm  // ITIMER_PROF
	posix  map[int32]*PosixTimer
	nextID int32
	watch  cpuWatch
	ended  bool // the process has exited: nothing is armed any more
}

// wallTimer calls back at a time of CLOCK_MONOTONIC. A callback that was on its
// way when the timer was set anew finds another generation, and does nothing.
type wallTimer struct {
	deadline int64 // 0: not armed
	gen      uint64
	t        *time.Timer
}

// arm sets the timer; fire is called on a goroutine of its own, with the
// generation that it must compare under the lock.
func (w *wallTimer) arm(deadline int64, fire func(gen uint64)) {
	w.disarm()
	w.deadline = deadline
	gen := w.gen
	w.t = time.AfterFunc(time.Duration(max(0, deadline-ktime.Mono())), func() { fire(gen) })
}

func (w *wallTimer) disarm() {
	w.gen++
	w.deadline = 0
	if w.t != nil {
		w.t.Stop()
		w.t = nil
	}
}

// left gives the time until the deadline, at least 1 ns while it is armed.
func (w *wallTimer) left() int64 {
	if w.deadline == 0 {
		return 0
	}
	return max(1, w.deadline-ktime.Mono())
}

// Itimer is a setting of setitimer(2), in nanoseconds.
type Itimer struct{ Interval, Value int64 }

// Kinds of interval timers.
const (
	ITIMER_REAL    = 0
	ITIMER_VIRTUAL = 1
	ITIMER_PROF    = 2
)

// SetItimer is setitimer(2) past its checks; it gives the old setting.
func (tg *ThreadGroup) SetItimer(which int32, n Itimer) Itimer {
	if which != ITIMER_REAL {
		return tg.setCPUItimer(which, n)
	}
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	tm := &tg.sig.timers
	old := Itimer{tm.realIv, tm.real.left()}
	tm.real.disarm()
	tm.realIv = 0
	if n.Value != 0 && !tm.ended {
		tm.realIv = n.Interval
		tm.real.arm(satAdd(ktime.Mono(), n.Value), tg.realExpired)
	}
	return old
}

// GetItimer is getitimer(2).
func (tg *ThreadGroup) GetItimer(which int32) Itimer {
	if which != ITIMER_REAL {
		return tg.getCPUItimer(which)
	}
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	return Itimer{tg.sig.timers.realIv, tg.sig.timers.real.left()}
}

// realExpired is ITIMER_REAL's callback.
func (tg *ThreadGroup) realExpired(gen uint64) {
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	tm := &tg.sig.timers
	if tm.real.gen != gen || tm.ended {
		return
	}
	at := tm.real.deadline
	tm.real.disarm()
	if tm.realIv > 0 {
		next := at + tm.realIv
		if now := ktime.Mono(); next <= now {
			next += (now - next) / tm.realIv * tm.realIv
			next = satAdd(next, tm.realIv)
		}
		tm.real.arm(next, tg.realExpired)
	}
	info := KernelInfo(SIGALRM, SI_KERNEL, 0, 0)
	tg.sendLocked(&info, nil, false, nil)
}

// stopTimers ends all timers with the process.
func (tg *ThreadGroup) stopTimers() {
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	tm := &tg.sig.timers
	tm.ended = true
	tm.real.disarm()
	tm.virt, tm.prof = cpuAlarm{}, cpuAlarm{}
	tg.deletePosixTimersLocked()
	tm.watch.stop()
}
