package kernel

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/mm"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Task is one guest thread. It is the vfs.Caller and vfs.UserMemory of its
// calls.
type Task struct {
	k  *Kernel      // constant
	tg *ThreadGroup // constant but for a non-leader's exec (Kernel.mu)

	tid int32 // changed by a non-leader's exec alone, under Kernel.mu

	creds atomic.Pointer[auth.Creds] // written by the own goroutine

	// mu guards what other tasks read (through /proc, kcmp, …); written by
	// the own goroutine under mu.
	mu   sync.Mutex
	mm   *mm.MemoryManager
	fds  *vfs.FDTable
	fs   *vfs.FSContext
	name string // comm, at most 15 bytes

	park parker // the task sleeps here
	sig  taskSignals
	procState

	// Own goroutine: memory of the running call.
	strings  callStrings
	writeBuf []byte
	guestSP  uint64       // the stack pointer behind the last frame built
	plat     taskPlatform // own goroutine: the host thread and its page
	seat     *platform.Seat
}

// Kernel, ThreadGroup and TID are plain accessors.
func (t *Task) Kernel() *Kernel           { return t.k }
func (t *Task) ThreadGroup() *ThreadGroup { return t.tg }
func (t *Task) TID() int32                { return t.tid }

// Creds gives the task's credentials, which never change in place.
func (t *Task) Creds() *auth.Creds { return t.creds.Load() }

// MM, FDs and FS give what the running task uses (own goroutine).
func (t *Task) MM() *mm.MemoryManager { return t.mm }
func (t *Task) FDs() *vfs.FDTable     { return t.fds }
func (t *Task) FS() *vfs.FSContext    { return t.fs }

// Umask is the vfs.Caller's.
func (t *Task) Umask() uint32 { return t.fs.Umask() }

// Notified wakes the task: a Task may stand in wait queues itself.
func (t *Task) Notified(*waiter.Entry, uint32) { t.park.wake() }

// Due and Wake are Notified in two steps: waiter.Sleeper.
func (t *Task) Due() bool { return t.park.due() }
func (t *Task) Wake() {
	if th := t.plat.th.Load(); th != nil {
		th.Attract()
	}
	t.park.rouse()
}

// Block sleeps until the task is woken (0), a signal is to be handled
// (ERESTARTSYS) or deadline, CLOCK_MONOTONIC in nanoseconds, is past
// (ETIMEDOUT); deadline 0 is none. Wakes are kept: register, check the
// condition, Block, and check again.
func (t *Task) Block(deadline int64) abi.Errno {
	if t.interrupted() {
		return abi.ERESTARTSYS
	}
	timedOut := !t.sleep(deadline)
	if t.interrupted() {
		return abi.ERESTARTSYS
	}
	if timedOut {
		return unix.ETIMEDOUT
	}
	return 0
}

// BlockUninterruptible sleeps until woken, and only ends early for a fatal
// signal (EINTR).
func (t *Task) BlockUninterruptible() abi.Errno {
	if t.killed() {
		return unix.EINTR
	}
	t.sleep(0)
	if t.killed() {
		return unix.EINTR
	}
	return 0
}

// sleep is the parker's, with the guest's thread told not to wait actively.
func (t *Task) sleep(deadline int64) bool {
	th := t.plat.th.Load()
	if th == nil {
		return t.park.sleep(deadline)
	}
	if t.park.woken() {
		return t.park.sleep(deadline)
	}
	since := th.Park()
	ok := t.park.sleep(deadline)
	th.Unpark(since)
	return ok
}
