package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_POLL, Name: "poll", Args: "ptr size int", Fn: sysPoll},
		Row{Nr: unix.SYS_PPOLL, Name: "ppoll", Args: "ptr size ptr ptr size", Fn: sysPpoll},
		Row{Nr: unix.SYS_SELECT, Name: "select", Args: "int ptr ptr ptr ptr", Fn: sysSelect},
		Row{Nr: unix.SYS_PSELECT6, Name: "pselect6", Args: "int ptr ptr ptr ptr ptr", Fn: sysPselect6},
	)
}

// timeout is a call's own limit of its waiting.
type timeout struct {
	deadline int64 // CLOCK_MONOTONIC; 0: none
	past     bool  // do not wait at all
}

// timeoutMs is poll's and epoll_wait's: milliseconds, negative for ever.
func timeoutMs(ms int32) timeout {
	switch {
	case ms < 0:
		return timeout{}
	case ms == 0:
		return timeout{past: true}
	}
	return timeout{deadline: deadlineIn(int64(ms) * 1e6)}
}

// timeoutNs is for a relative time in nanoseconds.
func timeoutNs(ns int64) timeout {
	if ns == 0 {
		return timeout{past: true}
	}
	return timeout{deadline: deadlineIn(ns)}
}

// left is what remains of it.
func (d timeout) left() int64 {
	if d.past {
		return 0
	}
	return max(d.deadline-ktime.Mono(), 0)
}

// tempMask installs the signal mask of ppoll and its like, if there is one.
func tempMask(t *kernel.Task, addr, size uint64) abi.Errno {
	if addr == 0 {
		return 0
	}
	if size != 8 {
		return unix.EINVAL
	}
	m, e := get64(t, addr)
	if e == 0 {
		t.SetTempMask(kernel.SignalSet(m))
	}
	return e
}

// doPoll is poll(2) with its timeout worked out; ERESTARTSYS if a signal came.
func doPoll(t *kernel.Task, addr uint64, n uint32, d timeout) (uint64, abi.Errno) {
	if uint64(n) > noFile(t) {
		return 0, unix.EINVAL
	}
	s := pollSets.Get().(*pollSet)
	defer s.put()
	raw := s.bytes(int(n) * abi.PollFDSize)
	if n > 0 {
		if e := t.CopyIn(addr, raw); e != 0 {
			return 0, e
		}
	}
	bad := 0
	le := binary.LittleEndian
	for i := range int(n) {
		b := raw[i*abi.PollFDSize:]
		num := int32(le.Uint32(b))
		le.PutUint16(b[6:], 0)
		if num < 0 {
			s.add(nil, 0)
			continue
		}
		fd, e := t.FDs().GetFile(num)
		if e != 0 {
			le.PutUint16(b[6:], unix.POLLNVAL)
			bad++
			s.add(nil, 0)
			continue
		}
		s.add(fd, uint32(le.Uint16(b[4:])))
	}
	if bad > 0 {
		d = timeout{past: true}
	}
	ready, e := s.wait(t, d.deadline, d.past)
	if e != 0 {
		return 0, e
	}
	for i := range s.items {
		if it := &s.items[i]; it.fd != nil {
			le.PutUint16(raw[i*abi.PollFDSize+6:], uint16(it.got))
		}
	}
	if n > 0 {
		if e := t.CopyOut(addr, raw); e != 0 {
			return 0, e
		}
	}
	return uint64(ready + bad), 0
}

// sysPoll is poll(2). Interrupted, it goes on with the time that is left.
func sysPoll(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	addr, count, d := a[0], a.Uint32(1), timeoutMs(a.Int(2))
	n, e := doPoll(t, addr, count, d)
	if e == abi.ERESTARTSYS {
		return 0, restartPoll(t, addr, count, d)
	}
	return n, e
}

func restartPoll(t *kernel.Task, addr uint64, count uint32, d timeout) abi.Errno {
	return t.SetRestart(func(t *kernel.Task) (uint64, abi.Errno) {
		n, e := doPoll(t, addr, count, d)
		if e == abi.ERESTARTSYS {
			return 0, restartPoll(t, addr, count, d)
		}
		return n, e
	})
}

// copyTimeout copies a struct timespec, or a timeval, that may be null.
func copyTimeout(t *kernel.Task, addr uint64, decode func([]byte) (int64, bool)) (timeout, abi.Errno) {
	if addr == 0 {
		return timeout{}, 0
	}
	var b [abi.TimespecSize]byte
	if e := t.CopyIn(addr, b[:]); e != 0 {
		return timeout{}, e
	}
	ns, ok := decode(b[:])
	if !ok {
		return timeout{}, unix.EINVAL
	}
	return timeoutNs(ns), 0
}

// finishTimed ends a call with a timeout in the guest's memory: what is left of
// it goes back there, and a signal lets the call be made again with that,
// unless a handler runs. A fault on the way back is passed over, as in Linux.
func finishTimed(t *kernel.Task, e abi.Errno, addr uint64, d timeout, encode func([]byte, int64)) abi.Errno {
	if e == abi.ERESTARTSYS {
		e = abi.ERESTARTNOHAND
	}
	if addr == 0 {
		return e
	}
	if t.Personality()&kernel.STICKY_TIMEOUTS != 0 {
		if e == abi.ERESTARTNOHAND {
			return unix.EINTR
		}
		return e
	}
	var b [abi.TimespecSize]byte
	encode(b[:], d.left())
	if t.CopyOut(addr, b[:]) != 0 && e == abi.ERESTARTNOHAND {
		return unix.EINTR
	}
	return e
}

// sysPpoll is ppoll(2).
func sysPpoll(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	d, e := copyTimeout(t, a[2], abi.Timespec)
	if e != 0 {
		return 0, e
	}
	if e := tempMask(t, a[3], a[4]); e != 0 {
		return 0, e
	}
	n, e := doPoll(t, a[0], a.Uint32(1), d)
	t.RestoreMask(e == abi.ERESTARTSYS)
	return n, finishTimed(t, e, a[2], d, abi.PutTimespec)
}
