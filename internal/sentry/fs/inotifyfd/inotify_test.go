package inotifyfd

import (
	"encoding/binary"
	"testing"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func TestReadFormat(t *testing.T) {
	f, _ := New()
	defer f.Release(nil)
	w := &vfs.Watch{Owner: f, WD: 7}
	b := make([]byte, 256)
	if _, e := f.Read(nil, nil, b, 0); e != unix.EAGAIN {
		t.Fatalf("empty: %v", e)
	}
	f.WatchEvent(w, unix.IN_CREATE, 0, "name")
	f.WatchEvent(w, unix.IN_CREATE, 0, "name") // repeats the last
	f.WatchEvent(w, unix.IN_MOVED_FROM, 5, "a-name-of-16-byte")
	f.WatchEvent(w, unix.IN_DELETE_SELF, 0, "")
	if f.bytes != 32+48+16 {
		t.Errorf("FIONREAD tells %d", f.bytes)
	}
	if _, e := f.Read(nil, nil, b[:31], 0); e != unix.EINVAL {
		t.Errorf("too small a buffer: %v", e)
	}
	n, e := f.Read(nil, nil, b[:90], 0)
	if n != 80 || e != 0 {
		t.Fatalf("%d, %v", n, e)
	}
	le := binary.LittleEndian
	if le.Uint32(b) != 7 || le.Uint32(b[4:]) != unix.IN_CREATE || le.Uint32(b[12:]) != 16 || string(b[16:22]) != "name\x00\x00" {
		t.Errorf("first event % x", b[:32])
	}
	if le.Uint32(b[32+8:]) != 5 || le.Uint32(b[32+12:]) != 32 {
		t.Errorf("second event % x", b[32:80])
	}
	if n, _ = f.Read(nil, nil, b, 0); n != 16 {
		t.Errorf("last event has %d bytes", n)
	}
}

func TestOverflow(t *testing.T) {
	f, _ := New()
	defer f.Release(nil)
	w := &vfs.Watch{Owner: f, WD: 1}
	for i := range MaxQueuedEvents + 10 {
		f.WatchEvent(w, unix.IN_MODIFY, uint32(i), "")
	}
	b := make([]byte, headerSize*(MaxQueuedEvents+10))
	n, _ := f.Read(nil, nil, b, 0)
	if n != headerSize*(MaxQueuedEvents+1) {
		t.Fatalf("%d events", n/headerSize)
	}
	last := b[n-headerSize:]
	if int32(binary.LittleEndian.Uint32(last)) != -1 || binary.LittleEndian.Uint32(last[4:]) != unix.IN_Q_OVERFLOW {
		t.Errorf("% x", last)
	}
}
