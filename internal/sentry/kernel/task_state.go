package kernel

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	nsPerSec = int64(1e9)
	// nsPerTick is a clock tick of times(2): USER_HZ is 100.
	nsPerTick = int64(1e7)
)

// procState is what process management keeps on each task.
type procState struct {
	// Guarded by Kernel.mu.
	exitState int

	personality uint32        // own goroutine
	mceKill     uint32        // PR_MCE_KILL; own goroutine
	ioFlusher   bool          // PR_SET_IO_FLUSHER; own goroutine
	dispatch    *userDispatch // PR_SET_SYSCALL_USER_DISPATCH; own goroutine
	startMono   int64         // constant

	// Written by the own goroutine or a privileged other, read by all.
	pdeath     atomic.Int32 // PR_SET_PDEATHSIG
	timerSlack atomic.Int64
	seccomp    atomic.Pointer[seccompState]
	nice       atomic.Int32
	ioprio     atomic.Int32
	sched      schedState
	user       atomic.Pointer[userCounts]
	acctDone   atomic.Bool  // its usage is in its process's
	final      Usage        // what it had used in the end; guarded by tg.acct.mu
	sentryTID  atomic.Int32 // the Sentry's thread that runs it
	seatBefore atomic.Int64 // its CPU time before it did
}

// defaultTimerSlack is init's, in nanoseconds.
const defaultTimerSlack = 50000

// CloneOptions say what NewTask makes (clone(2)).
type CloneOptions struct {
	Flags      uint64 // unix.CLONE_*
	ExitSignal int32  // for CLONE_THREAD and CLONE_PARENT it is not used
	SetTID     int32  // clone3's set_tid; 0: any id
}

// forkWanted checks a combination of clone flags as copy_process does.
func (o *CloneOptions) forkWanted(parent *Task) bool {
	f := o.Flags
	switch {
	case f&unix.CLONE_THREAD != 0 && f&unix.CLONE_SIGHAND == 0,
		f&unix.CLONE_SIGHAND != 0 && f&unix.CLONE_VM == 0,
		f&unix.CLONE_SIGHAND != 0 && f&unix.CLONE_CLEAR_SIGHAND != 0,
		f&unix.CLONE_THREAD != 0 && f&unix.CLONE_PIDFD != 0 && f&unix.CLONE_DETACHED != 0:
		return false
	case f&unix.CLONE_PARENT != 0 && parent.tg.parent == nil:
		return false // init would get a sibling
	}
	return true
}
