package signalfd

import (
	"testing"

	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// task is a caller with pending signals.
type task struct {
	pending uint64
	q       waiter.Queue
}

func (*task) Creds() *auth.Creds { return auth.Root() }
func (*task) Umask() uint32      { return 0 }
func (*task) TGID() int32        { return 1 }
func (*task) FSizeLimit() uint64 { return 0 }
func (*task) SignalXFSZ()        {}

func (t *task) SignalfdPending(mask uint64) bool { return t.pending&mask != 0 }
func (t *task) SignalfdQueue() *waiter.Queue     { return &t.q }
func (t *task) SignalfdTake(mask uint64, b *[128]byte) bool {
	for s := range 64 {
		if bit := uint64(1) << s; t.pending&mask&bit != 0 {
			t.pending &^= bit
			b[0] = byte(s + 1)
			return true
		}
	}
	return false
}

func TestReadTakesTheReadersSignals(t *testing.T) {
	maker, child := &task{}, &task{pending: 1<<1 | 1<<9 | 1<<14}
	f := New(maker, 1<<1|1<<14)
	if f.Ready(nil) != 0 || f.ReadyFor(child) != waiter.In {
		t.Error("whose signals are looked at")
	}
	b := make([]byte, 300)
	if _, e := f.Read(maker, nil, b, 0); e != unix.EAGAIN {
		t.Errorf("the maker has none: %v", e)
	}
	if _, e := f.Read(child, nil, b[:127], 0); e != unix.EINVAL {
		t.Errorf("short: %v", e)
	}
	n, e := f.Read(child, nil, b, 0)
	if n != 256 || e != 0 || b[0] != 2 || b[128] != 15 {
		t.Errorf("%d, %v, signals %d and %d", n, e, b[0], b[128])
	}
	f.SetMask(1 << 9)
	if n, _ := f.Read(child, nil, b, 0); n != 128 || b[0] != 10 {
		t.Errorf("%d, signal %d", n, b[0])
	}
}
