package platform

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Request is what a guest thread's stub reported, copied once. Nothing in it
// can be trusted; it is merely stable.
type Request struct {
	Kind     Kind
	Nr       uint32
	Args     [6]uint64
	IP, SP   uint64
	Sig      uint32 // KindFault: the host's signal
	Code     int32  // its si_code; for rt_sigreturn an errno or 0
	Addr     uint64 // its si_addr
	Trapno   uint64
	Err      uint64 // its error code; 1 for a call through int 0x80
	Result   uint64
	FailedOp uint32
	OpErrno  unix.Errno
	CPU      uint32 // where the call was made
	nin      uint32
	in       [maxIn]inSegment
}

// Thread is a host thread that runs guest code, and its slot.
type Thread struct {
	proc  *Process
	area  *Area
	index int
	mem   []byte // the slot: control page, then data
	slot  *slot
	data  []byte
	socks []byte // struct socks
	note  []byte // struct note

	Req   Request
	nops  int
	outAt uint32 // where the next bytes for the guest go in data
	seq   uint32

	failed Kind // of an early Do in add; 0 if all went well

	tid atomic.Int32 // on the host; 0 until it is known, then constant
	// inherited is the CPU that the thread was pinned to from its birth, -1
	// none; until Begin.
	inherited int
	leaving   bool // by Exit
	freed     bool // guarded by Area.mu

	dead    atomic.Bool
	kicking atomic.Bool // kickUnborn runs
	acked   atomic.Bool // the goroutine saw that it is dead
	policy  policy
	settle  func() // takes what the stub has posted; nil until the first Lend
	// sleeper is the Sentry's thread that waits for events here, or is about
	// to: nag calls it back.
	sleeper atomic.Pointer[Seat]
	ended   bool // AtEnd was told
	boxed   bool // struct socks is in use
	// boxesLent is how many sockets are lent.
	boxesLent atomic.Int32
}

// Process gives the host process.
func (t *Thread) Process() *Process { return t.proc }

// Events is how many events the thread has had (own goroutine).
func (t *Thread) Events() uint32 { return t.policy.calls.Load() }

// HostTID is the host's thread id, or 0 while the thread is still to be cloned.
func (t *Thread) HostTID() int {
	if tid := t.tid.Load(); tid != 0 {
		return int(tid)
	}
	t.area.mu.Lock()
	defer t.area.mu.Unlock()
	if t.area.slots[t.index] != t || t.freed {
		return 0
	}
	// The slot's word is a hint: it must be a thread of that process, or the
	// Sentry could be made to place and to signal somebody else's.
	tid := int32(atomic.LoadUint32(&t.slot.hostTID))
	if tid <= 1 || unix.Tgkill(t.proc.pid, int(tid), 0) != nil {
		return 0
	}
	t.tid.Store(tid)
	return int(tid)
}

// add appends an operation to the reply. When there is no more room it has the
// ones before carried out; failed keeps what went wrong there.
func (t *Thread) add(code uint32, a ...uint64) {
	if t.nops >= maxOps {
		if k := t.Do(); k != KindDone && t.failed == 0 {
			t.failed = k
		}
	}
	o := &t.slot.op[t.nops]
	o.code, o.flags = code, 0
	copy(o.a[:], a)
	t.nops++
}

// put copies b into the slot's data and gives its offset.
func (t *Thread) put(b []byte) (uint32, error) {
	off := t.outAt
	if int(off)+len(b) > len(t.data) {
		return 0, unix.ENOSPC
	}
	copy(t.data[off:], b)
	t.outAt = (off + uint32(len(b)) + 15) &^ 15
	return off, nil
}

// Resume ends the call: the operations are carried out, rax is set, and the
// guest runs on. It gives the next event.
func (t *Thread) Resume(rax uint64, flags uint32) Kind {
	t.slot.rax = rax
	t.post(flags | replyFinal)
	return t.wait()
}

// Release is Resume without the waiting, by whoever made the thread: Next gives
// its first event, to the goroutine that will serve it. That one sleeps on bed,
// whose value is val, and is woken by the event itself: or at once, if it is
// on its way to bed still; then Release gives false, and the caller wakes it.
// seat is whose bed it is.
func (t *Thread) Release(rax uint64, flags uint32, bed *uint32, val uint32, seat *Seat) bool {
	ok := false
	if bed != nil {
		t.sleeper.Store(seat)
		// It stays 1 when nobody slept: the worst is a wake too many.
		atomic.StoreUint32(&t.slot.sentrySleeps, 1)
		ok = t.summon(bed, val)
	}
	t.slot.rax = rax
	t.post(flags | replyFinal)
	return ok
}

// Next gives the next event after Release.
func (t *Thread) Next() Kind {
	atomic.StoreUint32(&t.slot.sentrySleeps, 0)
	return t.wait()
}

// Do has the operations carried out while the call goes on. It gives KindDone,
// or what went wrong.
func (t *Thread) Do() Kind {
	t.post(0)
	return t.wait()
}

// Flush has what was appended carried out now, if there is anything.
func (t *Thread) Flush() Kind {
	if t.nops == 0 {
		return KindDone
	}
	return t.Do()
}

