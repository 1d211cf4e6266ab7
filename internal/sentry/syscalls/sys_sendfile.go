package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_SENDFILE, Name: "sendfile", Args: "fd fd ptr size", Fn: sysSendfile},
		Row{Nr: unix.SYS_COPY_FILE_RANGE, Name: "copy_file_range", Args: "fd ptr fd ptr size hex", Fn: sysCopyFileRange},
	)
}

// copier moves bytes from one file to another by way of private memory.
type copier struct {
	t             *kernel.Task
	in, out       *vfs.FileDescription
	inOff, outOff int64 // here: the description's own
}

// move copies up to limit bytes, and tells how many.
func (c *copier) move(limit int) (done int, e abi.Errno) {
	s := getScratch(min(limit, chunkSize))
	defer s.put()
	r := rwCall{t: c.t, fd: c.in, off: c.inOff}
	w := rwCall{t: c.t, fd: c.out, off: c.outOff}
	for done < limit {
		var n, k int
		if n, e = r.readWait(s.b[:min(limit-done, len(s.b))], done); e != 0 || n == 0 {
			break
		}
		k, e = w.writeWait(s.b[:n], done)
		done += k
		if k < n {
			r.unread(n - k)
			break
		}
		if c.t.Interrupted() && done > 0 {
			break
		}
	}
	if done > 0 {
		e = 0
	}
	return done, e
}

// offsetAt copies an offset in; a null pointer is the description's own.
func offsetAt(t *kernel.Task, addr uint64) (int64, abi.Errno) {
	if addr == 0 {
		return here, 0
	}
	v, e := get64(t, addr)
	if e == 0 && int64(v) < 0 {
		e = unix.EINVAL
	}
	return int64(v), e
}

// sysSendfile is sendfile(2).
func sysSendfile(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	off, e := offsetAt(t, a[2])
	if e != 0 {
		return 0, e
	}
	in, out, e := getPair(t, a.Int(1), a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer in.DecRef()
	defer out.DecRef()
	switch {
	case int64(a[3]) < 0, !canSplice(in), !canSplice(out):
		return 0, unix.EINVAL
	case !in.Seekable() && off != here:
		return 0, unix.ESPIPE
	case !in.Seekable(), out.Flags()&unix.O_APPEND != 0:
		return 0, unix.EINVAL
	}
	c := copier{t: t, in: in, out: out, inOff: off, outOff: here}
	n, e := c.move(int(min(a[3], maxRW)))
	if n > 0 && off != here {
		if e := put64(t, a[2], uint64(off)+uint64(n)); e != 0 {
			return 0, e
		}
	}
	return pipeEnd(t, n, e)
}

// sysCopyFileRange is copy_file_range(2).
func sysCopyFileRange(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Uint32(5) != 0 {
		return 0, unix.EINVAL
	}
	in, e := t.FDs().GetFile(a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer in.DecRef()
	out, e := t.FDs().GetFile(a.Int(2))
	if e != 0 {
		return 0, e
	}
	defer out.DecRef()
	c := copier{t: t, in: in, out: out}
	if c.inOff, e = rangeOffset(t, a[1], in); e != 0 {
		return 0, e
	}
	if c.outOff, e = rangeOffset(t, a[3], out); e != 0 {
		return 0, e
	}
	n, e := c.checkRange(int64(min(a[4], maxRW)))
	if e != 0 || n == 0 {
		return 0, e
	}
	k, e := c.copyRange(int(n))
	if k > 0 {
		e = c.putOffsets(a, k)
	}
	if e != 0 {
		return 0, e
	}
	return uint64(k), 0
}

// rangeOffset is where a copy begins, the description's offset made explicit.
func rangeOffset(t *kernel.Task, addr uint64, fd *vfs.FileDescription) (int64, abi.Errno) {
	if addr == 0 {
		return fd.Offset(), 0
	}
	v, e := get64(t, addr)
	return int64(v), e
}

// checkRange applies copy_file_range's rules, and cuts n at the end of the file
// read.
func (c *copier) checkRange(n int64) (int64, abi.Errno) {
	inType, outType := fileType(c.in), fileType(c.out)
	switch {
	case inType == unix.S_IFDIR || outType == unix.S_IFDIR:
		return 0, unix.EISDIR
	case inType != unix.S_IFREG || outType != unix.S_IFREG:
		return 0, unix.EINVAL
	case c.in.Mode&vfs.FMODE_READ == 0 || c.out.Mode&vfs.FMODE_WRITE == 0 || c.out.Flags()&unix.O_APPEND != 0:
		return 0, unix.EBADF
	case wraps(c.inOff, n) || wraps(c.outOff, n):
		return 0, unix.EOVERFLOW
	case c.inOff < 0 || c.outOff < 0:
		return 0, unix.EINVAL
	}
	a, e := c.in.Path.Stat(c.t)
	if e != 0 {
		return 0, e
	}
	n = min(n, max(a.Size-c.inOff, 0))
	if c.in.Inode() == c.out.Inode() && n > 0 && c.inOff < c.outOff+n && c.outOff < c.inOff+n {
		return 0, unix.EINVAL
	}
	return n, 0
}

// wraps tells whether off+n, without their signs, is more than 64 bits hold.
func wraps(off, n int64) bool { return uint64(off)+uint64(n) < uint64(off) }

// copyRange copies at explicit offsets.
func (c *copier) copyRange(limit int) (done int, e abi.Errno) {
	s := getScratch(min(limit, chunkSize))
	defer s.put()
	for done < limit && !(done > 0 && c.t.Interrupted()) {
		var n, k int
		if n, e = c.in.Pread(c.t, s.b[:min(limit-done, len(s.b))], c.inOff+int64(done)); e != 0 || n == 0 {
			break
		}
		k, e = c.out.Pwrite(c.t, s.b[:n], c.outOff+int64(done))
		done += k
		if k < n {
			break
		}
	}
	if done > 0 {
		e = 0
	}
	return done, e
}

// putOffsets moves both offsets on by n, in the guest's memory or the
// description.
func (c *copier) putOffsets(a *Args, n int) abi.Errno {
	for _, f := range []struct {
		addr uint64
		fd   *vfs.FileDescription
		off  int64
	}{{a[1], c.in, c.inOff}, {a[3], c.out, c.outOff}} {
		var e abi.Errno
		if f.addr != 0 {
			e = put64(c.t, f.addr, uint64(f.off)+uint64(n))
		} else {
			_, e = f.fd.Seek(c.t, f.off+int64(n), unix.SEEK_SET)
		}
		if e != 0 {
			return e
		}
	}
	return 0
}
