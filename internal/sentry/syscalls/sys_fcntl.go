package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/fs/pipefs"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_FCNTL, Name: "fcntl", Args: "fd flags:fcntl hex", Fn: sysFcntl,
			Note: "leases: EINVAL, as on file systems without them (FUSE, NFS)"},
		Row{Nr: unix.SYS_FLOCK, Name: "flock", Args: "fd flags:flock", Fn: sysFlock},
	)
}

// Commands of fcntl(2) that the unix package lacks.
const (
	fSetSig       = 10
	fGetSig       = 11
	fSetOwnEx     = 15
	fGetOwnEx     = 16
	fGetOwnerUIDs = 17
	fDupfdQuery   = 1027
	fCreatedQuery = 1028

	lockMand = 32 // LOCK_MAND of flock(2)

	ownerTID  = 0
	ownerPID  = 1
	ownerPGRP = 2
)

// pathCommands work on O_PATH descriptors too.
func pathCommand(cmd uint32) bool {
	switch cmd {
	case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, fDupfdQuery, fCreatedQuery:
		return true
	}
	return false
}

// sysFcntl is fcntl(2).
func sysFcntl(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, e := t.FDs().Get(a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	cmd := a.Uint32(1)
	if fd.Mode&vfs.FMODE_PATH != 0 && !pathCommand(cmd) {
		return 0, unix.EBADF
	}
	switch cmd {
	case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC:
		t.UsedFDs()
		return dupFrom(t, fd, a[2], cmd == unix.F_DUPFD_CLOEXEC)
	case unix.F_GETFD:
		on, e := t.FDs().Cloexec(a.Int(0))
		if on {
			return unix.FD_CLOEXEC, e
		}
		return 0, e
	case unix.F_SETFD:
		return 0, t.FDs().SetCloexec(a.Int(0), a[2]&unix.FD_CLOEXEC != 0)
	case unix.F_GETFL:
		return uint64(fd.Flags()), 0
	case unix.F_SETFL:
		return 0, setFlags(t, a.Int(0), fd, uint32(a[2]))
	case unix.F_GETLK, unix.F_OFD_GETLK:
		return 0, getLock(t, fd, a[2], cmd == unix.F_OFD_GETLK)
	case unix.F_SETLK, unix.F_SETLKW:
		return 0, setLock(t, fd, a[2], false, cmd == unix.F_SETLKW)
	case unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		return 0, setLock(t, fd, a[2], true, cmd == unix.F_OFD_SETLKW)
	case unix.F_SETOWN, unix.F_GETOWN, fSetSig, fGetSig, fSetOwnEx, fGetOwnEx, fGetOwnerUIDs:
		return fcntlOwner(t, fd, cmd, a[2])
	case unix.F_GETPIPE_SZ, unix.F_SETPIPE_SZ:
		return pipeSize(t, fd, cmd, a[2])
	case unix.F_ADD_SEALS, unix.F_GET_SEALS:
		return seals(fd, cmd, a[2])
	case unix.F_NOTIFY:
		return 0, setNotice(t, a.Int(0), fd, uint32(a[2]))
	case unix.F_GETLEASE:
		return unix.F_UNLCK, 0
	case fDupfdQuery:
		return sameDescription(t, fd, int32(a[2]))
	case fCreatedQuery:
		return uint64(b2u(fd.Created())), 0
	case unix.F_GET_RW_HINT, unix.F_SET_RW_HINT:
		return writeHint(t, fd, cmd, a[2])
	}
	return 0, unix.EINVAL
}

func dupFrom(t *kernel.Task, fd *vfs.FileDescription, min uint64, cloexec bool) (uint64, abi.Errno) {
	if min >= noFile(t) || min > 1<<31-1 {
		return 0, unix.EINVAL
	}
	fd.IncRef()
	num, e := t.FDs().Install(fd, int32(min), cloexec, noFile(t))
	if e != 0 {
		fd.DecRef()
		return 0, e
	}
	return uint64(num), 0
}

// setFlags is F_SETFL; O_ASYNC turns SIGIO on and off.
func setFlags(t *kernel.Task, num int32, fd *vfs.FileDescription, flags uint32) abi.Errno {
	if queueOf(t, fd) == nil {
		flags &^= unix.O_ASYNC // a file that never sends the signal
	}
	old := fd.Flags()
	if e := fd.SetFlags(t, flags); e != 0 {
		return e
	}
	if (old^fd.Flags())&unix.O_ASYNC != 0 {
		setAsync(t, num, fd, flags&unix.O_ASYNC != 0)
	}
	return 0
}

func sameDescription(t *kernel.Task, fd *vfs.FileDescription, num int32) (uint64, abi.Errno) {
	other, e := t.FDs().Get(num)
	if e != 0 {
		return 0, e
	}
	defer other.DecRef()
	if other == fd {
		return 1, 0
	}
	return 0, 0
}

func pipeSize(t *kernel.Task, fd *vfs.FileDescription, cmd uint32, arg uint64) (uint64, abi.Errno) {
	p, ok := fd.Impl.(*pipefs.File)
	if !ok {
		return 0, unix.EBADF
	}
	if cmd == unix.F_GETPIPE_SZ {
		return uint64(p.Size()), 0
	}
	n, e := p.SetSize(t, uint32(arg))
	return uint64(n), e
}

func seals(fd *vfs.FileDescription, cmd uint32, arg uint64) (uint64, abi.Errno) {
	s, ok := fd.Impl.(vfs.Sealer)
	if !ok {
		return 0, unix.EINVAL
	}
	if cmd == unix.F_GET_SEALS {
		return uint64(s.Seals()), 0
	}
	if fd.Mode&vfs.FMODE_WRITE == 0 {
		return 0, unix.EPERM
	}
	return 0, s.AddSeals(uint32(arg))
}

// writeHint takes and gives a file's write-life hint.
func writeHint(t *kernel.Task, fd *vfs.FileDescription, cmd uint32, addr uint64) (uint64, abi.Errno) {
	ino := fd.Inode().Base()
	if cmd == unix.F_GET_RW_HINT {
		return 0, put64(t, addr, ino.WriteLife())
	}
	v, e := get64(t, addr)
	switch {
	case e != 0:
		return 0, e
	case v > 5:
		return 0, unix.EINVAL
	}
	if p := fd.Inode().Perm(); p.UID != t.Creds().FSUID && !t.Creds().Capable(auth.CAP_FOWNER) {
		return 0, unix.EPERM
	}
	ino.SetWriteLife(v)
	return 0, 0
}

// fcntlOwner is the part of fcntl(2) about who gets SIGIO.
func fcntlOwner(t *kernel.Task, fd *vfs.FileDescription, cmd uint32, arg uint64) (uint64, abi.Errno) {
	var o vfs.AsyncOwner
	if p := fd.Async(); p != nil {
		o = *p
	}
	switch cmd {
	case unix.F_SETOWN:
		o.Type, o.ID = ownerPID, int32(arg)
		if o.ID < 0 {
			if o.ID == -1<<31 {
				return 0, unix.EINVAL
			}
			o.Type, o.ID = ownerPGRP, -o.ID
		}
		return 0, setOwner(t, fd, o)
	case unix.F_GETOWN:
		if o.Type == ownerPGRP {
			return uint64(int64(-o.ID)), 0
		}
		return uint64(o.ID), 0
	case fSetSig:
		if arg > kernel.NSIG {
			return 0, unix.EINVAL
		}
		o.Signal = int32(arg)
		fd.SetAsync(&o)
		return 0, 0
	case fGetSig:
		return uint64(o.Signal), 0
	case fSetOwnEx:
		var b [abi.OwnerExSize]byte
		if e := t.CopyIn(arg, b[:]); e != 0 {
			return 0, e
		}
		o.Type, o.ID = int32(binary.LittleEndian.Uint32(b[:])), int32(binary.LittleEndian.Uint32(b[4:]))
		if o.Type < ownerTID || o.Type > ownerPGRP {
			return 0, unix.EINVAL
		}
		return 0, setOwner(t, fd, o)
	case fGetOwnEx:
		var b [abi.OwnerExSize]byte
		binary.LittleEndian.PutUint32(b[:], uint32(o.Type))
		binary.LittleEndian.PutUint32(b[4:], uint32(o.ID))
		return 0, t.CopyOut(arg, b[:])
	}
	return 0, unix.EINVAL // F_GETOWNER_UIDS: without CONFIG_CHECKPOINT_RESTORE
}

// Record locks: fcntl(2), "Advisory record locking".

// lockRange turns struct flock's start and length into first and last byte.
func lockRange(t *kernel.Task, fd *vfs.FileDescription, f *abi.Flock) (start, end int64, e abi.Errno) {
	start = f.Start
	switch f.Whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		start += fd.Offset()
	case unix.SEEK_END:
		a, e := fd.Path.Stat(t)
		if e != 0 {
			return 0, 0, e
		}
		start += a.Size
	default:
		return 0, 0, unix.EINVAL
	}
	const most = 1<<63 - 1
	switch {
	case f.Whence != unix.SEEK_SET && f.Start > 0 && start < 0:
		return 0, 0, unix.EOVERFLOW
	case f.Len > 0:
		if start < 0 {
			return 0, 0, unix.EINVAL
		}
		if f.Len-1 > most-start {
			return 0, 0, unix.EOVERFLOW
		}
		return start, start + f.Len - 1, 0
	case f.Len < 0:
		if start+f.Len < 0 {
			return 0, 0, unix.EINVAL
		}
		return start + f.Len, start - 1, 0
	case start < 0:
		return 0, 0, unix.EINVAL
	}
	return start, most, 0
}

