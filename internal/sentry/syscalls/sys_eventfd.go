package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/eventfd"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_EVENTFD, Name: "eventfd", Args: "uint", Fn: sysEventfd},
		Row{Nr: unix.SYS_EVENTFD2, Name: "eventfd2", Args: "uint flags:eventfd", Fn: sysEventfd2},
	)
}

func newEventfd(t *kernel.Task, count, flags uint32) (uint64, abi.Errno) {
	if flags&^(unix.EFD_CLOEXEC|unix.EFD_NONBLOCK|unix.EFD_SEMAPHORE) != 0 {
		return 0, unix.EINVAL
	}
	f := eventfd.New(count, flags&unix.EFD_SEMAPHORE != 0)
	fd := vfs.NewAnon("eventfd", f, unix.O_RDWR|flags&unix.EFD_NONBLOCK)
	return install(t, fd, flags&unix.EFD_CLOEXEC != 0)
}

// sysEventfd is eventfd(2) without flags.
func sysEventfd(t *kernel.Task, a *Args) (uint64, abi.Errno) { return newEventfd(t, a.Uint32(0), 0) }

// sysEventfd2 is eventfd(2).
func sysEventfd2(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return newEventfd(t, a.Uint32(0), a.Uint32(1))
}
