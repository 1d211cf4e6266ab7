package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(Row{Nr: unix.SYS_IOCTL, Name: "ioctl", Args: "fd ioctl ptr", Fn: sysIoctl})
}

// Requests that all files have (ioctl(2), include/uapi/linux/fs.h).
const (
	fioNClex   = 0x5450
	fioClex    = 0x5451
	fioNBIO    = 0x5421
	fioAsync   = 0x5452
	fioQSize   = 0x5460
	fiGetBsz   = 2
	fiFreeze   = 0xc0045877
	fiThaw     = 0xc0045878
	fiClone    = 0x40049409
	fiCloneRng = 0x4020940d
	fiDedupe   = 0xc0189436
	fiFiemap   = 0xc020660b
)

// sysIoctl is ioctl(2): what any file knows first, then the file's own.
func sysIoctl(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, e := t.FDs().GetFile(a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	cmd, arg := a.Uint32(1), a[2]
	switch cmd {
	case fioClex, fioNClex:
		return 0, t.FDs().SetCloexec(a.Int(0), cmd == fioClex)
	case fioNBIO:
		return 0, ioctlFlag(t, a.Int(0), fd, arg, unix.O_NONBLOCK)
	case fioAsync:
		return 0, ioctlFlag(t, a.Int(0), fd, arg, unix.O_ASYNC)
	}
	n, e := fd.Ioctl(t, cmd, arg, t)
	if e == abi.ENOIOCTLCMD {
		n, e = fileIoctl(t, fd, cmd, arg)
	}
	if e == abi.ENOIOCTLCMD {
		e = unix.ENOTTY
	}
	return n, e
}

// ioctlFlag sets or clears one status flag by the int at arg.
func ioctlFlag(t *kernel.Task, num int32, fd *vfs.FileDescription, arg uint64, flag uint32) abi.Errno {
	on, e := get32(t, arg)
	if e != 0 {
		return e
	}
	flags := fd.Flags() &^ flag
	if on != 0 {
		flags |= flag
	}
	if flag == unix.O_ASYNC && flags != fd.Flags() && queueOf(t, fd) == nil {
		return unix.ENOTTY
	}
	return setFlags(t, num, fd, flags)
}

// fileIoctl has the requests that regular files and directories answer.
func fileIoctl(t *kernel.Task, fd *vfs.FileDescription, cmd uint32, arg uint64) (uint64, abi.Errno) {
	ft := fileType(fd)
	if cmd == fiGetBsz {
		a, e := fd.Path.Stat(t)
		if e != 0 {
			return 0, e
		}
		return 0, put32(t, arg, a.Blksize)
	}
	if ft != unix.S_IFREG {
		if cmd == fioQSize && ft == unix.S_IFDIR {
			return 0, fileSize(t, fd, arg)
		}
		return 0, abi.ENOIOCTLCMD
	}
	switch cmd {
	case unix.TIOCINQ: // FIONREAD: what lies between the offset and the end
		a, e := fd.Path.Stat(t)
		if e != 0 {
			return 0, e
		}
		return 0, put32(t, arg, uint32(a.Size-fd.Offset()))
	case fioQSize:
		return 0, fileSize(t, fd, arg)
	case fiClone, fiCloneRng, fiDedupe, fiFiemap:
		return 0, unix.EOPNOTSUPP
	case fiFreeze, fiThaw:
		return 0, unix.EPERM
	}
	return 0, abi.ENOIOCTLCMD
}

// fileSize is FIOQSIZE.
func fileSize(t *kernel.Task, fd *vfs.FileDescription, arg uint64) abi.Errno {
	a, e := fd.Path.Stat(t)
	if e != 0 {
		return e
	}
	return put64(t, arg, uint64(a.Size))
}
