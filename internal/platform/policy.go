package platform

import (
	"math/bits"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// How the two sides of a thread wait for each other. Which way is best depends
// on whether the other CPU is idle, and how densely calls come (see
// ARCHITECTURE.md, "Waiting"):
//
//	free   the scheduler places both; each sleeps by futex at once
//	hand   both are pinned to one CPU; yield a few times, then futex: the CPU
//	       goes from hand to hand, and no idle CPU has to be woken
//	spin   the Sentry's thread is on another CPU; both spin a little, then
//	       futex. Only while calls come densely and that CPU proves idle
const (
	modeFree uint32 = iota
	modeHand
	modeSpin
)

const (
	yields      = 20
	spinMicros  = 20
	gapMicros   = 200
	denseMicros = 8  // guest time between calls below which spinning pays
	thinMicros  = 20 // above which it does not
	pinMicros   = 24 // below which the pair is put on one CPU
	denseCalls  = 100
	cutMicros   = 100
	yieldBan    = 20000

	// lazyNanos is how long what was posted to a socket may lie, when the thread
	// that posted computes on: mostly it comes by sooner.
	lazyNanos = 60000

	attractMicros = 5000    // between two moves to a waker's CPU
	stayMicros    = 1000000 // after the ticker parted a pair from others
)

// policy is a thread's way of waiting. Fields without a note are the own
// goroutine's.
type policy struct {
	mode    atomic.Uint32 // changed by the own goroutine; and from hand to free by the ticker
	cpu     atomic.Int32  // hand, spin: the guest's
	calls   atomic.Uint32 // events, for the ticker
	parked  atomic.Int64  // ns spent parked, for the ticker
	moveTo  atomic.Int32  // where the ticker wants the pair, +1; 0 nowhere
	seat    *Seat         // the Sentry's thread; set by Begin
	allowed atomic.Uint64 // the CPUs that the guest may use; 0: any
	stays   atomic.Int64  // not brought to a waker's CPU before this time-stamp

	replied int64 // time-stamp counter at the last reply
	avg     int64 // of the guest's time between calls, in ticks times 16
	dense   int
	banned  int64 // no spinning before this time-stamp
	ban     int64 // how long the next ban is, in µs
	noYield int64 // no yielding before this time-stamp
	begun   bool  // it has a goroutine of its own; the zygote has not

	// The ticker's, under scheduler.mu.
	seenCalls  uint32
	seenParked int64
	idle       int
	demand     float64
}

// Park notes that the task sleeps in a call: its guest does not yield for the
// answer. Unpark ends it.
func (t *Thread) Park() int64 {
	atomic.StoreUint32(&t.slot.parked, 1)
	return rdtsc()
}

func (t *Thread) Unpark(since int64) {
	atomic.StoreUint32(&t.slot.parked, 0)
	t.policy.parked.Add((rdtsc() - since) * 1000 / perMicro())
	if t.policy.mode.Load() == modeSpin {
		t.policy.leaveSpin(t)
	}
}

// Attract brings the pair of a task that sleeps in a call to the CPU of the
// caller, who is about to wake it: an idle CPU is slow to wake, and they
// probably wait for each other.
func (t *Thread) Attract() {
	p := &t.policy
	if sched.cpus < 2 || p.mode.Load() != modeHand {
		return
	}
	cpu := int32(currentCPU())
	if p.cpu.Load() == cpu || int(cpu) >= sched.cpus || !p.may(int(cpu)) {
		return
	}
	now := rdtsc()
	if now < p.stays.Load() {
		return
	}
	p.stays.Store(now + attractMicros*perMicro())
	pinThread(t.HostTID(), 1<<uint(cpu))
	p.seat.Pin(int(cpu))
	p.cpu.Store(cpu)
}

// Allow confines the guest's thread to the CPUs of mask (sched_setaffinity(2)).
// The Sentry's own thread goes where it serves best.
func (t *Thread) Allow(mask uint64) {
	p := &t.policy
	mask &= sched.all
	if sched.cpus < 2 || mask == 0 {
		return
	}
	p.allowed.Store(mask)
	if p.mode.Load() == modeFree {
		pinThread(t.HostTID(), mask)
	} else if !p.may(int(p.cpu.Load())) {
		p.moveTo.Store(int32(bits.TrailingZeros64(mask)) + 1)
	}
}

func (p *policy) may(cpu int) bool { return p.mask()>>uint(cpu)&1 != 0 }

func (p *policy) mask() uint64 {
	if m := p.allowed.Load(); m != 0 {
		return m
	}
	return sched.all
}

// wait returns when it is the Sentry's turn (true) or the host thread is dead.
func (p *policy) wait(t *Thread) bool {
	s := t.slot
	switch p.mode.Load() {
	case modeSpin:
		got := p.spin(t)
		if got == spinTurned {
			p.sample(t)
			return true
		}
		if got == spinPreempted {
			p.banSpin()
			p.leaveSpin(t)
		}
	case modeHand:
		if p.yield(t) {
			p.sample(t)
			return true
		}
	}
	var until int64 // of a first, short sleep
	if t.boxesLent.Load() > 0 && p.mode.Load() == modeHand {
		until = monotonic() + lazyNanos
		atomic.StoreUint32(&s.lazy, 1)
	}
	for {
		if t.dead.Load() {
			return false
		}
		if t.asked() {
			p.sample(t)
			return true
		}
		atomic.StoreUint32(&s.sentrySleeps, 1)
		now := atomic.LoadUint32(&s.turn)
		if now != turnRequest && now != turnPosted && !t.dead.Load() {
			FutexWait(&s.turn, now, bitsetSentry, false, until)
		}
		atomic.StoreUint32(&s.sentrySleeps, 0)
		if until != 0 { // before the look: who posts later wakes
			until = 0
			atomic.SwapUint32(&s.lazy, 0)
		}
	}
}

// spin waits without sleeping. It gives spinTurned when it is the Sentry's turn.
func (p *policy) spin(t *Thread) int32 {
	for range 64 {
		got := spinTurn(&t.slot.turn, spinMicros*perMicro(), gapMicros*perMicro())
		if got != spinTurned || t.asked() || t.dead.Load() {
			return got
		}
	}
	return spinIdle
}

// yield gives the CPU away a few times, until it is the Sentry's turn. When
// somebody else than the guest takes it, both sides stop yielding for a while:
// a sleeper that is woken gets the CPU back sooner than who yielded it.
func (p *policy) yield(t *Thread) bool {
	s := t.slot
	if p.noYield != 0 {
		if rdtsc() < p.noYield {
			return false
		}
		p.noYield = 0
		atomic.StoreUint32(&s.yields, yields)
	}
	last := rdtsc()
	for i := 0; i < yields; i++ {
		if t.asked() {
			return true
		}
		unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		now := rdtsc()
		if now-last > gapMicros*perMicro() && !t.asked() {
			p.noYield = now + yieldBan*perMicro()
			atomic.StoreUint32(&s.yields, 0)
			return false
		}
		last = now
	}
	return false
}

// banSpin forbids spinning, longer each time.
func (p *policy) banSpin() {
	p.ban = min(max(2*p.ban, 50000), 2000000)
	p.banned = rdtsc() + p.ban*perMicro()
}

// sample learns from an event, and changes the mode where that pays.
func (p *policy) sample(t *Thread) {
	p.calls.Add(1)
	if sched.cpus < 2 || !p.begun {
		return
	}
	sched.active()
	us := perMicro()
	d := t.slot.tsc - p.replied
	if d < 0 || d > cutMicros*us {
		d = cutMicros * us
	}
	p.avg += d - p.avg/16
	avg := p.avg / 16
	switch p.mode.Load() {
	case modeFree:
		if avg < pinMicros*us {
			p.pin(t, int(t.slot.cpu))
		}
	case modeHand:
		if to := p.moveTo.Swap(0); to != 0 {
			p.pin(t, int(to-1))
			return
		}
		if avg >= denseMicros*us {
			p.dense = 0
			return
		}
		if p.dense++; p.dense >= denseCalls && rdtsc() > p.banned {
			p.dense = 0
			p.enterSpin(t)
		}
	case modeSpin:
		if avg > thinMicros*us || p.moveTo.Load() != 0 || sched.crowded() {
			p.leaveSpin(t)
		}
	}
}

// pin puts both threads on cpu.
func (p *policy) pin(t *Thread, cpu int) {
	if cpu < 0 || cpu >= sched.cpus {
		return
	}
	if !p.may(cpu) {
		cpu = bits.TrailingZeros64(p.mask())
	}
	if sched.cpus > 1 && t.inherited != cpu {
		pinThread(t.HostTID(), 1<<uint(cpu))
	}
	t.inherited = -1
	p.seat.Pin(cpu)
	p.cpu.Store(int32(cpu))
	p.avg = 0
	t.slot.spinTSC = 0
	if p.noYield == 0 {
		t.slot.yields = yields
	}
	p.mode.Store(modeHand)
}

// enterSpin moves the Sentry's thread off the guest's CPU, if one more may.
func (p *policy) enterSpin(t *Thread) {
	if !sched.mayS() {
		return
	}
	cpu := int(p.cpu.Load())
	p.seat.leave(cpu)
	t.slot.spinTSC = uint64(spinMicros * perMicro())
	p.mode.Store(modeSpin)
}

func (p *policy) leaveSpin(t *Thread) {
	sched.spinners.Add(-1)
	t.slot.spinTSC = 0
	if p.noYield == 0 {
		t.slot.yields = yields
	}
	p.seat.Pin(int(p.cpu.Load()))
	p.dense = 0
	p.mode.Store(modeHand)
}

// Begin places a new thread beside the one that made it (or where the Sentry
// runs), for the goroutine that will serve it on seat.
func (t *Thread) Begin(cpu int, seat *Seat) {
	p := &t.policy
	p.seat, p.begun = seat, true
	t.sleeper.Store(seat)
	sched.add(t)
	switch {
	case sched.cpus == 1:
		p.pin(t, 0) // without a choice of CPUs nothing is pinned
	case sched.cpus == 0:
	case cpu >= 0:
		p.pin(t, cpu)
	case t.inherited >= 0:
		pinThread(t.HostTID(), p.mask())
	}
}

// CPU gives the CPU that the thread is pinned to, or -1.
func (t *Thread) CPU() int {
	if t.policy.mode.Load() == modeFree {
		return -1
	}
	return int(t.policy.cpu.Load())
}

// End takes the thread out of the scheduler.
func (t *Thread) End() {
	if t.policy.mode.Load() == modeSpin {
		sched.spinners.Add(-1)
	}
	t.policy.mode.Store(modeFree)
	sched.remove(t)
}

// tscBase relates the time-stamp counter to the clock.
var tscBase = struct {
	tsc  int64
	time time.Time
	rate atomic.Int64
}{tsc: rdtsc(), time: time.Now()}

// perMicro gives ticks of the time-stamp counter per microsecond.
func perMicro() int64 {
	if r := tscBase.rate.Load(); r != 0 {
		return r
	}
	d := time.Since(tscBase.time)
	if d < time.Millisecond {
		return 2500
	}
	r := max((rdtsc()-tscBase.tsc)*1000/int64(d), 1)
	if d > 50*time.Millisecond {
		tscBase.rate.Store(r)
	}
	return r
}
