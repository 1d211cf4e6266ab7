package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
)

// Dispatcher runs one system call. It is the syscalls package's.
type Dispatcher func(t *Task, nr uint32, args *[6]uint64, ip uint64) (uint64, abi.Errno)

// Results of a Dispatcher beside errno values.
const (
	// KeepRegs: the registers stay as they are (rt_sigreturn, a rolled back call).
	KeepRegs abi.Errno = 0x2000
	// ExitTask: the task is to exit with the value as its status.
	ExitTask abi.Errno = 0x2001
	// EnterProgram: a new program is loaded.
	EnterProgram abi.Errno = 0x2002
	// RetryNative: the stub carries out the call by the host's (futex again, the FS
	// base, rseq).
	RetryNative abi.Errno = 0x2003
)

// firstEvent is where the goroutine of a released task begins.
func firstEvent(t *Task) platform.Kind { return t.plat.th.Load().Next() }

// run handles events until the task exits.
func (t *Task) run(k platform.Kind) {
	for k != kindExited {
		k = t.handle(k)
	}
}

// kindExited ends run.
const kindExited platform.Kind = 101

func (t *Task) handle(k platform.Kind) platform.Kind {
	th := t.plat.th.Load()
	if t.sig.lent.Load() != maskKept {
		t.takeMask(th)
	}
	t.plat.user.Store(false)
	t.strings.used = 0
	switch k {
	case platform.KindSyscall, platform.KindFast:
		t.plat.kind = k
		t.plat.delivered = false
		t.plat.opErrno = nil
		return t.call(th)
	case platform.KindFault:
		t.plat.kind = platform.KindSyscall
		t.fault(th)
		return t.leave(0, KeepRegs)
	case platform.KindInterrupt:
		t.plat.kind = platform.KindSyscall
		return t.leave(0, KeepRegs)
	case platform.KindOpFail:
		return t.opFailed(th)
	}
	return t.died()
}

// call handles a system call.
func (t *Task) call(th *platform.Thread) platform.Kind {
	r := &th.Req
	nr := r.Nr
	t.plat.args = r.Args
	if r.Err != 0 {
		// int 0x80: as on a kernel without 32-bit emulation.
		t.ForceSignal(FaultInfo(SIGSEGV, SI_KERNEL, 0))
		return t.leave(0, KeepRegs)
	}
	if t.plat.kind == platform.KindFast && needsFrame(nr) {
		ip := r.IP
		if k := th.Resume(0, platform.ReplyTrap); k != platform.KindInterrupt {
			return t.handle(k)
		}
		t.plat.kind = platform.KindSyscall
		r.IP = ip
	}
	t.plat.nr = nr
	if nr == unix.SYS_RT_SIGRETURN {
		return t.sigreturn(th)
	}
	ip := r.IP
	v, e := t.k.dispatch(t, nr, &t.plat.args, r.IP)
	// Behind the call: what a patch changes must not be left waiting while the
	// call blocks.
	if t.plat.kind == platform.KindSyscall && !needsFrame(nr) && e != ExitTask && e != EnterProgram {
		t.mm.Hit(th, ip, nr)
	}
	return t.leave(v, e)
}

// needsFrame: calls that copy or replace the caller's registers.
func needsFrame(nr uint32) bool {
	switch nr {
	case unix.SYS_CLONE, unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_CLONE3, unix.SYS_EXECVE, unix.SYS_EXECVEAT:
		return true
	}
	return false
}

// sigreturn: the stub has loaded the registers of the guest's frame; mask and
// alternate stack are the Sentry's.
func (t *Task) sigreturn(th *platform.Thread) platform.Kind {
	r := &th.Req
	if r.Code != 0 {
		t.ForceSignal(FaultInfo(SIGSEGV, SI_KERNEL, 0))
		return t.leave(0, KeepRegs)
	}
	t.sig.hasSaved = false
	t.setBlocked(SignalSet(r.Args[0]) &^ sigKernelOnly)
	t.RestoreAltStack(AltStack{SP: r.Args[1], Flags: uint32(r.Args[2]), Size: r.Args[3]}, r.SP)
	return t.leave(0, KeepRegs)
}

