package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
)

// Modes of PR_SET_SYSCALL_USER_DISPATCH, and what its selector may hold.
const (
	PR_SYS_DISPATCH_OFF          = 0
	PR_SYS_DISPATCH_EXCLUSIVE_ON = 1 // calls from within the range pass
	PR_SYS_DISPATCH_INCLUSIVE_ON = 2 // all others do

	dispatchAllow = 0 // SYSCALL_DISPATCH_FILTER_ALLOW
	dispatchBlock = 1 // SYSCALL_DISPATCH_FILTER_BLOCK
)

// userDispatch says which of its calls a task has come to it as SIGSYS. It never
// changes; a new task and a new program begin without.
type userDispatch struct {
	from, size uint64 // calls from [from, from+size) pass; it may wrap
	selector   uint64 // address of a byte, 0: none
}

// SetUserDispatch is PR_SET_SYSCALL_USER_DISPATCH (own goroutine).
func (t *Task) SetUserDispatch(mode, from, size, selector uint64) abi.Errno {
	switch mode {
	case PR_SYS_DISPATCH_OFF:
		if from != 0 || size != 0 || selector != 0 {
			return unix.EINVAL
		}
		t.dispatch = nil
		t.refreshCreds(false)
		return 0
	case PR_SYS_DISPATCH_EXCLUSIVE_ON:
		if from != 0 && from+size <= from {
			return unix.EINVAL
		}
	case PR_SYS_DISPATCH_INCLUSIVE_ON:
		if size == 0 || from+size <= from {
			return unix.EINVAL
		}
		from, size = from+size, -size
	default:
		return unix.EINVAL
	}
	if selector >= platform.TaskSize {
		return unix.EFAULT
	}
	t.dispatch = &userDispatch{from, size, selector}
	t.refreshCreds(false)
	return 0
}

// WatchesCalls tells whether the task has filters, or calls that come to it as
// signals: every call is seen here then, and nothing is lent to the stub (own
// goroutine).
func (t *Task) WatchesCalls() bool { return t.SeccompActive() || t.dispatch != nil }

// UserDispatched tells whether a call whose instruction ends at ip is not made,
// but comes to the task as a signal (own goroutine).
func (t *Task) UserDispatched(nr uint32, ip uint64) bool {
	d := t.dispatch
	if d == nil || ip-d.from < d.size {
		return false
	}
	if d.selector != 0 {
		var b [1]byte
		if e := t.CopyIn(d.selector, b[:]); e != 0 {
			t.ForceFatal(KernelInfo(SIGSEGV, SI_KERNEL, 0, 0))
			return true
		}
		switch b[0] {
		case dispatchAllow:
			return false
		case dispatchBlock:
		default:
			t.ForceFatal(KernelInfo(SIGSYS, SI_KERNEL, 0, 0))
			return true
		}
	}
	t.ForceSignal(SysInfo(SYS_USER_DISPATCH, ip, int32(nr), 0, AuditArch))
	return true
}
