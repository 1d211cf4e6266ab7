package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

// Notifications of timer_create(2) (sigevent(3type)).
const (
	SIGEV_SIGNAL    = 0
	SIGEV_NONE      = 1
	SIGEV_THREAD    = 2
	SIGEV_THREAD_ID = 4

	timerAbsolute = 1 // TIMER_ABSTIME

	// overrunMax is DELAYTIMER_MAX.
	overrunMax = 1<<31 - 1
)

// SigEvent says how a timer tells of its expiry.
type SigEvent struct {
	Value  uint64
	Signo  int32
	Notify int32
	TID    int32
}

// PosixTimer is a timer of timer_create(2). While its signal is pending it
// stands still; when the signal is taken it catches up, and the periods that
// were missed are the overrun.
type PosixTimer struct {
	id    int32
	tg    *ThreadGroup
	clock int32
	cpu   cpuClock // its tg is nil for clocks of the host
	ev    SigEvent
	task  *Task // SIGEV_THREAD_ID

	// Guarded by tg.sig.mu.
	wall     wallTimer
	cpuAt    int64 // reading of cpu at which it expires; 0: not armed
	interval int64
	at       int64 // the last expiry: CLOCK_MONOTONIC, or a reading of cpu
	queued   bool  // its signal is pending
	overrun  int64
	deleted  bool
}

// timerMax is how many timers a process may have: each has a signal reserved.
const timerMax = pidMax

// CreateTimer is timer_create(2); ev nil: SIGALRM with the timer's id.
func (t *Task) CreateTimer(clock int32, ev *SigEvent) (int32, abi.Errno) {
	c, isCPU, e := t.cpuClockOf(clock)
	switch {
	case isCPU, isAlarmClock(clock):
	case !isHostClock(clock):
		return 0, unix.EINVAL
	case clock == unix.CLOCK_MONOTONIC_RAW || clock == unix.CLOCK_REALTIME_COARSE || clock == unix.CLOCK_MONOTONIC_COARSE:
		return 0, unix.EOPNOTSUPP
	}
	p := &PosixTimer{tg: t.tg, clock: clock, cpu: c}
	if e := p.setEvent(t, ev); e != 0 {
		return 0, e
	}
	if e != 0 {
		return 0, e
	}
	if isAlarmClock(clock) {
		return 0, unix.EOPNOTSUPP
	}
	return t.tg.addTimer(p, ev == nil)
}

func (p *PosixTimer) setEvent(t *Task, ev *SigEvent) abi.Errno {
	if ev == nil {
		p.ev = SigEvent{Signo: SIGALRM, Notify: SIGEV_SIGNAL}
		return 0
	}
	p.ev = *ev
	switch ev.Notify {
	case SIGEV_NONE:
		return 0
	case SIGEV_SIGNAL | SIGEV_THREAD_ID:
		if p.task = t.k.Task(ev.TID); p.task == nil || p.task.tg != t.tg {
			return unix.EINVAL
		}
	case SIGEV_SIGNAL, SIGEV_THREAD:
	default:
		return unix.EINVAL
	}
	if !validSignal(ev.Signo) {
		return unix.EINVAL
	}
	return 0
}

func (tg *ThreadGroup) addTimer(p *PosixTimer, valueIsID bool) (int32, abi.Errno) {
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	tm := &tg.sig.timers
	if len(tm.posix) >= timerMax || uint64(len(tm.posix)) >= tg.LimitCur(RLIMIT_SIGPENDING) {
		return 0, unix.EAGAIN
	}
	if tm.posix == nil {
		tm.posix = map[int32]*PosixTimer{}
	}
	for tm.posix[tm.nextID] != nil {
		tm.nextID = (tm.nextID + 1) & (1<<31 - 1)
	}
	p.id = tm.nextID
	tm.nextID = (tm.nextID + 1) & (1<<31 - 1)
	if valueIsID {
		p.ev.Value = uint64(p.id)
	}
	tm.posix[p.id] = p
	return p.id, 0
}

// SetTimer is timer_settime(2) past its checks.
func (t *Task) SetTimer(id int32, flags uint32, n Itimer) (Itimer, abi.Errno) {
	tg := t.tg
	p := tg.timer(id)
	if p == nil {
		return Itimer{}, unix.EINVAL
	}
	cpuNow := p.cpuNow()
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	old := p.setting(cpuNow)
	p.wall.disarm()
	p.cpuAt, p.interval, p.overrun = 0, n.Interval, 0
	if n.Value == 0 {
		return old, 0
	}
	if p.cpu.tg != nil {
		p.cpuAt = n.Value
		if flags&timerAbsolute == 0 {
			p.cpuAt = satAdd(cpuNow, n.Value)
		}
		tg.lookSoon()
		return old, 0
	}
	at := satAdd(ktime.Mono(), n.Value)
	if flags&timerAbsolute != 0 {
		at = max(1, monoDeadline(p.clock, n.Value))
	}
	p.armWall(at)
	return old, 0
}

// GetTimer is timer_gettime(2).
func (t *Task) GetTimer(id int32) (Itimer, abi.Errno) {
	p := t.tg.timer(id)
	if p == nil {
		return Itimer{}, unix.EINVAL
	}
	cpuNow := p.cpuNow()
	t.tg.sig.mu.Lock()
	defer t.tg.sig.mu.Unlock()
	return p.setting(cpuNow), 0
}

