package kernel

import (
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/bpf"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// notifier is what stands between a filter with a listener and the calls that
// it wants to be asked about (seccomp_unotify(2)). A notification belongs to the
// task whose call it is: that task alone puts it into the list and takes it out.
//
//	asked ──RECV──▶ sent ──SEND──▶ replied
//
// Its mu is a leaf, but for the queue's.
type notifier struct {
	filter   *seccompState // constant; whose users are counted
	killable bool          // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV; constant
	q        waiter.Queue

	mu      sync.Mutex
	closed  bool // nobody listens any more
	lastID  uint64
	list    []*notification // in the order in which they were asked
	untaken int             // asked, and not yet counted by a RECV
}

const (
	notifyAsked = iota
	notifySent
	notifyReplied
)

// notification is one call that waits; guarded by its notifier's mu.
type notification struct {
	id    uint64
	task  *Task
	data  *bpf.Data
	state int
	adds  []*addFD
	reply NotifyReply
}

// NotifyReply is a listener's answer (struct seccomp_notif_resp).
type NotifyReply struct {
	Val      int64
	Error    int32
	Continue bool
}

// addFD is a descriptor that the waiting task is to give itself
// (SECCOMP_IOCTL_NOTIF_ADDFD). While it is in a notification's adds it holds its
// file; whoever takes it out has that hold.
type addFD struct {
	SeccompAddFD
	by   *Task // who waits for it
	done bool
	fd   int32
	e    abi.Errno
}

// SeccompAddFD says which.
type SeccompAddFD struct {
	ID      uint64
	File    *vfs.FileDescription
	Set     bool // at NewFD; closing what is there
	Send    bool // and the call returns its number
	NewFD   int32
	Cloexec bool
}

// ask has the listener decide about a call, which it waits for (own goroutine).
func (n *notifier) ask(t *Task, d *bpf.Data) (SeccompVerdict, uint64, abi.Errno) {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return SeccompSkip, 0, unix.ENOSYS
	}
	n.lastID++
	c := &notification{id: n.lastID, task: t, data: d}
	n.list = append(n.list, c)
	n.untaken++
	n.mu.Unlock()
	n.q.Notify(waiter.In | waiter.RdNorm)

	e := n.await(t, c)
	n.mu.Lock()
	n.list = slices.DeleteFunc(n.list, func(x *notification) bool { return x == c })
	left, r := c.adds, c.reply
	c.adds = nil
	for _, a := range left {
		a.done, a.e = true, unix.ESRCH
	}
	n.mu.Unlock()
	for _, a := range left {
		a.File.DecRef()
		rouse(a.by)
	}
	switch {
	case e != 0:
		return SeccompSkip, 0, e
	case r.Continue:
		if th := t.plat.th.Load(); th != nil {
			th.ForgetSent() // the listener may have changed what the arguments point to
		}
		return SeccompAllow, 0, 0
	case r.Error != 0:
		return SeccompSkip, uint64(int64(r.Error)), 0
	}
	return SeccompSkip, uint64(r.Val), 0
}

// await waits for the reply, and gives the task the descriptors that come before
// it. A signal ends it; once the listener has taken the notification, and wanted
// that, only one that kills.
func (n *notifier) await(t *Task, c *notification) abi.Errno {
	for {
		n.mu.Lock()
		if len(c.adds) > 0 {
			a := c.adds[0]
			c.adds = c.adds[1:]
			n.mu.Unlock()
			n.add(t, c, a)
			continue
		}
		replied, deaf := c.state == notifyReplied, n.killable && c.state != notifyAsked
		n.mu.Unlock()
		if replied {
			return 0
		}
		e := abi.Errno(0)
		if deaf {
			e = t.BlockUninterruptible()
		} else {
			e = t.Block(0)
		}
		if e != 0 && !n.goesOn(c, deaf) {
			return e
		}
	}
}

