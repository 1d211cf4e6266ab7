package syscalls

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/mqueue"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// mqUsed tells that there may be queues, so that the end of each process has
// nothing to look for until then.
var mqUsed atomic.Bool

// What struct sigevent says (sigevent(3type)).
const (
	sigeventSize = 64
	sigevSignal  = 0
	sigevNone    = 1
	sigevThread  = 2

	siMesgq = -3 // SI_MESGQ

	// The cookie of SIGEV_THREAD: its last byte says what has happened.
	cookieLen     = 32
	cookieWoken   = 1
	cookieRemoved = 2
)

// sysMqNotify is mq_notify(2).
func sysMqNotify(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	var n *mqueue.Notify
	var release func()
	if a[1] != 0 {
		var e abi.Errno
		if n, release, e = mqNotification(t, a[1]); e != 0 {
			return 0, e
		}
	}
	fd, f, e := mqFile(t, a.Int(0))
	if e != 0 {
		if release != nil {
			release()
		}
		return 0, e
	}
	defer fd.DecRef()
	if n == nil {
		f.MessageQueue().DropNotify(t.TGID())
		return 0, 0
	}
	n.FD = fd
	if e = f.SetNotify(n); e != 0 && release != nil {
		release()
	}
	return 0, e
}

// mqNotification makes a registration from a struct sigevent. release, if not
// nil, undoes it.
func mqNotification(t *kernel.Task, addr uint64) (n *mqueue.Notify, release func(), e abi.Errno) {
	var b [sigeventSize]byte
	if e := t.CopyIn(addr, b[:]); e != 0 {
		return nil, nil, e
	}
	value := binary.LittleEndian.Uint64(b[0:])
	signo, kind := int32(binary.LittleEndian.Uint32(b[8:])), int32(binary.LittleEndian.Uint32(b[12:]))
	n = &mqueue.Notify{PID: t.TGID(), Kind: kind}
	switch kind {
	case sigevNone:
		return n, nil, 0
	case sigevSignal:
		if signo < 0 || signo > kernel.NSIG {
			return nil, nil, unix.EINVAL
		}
		n.Signal = signo
		tg := t.ThreadGroup()
		n.Deliver = func(pid int32, uid uint32) {
			if signo != 0 {
				tg.SendSignal(kernel.ValueInfo(signo, siMesgq, pid, uid, value))
			}
		}
		return n, nil, 0
	case sigevThread:
		release, e = mqThreadNotification(t, n, value, signo)
		return n, release, e
	}
	return nil, nil, unix.EINVAL
}

// mqThreadNotification is how the C library makes SIGEV_THREAD: its helper
// waits for a cookie on a netlink socket.
func mqThreadNotification(t *kernel.Task, n *mqueue.Notify, cookieAt uint64, sock int32) (func(), abi.Errno) {
	cookie := make([]byte, cookieLen)
	if e := t.CopyIn(cookieAt, cookie); e != 0 {
		return nil, e
	}
	fd, e := t.FDs().Get(sock)
	if e != 0 {
		return nil, e
	}
	to, ok := fd.Impl.(interface {
		vfs.File
		Deliver(b []byte)
	})
	if !ok {
		fd.DecRef()
		return nil, unix.ENOTSOCK
	}
	var once sync.Once
	release := func() { once.Do(fd.DecRef) }
	tell := func(what byte) {
		cookie[cookieLen-1] = what
		to.Deliver(cookie)
		release()
	}
	n.Deliver = func(int32, uint32) { tell(cookieWoken) }
	n.Removed = func() { tell(cookieRemoved) }
	return release, 0
}
