package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/pipefs"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// discarder is a file whose writes need no data: /dev/null.
type discarder interface{ DiscardsWrites() }

// here as an offset means the description's own.
const here int64 = -1

// rwCall is one call of the families of read(2) and write(2).
type rwCall struct {
	t     *kernel.Task
	fd    *vfs.FileDescription
	off   int64 // here, or where to read or write
	flags uint32
}

func (c *rwCall) read(dst []byte, done int) (int, abi.Errno) {
	if c.off == here {
		return c.fd.Read(c.t, dst)
	}
	return c.fd.Pread(c.t, dst, c.off+int64(done))
}

func (c *rwCall) write(src []byte, done int) (int, abi.Errno) {
	switch {
	case c.flags&rwfAppend != 0 && c.off == here:
		return c.fd.WriteAppend(c.t, src)
	case c.flags&rwfAppend != 0:
		return c.fd.Pwrite(c.t, src, vfs.AtEnd)
	case c.flags&rwfNoAppend != 0 && c.off == here:
		return c.fd.WriteHere(c.t, src)
	case c.flags&rwfNoAppend != 0:
		return c.fd.PwriteHere(c.t, src, c.off+int64(done))
	case c.off == here:
		return c.fd.Write(c.t, src)
	}
	return c.fd.Pwrite(c.t, src, c.off+int64(done))
}

func (c *rwCall) blocks() bool { return c.flags&rwfNoWait == 0 && blocks(c.fd) }

// readWait is read that waits, if it may, for the first byte.
func (c *rwCall) readWait(dst []byte, done int) (int, abi.Errno) {
	n, e := c.read(dst, done)
	if e != unix.EAGAIN || !c.blocks() {
		return n, e
	}
	w := startWait(c.t, c.fd, waiter.In|waiter.RdNorm)
	for {
		if n, e = c.read(dst, done); e != unix.EAGAIN {
			break
		}
		if e = w.sleep(); e != 0 {
			break
		}
	}
	w.end()
	return n, e
}

// writeWait writes src; a stream that takes a part of it is waited for until
// it has taken all.
func (c *rwCall) writeWait(src []byte, done int) (int, abi.Errno) {
	n, e := c.write(src, done)
	stream := !c.fd.Seekable()
	if e == 0 && (n >= len(src) || !stream || n == 0) || e != 0 && e != unix.EAGAIN || !c.blocks() {
		return n, e
	}
	w := startWait(c.t, c.fd, waiter.Out|waiter.WrNorm)
	for {
		var k int
		k, e = c.write(src[n:], done+n)
		n += k
		if e == 0 && n < len(src) && k > 0 && stream {
			continue
		}
		if e != unix.EAGAIN {
			break
		}
		if e = w.sleep(); e != 0 {
			break
		}
	}
	w.end()
	if n > 0 {
		return n, 0
	}
	return n, e
}

// finish turns what a write gave into the call's result: SIGPIPE with EPIPE.
func (c *rwCall) finish(n int, e abi.Errno) (uint64, abi.Errno) {
	if n > 0 {
		if c.flags&(rwfDSync|rwfSync) != 0 {
			if e := c.fd.Sync(c.t, c.flags&rwfSync == 0); e != 0 {
				return 0, e
			}
		}
		return uint64(n), 0
	}
	if e == unix.EPIPE {
		c.t.SignalPipe()
	}
	return 0, e
}

// input: a read would not wait.
const input = waiter.In | waiter.RdNorm | waiter.Hup | waiter.Err

// awaitInput waits, if the call may, until there is something to read from a
// pipe, so that a sleeping task holds no large buffer.
func (c *rwCall) awaitInput() abi.Errno {
	if !c.blocks() || readyOf(c.t, c.fd)&input != 0 {
		return 0
	}
	w := startWait(c.t, c.fd, input)
	defer w.end()
	for readyOf(c.t, c.fd)&input == 0 {
		if e := w.sleep(); e != 0 {
			return e
		}
	}
	return 0
}

// getOut is memory for a read of up to total bytes.
func (c *rwCall) getOut(total int) (outBuf, abi.Errno) {
	if total > sharedOut && c.pipe() {
		if e := c.awaitInput(); e != 0 {
			return outBuf{}, e
		}
	}
	return getOut(c.t, min(total, c.chunk())), 0
}

func (c *rwCall) pipe() bool {
	_, ok := c.fd.Impl.(*pipefs.File)
	return ok
}

// chunk is what one pass moves: of a pipe, what it holds if its size was never
// changed.
func (c *rwCall) chunk() int {
	if c.pipe() {
		return pipeChunk
	}
	return chunkSize
}

const pipeChunk = 64 << 10

