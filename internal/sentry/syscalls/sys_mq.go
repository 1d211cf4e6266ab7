package syscalls

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/mqueue"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

func init() {
	register(
		Row{Nr: unix.SYS_MQ_OPEN, Name: "mq_open", Args: "str flags:open mode ptr", Fn: sysMqOpen},
		Row{Nr: unix.SYS_MQ_UNLINK, Name: "mq_unlink", Args: "str", Fn: sysMqUnlink},
		Row{Nr: unix.SYS_MQ_TIMEDSEND, Name: "mq_timedsend", Args: "fd buf size uint ptr", Fn: sysMqTimedsend},
		Row{Nr: unix.SYS_MQ_TIMEDRECEIVE, Name: "mq_timedreceive", Args: "fd ptr size ptr ptr", Fn: sysMqTimedreceive},
		Row{Nr: unix.SYS_MQ_NOTIFY, Name: "mq_notify", Args: "fd ptr", Fn: sysMqNotify},
		Row{Nr: unix.SYS_MQ_GETSETATTR, Name: "mq_getsetattr", Args: "fd ptr ptr", Fn: sysMqGetsetattr},
	)
	kernel.AtProcessExit(func(tg *kernel.ThreadGroup) {
		if mqUsed.Load() {
			mqueue.Default().ProcessGone(tg.PID())
		}
	})
}

const mqAttrSize = 64 // struct mq_attr

// mqAttr copies struct mq_attr.
func mqAttr(t *kernel.Task, addr uint64) (flags int64, a mqueue.Attr, e abi.Errno) {
	var b [mqAttrSize]byte
	if e := t.CopyIn(addr, b[:]); e != 0 {
		return 0, a, e
	}
	n := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
	return n(0), mqueue.Attr{MaxMsg: n(1), MsgSize: n(2), CurMsgs: n(3)}, 0
}

// sysMqOpen is mq_open(2). The descriptor is always closed on exec.
func sysMqOpen(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	var attr *mqueue.Attr
	if a[3] != 0 {
		_, given, e := mqAttr(t, a[3])
		if e != 0 {
			return 0, e
		}
		attr = &given
	}
	name, e := t.CopyInString(a[0], pathMax)
	if e != 0 {
		return 0, e
	}
	mqUsed.Store(true)
	limit := t.ThreadGroup().LimitCur(kernel.RLIMIT_MSGQUEUE)
	fd, e := mqueue.Default().Open(t, strings.Clone(name), a.Uint32(1), a.Uint32(2), attr, limit)
	if e != 0 {
		return 0, e
	}
	return install(t, fd, true)
}

// sysMqUnlink is mq_unlink(2).
func sysMqUnlink(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	name, e := t.CopyInString(a[0], pathMax)
	if e != 0 {
		return 0, e
	}
	return 0, mqueue.Default().Unlink(t, strings.Clone(name))
}

// mqTimeout turns an absolute time of CLOCK_REALTIME into a deadline; past
// tells that it is over.
func mqTimeout(t *kernel.Task, addr uint64) (deadline int64, past bool, e abi.Errno) {
	if addr == 0 {
		return 0, false, 0
	}
	at, e := copyTimespec(t, addr)
	if e != 0 {
		return 0, false, e
	}
	left := at - ktime.Real()
	if left <= 0 {
		return 0, true, 0
	}
	return deadlineIn(left), false, 0
}

// mqFile gives a queue's description, a reference taken.
func mqFile(t *kernel.Task, n int32) (*vfs.FileDescription, *mqueue.File, abi.Errno) {
	fd, e := t.FDs().Get(n)
	if e != 0 {
		return nil, nil, e
	}
	f, ok := fd.Impl.(*mqueue.File)
	if !ok {
		fd.DecRef()
		return nil, nil, unix.EBADF
	}
	return fd, f, 0
}

// sysMqTimedsend is mq_timedsend(2).
func sysMqTimedsend(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	prio := a.Uint32(3)
	deadline, past, e := mqTimeout(t, a[4])
	if e != 0 {
		return 0, e
	}
	if prio >= mqueue.PrioMax {
		return 0, unix.EINVAL
	}
	fd, f, e := mqFile(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	if fd.Mode&vfs.FMODE_WRITE == 0 {
		return 0, unix.EBADF
	}
	if a[2] > uint64(f.MessageQueue().Attr().MsgSize) {
		return 0, unix.EMSGSIZE
	}
	text, e := t.WriteBuf(a[1], int(a[2]))
	if e != 0 {
		return 0, e
	}
	return 0, f.Send(t, fd, t, text, prio, deadline, past)
}

// sysMqTimedreceive is mq_timedreceive(2).
func sysMqTimedreceive(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	deadline, past, e := mqTimeout(t, a[4])
	if e != 0 {
		return 0, e
	}
	fd, f, e := mqFile(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	text, prio, e := f.Receive(fd, t, a[2], deadline, past)
	if e != 0 {
		return 0, e
	}
	if a[3] != 0 {
		if e := put32(t, a[3], prio); e != 0 {
			return 0, e
		}
	}
	if _, e := t.CopyOutNow(a[1], text); e != 0 {
		return 0, e
	}
	return uint64(len(text)), 0
}

// sysMqGetsetattr is mq_getsetattr(2): O_NONBLOCK is all that can be set.
func sysMqGetsetattr(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	var flags int64
	if a[1] != 0 {
		var e abi.Errno
		if flags, _, e = mqAttr(t, a[1]); e != 0 {
			return 0, e
		}
		if flags&^unix.O_NONBLOCK != 0 {
			return 0, unix.EINVAL
		}
	}
	fd, f, e := mqFile(t, a.Int(0))
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	attr := f.MessageQueue().Attr()
	was := fd.Flags() & unix.O_NONBLOCK
	if a[1] != 0 {
		if e := fd.SetFlags(t, fd.Flags()&^unix.O_NONBLOCK|uint32(flags)); e != 0 {
			return 0, e
		}
	}
	if a[2] == 0 {
		return 0, 0
	}
	var b [mqAttrSize]byte
	for i, v := range []int64{int64(was), attr.MaxMsg, attr.MsgSize, attr.CurMsgs} {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(v))
	}
	return 0, t.CopyOut(a[2], b[:])
}
