package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/signalfd"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_SIGNALFD, Name: "signalfd", Args: "fd ptr size", Fn: sysSignalfd},
		Row{Nr: unix.SYS_SIGNALFD4, Name: "signalfd4", Args: "fd ptr size flags:open", Fn: sysSignalfd4},
	)
}

// A task's own signals are what its signalfds read.
var _ signalfd.Signals = (*kernel.Task)(nil)

const unblockable = 1<<(kernel.SIGKILL-1) | 1<<(kernel.SIGSTOP-1)

func doSignalfd(t *kernel.Task, num int32, addr, size uint64, flags uint32) (uint64, abi.Errno) {
	if size != 8 || flags&^(unix.SFD_CLOEXEC|unix.SFD_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	mask, e := get64(t, addr)
	if e != 0 {
		return 0, e
	}
	mask &^= unblockable
	if num == -1 {
		fd := vfs.NewAnon("signalfd", signalfd.New(t, mask), unix.O_RDWR|flags&unix.SFD_NONBLOCK)
		return install(t, fd, flags&unix.SFD_CLOEXEC != 0)
	}
	fd, e := t.FDs().GetFile(num)
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	f, ok := fd.Impl.(*signalfd.File)
	if !ok {
		return 0, unix.EINVAL
	}
	f.SetMask(mask)
	return uint64(num), 0
}

// sysSignalfd is signalfd(2) without flags.
func sysSignalfd(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return doSignalfd(t, a.Int(0), a[1], a[2], 0)
}

// sysSignalfd4 is signalfd(2).
func sysSignalfd4(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return doSignalfd(t, a.Int(0), a[1], a[2], a.Uint32(3))
}
