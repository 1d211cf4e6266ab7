package platform

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Fork makes a copy of t's process. The child waits for its first reply, in the
// state that t's guest is in.
func (t *Thread) Fork() (*Thread, error) {
	area, err := newArea()
	if err != nil {
		return nil, err
	}
	child, err := area.newThread(nil)
	if err != nil {
		area.close()
		return nil, err
	}
	fail := func(err error) (*Thread, error) {
		area.free(child)
		return nil, err
	}
	t.area.fdMu.Lock()
	defer t.area.fdMu.Unlock()
	if err := t.area.sendFDs(area.fd, area.theirs); err != nil {
		return fail(unix.EAGAIN)
	}
	child.inherited = t.CPU()
	child.policy.allowed.Store(t.policy.allowed.Load())
	t.add(opRecvFD, 2)
	t.add(opFork)
	switch t.Do() {
	case KindDone:
	case KindOpFail:
		return fail(t.Req.OpErrno)
	default:
		return fail(unix.ESRCH)
	}
	area.handedOver()
	area.keepsPrivate(child, t)
	proc := t.proc.p.register(int(t.Req.Result))
	if proc == nil {
		return fail(unix.EAGAIN)
	}
	child.adopt(proc)
	return child, nil
}

func (t *Thread) adopt(p *Process) {
	t.proc = p
	t.tid.Store(int32(p.pid))
	p.add(t)
}

// CloneState is what a new thread starts with.
type CloneState struct {
	SP     uint64 // 0: the caller's
	SetTLS bool
	TLS    uint64
	Vfork  bool // a process of its own in the same address space
	Now    bool // a thread is there when Clone returns, too
}

// Clone makes a new host thread, or for Vfork a host process, in t's address
// space. It waits for its first reply in the state that t's guest is in, which
// must have come through SIGSYS. A process is there when Clone returns; a thread
// is made by t's next reply, unless it must be Now. That ends in KindOpFail if it
// cannot be.
func (t *Thread) Clone(st CloneState) (*Thread, error) {
	child, err := t.area.newThread(nil)
	if err != nil {
		return nil, err
	}
	kind, tls := uint64(0), uint64(0)
	if st.Vfork {
		kind = 1
	}
	if st.SetTLS {
		tls = 1
	}
	child.inherited = t.CPU()
	child.policy.allowed.Store(t.policy.allowed.Load())
	t.add(opClone, kind, uint64(child.index), st.SP, st.TLS, tls)
	if st.Vfork || st.Now {
		if e := t.cloneNow(); e != 0 {
			t.area.free(child)
			return nil, e
		}
	}
	if !st.Vfork {
		child.proc = t.proc
		t.proc.add(child)
		return child, nil
	}
	proc := t.proc.p.register(int(t.Req.Result))
	if proc == nil {
		t.area.free(child)
		return nil, unix.EAGAIN
	}
	child.adopt(proc)
	return child, nil
}

func (t *Thread) cloneNow() unix.Errno {
	switch t.Do() {
	case KindDone:
		return 0
	case KindOpFail:
		return t.Req.OpErrno
	}
	return unix.ESRCH
}

// Start is the first reply's last operation in a fresh process: go to ip with
// stack pointer sp.
func (t *Thread) Start(ip, sp uint64) { t.add(opStart, ip, sp) }

// Empty makes the process as a fresh one, in its place: its robust futexes are
// marked (with tid), nothing of the guest's is mapped any more, and registers
// are zero. The thread must be the process's only one, and its call have come
// through SIGSYS. What the guest did to its stub, though, it has done.
func (t *Thread) Empty(tid uint32) {
	if head := t.Robust(); head != 0 {
		t.add(opRobust, head, uint64(tid))
		t.SetRobust(0)
	}
	t.LetDrop(0, 0)
	t.add(opEmpty)
}

// SetFS sets the thread's FS base.
func (t *Thread) SetFS(base uint64) { t.add(opSetFS, base) }

// Exit ends the host thread, after its robust futexes were marked (with tid)
// and its clear_child_tid was cleared. The thread is gone when the slot says
// so; its process stays.
func (t *Thread) Exit(tid uint32, clearTID uint64) {
	if head := t.Robust(); head != 0 {
		t.add(opRobust, head, uint64(tid))
	}
	t.add(opExit, clearTID)
	t.post(replyFinal)
	t.leaving = true
	t.proc.remove(t)
}

// gone tells whether a thread that left by Exit has left its stack.
func (t *Thread) gone() bool {
	return atomic.LoadUint32(&t.slot.hostTID) == 0 || t.proc.Dead()
}

// SetRobust (by the own goroutine) and Robust are the head of the guest's robust list, a word of the
// guest's own.
func (t *Thread) SetRobust(head uint64) { atomic.StoreUint64(&t.slot.robust, head) }
func (t *Thread) Robust() uint64 {
	t.area.mu.Lock()
	defer t.area.mu.Unlock()
	if t.area.slots[t.index] != t {
		return 0 // gone, and its slot with it
	}
	return atomic.LoadUint64(&t.slot.robust)
}

// LendMask lets the stub change the guest's signal mask, from m on; RecallMask
// ends that. Mask is what it has now, a word of the guest's own. The slot must
// not be freed meanwhile.
func (t *Thread) LendMask(m uint64) {
	atomic.StoreUint64(&t.slot.mask, m)
	atomic.StoreUint32(&t.slot.maskable, 1)
}
func (t *Thread) RecallMask()  { atomic.StoreUint32(&t.slot.maskable, 0) }
func (t *Thread) Mask() uint64 { return atomic.LoadUint64(&t.slot.mask) }

// LetDrop lets the stub answer MADV_DONTNEED in [lo, hi), from the next reply on.
func (t *Thread) LetDrop(lo, hi uint64) { t.slot.dropLo, t.slot.dropHi = lo, hi }

// SetSP sets the guest's stack pointer in the frame.
func (t *Thread) SetSP(sp uint64) { t.add(opSetSP, sp) }