// goesOn tells whether a wait that a signal has ended is to go on: it was
// answered in time, or may be ended by fewer signals from here on.
func (n *notifier) goesOn(c *notification, deaf bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return c.state == notifyReplied || len(c.adds) > 0 || !deaf && n.killable && c.state != notifyAsked
}

// add installs a descriptor in the waiting task's table (own goroutine of that
// task).
func (n *notifier) add(t *Task, c *notification, a *addFD) {
	limit := t.tg.LimitCur(RLIMIT_NOFILE)
	fd, e := a.NewFD, abi.Errno(0)
	if a.Set {
		e = t.fds.InstallAt(t, a.File, fd, a.Cloexec, limit)
	} else if fd, e = t.fds.Install(a.File, 0, a.Cloexec, limit); e == unix.EINVAL {
		e = unix.EMFILE // a limit of 0
	}
	if e != 0 {
		a.File.DecRef()
	}
	n.mu.Lock()
	switch {
	case !a.Send:
	case e != 0:
		c.state = notifySent
	default:
		c.reply = NotifyReply{Val: int64(fd)}
	}
	a.fd, a.e, a.done = fd, e, true
	n.mu.Unlock()
	rouse(a.by)
}

// rouse wakes a task that waits here.
func rouse(t *Task) {
	if t.Due() {
		t.Wake()
	}
}

// find gives the notification id. The caller holds mu.
func (n *notifier) find(id uint64) *notification {
	for _, c := range n.list {
		if c.id == id {
			return c
		}
	}
	return nil
}

// listened tells whether somebody listens to s or a filter behind it.
func (s *seccompState) listened() bool {
	for f := s; f != nil; f = f.older {
		if f.notify == nil {
			continue
		}
		f.notify.mu.Lock()
		closed := f.notify.closed
		f.notify.mu.Unlock()
		if !closed {
			return true
		}
	}
	return false
}

// hold adds a user, a task or a newer filter, to s.
func (s *seccompState) hold() *seccompState {
	if s != nil {
		s.users.Add(1)
	}
	return s
}

// drop ends it. A listener learns that no task is left to ask.
func (s *seccompState) drop() {
	for f := s; f != nil && f.users.Add(-1) == 0; f = f.older {
		if f.notify != nil {
			f.notify.q.Notify(waiter.In | waiter.RdNorm | waiter.Hup)
		}
	}
}

// SeccompListener is the listener's open file.
type SeccompListener struct {
	vfs.FileDefaults
	n *notifier
}

// listen makes a filter's listener, before it is attached.
func (s *seccompState) listen(flags uint32) *SeccompListener {
	s.notify = &notifier{filter: s, killable: flags&SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV != 0, lastID: rand.Uint64()}
	return &SeccompListener{n: s.notify}
}

// Release answers what waits as if there never had been a listener.
func (l *SeccompListener) Release(*vfs.FileDescription) {
	n := l.n
	n.mu.Lock()
	n.closed = true
	var tasks []*Task
	for _, c := range n.list {
		if c.state != notifyReplied {
			c.state, c.reply = notifyReplied, NotifyReply{Error: -int32(unix.ENOSYS)}
			tasks = append(tasks, c.task)
		}
	}
	n.mu.Unlock()
	for _, t := range tasks {
		rouse(t)
	}
}

// Ready: In, a notification can be received; Out, one can be answered; Hup, no
// task is left.
func (l *SeccompListener) Ready(*vfs.FileDescription) (ev uint32) {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	for _, c := range l.n.list {
		switch c.state {
		case notifyAsked:
			ev |= waiter.In | waiter.RdNorm
		case notifySent:
			ev |= waiter.Out | waiter.WrNorm
		}
	}
	if l.n.filter.users.Load() == 0 {
		ev |= waiter.Hup
	}
	return ev
}

// Queue is where listeners wait.
func (l *SeccompListener) Queue(*vfs.FileDescription) *waiter.Queue { return &l.n.q }
