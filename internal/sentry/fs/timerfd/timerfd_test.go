package timerfd

import (
	"encoding/binary"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

func (f *File) get() (uint64, abi.Errno) {
	var b [8]byte
	_, e := f.Read(nil, nil, b[:], 0)
	return binary.LittleEndian.Uint64(b[:]), e
}

type wake chan struct{}

func (w wake) Notified(*waiter.Entry, uint32) {
	select {
	case w <- struct{}{}:
	default:
	}
}

func (f *File) listen() wake {
	w := make(wake, 1)
	f.q.Register(&waiter.Entry{Listener: w}, waiter.In)
	return w
}

func TestOneShotWakes(t *testing.T) {
	for _, clock := range []int{unix.CLOCK_MONOTONIC, unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME} {
		f := New(clock)
		w := f.listen()
		if _, e := f.get(); e != unix.EAGAIN {
			t.Errorf("clock %d: disarmed: %v", clock, e)
		}
		f.Set(0, Spec{Value: int64(time.Millisecond)})
		<-w
		if n, e := f.get(); n != 1 || e != 0 {
			t.Errorf("clock %d: %d, %v", clock, n, e)
		}
		if _, e := f.get(); e != unix.EAGAIN || f.Ready(nil) != 0 {
			t.Errorf("clock %d: expired twice: %v", clock, e)
		}
		f.Release(nil)
	}
}

func TestMissedExpiriesAreCounted(t *testing.T) {
	f := New(unix.CLOCK_MONOTONIC)
	defer f.Release(nil)
	const interval = int64(time.Hour)
	f.Set(unix.TFD_TIMER_ABSTIME, Spec{Value: max(ktime.Mono()-interval/2, 1), Interval: interval})
	if n, e := f.get(); n == 0 || e != 0 {
		t.Errorf("a time in the past: %d, %v", n, e)
	}
	s := f.Get()
	if s.Value <= 0 || s.Value > interval || s.Interval != interval {
		t.Errorf("%+v", s)
	}
	f.Set(unix.TFD_TIMER_ABSTIME, Spec{Value: 1, Interval: 1})
	if n, e := f.get(); n < 1000 || e != 0 {
		t.Errorf("%d expiries of a timer that started at 1 ns, every ns: %v", n, e)
	}
}

func TestSetGivesTheOld(t *testing.T) {
	f := New(unix.CLOCK_MONOTONIC)
	f.Set(0, Spec{Value: int64(time.Hour), Interval: 5})
	old, _ := f.Set(0, Spec{})
	if old.Interval != 5 || old.Value <= 0 || old.Value > int64(time.Hour) {
		t.Errorf("%+v", old)
	}
	if s := f.Get(); s != (Spec{}) {
		t.Errorf("disarmed: %+v", s)
	}
	f.Set(0, Spec{Value: 1 << 62, Interval: 1 << 62})
	if _, e := f.get(); e != unix.EAGAIN {
		t.Errorf("a far time has come: %v", e)
	}
	f.Release(nil)
}

func TestCancelOnSet(t *testing.T) {
	f := New(unix.CLOCK_REALTIME)
	defer f.Release(nil)
	f.Set(unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, Spec{Value: ktime.Real() + int64(time.Hour)})
	if _, e := f.get(); e != unix.EAGAIN {
		t.Errorf("the clock was not set: %v", e)
	}
	f.mu.Lock()
	f.base -= int64(time.Minute) // as if somebody had set it
	f.mu.Unlock()
	if f.Ready(nil) != waiter.In {
		t.Error("not readable")
	}
	if _, e := f.get(); e != unix.ECANCELED {
		t.Errorf("the clock was set: %v", e)
	}
	if _, e := f.get(); e != unix.EAGAIN {
		t.Errorf("told once: %v", e)
	}
}

type memory struct{ b [8]byte }

func (m *memory) CopyIn(_ uint64, dst []byte) abi.Errno  { copy(dst, m.b[:]); return 0 }
func (m *memory) CopyOut(_ uint64, src []byte) abi.Errno { copy(m.b[:], src); return 0 }

func TestSetTicks(t *testing.T) {
	f := New(unix.CLOCK_MONOTONIC)
	m := &memory{b: [8]byte{42}}
	if _, e := f.Ioctl(nil, nil, iocSetTicks, 0, m); e != 0 {
		t.Fatal(e)
	}
	if n, _ := f.get(); n != 42 {
		t.Errorf("%d", n)
	}
	m.b[0] = 0
	if _, e := f.Ioctl(nil, nil, iocSetTicks, 0, m); e != unix.EINVAL {
		t.Errorf("no ticks: %v", e)
	}
}
