package kernel

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Requests of a listener's ioctl(2) (seccomp_unotify(2)). The last carries the
// size of its argument, which may grow.
const (
	SECCOMP_IOCTL_NOTIF_RECV         = 0xc0502100
	SECCOMP_IOCTL_NOTIF_SEND         = 0xc0182101
	SECCOMP_IOCTL_NOTIF_ID_VALID     = 0x40082102
	SECCOMP_IOCTL_NOTIF_ID_VALID_OLD = 0x80082102
	SECCOMP_IOCTL_NOTIF_SET_FLAGS    = 0x40082104
	SECCOMP_IOCTL_NOTIF_ADDFD        = 0x40182103

	ioctlSizeShift    = 16
	ioctlSizeMask     = 0x3fff
	ioctlNumber       = 0xffff
	notifContinue     = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE
	notifSyncWakeUp   = 1 // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
	addfdSet          = 1 // SECCOMP_ADDFD_FLAG_SETFD
	addfdSend         = 2 // SECCOMP_ADDFD_FLAG_SEND
	addfdSize         = 24
	SeccompNotifSize  = 80 // struct seccomp_notif
	SeccompRespSize   = 24 // struct seccomp_notif_resp
	seccompNotifyData = 16 // where struct seccomp_data is in the former
)

// Ioctl has the listener's requests.
func (l *SeccompListener) Ioctl(c vfs.Caller, _ *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	t, ok := c.(*Task)
	if !ok {
		return 0, unix.EINVAL
	}
	switch cmd {
	case SECCOMP_IOCTL_NOTIF_RECV:
		return 0, l.n.receive(t, arg)
	case SECCOMP_IOCTL_NOTIF_SEND:
		return 0, l.n.send(t, arg)
	case SECCOMP_IOCTL_NOTIF_ID_VALID, SECCOMP_IOCTL_NOTIF_ID_VALID_OLD:
		return 0, l.n.valid(t, arg)
	case SECCOMP_IOCTL_NOTIF_SET_FLAGS:
		// On which CPU the other side wakes is the Sentry's choice anyway.
		if arg&^notifSyncWakeUp != 0 {
			return 0, unix.EINVAL
		}
		return 0, 0
	}
	if cmd&ioctlNumber == SECCOMP_IOCTL_NOTIF_ADDFD&ioctlNumber {
		return l.n.addFrom(t, arg, int(cmd>>ioctlSizeShift&ioctlSizeMask))
	}
	return 0, unix.EINVAL
}

// receive is SECCOMP_IOCTL_NOTIF_RECV. It waits whatever the descriptor's flags
// are; without any task left, and for one whose call has ended since, it is
// ENOENT.
func (n *notifier) receive(t *Task, arg uint64) abi.Errno {
	var b [SeccompNotifSize]byte
	if e := t.CopyIn(arg, b[:]); e != 0 {
		return e
	}
	if b != [SeccompNotifSize]byte{} {
		return unix.EINVAL
	}
	if e := n.awaitAsked(t); e != 0 {
		return e
	}
	n.mu.Lock()
	var c *notification
	for _, x := range n.list {
		if x.state == notifyAsked {
			c = x
			break
		}
	}
	if c == nil {
		n.mu.Unlock()
		return unix.ENOENT
	}
	c.state = notifySent
	id := c.id
	binary.LittleEndian.PutUint64(b[0:], id)
	binary.LittleEndian.PutUint32(b[8:], uint32(c.task.tid))
	for i, w := range c.data {
		binary.LittleEndian.PutUint32(b[seccompNotifyData+4*i:], w)
	}
	waiting := c.task
	n.mu.Unlock()
	n.q.Notify(waiter.Out | waiter.WrNorm)
	if n.killable {
		rouse(waiting) // fewer signals end its wait from here on
	}
	if _, e := t.CopyOutNow(arg, b[:]); e != 0 {
		n.untake(id)
		return unix.EFAULT
	}
	return 0
}

// awaitAsked waits until there is a notification for this caller.
func (n *notifier) awaitAsked(t *Task) abi.Errno {
	w := waiter.Entry{Listener: t}
	if n.takeOne() {
		return 0
	}
	n.q.Register(&w, waiter.In)
	defer n.q.Unregister(&w)
	for !n.takeOne() {
		if e := t.Block(0); e != 0 {
			return e
		}
	}
	return 0
}

func (n *notifier) takeOne() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.filter.users.Load() == 0 {
		return true
	}
	if n.untaken > 0 {
		n.untaken--
		return true
	}
	return false
}

