package platform

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The Go scheduler need not know of a short sleep: to tell it costs more than
// the sleep, when another thread has to find this one a P again. So the first
// part of a sleep keeps its P, and few sleepers at a time may. A collection's
// signal cuts it short.
const (
	// SparePs are the Ps that sleepers may hold (see GOMAXPROCS in boot).
	SparePs = 6
	// heldFor bounds how long; at least a timer tick, or each sleep would
	// program the timer.
	heldFor = 10 * time.Millisecond
)

var holders atomic.Int32

const (
	futexWaitBitset = 9
	futexWakeBitset = 10
	futexPrivate    = 128
)

// SentryBit is the bitset of a thread of the Sentry that may be moved to a slot's
// turn by Release.
const SentryBit = bitsetSentry

// FutexWait sleeps while *word is val: until a wake for bitset, deadline
// (CLOCK_MONOTONIC, ns; 0: none), or for no reason. private: no other process
// has the word.
func FutexWait(word *uint32, val, bitset uint32, private bool, deadline int64) {
	op := uintptr(futexWaitBitset)
	if private {
		op |= futexPrivate
	}
	if holders.Add(1) <= SparePs {
		until := monotonic() + int64(heldFor)
		last := deadline != 0 && deadline <= until
		if last {
			until = deadline
		}
		ts := unix.NsecToTimespec(until)
		_, _, e := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), op, uintptr(val), uintptr(unsafe.Pointer(&ts)), 0, uintptr(bitset))
		holders.Add(-1)
		if e != unix.ETIMEDOUT || last {
			return
		}
	} else {
		holders.Add(-1)
	}
	var tsp *unix.Timespec
	if deadline != 0 {
		ts := unix.NsecToTimespec(deadline)
		tsp = &ts
	}
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), op, uintptr(val), uintptr(unsafe.Pointer(tsp)), 0, uintptr(bitset))
}

// FutexWake wakes one sleeper for bitset.
func FutexWake(word *uint32, bitset uint32, private bool) {
	op := uintptr(futexWakeBitset)
	if private {
		op |= futexPrivate
	}
	unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), op, 1, 0, 0, uintptr(bitset))
}

// summon moves a sleeper of word (shared, for bitsetSentry) to the slot's turn:
// the guest's first event wakes it. It gives false if nobody slept there.
// *word must be val.
func (t *Thread) summon(word *uint32, val uint32) bool {
	const cmpRequeue = 4
	n, _, e := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), cmpRequeue, 0, 1, uintptr(unsafe.Pointer(&t.slot.turn)), uintptr(val))
	return e == 0 && n == 1
}

// clockBase relates the Go runtime's monotonic clock to the host's.
var clockBase = struct {
	at   time.Time
	mono int64
}{time.Now(), hostMono()}

func hostMono() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// monotonic is CLOCK_MONOTONIC in ns, without a system call.
func monotonic() int64 { return clockBase.mono + int64(time.Since(clockBase.at)) }
