package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/pipefs"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_SPLICE, Name: "splice", Args: "fd ptr fd ptr size flags:splice", Fn: sysSplice},
		Row{Nr: unix.SYS_TEE, Name: "tee", Args: "fd fd size flags:splice", Fn: sysTee},
		Row{Nr: unix.SYS_VMSPLICE, Name: "vmsplice", Args: "fd ptr size flags:splice", Fn: sysVmsplice},
	)
}

const (
	spliceNonblock = 0x2
	spliceFlags    = 0xf // SPLICE_F_MOVE, NONBLOCK, MORE, GIFT
)

// splicing is one call that moves bytes between two files, waiting for either.
type splicing struct {
	t       *kernel.Task
	in, out *vfs.FileDescription
	nowait  bool
}

// run calls try until it gives something else than EAGAIN. What it waits for
// may be input or room, so that both files' queues are stood in.
func (s *splicing) run(try func() (int, abi.Errno)) (int, abi.Errno) {
	n, e := try()
	if e != unix.EAGAIN || s.nowait {
		return n, e
	}
	r := startWait(s.t, s.in, waiter.In|waiter.RdNorm)
	w := startWait(s.t, s.out, waiter.Out|waiter.WrNorm)
	defer r.end()
	defer w.end()
	r.deadline, w.deadline = 0, 0
	for {
		if n, e = try(); e != unix.EAGAIN {
			return n, e
		}
		if r.queue == nil && w.queue == nil {
			return n, e
		}
		if e = s.t.Block(0); e != 0 {
			return 0, e
		}
	}
}

// getPair gets the descriptions of a call between two files, and checks their
// modes: in open for reading, out for writing.
func getPair(t *kernel.Task, in, out int32) (i, o *vfs.FileDescription, e abi.Errno) {
	if i, e = t.FDs().GetFile(in); e != 0 {
		return nil, nil, e
	}
	if o, e = t.FDs().GetFile(out); e != 0 {
		i.DecRef()
		return nil, nil, e
	}
	if i.Mode&vfs.FMODE_READ == 0 || o.Mode&vfs.FMODE_WRITE == 0 {
		i.DecRef()
		o.DecRef()
		return nil, nil, unix.EBADF
	}
	return i, o, 0
}

// spliceOffset is one of splice's offset pointers: null leaves the file its own.
func spliceOffset(t *kernel.Task, addr uint64, pipe bool, fd *vfs.FileDescription) (int64, abi.Errno) {
	if addr == 0 {
		return here, 0
	}
	if pipe || !fd.Seekable() {
		return 0, unix.ESPIPE
	}
	v, e := get64(t, addr)
	if e == 0 && int64(v) < 0 {
		e = unix.EINVAL
	}
	return int64(v), e
}

// sysSplice is splice(2).
func sysSplice(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	size, flags := a[4], a.Uint32(5)
	if size == 0 {
		return 0, 0
	}
	if flags&^spliceFlags != 0 {
		return 0, unix.EINVAL
	}
	in, out, e := getPair(t, a.Int(0), a.Int(2))
	if e != 0 {
		return 0, e
	}
	defer in.DecRef()
	defer out.DecRef()
	inPipe, inIs := in.Impl.(*pipefs.File)
	outPipe, outIs := out.Impl.(*pipefs.File)
	if !inIs && !outIs {
		return 0, unix.EINVAL
	}
	inOff, e := spliceOffset(t, a[1], inIs, in)
	if e != 0 {
		return 0, e
	}
	outOff, e := spliceOffset(t, a[3], outIs, out)
	if e != 0 {
		return 0, e
	}
	s := &splicing{t: t, in: in, out: out, nowait: flags&spliceNonblock != 0 || !blocks(in) || !blocks(out)}
	limit := int(min(size, maxRW))
	var n int
	switch {
	case inIs && outIs:
		n, e = s.run(func() (int, abi.Errno) { return pipefs.Move(outPipe, inPipe, limit) })
	case inIs:
		n, e = s.fromPipe(inPipe, outOff, limit)
		outOff = s.advance(a[3], outOff, n, &e)
	default:
		n, e = s.toPipe(outPipe, inOff, limit)
		inOff = s.advance(a[1], inOff, n, &e)
	}
	return pipeEnd(t, n, e)
}

