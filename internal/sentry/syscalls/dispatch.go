package syscalls

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Dispatch runs one call: it is the kernel.Dispatcher of a sandbox.
func Dispatch(t *kernel.Task, nr uint32, args *[6]uint64, ip uint64) (uint64, abi.Errno) {
	if t.WatchesCalls() {
		if done, v, e := filtered(t, nr, args, ip); done {
			return v, e
		}
	}
	if nr >= uint32(len(Table)) {
		return 0, unix.ENOSYS
	}
	row := &Table[nr]
	if row.Fn == nil {
		if row.Refuse == 0 {
			return 0, unix.ENOSYS
		}
		return 0, row.Refuse
	}
	v, e := row.Fn(t, (*Args)(args))
	if !stills[nr] {
		vfs.DropNotes()
	}
	return v, e
}

// filtered asks what the guest itself has set up: its user dispatch, then its
// seccomp filters.
func filtered(t *kernel.Task, nr uint32, args *[6]uint64, ip uint64) (done bool, v uint64, e abi.Errno) {
	if t.UserDispatched(nr, ip) {
		return true, uint64(nr), 0
	}
	verdict, v, e := t.SeccompCheck(nr, args, ip)
	switch verdict {
	case kernel.SeccompAllow:
		return false, 0, 0
	case kernel.SeccompSkip:
		return true, v, e
	case kernel.SeccompRollback:
		return true, uint64(nr), 0 // rax is the call's number again
	}
	return true, v, kernel.ExitTask
}
