package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_READ, Name: "read", Args: "fd buf:out size", Fn: sysRead},
		Row{Nr: unix.SYS_WRITE, Name: "write", Args: "fd buf size", Fn: sysWrite},
		Row{Nr: unix.SYS_PREAD64, Name: "pread64", Args: "fd buf:out size off", Fn: sysPread64},
		Row{Nr: unix.SYS_PWRITE64, Name: "pwrite64", Args: "fd buf size off", Fn: sysPwrite64},
		Row{Nr: unix.SYS_READV, Name: "readv", Args: "fd ptr size", Fn: sysReadv},
		Row{Nr: unix.SYS_WRITEV, Name: "writev", Args: "fd ptr size", Fn: sysWritev},
		Row{Nr: unix.SYS_PREADV, Name: "preadv", Args: "fd ptr size off", Fn: sysPreadv},
		Row{Nr: unix.SYS_PWRITEV, Name: "pwritev", Args: "fd ptr size off", Fn: sysPwritev},
		Row{Nr: unix.SYS_PREADV2, Name: "preadv2", Args: "fd ptr size off off flags:rwf", Fn: sysPreadv2},
		Row{Nr: unix.SYS_PWRITEV2, Name: "pwritev2", Args: "fd ptr size off off flags:rwf", Fn: sysPwritev2},
		Row{Nr: unix.SYS_LSEEK, Name: "lseek", Args: "fd off int", Fn: sysLseek},
	)
}

// Flags of preadv2(2) and pwritev2(2).
const (
	rwfHiPri    = 0x1
	rwfDSync    = 0x2
	rwfSync     = 0x4
	rwfNoWait   = 0x8
	rwfAppend   = 0x10
	rwfNoAppend = 0x20
)

// sysRead is read(2).
func sysRead(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, e := t.FDs().GetFile(a.Int(0))
	if e != 0 {
		return 0, e
	}
	c := rwCall{t: t, fd: fd, off: here}
	n, e := c.readTo(a[1], a[2])
	fd.DecRef()
	return n, e
}

// sysWrite is write(2).
func sysWrite(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, e := t.FDs().GetFile(a.Int(0))
	if e != 0 {
		return 0, e
	}
	c := rwCall{t: t, fd: fd, off: here}
	n, e := c.writeFrom(a[1], a[2])
	if e == 0 && n <= vfs.LoanMax {
		t.WroteSmall(a.Int(0), fd)
	}
	fd.DecRef()
	return n, e
}

// positioned gets the description for a call at an offset.
func positioned(t *kernel.Task, num int32, off uint64) (c rwCall, e abi.Errno) {
	if int64(off) < 0 {
		return c, unix.EINVAL
	}
	fd, e := t.FDs().GetFile(num)
	if e != 0 {
		return c, e
	}
	if !fd.Seekable() {
		fd.DecRef()
		return c, unix.ESPIPE
	}
	return rwCall{t: t, fd: fd, off: int64(off)}, 0
}

// sysPread64 is pread64(2).
func sysPread64(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := positioned(t, a.Int(0), a[3])
	if e != 0 {
		return 0, e
	}
	n, e := c.readTo(a[1], a[2])
	c.fd.DecRef()
	return n, e
}

// sysPwrite64 is pwrite64(2).
func sysPwrite64(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := positioned(t, a.Int(0), a[3])
	if e != 0 {
		return 0, e
	}
	n, e := c.writeFrom(a[1], a[2])
	c.fd.DecRef()
	return n, e
}

// vector runs a call on parts.
func vector(c rwCall, a *Args, write bool) (uint64, abi.Errno) {
	defer c.fd.DecRef()
	v, e := importIovecs(c.t, a[1], a[2])
	if e != 0 {
		return 0, e
	}
	defer v.put()
	if write {
		return c.writev(v)
	}
	return c.readv(v)
}

// sysReadv is readv(2).
func sysReadv(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, e := t.FDs().GetFile(a.Int(0))
	if e != 0 {
		return 0, e
	}
	return vector(rwCall{t: t, fd: fd, off: here}, a, false)
}

// sysWritev is writev(2).
func sysWritev(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, e := t.FDs().GetFile(a.Int(0))
	if e != 0 {
		return 0, e
	}
	return vector(rwCall{t: t, fd: fd, off: here}, a, true)
}

// sysPreadv is preadv(2); the high half of the offset is empty on 64 bits.
func sysPreadv(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := positioned(t, a.Int(0), a[3])
	if e != 0 {
		return 0, e
	}
	return vector(c, a, false)
}

// sysPwritev is pwritev(2).
func sysPwritev(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c, e := positioned(t, a.Int(0), a[3])
	if e != 0 {
		return 0, e
	}
	return vector(c, a, true)
}

// flagged is preadv2 and pwritev2: an offset of -1 is the description's own.
func flagged(t *kernel.Task, a *Args, known uint32, write bool) (uint64, abi.Errno) {
	var c rwCall
	var e abi.Errno
	if int64(a[3]) == here {
		c = rwCall{t: t, off: here}
		c.fd, e = t.FDs().GetFile(a.Int(0))
	} else {
		c, e = positioned(t, a.Int(0), a[3])
	}
	if e != 0 {
		return 0, e
	}
	c.flags = a.Uint32(5)
	both := uint32(rwfAppend | rwfNoAppend)
	if c.flags&^known != 0 || c.flags&both == both {
		c.fd.DecRef()
		if c.flags&^known == 0 {
			return 0, unix.EINVAL
		}
		return 0, unix.EOPNOTSUPP
	}
	return vector(c, a, write)
}

// sysPreadv2 is preadv2(2).
func sysPreadv2(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return flagged(t, a, rwfHiPri|rwfNoWait|rwfDSync|rwfSync|rwfAppend|rwfNoAppend, false)
}

// sysPwritev2 is pwritev2(2). RWF_ATOMIC and RWF_DONTCACHE are for file systems
// that can do them, which none of the Sentry's is: EOPNOTSUPP.
func sysPwritev2(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return flagged(t, a, rwfHiPri|rwfNoWait|rwfDSync|rwfSync|rwfAppend|rwfNoAppend, true)
}

// sysLseek is lseek(2).
func sysLseek(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, e := t.FDs().GetFile(a.Int(0))
	if e != 0 {
		return 0, e
	}
	n, e := fd.Seek(t, int64(a[1]), int(a.Uint32(2)))
	fd.DecRef()
	return uint64(n), e
}
