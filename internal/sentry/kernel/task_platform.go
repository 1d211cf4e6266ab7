package kernel

import (
	"sync/atomic"
	"time"

	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

// taskPlatform is the host's side of a task.
type taskPlatform struct {
	// th is written by the own goroutine; others kick through it.
	th atomic.Pointer[platform.Thread]
	// user: guest code runs, or is about to. It is set before the last look at
	// the task's work, so that whoever adds work knows that a kick is needed.
	user atomic.Bool

	// Own goroutine:
	kind      platform.Kind // of the event being handled
	nr        uint32        // of the last call
	args      [6]uint64     // its arguments, copied once
	ids       *auth.Creds   // what the stub answers ids from
	delivered bool          // the reply has signal frames
	frames    framesBegun   // if it has
	opErrno   func()        // undoes what the reply's operations were to do
	loans     loans         // of pipes

	unborn atomic.Bool // the host thread could not be made

	clearTID uint64 // set_tid_address(2)
	vforker  *vforkWait
}

// killPatience is how long a killed task's stub may take to answer a kick.
const killPatience = 300 * time.Millisecond

// kick makes the task leave user mode, to look at its signals.
func (p *taskPlatform) kick() {
	if th := p.th.Load(); th != nil && p.user.Load() {
		th.Kick()
	}
}

// killSoon ends the host process if the stub does not follow a kick in time:
// it may have been tampered with.
func (t *Task) killSoon() {
	th := t.plat.th.Load()
	if th == nil || !t.plat.user.Load() {
		return
	}
	time.AfterFunc(killPatience, func() {
		if t.plat.th.Load() == th {
			th.Process().Kill()
		}
	})
}

// Thread gives the task's host thread (own goroutine).
func (t *Task) Thread() *platform.Thread { return t.plat.th.Load() }