// untake gives a notification back that could not be copied to its listener.
func (n *notifier) untake(id uint64) {
	n.mu.Lock()
	c := n.find(id)
	if c != nil && c.state == notifySent {
		c.state = notifyAsked
		n.untaken++
	}
	n.mu.Unlock()
	if c != nil {
		rouse(c.task)
		n.q.Notify(waiter.In | waiter.RdNorm)
	}
}

// send is SECCOMP_IOCTL_NOTIF_SEND.
func (n *notifier) send(t *Task, arg uint64) abi.Errno {
	var b [SeccompRespSize]byte
	if e := t.CopyIn(arg, b[:]); e != 0 {
		return e
	}
	r := NotifyReply{Val: int64(binary.LittleEndian.Uint64(b[8:])), Error: int32(binary.LittleEndian.Uint32(b[16:]))}
	flags := binary.LittleEndian.Uint32(b[20:])
	r.Continue = flags&notifContinue != 0
	if flags&^notifContinue != 0 || r.Continue && (r.Error != 0 || r.Val != 0) {
		return unix.EINVAL
	}
	n.mu.Lock()
	c := n.find(binary.LittleEndian.Uint64(b[:]))
	e := sentOnly(c)
	if e == 0 {
		c.state, c.reply = notifyReplied, r
	}
	n.mu.Unlock()
	if e == 0 {
		rouse(c.task)
	}
	return e
}

// sentOnly: only what was received, and not yet answered, can be answered.
func sentOnly(c *notification) abi.Errno {
	switch {
	case c == nil:
		return unix.ENOENT
	case c.state != notifySent:
		return unix.EINPROGRESS
	}
	return 0
}

// valid is SECCOMP_IOCTL_NOTIF_ID_VALID.
func (n *notifier) valid(t *Task, arg uint64) abi.Errno {
	var b [8]byte
	if e := t.CopyIn(arg, b[:]); e != 0 {
		return e
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.find(binary.LittleEndian.Uint64(b[:])); c == nil || c.state != notifySent {
		return unix.ENOENT
	}
	return 0
}

// addFrom is SECCOMP_IOCTL_NOTIF_ADDFD past its argument.
func (n *notifier) addFrom(t *Task, arg uint64, size int) (uint64, abi.Errno) {
	if size < addfdSize || size >= platformPage {
		return 0, unix.EINVAL
	}
	b := make([]byte, size)
	if e := t.CopyIn(arg, b); e != 0 {
		return 0, e
	}
	for _, x := range b[addfdSize:] {
		if x != 0 {
			return 0, unix.E2BIG
		}
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	flags, fdFlags := word(8), word(20)
	a := &addFD{by: t, SeccompAddFD: SeccompAddFD{ID: binary.LittleEndian.Uint64(b), Set: flags&addfdSet != 0, Send: flags&addfdSend != 0,
		NewFD: int32(word(16)), Cloexec: fdFlags&unix.O_CLOEXEC != 0}}
	if fdFlags&^unix.O_CLOEXEC != 0 || flags&^(addfdSet|addfdSend) != 0 || a.NewFD != 0 && !a.Set {
		return 0, unix.EINVAL
	}
	f, e := t.fds.GetFile(int32(word(12)))
	if e != 0 {
		return 0, e
	}
	defer f.DecRef()
	a.File = f
	return n.addFD(t, a)
}

// addFD has the waiting task do it, and waits for that.
func (n *notifier) addFD(t *Task, a *addFD) (uint64, abi.Errno) {
	n.mu.Lock()
	c := n.find(a.ID)
	e := sentOnly(c)
	if e == 0 && a.Send {
		if len(c.adds) > 0 {
			e = unix.EBUSY
		} else {
			c.state = notifyReplied
		}
	}
	if e != 0 {
		n.mu.Unlock()
		return 0, e
	}
	a.File.IncRef() // who asks may be killed before it is done
	c.adds = append(c.adds, a)
	n.mu.Unlock()
	rouse(c.task)
	for {
		n.mu.Lock()
		done, queued := a.done, false
		for _, x := range c.adds {
			queued = queued || x == a
		}
		n.mu.Unlock()
		switch {
		case done:
			return uint64(a.fd), a.e
		case queued:
			if e = t.Block(0); e != 0 && n.takeBack(c, a) {
				return 0, e
			}
		default: // at this very moment it is being done
			if e := t.BlockUninterruptible(); e != 0 {
				return 0, e
			}
		}
	}
}

// takeBack ends a wait early; false if the descriptor is being installed.
func (n *notifier) takeBack(c *notification, a *addFD) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, x := range c.adds {
		if x == a {
			c.adds = append(c.adds[:i:i], c.adds[i+1:]...)
			a.File.DecRef()
			return true
		}
	}
	return false
}