// copyLock copies struct flock and makes the caller's lock of it.
func copyLock(t *kernel.Task, fd *vfs.FileDescription, addr uint64, ofd bool) (b [abi.FlockSize]byte, l vfs.FileLock, e abi.Errno) {
	if e = t.CopyIn(addr, b[:]); e != 0 {
		return b, l, e
	}
	var f abi.Flock
	f.Get(&b)
	if ofd && f.PID != 0 || f.Type != unix.F_RDLCK && f.Type != unix.F_WRLCK && f.Type != unix.F_UNLCK {
		return b, l, unix.EINVAL
	}
	l = vfs.FileLock{Type: f.Type, PID: t.TGID(), Owner: t.FDs()}
	if ofd {
		l.PID, l.Owner = -1, fd
	}
	l.Start, l.End, e = lockRange(t, fd, &f)
	return b, l, e
}

func setLock(t *kernel.Task, fd *vfs.FileDescription, addr uint64, ofd, wait bool) abi.Errno {
	_, l, e := copyLock(t, fd, addr, ofd)
	if e != 0 {
		return e
	}
	t.FDs().Recall(true)
	var b vfs.Blocker
	if wait {
		b = t
	}
	return vfs.SetLock(fd, l, b)
}

func getLock(t *kernel.Task, fd *vfs.FileDescription, addr uint64, ofd bool) abi.Errno {
	b, l, e := copyLock(t, fd, addr, ofd)
	if e != 0 {
		return e
	}
	if l.Type == unix.F_UNLCK && !ofd {
		return unix.EINVAL
	}
	found, conflict := vfs.TestLock(fd, l)
	var f abi.Flock
	f.Get(&b)
	f.Type = unix.F_UNLCK
	if conflict {
		f = abi.Flock{Type: found.Type, Whence: unix.SEEK_SET, Start: found.Start, PID: found.PID}
		if found.End != 1<<63-1 {
			f.Len = found.End - found.Start + 1
		}
	}
	f.Put(&b)
	return t.CopyOut(addr, b[:])
}

// sysFlock is flock(2).
func sysFlock(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	cmd := a.Uint32(1)
	if cmd&lockMand != 0 {
		return 0, 0 // no more than a warning since Linux 5.18
	}
	t.FDs().Recall(true)
	op := cmd &^ unix.LOCK_NB
	if op != unix.LOCK_SH && op != unix.LOCK_EX && op != unix.LOCK_UN {
		return 0, unix.EINVAL
	}
	return withFD(t, a.Int(0), func(fd *vfs.FileDescription) abi.Errno {
		var b vfs.Blocker
		if cmd&unix.LOCK_NB == 0 {
			b = t
		}
		return vfs.Flock(fd, int(op), t.TGID(), b)
	})
}
