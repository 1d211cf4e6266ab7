package pipefs

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// File is an open end of a pipe or fifo: read, write or both, as the
// description's mode says.
type File struct {
	vfs.FileDefaults
	p *Pipe
	// seen is the writers' count when a fifo was opened for reading without
	// waiting: it hangs up only once a writer has come and gone.
	seen uint64
	// waitFor is the other side's count that the open of a fifo
	// waits to see leave waitPast.
	waitFor  *uint64 // under p.mu
	waitPast uint64
	reads    bool
	writes   bool
	closed   atomic.Bool
}

// Open adds an end to p. fifo says whether opening follows fifo(7) (a write
// end without readers refuses O_NONBLOCK with ENXIO, and await may have to be
// waited for) or the pipe's own rules, where both ends exist already.
func (p *Pipe) Open(mode, flags uint32, fifo bool) (*File, abi.Errno) {
	f := &File{p: p, reads: mode&vfs.FMODE_READ != 0, writes: mode&vfs.FMODE_WRITE != 0}
	nonblock := flags&unix.O_NONBLOCK != 0
	p.lock()
	if fifo && f.writes && !f.reads && nonblock && p.readers == 0 {
		p.unlock()
		return nil, unix.ENXIO
	}
	p.setUp()
	var tell uint32
	if f.reads {
		p.readOpens++
		p.readers++
		tell |= waiter.Out
	}
	if f.writes {
		p.writeOpens++
		p.writers++
		tell |= waiter.In
	}
	if fifo && f.reads != f.writes {
		switch {
		case f.reads && p.writers == 0 && nonblock:
			f.seen = p.writeOpens
		case f.reads && p.writers == 0:
			f.waitFor, f.waitPast = &p.writeOpens, p.writeOpens
		case f.writes && p.readers == 0:
			f.waitFor, f.waitPast = &p.readOpens, p.readOpens
		}
	}
	p.unlock()
	if fifo {
		p.q.Notify(tell)
	}
	return f, 0
}

// opened tells whether the open is complete: the other side has come. The
// opener waits until it is.
func (f *File) opened() bool {
	f.p.lock()
	defer f.p.unlock()
	return f.waitFor == nil || *f.waitFor != f.waitPast
}

// Pipe gives the object behind the end.
func (f *File) Pipe() *Pipe { return f.p }

// Release closes the end: vfs.File.
func (f *File) Release(*vfs.FileDescription) {
	if f.closed.Swap(true) {
		return
	}
	p := f.p
	p.lock()
	if f.reads {
		p.readers--
	}
	if f.writes {
		p.writers--
	}
	if f.writes || p.readers == 0 {
		p.recall()
	}
	oneSided := (p.readers == 0) != (p.writers == 0)
	if p.readers == 0 && p.writers == 0 {
		p.drain()
	}
	p.unlock()
	if oneSided {
		p.q.Notify(waiter.In | waiter.Out | waiter.RdNorm | waiter.WrNorm | waiter.Err | waiter.Hup)
	}
}

// Seekable is false: vfs.File.
func (f *File) Seekable() bool { return false }

// First gives the length of what a read takes first, 0 of an empty pipe.
func (f *File) First() int {
	f.p.lock()
	defer f.p.unlock()
	if f.p.empty() {
		return 0
	}
	return f.p.at(f.p.tail).n
}

// Read is read(2) of a pipe: vfs.File.
func (f *File) Read(_ vfs.Caller, _ *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	n, freed, e := f.p.read(dst)
	if freed {
		f.p.q.Notify(waiter.Out | waiter.WrNorm)
	}
	return n, e
}

// Write is write(2) to a pipe; EPIPE's signal is the caller's to send.
func (f *File) Write(c vfs.Caller, fd *vfs.FileDescription, src []byte, _ int64) (int, int64, abi.Errno) {
	n, e := f.p.write(c, src, fd.Flags()&unix.O_DIRECT != 0)
	if n > 0 {
		f.p.q.Notify(waiter.In | waiter.RdNorm)
	}
	return n, 0, e
}

// Ready is poll(2)'s view: vfs.File.
func (f *File) Ready(*vfs.FileDescription) uint32 {
	p := f.p
	p.mu.Lock()
	defer p.mu.Unlock()
	var ev uint32
	if f.reads {
		if !p.empty() || p.posted() {
			ev |= waiter.In | waiter.RdNorm
		}
		if p.writers == 0 && f.seen != p.writeOpens {
			ev |= waiter.Hup
		}
	}
	if f.writes {
		if !p.full() {
			ev |= waiter.Out | waiter.WrNorm
		}
		if p.readers == 0 {
			ev |= waiter.Err
		}
	}
	return ev
}

// Queue is where readers, writers and openers wait: vfs.File.
func (f *File) Queue(*vfs.FileDescription) *waiter.Queue { return &f.p.q }

// Ioctl knows FIONREAD: ioctl_pipe(2).
func (f *File) Ioctl(_ vfs.Caller, _ *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	if cmd != unix.TIOCINQ {
		return 0, abi.ENOIOCTLCMD
	}
	f.p.lock()
	n := f.p.bytes()
	f.p.unlock()
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	return 0, mem.CopyOut(arg, b[:])
}

// Sync refuses, as fsync(2) of a pipe does.
func (f *File) Sync(vfs.Caller, *vfs.FileDescription, bool) abi.Errno { return unix.EINVAL }

// Size is F_GETPIPE_SZ.
func (f *File) Size() int {
	f.p.lock()
	defer f.p.unlock()
	return len(f.p.ring) * PageSize
}

// SetSize is F_SETPIPE_SZ: the size is rounded up to a power of two pages, and
// given back.
func (f *File) SetSize(c vfs.Caller, size uint32) (int, abi.Errno) {
	if size > 1<<31 {
		return 0, unix.EINVAL
	}
	n := 1
	if size > PageSize {
		n = 1 << bits.Len32((size-1)/PageSize)
	}
	if n > topSlots || n > maxSlots && !c.Creds().Capable(auth.CAP_SYS_RESOURCE) {
		return 0, unix.EPERM
	}
	if e := f.p.resize(n); e != 0 {
		return 0, e
	}
	f.p.q.Notify(waiter.Out | waiter.WrNorm)
	return n * PageSize, 0
}