// fault turns a host's synchronous signal into the guest's.
func (t *Task) fault(th *platform.Thread) {
	r := &th.Req
	sig, code, addr := int32(r.Sig), r.Code, r.Addr
	switch sig {
	case SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP:
	default:
		sig = SIGSEGV
	}
	if addr >= platform.StubBase && addr < platform.StubBase+1<<40 && code > 0 && code != SI_KERNEL {
		code = 1 // SEGV_MAPERR: nothing is mapped there, as far as the guest can tell
	}
	t.logFault(sig, addr, r.IP, r.SP, r.Err)
	t.ForceSignal(FaultInfo(sig, code, addr))
}

// leave ends the handling of an event: signals are delivered, and the guest
// runs on with result v or errno e. It gives the next event.
func (t *Task) leave(v uint64, e abi.Errno) platform.Kind {
	th := t.plat.th.Load()
	switch e {
	case 0:
	case ExitTask:
		return t.exit(uint32(v))
	case EnterProgram:
		return t.enterProgram()
	case RetryNative:
		if t.toUser() {
			return th.Resume(0, platform.ReplyRetry)
		}
		e = restartNative(&th.Req)
	}
	if t.plat.ids != t.creds.Load() {
		t.updateIds(th)
	}
	t.giveMask(th)
	t.plat.user.Store(true)
	if !t.interrupted() && !t.sig.hasSaved {
		switch {
		case e == KeepRegs:
			return th.Resume(0, platform.ReplyKeepRax)
		case e == 0:
			return th.Resume(v, 0)
		case e < 512:
			return th.Resume(uint64(-int64(e)), 0)
		}
	}
	return t.leaveSlowly(th, v, e)
}

// restartNative says how a native call goes on behind a signal that comes first.
func restartNative(r *platform.Request) abi.Errno {
	switch {
	case r.Nr != unix.SYS_FUTEX:
		return abi.ERESTARTNOINTR
	case timedWait(r):
		return abi.ERESTARTNOHAND
	}
	return abi.ERESTARTSYS
}

// timedWait: a futex wait with a time limit, which a handler always ends.
func timedWait(r *platform.Request) bool {
	cmd := r.Args[1] & 127
	return r.Args[3] != 0 && (cmd == 0 || cmd == 9)
}

// leaveSlowly is leave when signals may be due or a call is to be made again.
func (t *Task) leaveSlowly(th *platform.Thread, v uint64, e abi.Errno) platform.Kind {
	// The task may stop here: other threads must not wait for its changes of memory.
	if k := th.Flush(); k != platform.KindDone {
		return t.handle(k)
	}
	keep := e == KeepRegs
	if e != 0 && e < 512 {
		v, e = uint64(-int64(e)), 0
	}
	if t.plat.kind == platform.KindFast {
		// No frame yet: the stub makes one behind the call.
		if e != 0 {
			v = uint64(0xffff_ffff_ffff_fffc) // -EINTR, replaced below
		}
		nr := t.plat.nr
		k := th.Resume(v, platform.ReplyTrap)
		if k != platform.KindInterrupt {
			return t.handle(k)
		}
		t.plat.kind, t.plat.nr = platform.KindSyscall, nr
		if e == 0 {
			keep = true
		}
	}
	t.plat.user.Store(false)
	t.plat.delivered = false
	decided := keep || e == KeepRegs
	for {
		d := t.dequeueForDelivery()
		if d != nil && d.Kind == DeliverExit {
			return t.exit(d.Status)
		}
		if !decided {
			t.decide(th, v, e, d)
			decided = true
		}
		if d == nil {
			if t.toUser() {
				break
			}
			continue
		}
		t.buildFrame(th, d)
	}
	return th.Resume(0, platform.ReplyKeepRax)
}

// toUser tells whether guest code may run on: no work came in between.
func (t *Task) toUser() bool {
	t.giveMask(t.plat.th.Load())
	t.plat.user.Store(true)
	if t.interrupted() {
		t.plat.user.Store(false)
		return false
	}
	return true
}