// advance writes an explicit offset back.
func (s *splicing) advance(addr uint64, off int64, n int, e *abi.Errno) int64 {
	if off == here || n <= 0 {
		return off
	}
	if err := put64(s.t, addr, uint64(off)+uint64(n)); err != 0 {
		*e = err
	}
	return off + int64(n)
}

// pipeEnd makes a call's result of what a transfer gave: SIGPIPE with EPIPE.
func pipeEnd(t *kernel.Task, n int, e abi.Errno) (uint64, abi.Errno) {
	if e == unix.EPIPE {
		t.SignalPipe()
	}
	if e != 0 {
		return 0, e
	}
	return uint64(n), 0
}

// canSplice tells whether the file takes part in splices: directories do not,
// nor does what has no type (eventfd, epoll, …).
func canSplice(fd *vfs.FileDescription) bool {
	ft := fileType(fd)
	return ft != unix.S_IFDIR && ft != 0
}

// fromPipe writes a pipe's bytes to a file.
func (s *splicing) fromPipe(p *pipefs.File, off int64, limit int) (int, abi.Errno) {
	if s.out.Flags()&unix.O_APPEND != 0 {
		return 0, unix.EINVAL
	}
	if !canSplice(s.out) {
		return 0, unix.EINVAL
	}
	done := 0
	sink := func(b []byte) (n int, e abi.Errno) {
		if off == here {
			n, e = s.out.Write(s.t, b)
		} else {
			n, e = s.out.Pwrite(s.t, b, off+int64(done))
		}
		done += n
		return n, e
	}
	return s.run(func() (int, abi.Errno) { return p.SpliceOut(limit, sink) })
}

// toPipe reads a file's bytes into a pipe.
func (s *splicing) toPipe(p *pipefs.File, off int64, limit int) (int, abi.Errno) {
	if !canSplice(s.in) {
		return 0, unix.EINVAL
	}
	done := 0
	source := func(b []byte) (n int, e abi.Errno) {
		if off == here {
			n, e = s.in.Read(s.t, b)
		} else {
			n, e = s.in.Pread(s.t, b, off+int64(done))
		}
		done += n
		return n, e
	}
	return s.run(func() (int, abi.Errno) { return p.SpliceIn(limit, source) })
}

// sysTee is tee(2).
func sysTee(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := a.Uint32(3)
	if flags&^spliceFlags != 0 {
		return 0, unix.EINVAL
	}
	if a[2] == 0 {
		return 0, 0
	}
	in, out, e := getPair(t, a.Int(0), a.Int(1))
	if e != 0 {
		return 0, e
	}
	defer in.DecRef()
	defer out.DecRef()
	from, ok1 := in.Impl.(*pipefs.File)
	to, ok2 := out.Impl.(*pipefs.File)
	if !ok1 || !ok2 {
		return 0, unix.EINVAL
	}
	s := &splicing{t: t, in: in, out: out, nowait: flags&spliceNonblock != 0 || !blocks(in) || !blocks(out)}
	limit := int(min(a[2], maxRW))
	n, e := s.run(func() (int, abi.Errno) { return pipefs.Tee(to, from, limit) })
	return pipeEnd(t, n, e)
}

// sysVmsplice is vmsplice(2): into a pipe the bytes are copied, so that the
// guest may change them afterwards, as SPLICE_F_GIFT forbids.
func sysVmsplice(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := a.Uint32(3)
	if flags&^spliceFlags != 0 {
		return 0, unix.EINVAL
	}
	fd, e := t.FDs().GetFile(a.Int(0))
	if e != 0 {
		return 0, e
	}
	if _, ok := fd.Impl.(*pipefs.File); !ok {
		fd.DecRef()
		return 0, unix.EBADF
	}
	c := rwCall{t: t, fd: fd, off: here}
	if flags&spliceNonblock != 0 {
		c.flags = rwfNoWait
	}
	return vector(c, a, fd.Mode&vfs.FMODE_WRITE != 0)
}
