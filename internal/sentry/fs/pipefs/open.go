package pipefs

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

func init() { vfs.FifoOpener = openFifo }

// NewPair makes a pipe and its two descriptions, each with one reference:
// pipe2(2). flags may have O_NONBLOCK and O_DIRECT.
func NewPair(c vfs.Caller, flags uint32) (r, w *vfs.FileDescription) {
	p := New()
	p.plain = true
	ino := vfs.NewAnonInode(c, vfs.AnonPipe, unix.S_IFIFO|0o600)
	ino.Base().SetSpecial(p)
	rf, _ := p.Open(vfs.FMODE_READ, flags, false)
	wf, _ := p.Open(vfs.FMODE_WRITE, flags, false)
	r = ino.Describe(rf, unix.O_RDONLY|flags, vfs.FMODE_READ)
	w = ino.Describe(wf, unix.O_WRONLY|flags, vfs.FMODE_WRITE)
	return r, w
}

// openFifo opens a fifo, or a pipe again through /proc/self/fd: fifo(7). Where
// the rules say so it waits for the other side.
func openFifo(c vfs.Caller, fd *vfs.FileDescription, ino vfs.Inode) (vfs.File, abi.Errno) {
	p, ok := ino.Base().SpecialOr(func() any { return New() }).(*Pipe)
	if !ok {
		return nil, unix.ENXIO
	}
	_, anonymous := any(ino).(*vfs.AnonInode)
	f, e := p.Open(fd.Mode, fd.Flags(), !anonymous)
	if e != 0 {
		return nil, e
	}
	if e := f.await(c); e != 0 {
		f.Release(fd)
		return nil, e
	}
	return f, 0
}

// await waits until the open is complete.
func (f *File) await(c vfs.Caller) abi.Errno {
	if f.opened() {
		return 0
	}
	b, ok := c.(vfs.Blocker)
	if !ok {
		return unix.EAGAIN
	}
	entry := &waiter.Entry{Listener: b}
	f.p.q.Register(entry, waiter.All)
	defer f.p.q.Unregister(entry)
	for !f.opened() {
		// With a signal too: the other side may have come and gone.
		if e := b.Block(0); e != 0 && !f.opened() {
			return e
		}
	}
	return 0
}