// post hands the turn to the guest.
func (t *Thread) post(flags uint32) {
	s := t.slot
	t.seq++
	s.seq = t.seq
	s.nops = uint32(t.nops)
	s.rflags = flags
	t.nops = 0
	t.outAt = inMax
	t.policy.replied = rdtsc()
	atomic.StoreUint32(&s.turn, turnReply)
	if atomic.LoadUint32(&s.guestSleeps) != 0 {
		FutexWake(&s.turn, bitsetGuest, false)
	}
}

// wait gives the next event, its request copied into Req.
func (t *Thread) wait() Kind {
	if !t.policy.wait(t) {
		t.Req.Kind = KindDied
		t.acked.Store(true)
		return KindDied
	}
	atomic.StoreUint32(&t.slot.turn, turnGuest)
	s, r := t.slot, &t.Req
	r.Kind = Kind(s.kind)
	switch r.Kind {
	case KindSyscall, KindFast:
		r.Nr, r.Args = s.nr, s.arg
		r.nin, r.in = s.nin, s.in
		r.Code, r.Err, r.CPU = s.code, s.err, s.cpu
		if r.Kind == KindFast { // what stands there is an older fault's
			r.Code, r.Err = 0, 0
		}
	case KindFault:
		r.Sig, r.Code, r.Addr, r.Trapno, r.Err = s.sig, s.code, s.addr, s.trapno, s.err
		r.nin = 0
	case KindOpFail:
		r.FailedOp, r.OpErrno = s.failedOp, unix.Errno(s.opErrno)
		r.Result = s.result
		return r.Kind
	case KindDone:
		r.Result = s.result
		return r.Kind
	case KindInterrupt, KindReady:
		r.nin = 0
	default:
		// No such event: the guest scribbled over its slot.
		t.proc.Kill()
		return t.wait()
	}
	r.IP, r.SP = s.ip, s.sp
	if r.nin > maxIn {
		r.nin = 0
	}
	return r.Kind
}

// Kick makes the guest's thread stop soon: guest code gives KindInterrupt, a
// native wait is cut short.
func (t *Thread) Kick() {
	if !t.kick() && t.kicking.CompareAndSwap(false, true) {
		go t.kickUnborn() // one, however many kicks: the slot's word may stay 0
	}
}

// kick gives false while the thread is still to be cloned.
func (t *Thread) kick() bool {
	if t.dead.Load() {
		return true
	}
	tid := t.HostTID()
	if tid != 0 {
		unix.Tgkill(t.proc.pid, tid, unix.Signal(sigKick))
	}
	return tid != 0
}

func (t *Thread) kickUnborn() {
	for pause := 50 * time.Microsecond; !t.kick() && !t.left(); pause = min(2*pause, 10*time.Millisecond) {
		time.Sleep(pause)
	}
	t.kicking.Store(false)
}

// left tells whether the thread's slot was given back.
func (t *Thread) left() bool {
	t.area.mu.Lock()
	defer t.area.mu.Unlock()
	return t.freed || t.area.slots[t.index] != t
}

// Unborn ends a thread that could not be cloned: it gives KindDied.
func (t *Thread) Unborn() { t.markDead() }

// markDead makes wait give KindDied, now and from now on.
func (t *Thread) markDead() {
	t.dead.Store(true)
	t.area.mu.Lock()
	defer t.area.mu.Unlock()
	if t.area.slots[t.index] != t {
		t.acked.Store(true)
		return
	}
	atomic.StoreUint32(&t.slot.turn, turnKick)
	FutexWake(&t.slot.turn, bitsetSentry, false)
}

// nag repeats markDead until the Sentry's goroutine has seen it: another
// process that shares the slots could have undone the first, or have moved the
// sleeper to a futex of its own: a signal has it look at its own word again.
func (t *Thread) nag() {
	for !t.acked.Load() {
		time.Sleep(10 * time.Millisecond)
		t.area.mu.Lock()
		if t.area.slots[t.index] == t {
			atomic.StoreUint32(&t.slot.turn, turnKick)
			FutexWake(&t.slot.turn, bitsetSentry, false)
		} else {
			t.acked.Store(true)
		}
		t.area.mu.Unlock()
		if seat := t.sleeper.Load(); seat != nil && !t.acked.Load() {
			seat.interrupt()
		}
	}
}

// Free gives the slot back. The host thread must be gone, or on its way out
// with its process.
func (t *Thread) Free() {
	t.proc.remove(t)
	t.area.free(t)
}

// Ids are what the stub answers by itself.
type Ids struct{ PID, TID, PPID, UID, EUID, GID, EGID uint32 }

// SetIds updates them; Valid false: the stub asks for each.
func (t *Thread) SetIds(i Ids, valid bool) {
	s := t.slot
	s.pid, s.tid, s.ppid, s.uid, s.euid, s.gid, s.egid = i.PID, i.TID, i.PPID, i.UID, i.EUID, i.GID, i.EGID
	s.gettime = 0
	if valid {
		s.gettime = t.proc.p.gettime
		atomic.StoreUint32(&s.answers, answersValid)
	} else {
		atomic.StoreUint32(&s.answers, 0)
	}
}
