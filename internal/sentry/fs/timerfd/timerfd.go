// Package timerfd owns timerfd_create(2) timers.
//
// Lock order: File.mu → waiter.Queue (notified after mu is given back).
package timerfd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"time"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

const (
	// settle is how far the real-time clock must move against the monotonic
	// one to count as set: two reads of clocks are never simultaneous.
	settle = int64(time.Millisecond)
	// recheck bounds the sleep of a timer on the real-time clock, which the
	// host may set meanwhile.
	recheck = 5 * time.Second

	iocSetTicks = 0x40085400 // TFD_IOC_SET_TICKS
)

// File is one timer. An interval is not followed while nobody reads: what was
// missed is counted when somebody does, so that a short one costs nothing.
type File struct {
	vfs.FileDefaults
	clock int // constant: CLOCK_*

	mu       sync.Mutex
	next     int64 // ns; 0: disarmed
	interval int64 // ns
	absolute bool
	cancel   bool  // TFD_TIMER_CANCEL_ON_SET holds
	base     int64 // real minus monotonic time when cancel was set
	canceled bool
	ticks    uint64 // set by TFD_IOC_SET_TICKS
	armed    uint64 // grows with each setting: a late callback is ignored
	timer    *time.Timer

	q waiter.Queue
}

// New makes a disarmed timer on a clock that the caller has checked.
func New(clock int) *File { return &File{clock: clock} }

// now reads the clock that next is on: setting the real-time clock moves
// absolute timers only. Under mu.
func (f *File) now() int64 {
	switch f.clock {
	case unix.CLOCK_REALTIME, unix.CLOCK_REALTIME_ALARM:
		if f.absolute {
			return ktime.Real()
		}
	case unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
		var ts unix.Timespec
		unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
		return ts.Nano()
	}
	return ktime.Mono()
}

func (f *File) realtime() bool {
	return f.clock == unix.CLOCK_REALTIME || f.clock == unix.CLOCK_REALTIME_ALARM
}

// Spec is struct itimerspec in nanoseconds.
type Spec struct{ Interval, Value int64 }

// Set is timerfd_settime(2); it gives the setting before.
func (f *File) Set(flags uint32, s Spec) (old Spec, e abi.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old = f.remaining(f.now())
	f.armed++
	if f.timer != nil {
		f.timer.Stop()
	}
	f.ticks, f.canceled, f.interval = 0, false, s.Interval
	f.absolute = flags&unix.TFD_TIMER_ABSTIME != 0
	now := f.now()
	f.cancel = f.realtime() && flags&(unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET) ==
		unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET
	if f.cancel {
		f.base = ktime.Real() - ktime.Mono()
	}
	switch {
	case s.Value == 0:
		f.next = 0
	case f.absolute:
		f.next = s.Value
	default:
		f.next = addTime(now, s.Value)
	}
	f.arm(now)
	return old, 0
}

// Get is timerfd_gettime(2).
func (f *File) Get() Spec {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remaining(f.now())
}

