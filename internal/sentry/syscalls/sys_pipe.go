package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/pipefs"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_PIPE, Name: "pipe", Args: "ptr", Fn: sysPipe},
		Row{Nr: unix.SYS_PIPE2, Name: "pipe2", Args: "ptr flags:open", Fn: sysPipe2,
			Note: "O_NOTIFICATION_PIPE: ENOPKG, as without CONFIG_WATCH_QUEUE"},
	)
}

func newPipe(t *kernel.Task, addr uint64, flags uint32) (uint64, abi.Errno) {
	if flags&^(unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_DIRECT|unix.O_EXCL) != 0 {
		return 0, unix.EINVAL
	}
	if flags&unix.O_EXCL != 0 { // O_NOTIFICATION_PIPE
		return 0, unix.ENOPKG
	}
	cloexec := flags&unix.O_CLOEXEC != 0
	r, w := pipefs.NewPair(t, flags&(unix.O_NONBLOCK|unix.O_DIRECT))
	rn, e := install(t, r, cloexec)
	if e != 0 {
		w.DecRef()
		return 0, e
	}
	wn, e := install(t, w, cloexec)
	if e != 0 {
		t.FDs().Close(t, int32(rn))
		return 0, e
	}
	var b [8]byte
	binary.LittleEndian.PutUint32(b[:], uint32(rn))
	binary.LittleEndian.PutUint32(b[4:], uint32(wn))
	if e := copyOutSure(t, addr, b[:]); e != 0 {
		t.FDs().Close(t, int32(rn))
		t.FDs().Close(t, int32(wn))
		return 0, e
	}
	return 0, 0
}

// sysPipe is pipe(2).
func sysPipe(t *kernel.Task, a *Args) (uint64, abi.Errno) { return newPipe(t, a[0], 0) }

// sysPipe2 is pipe2(2).
func sysPipe2(t *kernel.Task, a *Args) (uint64, abi.Errno) { return newPipe(t, a[0], a.Uint32(1)) }
