package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Options of wait4(2) and waitid(2).
const (
	WNOHANG    = 0x1
	WUNTRACED  = 0x2
	WSTOPPED   = 0x2
	WEXITED    = 0x4
	WCONTINUED = 0x8
	WNOWAIT    = 0x01000000
	WNOTHREAD  = 0x20000000
	WALL       = 0x40000000
	WCLONE     = 0x80000000
)

// WaitOptions say which children count.
type WaitOptions struct {
	Flags uint32 // W*
	// Which children: one process, one group, or all.
	PID   int32        // > 0: this child
	PGID  int32        // > 0: those of this group
	Group *ThreadGroup // P_PIDFD: this child
}

// WaitResult is what a child told.
type WaitResult struct {
	PID    int32 // 0: nothing yet (WNOHANG)
	UID    uint32
	Status uint32 // as wait4(2) shows it
	Code   int32  // CLD_*
	Value  int32  // si_status
	Usage  Usage
}

// Wait waits for a child (own goroutine). A result without a PID means WNOHANG
// found none.
func (t *Task) Wait(o WaitOptions) (WaitResult, abi.Errno) {
	if r, e := t.k.tryWait(t, &o); e != 0 || r.PID != 0 || o.Flags&WNOHANG != 0 {
		return r, e
	}
	e := waiter.Entry{Listener: t}
	t.tg.childQ.Register(&e, waiter.In)
	defer t.tg.childQ.Unregister(&e)
	for {
		r, err := t.k.tryWait(t, &o)
		if err != 0 || r.PID != 0 {
			return r, err
		}
		if err := t.Block(0); err != 0 {
			return r, err
		}
	}
}

// tryWait looks at all children once.
func (k *Kernel) tryWait(t *Task, o *WaitOptions) (WaitResult, abi.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found := false
	for c := t.tg.children.head; c != nil; c = c.sibNext {
		if !o.matches(t, c) {
			continue
		}
		found = true
		if r := k.waitOne(c, o); r.PID != 0 {
			return r, 0
		}
	}
	if !found {
		return WaitResult{}, unix.ECHILD
	}
	return WaitResult{}, 0
}

// matches tells whether the call asks about c.
func (o *WaitOptions) matches(t *Task, c *ThreadGroup) bool {
	switch {
	case o.Group != nil && o.Group != c,
		o.PID > 0 && c.pid != o.PID,
		o.PGID > 0 && c.pgidLocked() != o.PGID,
		o.Flags&WNOTHREAD != 0 && c.parentTask != t:
		return false
	}
	if o.Flags&WALL != 0 {
		return true
	}
	isClone := c.exitSignal != SIGCHLD
	return isClone == (o.Flags&WCLONE != 0)
}

// waitOne looks at one child. The caller holds mu.
func (k *Kernel) waitOne(c *ThreadGroup, o *WaitOptions) WaitResult {
	if c.alive() == 0 {
		if o.Flags&WEXITED == 0 {
			return WaitResult{}
		}
		return k.waitZombie(c, o.Flags&WNOWAIT == 0)
	}
	c.sig.mu.Lock()
	defer c.sig.mu.Unlock()
	switch {
	case o.Flags&WSTOPPED != 0 && c.sig.stopped && c.sig.stopSig != 0:
		sig := c.sig.stopSig
		if o.Flags&WNOWAIT == 0 {
			c.sig.stopSig = 0
		}
		return c.waitResult(uint32(sig)<<8|0x7f, CLD_STOPPED, sig)
	case o.Flags&WCONTINUED != 0 && c.sig.continued:
		if o.Flags&WNOWAIT == 0 {
			c.sig.continued = false
		}
		return c.waitResult(0xffff, CLD_CONTINUED, SIGCONT)
	}
	return WaitResult{}
}

func (c *ThreadGroup) waitResult(status uint32, code, value int32) WaitResult {
	return WaitResult{
		PID: c.pid, UID: c.leader.Creds().UID, Status: status, Code: code, Value: value,
	}
}

func (k *Kernel) waitZombie(c *ThreadGroup, reap bool) WaitResult {
	info := c.exitInfo(SIGCHLD)
	r := c.waitResult(c.waitStatus(), info.Code(), info.Status())
	r.Usage = c.Usage()
	c.acct.mu.Lock()
	r.Usage.add(&c.acct.children)
	c.acct.mu.Unlock()
	if reap {
		k.reap(c)
	}
	return r
}
