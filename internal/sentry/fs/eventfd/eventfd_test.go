package eventfd

import (
	"encoding/binary"
	"math"
	"testing"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

func (f *File) put(v uint64) abi.Errno {
	_, _, e := f.Write(nil, nil, binary.LittleEndian.AppendUint64(nil, v), 0)
	return e
}

func (f *File) get() (uint64, abi.Errno) {
	var b [8]byte
	_, e := f.Read(nil, nil, b[:], 0)
	return binary.LittleEndian.Uint64(b[:]), e
}

func TestCounter(t *testing.T) {
	f := New(3, false)
	f.put(4)
	if n, e := f.get(); n != 7 || e != 0 {
		t.Errorf("%d, %v", n, e)
	}
	if _, e := f.get(); e != unix.EAGAIN {
		t.Errorf("empty: %v", e)
	}
	if f.Ready(nil) != waiter.Out {
		t.Errorf("events %x", f.Ready(nil))
	}
	if e := f.put(math.MaxUint64); e != unix.EINVAL {
		t.Errorf("too much: %v", e)
	}
	f.put(math.MaxUint64 - 1)
	if e := f.put(1); e != unix.EAGAIN {
		t.Errorf("overflow: %v", e)
	}
	if f.Ready(nil) != waiter.In {
		t.Errorf("events %x", f.Ready(nil))
	}
	if _, e := f.Read(nil, nil, make([]byte, 7), 0); e != unix.EINVAL {
		t.Errorf("short read: %v", e)
	}
}

func TestSemaphore(t *testing.T) {
	f := New(2, true)
	for range 2 {
		if n, e := f.get(); n != 1 || e != 0 {
			t.Errorf("%d, %v", n, e)
		}
	}
	if _, e := f.get(); e != unix.EAGAIN {
		t.Errorf("empty: %v", e)
	}
}
