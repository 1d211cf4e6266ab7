// Package signalfd owns signalfd(2) files. Signals themselves are kernel's: a
// file asks them of the task that reads or polls it, through Signals.
//
// Lock order: File has an atomic mask only.
package signalfd

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// InfoSize is the size of struct signalfd_siginfo.
const InfoSize = 128

// Signals is what a task lets a signalfd do with its signals. Masks have bit
// n-1 for signal n.
type Signals interface {
	// SignalfdTake dequeues a pending signal of mask, the task's own before
	// its thread group's, and encodes it as struct signalfd_siginfo.
	SignalfdTake(mask uint64, info *[InfoSize]byte) bool
	// SignalfdPending tells whether SignalfdTake would find one.
	SignalfdPending(mask uint64) bool
	// SignalfdQueue is notified of In when a signal becomes pending.
	SignalfdQueue() *waiter.Queue
}

// File is an open signalfd.
type File struct {
	vfs.FileDefaults
	maker Signals // whose signals count where the caller is not known
	mask  atomic.Uint64
}

// New makes a file for the caller.
func New(maker Signals, mask uint64) *File {
	f := &File{maker: maker}
	f.mask.Store(mask)
	return f
}

// SetMask is signalfd(2) on an open file. Those who wait see the new mask.
func (f *File) SetMask(mask uint64) {
	f.mask.Store(mask)
	f.maker.SignalfdQueue().Notify(waiter.In)
}

func (f *File) signals(c vfs.Caller) Signals {
	if s, ok := c.(Signals); ok {
		return s
	}
	return f.maker
}

// Release does nothing: vfs.File.
func (f *File) Release(*vfs.FileDescription) {}

// Seekable is false: vfs.File.
func (f *File) Seekable() bool { return false }

// Read gives as many pending signals as fit: vfs.File.
func (f *File) Read(c vfs.Caller, _ *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	if len(dst) < InfoSize {
		return 0, unix.EINVAL
	}
	src, mask := f.signals(c), f.mask.Load()
	n := 0
	for n+InfoSize <= len(dst) && src.SignalfdTake(mask, (*[InfoSize]byte)(dst[n:])) {
		n += InfoSize
	}
	if n == 0 {
		return 0, unix.EAGAIN
	}
	return n, 0
}

// Write refuses: vfs.File.
func (f *File) Write(vfs.Caller, *vfs.FileDescription, []byte, int64) (int, int64, abi.Errno) {
	return 0, 0, unix.EINVAL
}

// Ready tells of the maker's signals: vfs.File.
func (f *File) Ready(*vfs.FileDescription) uint32 { return ready(f.maker, f.mask.Load()) }

// ReadyFor tells of the caller's signals, as poll(2) does.
func (f *File) ReadyFor(c vfs.Caller) uint32 { return ready(f.signals(c), f.mask.Load()) }

func ready(s Signals, mask uint64) uint32 {
	if s.SignalfdPending(mask) {
		return waiter.In
	}
	return 0
}

// Queue is the maker's: vfs.File.
func (f *File) Queue(*vfs.FileDescription) *waiter.Queue { return f.maker.SignalfdQueue() }

// QueueFor is the caller's.
func (f *File) QueueFor(c vfs.Caller) *waiter.Queue { return f.signals(c).SignalfdQueue() }

// SeekStaysPut: lseek(2) gives 0.
func (*File) SeekStaysPut() {}

// FDInfo adds the lines of /proc/pid/fdinfo.
func (f *File) FDInfo(b *bytes.Buffer) { fmt.Fprintf(b, "sigmask:\t%016x\n", f.mask.Load()) }
