// Package eventfd owns eventfd(2) counters.
//
// Lock order: File.mu → waiter.Queue (notified after mu is given back).
package eventfd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// File is a counter that can be read, written and polled.
type File struct {
	vfs.FileDefaults
	semaphore bool // constant: a read takes 1, not all

	mu    sync.Mutex
	count uint64

	q waiter.Queue
}

// New makes a counter; semaphore is EFD_SEMAPHORE.
func New(initial uint32, semaphore bool) *File {
	return &File{count: uint64(initial), semaphore: semaphore}
}

// Release does nothing: vfs.File.
func (f *File) Release(*vfs.FileDescription) {}

// Seekable is false: vfs.File.
func (f *File) Seekable() bool { return false }

// Read takes the count, or 1 of it: vfs.File.
func (f *File) Read(_ vfs.Caller, _ *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	if len(dst) < 8 {
		return 0, unix.EINVAL
	}
	f.mu.Lock()
	n := f.count
	if n == 0 {
		f.mu.Unlock()
		return 0, unix.EAGAIN
	}
	if f.semaphore {
		n = 1
	}
	f.count -= n
	f.mu.Unlock()
	f.q.Notify(waiter.Out | waiter.WrNorm)
	binary.LittleEndian.PutUint64(dst, n)
	return 8, 0
}

// Write adds to the count, which stays below 2^64-1: vfs.File.
func (f *File) Write(_ vfs.Caller, _ *vfs.FileDescription, src []byte, _ int64) (int, int64, abi.Errno) {
	if len(src) != 8 {
		return 0, 0, unix.EINVAL
	}
	n := binary.LittleEndian.Uint64(src)
	if n == math.MaxUint64 {
		return 0, 0, unix.EINVAL
	}
	f.mu.Lock()
	if n > math.MaxUint64-1-f.count {
		f.mu.Unlock()
		return 0, 0, unix.EAGAIN
	}
	f.count += n
	f.mu.Unlock()
	f.q.Notify(waiter.In | waiter.RdNorm)
	return 8, 0, 0
}

// Ready is poll(2)'s view: vfs.File.
func (f *File) Ready(*vfs.FileDescription) uint32 {
	f.mu.Lock()
	n := f.count
	f.mu.Unlock()
	var ev uint32
	if n > 0 {
		ev |= waiter.In
	}
	if n == math.MaxUint64 {
		ev |= waiter.Err
	}
	if n < math.MaxUint64-1 {
		ev |= waiter.Out
	}
	return ev
}

// Queue is where readers and writers wait: vfs.File.
func (f *File) Queue(*vfs.FileDescription) *waiter.Queue { return &f.q }

// SeekStaysPut: lseek(2) gives 0.
func (*File) SeekStaysPut() {}

// FDInfo adds the lines of /proc/pid/fdinfo.
func (f *File) FDInfo(b *bytes.Buffer) {
	f.mu.Lock()
	n := f.count
	f.mu.Unlock()
	sem := 0
	if f.semaphore {
		sem = 1
	}
	fmt.Fprintf(b, "eventfd-count: %16x\neventfd-semaphore: %d\n", n, sem)
}