// decide sets the guest's result, or has it make its call again.
func (t *Task) decide(th *platform.Thread, v uint64, e abi.Errno, d *Delivery) {
	switch restartDecision(e, d) {
	case RestartSame:
		th.Restart(t.plat.nr)
	case RestartBlock:
		th.Restart(unix.SYS_RESTART_SYSCALL)
	case RestartEINTR:
		th.SetRax(uint64(0xffff_ffff_ffff_fffc))
	default:
		th.SetRax(v)
	}
}

// buildFrame has the stub build the frame of a handler.
func (t *Task) buildFrame(th *platform.Thread, d *Delivery) {
	if !t.plat.delivered {
		t.guestSP = th.Req.SP
	}
	sp := t.guestSP // behind an earlier frame of this exit: on the same stack
	alt := t.frameAltStack(sp)
	top := t.handlerStack(d, sp)
	out := platform.Delivery{
		Handler: d.Action.Handler, Restorer: d.Action.Restorer, Signo: uint32(d.Sig), Info: (*[128]byte)(&d.Info),
		Mask: uint64(d.SaveMask), AltSP: alt.SP, AltSize: alt.Size, AltFlags: alt.Flags,
	}
	if top != sp {
		out.StackTop = top
		t.guestSP = top - 1024
	}
	if top != sp || t.onAltStack(sp) {
		out.StackLow = t.sig.alt.SP
	}
	ok := d.Action.Flags&SA_RESTORER != 0 && top >= 4096
	if ok {
		if f := &t.plat.frames; !t.plat.delivered {
			*f = framesBegun{mask: t.sig.blocked, alt: t.sig.alt, sig: d.Sig}
		} else if d.Sig == SIGSEGV {
			f.sig = SIGSEGV
		}
		th.Deliver(&out)
		t.plat.delivered = true
	}
	t.handlerStarted(d, ok)
}

// framesBegun is what a task was before the frames of an exit, in case they
// cannot be built.
type framesBegun struct {
	mask SignalSet
	alt  AltStack
	sig  int32 // whose frame; SIGSEGV if one is
}

// framesFailed: the stack is bad. As force_sigsegv, SIGSEGV follows, and ends
// the process if it was SIGSEGV's own frame.
func (t *Task) framesFailed() {
	f := &t.plat.frames
	t.plat.delivered = false
	t.sig.alt = f.alt
	t.setBlocked(f.mask)
	t.k.printk(6, "%s[%d]: bad frame in signal delivery: sp %x", t.Name(), t.tg.pid, t.guestSP)
	info := KernelInfo(SIGSEGV, SI_KERNEL, 0, 0)
	if f.sig == SIGSEGV {
		t.ForceFatal(info)
		return
	}
	t.ForceSignal(info)
}

// opFailed: an operation of the last reply could not be carried out.
func (t *Task) opFailed(th *platform.Thread) platform.Kind {
	if t.plat.delivered {
		t.framesFailed()
		return t.leave(0, KeepRegs)
	}
	if f := t.plat.opErrno; f != nil {
		t.plat.opErrno = nil
		f()
	}
	e := th.Req.OpErrno
	if e == 0 || e >= 512 {
		e = unix.EFAULT
	}
	return t.leave(0, e)
}

// died: the host process is gone without the Sentry's doing.
func (t *Task) died() platform.Kind {
	if t.plat.unborn.Load() {
		return t.exit(0)
	}
	status := uint32(SIGKILL)
	if t.plat.th.Load().Process().EndedBy() == unix.SIGSEGV {
		status = SIGSEGV // the host's kernel forced it: a rseq area that is gone
	}
	if !t.killed() {
		t.GroupExit(status)
	}
	t.tg.sig.mu.Lock()
	if t.tg.sig.groupExit {
		status = t.tg.sig.exitStatus
	}
	t.tg.sig.mu.Unlock()
	t.plat.delivered = false
	return t.exit(status)
}

// updateIds tells the stub what getpid(2) and the like answer.
func (t *Task) updateIds(th *platform.Thread) {
	c := t.creds.Load()
	t.plat.ids = c
	local := !t.k.watchCalls && !t.WatchesCalls()
	th.SetIds(platform.Ids{PID: uint32(t.tg.pid), TID: uint32(t.tid), UID: c.UID, EUID: c.EUID, GID: c.GID, EGID: c.EGID}, local)
	if !local {
		t.keepMask(th)
		t.endLoan()
	}
}