// addTime adds without overflow.
func addTime(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// remaining is the setting as gettime tells it: time left until the next
// expiry, 1 ns at least while the timer is armed and not expired.
func (f *File) remaining(now int64) Spec {
	s := Spec{Interval: f.interval}
	switch {
	case f.next == 0:
	case f.next > now:
		s.Value = f.next - now
	case f.interval > 0:
		s.Value = f.interval - (now-f.next)%f.interval
	}
	return s
}

// arm starts the host timer towards next. Under mu.
func (f *File) arm(now int64) {
	if f.next == 0 {
		return
	}
	d := time.Duration(max(f.next-now, 0))
	if f.realtime() && f.absolute {
		d = min(d, recheck)
	}
	gen := f.armed
	f.timer = time.AfterFunc(d, func() { f.fire(gen) })
}

// fire tells the waiters, or sleeps on when the clock is not there yet.
func (f *File) fire(gen uint64) {
	f.mu.Lock()
	if f.armed != gen {
		f.mu.Unlock()
		return
	}
	now := f.now()
	due := now >= f.next || f.clockSet()
	if !due {
		f.arm(now)
	}
	f.mu.Unlock()
	if due {
		f.q.Notify(waiter.In | waiter.RdNorm)
	}
}

// clockSet tells whether the real-time clock was set since the timer was armed
// with TFD_TIMER_CANCEL_ON_SET. Under mu.
func (f *File) clockSet() bool {
	if !f.cancel {
		return false
	}
	moved := ktime.Real() - ktime.Mono() - f.base
	if moved > settle || moved < -settle {
		f.canceled = true
	}
	return f.canceled
}

// expired counts the expiries up to now that were not read. Under mu.
func (f *File) expired(now int64) uint64 {
	n := f.ticks
	if f.next == 0 || now < f.next {
		return n
	}
	n++
	if f.interval > 0 {
		n += uint64((now - f.next) / f.interval)
	}
	return n
}

// Release stops the timer: vfs.File.
func (f *File) Release(*vfs.FileDescription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed++
	if f.timer != nil {
		f.timer.Stop()
	}
}

// Seekable is false: vfs.File.
func (f *File) Seekable() bool { return false }

// Read gives the number of expiries since the last read: vfs.File.
func (f *File) Read(_ vfs.Caller, _ *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	if len(dst) < 8 {
		return 0, unix.EINVAL
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clockSet() {
		f.canceled = false
		f.base = ktime.Real() - ktime.Mono()
		return 0, unix.ECANCELED
	}
	now := f.now()
	n := f.expired(now)
	if n == 0 {
		return 0, unix.EAGAIN
	}
	f.advance(now)
	binary.LittleEndian.PutUint64(dst, n)
	return 8, 0
}

// advance moves on to the expiry behind now. Under mu.
func (f *File) advance(now int64) {
	f.ticks = 0
	if f.next == 0 || now < f.next {
		return
	}
	f.armed++
	if f.interval == 0 {
		f.next = 0
		return
	}
	f.next = addTime(f.next+(now-f.next)/f.interval*f.interval, f.interval)
	f.arm(now)
}

// Write refuses: vfs.File.
func (f *File) Write(vfs.Caller, *vfs.FileDescription, []byte, int64) (int, int64, abi.Errno) {
	return 0, 0, unix.EINVAL
}

// Ready is poll(2)'s view: vfs.File.
func (f *File) Ready(*vfs.FileDescription) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clockSet() || f.expired(f.now()) > 0 {
		return waiter.In
	}
	return 0
}

// Queue is where readers wait: vfs.File.
func (f *File) Queue(*vfs.FileDescription) *waiter.Queue { return &f.q }

// Ioctl knows TFD_IOC_SET_TICKS: vfs.File.
func (f *File) Ioctl(_ vfs.Caller, _ *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	if cmd != iocSetTicks {
		return 0, abi.ENOIOCTLCMD
	}
	var b [8]byte
	if e := mem.CopyIn(arg, b[:]); e != 0 {
		return 0, e
	}
	n := binary.LittleEndian.Uint64(b[:])
	if n == 0 {
		return 0, unix.EINVAL
	}
	f.mu.Lock()
	if f.clockSet() {
		f.mu.Unlock()
		return 0, unix.ECANCELED
	}
	f.ticks = n
	f.mu.Unlock()
	f.q.Notify(waiter.In | waiter.RdNorm)
	return 0, 0
}

// SeekStaysPut: lseek(2) gives 0.
func (*File) SeekStaysPut() {}

// FDInfo adds the lines of /proc/pid/fdinfo.
func (f *File) FDInfo(b *bytes.Buffer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	s := f.remaining(now)
	flags := 0
	if f.absolute {
		flags |= unix.TFD_TIMER_ABSTIME
	}
	if f.cancel {
		flags |= unix.TFD_TIMER_CANCEL_ON_SET
	}
	const sec = int64(time.Second)
	fmt.Fprintf(b, "clockid: %d\nticks: %d\nsettime flags: 0%o\nit_value: (%d, %d)\nit_interval: (%d, %d)\n",
		f.clock, f.expired(now), flags, s.Value/sec, s.Value%sec, s.Interval/sec, s.Interval%sec)
}
