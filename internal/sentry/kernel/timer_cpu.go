package kernel

import "time"

// CPU-time timers: ITIMER_VIRTUAL and ITIMER_PROF, timer_create(2) on CPU-time
// clocks, RLIMIT_CPU. The host runs the guest's threads, so that the Sentry
// looks at their clocks: it looks again after the time that is left, divided
// among the threads, and ever less often while the process does not run. A
// timer is late by at most watchMax, or a quarter of its period.
const (
	watchMin = time.Millisecond
	watchMax = 50 * time.Millisecond
)

// cpuAlarm is ITIMER_VIRTUAL or ITIMER_PROF: at is a reading of its clock.
type cpuAlarm struct {
	at, interval int64 // at 0: not armed
}

// cpuWatch is the pending look at the clocks.
type cpuWatch struct {
	t    *time.Timer
	idle time.Duration // grows while the clock stands still
	last int64
}

func (w *cpuWatch) stop() {
	if w.t != nil {
		w.t.Stop()
		w.t = nil
	}
}

func (tg *ThreadGroup) cpuAlarmOf(which int32) (*cpuAlarm, int32) {
	if which == ITIMER_VIRTUAL {
		return &tg.sig.timers.virt, clockVirt
	}
	return &tg.sig.timers.prof, clockProf
}

func (tg *ThreadGroup) setCPUItimer(which int32, n Itimer) Itimer {
	u := tg.Usage()
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	a, kind := tg.cpuAlarmOf(which)
	now := u.reading(kind)
	old := a.setting(now)
	*a = cpuAlarm{}
	if n.Value != 0 {
		a.at, a.interval = satAdd(now, n.Value), n.Interval
		tg.lookSoon()
	}
	return old
}

func (tg *ThreadGroup) getCPUItimer(which int32) Itimer {
	u := tg.Usage()
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	a, kind := tg.cpuAlarmOf(which)
	return a.setting(u.reading(kind))
}

func (u *Usage) reading(kind int32) int64 {
	if kind == clockVirt {
		return u.UTime
	}
	return u.UTime + u.STime
}

func (a *cpuAlarm) setting(now int64) Itimer {
	if a.at == 0 {
		return Itimer{}
	}
	return Itimer{a.interval, max(1000, a.at-now)}
}

// watchCPULimit makes RLIMIT_CPU be looked after.
func (tg *ThreadGroup) watchCPULimit() {
	tg.sig.mu.Lock()
	tg.lookSoon()
	tg.sig.mu.Unlock()
}

// lookSoon makes the next look come at once: a timer was set. The caller holds
// sig.mu.
func (tg *ThreadGroup) lookSoon() {
	w := &tg.sig.timers.watch
	w.idle = 0
	tg.lookIn(watchMin)
}

func (tg *ThreadGroup) lookIn(d time.Duration) {
	w := &tg.sig.timers.watch
	if tg.sig.timers.ended {
		return
	}
	if w.t == nil {
		w.t = time.AfterFunc(d, tg.lookAtClocks)
		return
	}
	w.t.Reset(d)
}

// lookAtClocks fires what is due, and plans the next look.
func (tg *ThreadGroup) lookAtClocks() {
	u := tg.Usage()
	threads := int64(max(1, len(tg.liveTasks())))
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	if tg.sig.timers.ended {
		return
	}
	left := tg.fireCPUTimers(&u)
	if left == 0 {
		tg.sig.timers.watch.stop()
		return
	}
	w := &tg.sig.timers.watch
	now := u.UTime + u.STime
	if now == w.last {
		w.idle = min(watchMax, max(watchMin, 2*w.idle))
	} else {
		w.idle = 0
	}
	w.last = now
	d := time.Duration(left / threads)
	if threads == 1 && w.idle == 0 {
		d = min(d, time.Second)
	}
	tg.lookIn(max(watchMin, d, w.idle))
}

// fireCPUTimers sends what is due, and gives the least CPU time that is left
// until something will be; 0: nothing is armed. The caller holds sig.mu.
func (tg *ThreadGroup) fireCPUTimers(u *Usage) int64 {
	left := int64(0)
	note := func(d int64) {
		if d = max(1, d); left == 0 || d < left {
			left = d
		}
	}
	tm := &tg.sig.timers
	tg.fireAlarm(&tm.virt, SIGVTALRM, u.UTime, note)
	tg.fireAlarm(&tm.prof, SIGPROF, u.UTime+u.STime, note)
	for _, p := range tm.posix {
		if p.cpu.tg != nil && p.cpuAt != 0 {
			p.lookAtCPU(note)
		}
	}
	tg.fireLimit(u.UTime+u.STime, note)
	return left
}

func (tg *ThreadGroup) fireAlarm(a *cpuAlarm, sig int32, now int64, note func(int64)) {
	if a.at == 0 {
		return
	}
	if now >= a.at {
		info := KernelInfo(sig, SI_KERNEL, 0, 0)
		tg.sendLocked(&info, nil, false, nil)
		if a.interval == 0 {
			a.at = 0
			return
		}
		a.at += ((now-a.at)/a.interval + 1) * a.interval
	}
	note(a.at - now)
}

// fireLimit keeps RLIMIT_CPU: SIGXCPU each second past the soft limit, SIGKILL
// at the hard one.
func (tg *ThreadGroup) fireLimit(now int64, note func(int64)) {
	l := tg.limits.get(RLIMIT_CPU)
	if l.Cur == RLIM_INFINITY {
		return
	}
	if l.Max != RLIM_INFINITY && uint64(now/nsPerSec) >= l.Max {
		info := KernelInfo(SIGKILL, SI_KERNEL, 0, 0)
		tg.sendLocked(&info, nil, true, nil)
		return
	}
	if uint64(now/nsPerSec) >= l.Cur {
		info := KernelInfo(SIGXCPU, SI_KERNEL, 0, 0)
		tg.sendLocked(&info, nil, false, nil)
		l.Cur = uint64(now/nsPerSec) + 1
		tg.limits.v[RLIMIT_CPU].cur.Store(l.Cur)
	}
	if l.Cur < 1<<33 {
		note(int64(l.Cur)*nsPerSec - now)
	}
}