// TimerOverrun is timer_getoverrun(2).
func (t *Task) TimerOverrun(id int32) (int32, abi.Errno) {
	t.tg.sig.mu.Lock()
	defer t.tg.sig.mu.Unlock()
	p := t.tg.sig.timers.posix[id]
	if p == nil {
		return 0, unix.EINVAL
	}
	return int32(min(p.overrun, overrunMax)), 0
}

// DeleteTimer is timer_delete(2).
func (t *Task) DeleteTimer(id int32) abi.Errno {
	t.tg.sig.mu.Lock()
	defer t.tg.sig.mu.Unlock()
	p := t.tg.sig.timers.posix[id]
	if p == nil {
		return unix.EINVAL
	}
	p.deleteLocked()
	return 0
}

func (tg *ThreadGroup) timer(id int32) *PosixTimer {
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	return tg.sig.timers.posix[id]
}

func (tg *ThreadGroup) deletePosixTimersLocked() {
	for _, p := range tg.sig.timers.posix {
		p.deleteLocked()
	}
}

func (p *PosixTimer) deleteLocked() {
	p.deleted = true
	p.wall.disarm()
	p.cpuAt = 0
	delete(p.tg.sig.timers.posix, p.id)
}

func (p *PosixTimer) cpuNow() int64 {
	if p.cpu.tg == nil {
		return 0
	}
	return p.cpu.read()
}

// setting is what timer_gettime(2) shows.
func (p *PosixTimer) setting(cpuNow int64) Itimer {
	s := Itimer{Interval: p.interval}
	switch {
	case p.cpuAt != 0:
		s.Value = max(1, p.cpuAt-cpuNow)
	case p.wall.deadline != 0:
		s.Value = p.wall.left()
		if p.ev.Notify == SIGEV_NONE {
			s.Value = p.noneLeft()
		}
	case p.interval > 0 && p.at != 0 && p.cpu.tg == nil:
		// It waits for its signal to be taken.
		s.Value = p.interval - (ktime.Mono()-p.at)%p.interval
	}
	return s
}

// noneLeft is the time left of a timer that tells nobody; it needs no host
// timer to run on.
func (p *PosixTimer) noneLeft() int64 {
	left := p.wall.deadline - ktime.Mono()
	switch {
	case left > 0:
		return left
	case p.interval > 0:
		return p.interval - (-left)%p.interval
	}
	return 0
}

func (p *PosixTimer) armWall(at int64) {
	if p.ev.Notify == SIGEV_NONE {
		p.wall.disarm()
		p.wall.deadline = at
		return
	}
	p.wall.arm(at, p.wallExpired)
}

// wallExpired is the callback of a timer on a host's clock.
func (p *PosixTimer) wallExpired(gen uint64) {
	p.tg.sig.mu.Lock()
	defer p.tg.sig.mu.Unlock()
	if p.wall.gen != gen || p.deleted {
		return
	}
	at := p.wall.deadline
	p.wall.disarm()
	p.expire(at)
}

// lookAtCPU fires a CPU-time timer that is due.
func (p *PosixTimer) lookAtCPU(note func(int64)) {
	var now int64
	if p.cpu.tg == p.tg && p.cpu.task == nil {
		u := p.tg.usageLocked()
		now = u.reading(p.cpu.kind)
	} else if p.cpu.task != nil {
		u := p.cpu.task.Usage()
		now = u.reading(p.cpu.kind)
	} else {
		// Another process's clock: its lock is not taken under ours.
		go p.lookAtForeign()
		note(int64(watchMax))
		return
	}
	if now < p.cpuAt {
		note(p.cpuAt - now)
		return
	}
	at := p.cpuAt
	p.cpuAt = 0
	p.expire(at)
	if p.cpuAt != 0 {
		note(p.cpuAt - now)
	}
}

func (p *PosixTimer) lookAtForeign() {
	now := p.cpu.read()
	p.tg.sig.mu.Lock()
	defer p.tg.sig.mu.Unlock()
	if p.cpuAt == 0 || now < p.cpuAt {
		return
	}
	at := p.cpuAt
	p.cpuAt = 0
	p.expire(at)
}

// expire sends the signal of an expiry at "at". The caller holds sig.mu.
func (p *PosixTimer) expire(at int64) {
	p.at = at
	if p.ev.Notify == SIGEV_NONE {
		p.catchUp()
		return
	}
	if p.queued {
		return
	}
	info := timerInfo(p.ev.Signo, p.id, 0, p.ev.Value)
	target := p.task
	if target != nil && target.sig.exiting {
		return
	}
	p.tg.sendLocked(&info, target, false, p)
	if !p.queued {
		p.catchUp() // ignored, or no room
	}
}

// delivered is called when the signal is taken from the queue; it fills in the
// overrun. The caller holds sig.mu.
func (p *PosixTimer) delivered(info *SigInfo) {
	if p.deleted {
		return
	}
	p.overrun = p.catchUp()
	info.put32(20, int32(min(p.overrun, overrunMax)))
}

// catchUp arms a periodic timer for its next period that is to come, and gives
// how many it missed.
func (p *PosixTimer) catchUp() int64 {
	if p.interval == 0 || p.deleted {
		return 0
	}
	if p.cpu.tg == nil {
		n := max(0, (ktime.Mono()-p.at)/p.interval)
		p.armWall(satAdd(p.at, (n+1)*p.interval))
		return n
	}
	u := p.tg.usageLocked()
	if p.cpu.task != nil {
		u = p.cpu.task.Usage()
	}
	n := max(0, (u.reading(p.cpu.kind)-p.at)/p.interval)
	p.cpuAt = satAdd(p.at, (n+1)*p.interval)
	p.tg.lookSoon()
	return n
}