// readTo reads into one part of the guest's memory.
func (c *rwCall) readTo(addr, count uint64) (uint64, abi.Errno) {
	if c.fd.Mode&vfs.FMODE_READ == 0 {
		return 0, unix.EBADF
	}
	if !accessOK(addr, count) {
		return 0, unix.EFAULT
	}
	count, e := c.room(addr, min(count, maxRW))
	if e != 0 {
		return 0, e
	}
	total := int(count)
	if total <= chunkSize {
		o, e := c.getOut(total)
		if e != 0 {
			return 0, e
		}
		n, e := c.readWait(o.b, 0)
		if n > 0 && e == 0 {
			n, e = c.readOut(&o, addr, n)
		}
		o.put()
		if n > 0 {
			e = 0
		}
		return uint64(n), e
	}
	v, e := single(addr, count)
	if e != 0 {
		return 0, e
	}
	defer v.put()
	return c.readv(v)
}

// readOut copies the n bytes of o that were read to addr. Where the buffer
// turns out bad, what could be copied counts, and the offset goes back to the
// end of that.
func (c *rwCall) readOut(o *outBuf, addr uint64, n int) (k int, e abi.Errno) {
	if c.fd.Seekable() && !c.t.MM().Writable(addr, uint64(n)) {
		k, e = c.t.CopyOutNow(addr, o.b[:n])
	} else {
		k, e = o.copyOut(c.t, addr, o.b[:n])
	}
	c.unread(n - k)
	return k, e
}

func (c *rwCall) unread(n int) {
	if n > 0 && c.off == here && c.fd.Seekable() {
		c.fd.Seek(c.t, -int64(n), unix.SEEK_CUR)
	}
}

// readv reads into parts, chunk by chunk while the file is one of bytes at
// offsets, else once.
func (c *rwCall) readv(v *iovecs) (uint64, abi.Errno) {
	if c.fd.Mode&vfs.FMODE_READ == 0 {
		return 0, unix.EBADF
	}
	if v.total == 0 {
		return 0, 0
	}
	if e := v.fit(c); e != 0 {
		return 0, e
	}
	o, e := c.getOut(v.total)
	if e != 0 {
		return 0, e
	}
	defer o.put()
	done := 0
	for {
		want := min(v.total-done, len(o.b))
		b := o.b[:want]
		n, e := c.readWait(b, done)
		if e != 0 {
			if done > 0 {
				return uint64(done), 0
			}
			return 0, e
		}
		k, e := v.copyOut(c.t, &o, done, b[:n])
		done += k
		if e != 0 {
			c.unread(n - k)
			if done > 0 {
				return uint64(done), 0
			}
			return 0, e
		}
		if n < want || done >= v.total || !c.fd.Seekable() {
			return uint64(done), 0
		}
	}
}

// writeFrom writes one part of the guest's memory.
func (c *rwCall) writeFrom(addr, count uint64) (uint64, abi.Errno) {
	if c.fd.Mode&vfs.FMODE_WRITE == 0 {
		return 0, unix.EBADF
	}
	if !accessOK(addr, count) {
		return 0, unix.EFAULT
	}
	total, done, chunk := int(min(count, maxRW)), 0, c.chunk()
	if total > pageSize {
		if _, ok := c.fd.Impl.(discarder); ok {
			return uint64(total), 0
		}
	}
	for {
		want := min(total-done, chunk)
		b, s, e := inPart(c.t, addr+uint64(done), want)
		if _, pipe := c.fd.Impl.(*pipefs.File); pipe && e == 0 && len(b) < want {
			// A pipe takes no part of a page.
			if b = b[:len(b)&^(pageSize-1)]; len(b) == 0 {
				e = unix.EFAULT
			}
		}
		n := 0
		if e == 0 {
			n, e = c.writeWait(b, done)
		}
		if s != nil {
			s.put()
		}
		if e == unix.EFAULT && n == 0 {
			if _, ok := c.fd.Impl.(discarder); ok {
				return uint64(total), 0 // what is not looked at need not be there
			}
		}
		done += n
		if e != 0 || n < want || done >= total {
			return c.finish(done, e)
		}
	}
}

// writev writes parts, gathered into private memory.
func (c *rwCall) writev(v *iovecs) (uint64, abi.Errno) {
	if c.fd.Mode&vfs.FMODE_WRITE == 0 {
		return 0, unix.EBADF
	}
	if v.total == 0 {
		return 0, 0
	}
	if len(v.v) == 1 {
		return c.writeFrom(v.v[0].addr, uint64(v.v[0].n))
	}
	s := getScratch(min(v.total, c.chunk()))
	defer s.put()
	done := 0
	for {
		want := min(v.total-done, len(s.b))
		got, e := v.copyIn(c.t, done, s.b[:want])
		if got == 0 && e != 0 {
			return c.finish(done, e)
		}
		n, e := c.writeWait(s.b[:got], done)
		done += n
		if e != 0 || n < want || done >= v.total {
			return c.finish(done, e)
		}
	}
}
