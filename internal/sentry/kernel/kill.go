package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

// userInfo is the siginfo that kill(2) and tgkill(2) make.
func (t *Task) userInfo(sig, code int32) SigInfo {
	return KernelInfo(sig, code, t.tg.pid, t.Creds().UID)
}

// maySignal is kill(2)'s permission rule. The caller holds no sig.mu.
func (t *Task) maySignal(tg *ThreadGroup, target *Task, sig int32) bool {
	c := t.Creds()
	if t.tg == tg {
		return true
	}
	if target == nil {
		if target = tg.signalTarget(); target == nil {
			return true
		}
	}
	d := target.Creds()
	if c.EUID == d.SUID || c.EUID == d.UID || c.UID == d.SUID || c.UID == d.UID || c.Capable(auth.CAP_KILL) {
		return true
	}
	return sig == SIGCONT && tg.pgrp != nil && t.tg.pgrp != nil && tg.pgrp.session == t.tg.pgrp.session
}

// signalTarget gives the task whose credentials count for the process.
func (tg *ThreadGroup) signalTarget() *Task {
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	return tg.anyTask()
}

// sendUser sends to a process, or one thread of it, what a user asked for; sig
// 0 only asks. The caller holds Kernel.mu.
func (t *Task) sendUser(tg *ThreadGroup, thread *Task, info *SigInfo) abi.Errno {
	sig := info.Signo()
	if sig < 0 || sig > NSIG {
		return unix.EINVAL
	}
	if !t.maySignal(tg, thread, sig) {
		return unix.EPERM
	}
	if sig == 0 {
		return 0
	}
	return tg.send(info, thread, false, nil)
}

// Kill is kill(2).
func (t *Task) Kill(pid, sig int32) abi.Errno {
	info := t.userInfo(sig, SI_USER)
	k := t.k
	k.mu.RLock()
	defer k.mu.RUnlock()
	switch {
	case pid > 0:
		return t.killProcess(pid, &info)
	case pid == 0:
		return t.killGroup(t.tg.pgrp, &info)
	case pid == -1:
		return t.killAll(&info)
	case pid == -1<<31:
		return unix.ESRCH
	}
	p := k.pids[-pid]
	if p == nil {
		return unix.ESRCH
	}
	return t.killGroup(p.pgrp, &info)
}

// killProcess also takes the tid of a thread for its process, as Linux does.
func (t *Task) killProcess(pid int32, info *SigInfo) abi.Errno {
	p := t.k.pids[pid]
	switch {
	case p == nil:
		return unix.ESRCH
	case p.tg != nil:
		return t.sendUser(p.tg, nil, info)
	case p.task != nil:
		return t.sendUser(p.task.tg, nil, info)
	}
	return unix.ESRCH
}

func (t *Task) killGroup(g *ProcessGroup, info *SigInfo) abi.Errno {
	if g == nil || g.head == nil {
		return unix.ESRCH
	}
	ok, last := false, abi.Errno(0)
	for m := g.head; m != nil; m = m.pgNext {
		if last = t.sendUser(m, nil, info); last == 0 {
			ok = true
		}
	}
	if ok {
		return 0
	}
	return last
}

// killAll is kill(-1): all but pid 1 and the caller's own process.
func (t *Task) killAll(info *SigInfo) abi.Errno {
	n, result := 0, abi.Errno(0)
	for tg := t.k.groups.head; tg != nil; tg = tg.allNext {
		if tg.pid <= 1 || tg == t.tg {
			continue
		}
		n++
		if e := t.sendUser(tg, nil, info); e != unix.EPERM {
			result = e
		}
	}
	if n == 0 {
		return unix.ESRCH
	}
	return result
}

// Tgkill is tgkill(2), and tkill(2) with tgid 0.
func (t *Task) Tgkill(tgid, tid, sig int32) abi.Errno {
	info := t.userInfo(sig, SI_TKILL)
	return t.sendToThread(tgid, tid, &info)
}

func (t *Task) sendToThread(tgid, tid int32, info *SigInfo) abi.Errno {
	k := t.k
	k.mu.RLock()
	defer k.mu.RUnlock()
	p := k.pids[tid]
	if p == nil || p.task == nil || (tgid != 0 && p.task.tg.pid != tgid) {
		return unix.ESRCH
	}
	return t.sendUser(p.task.tg, p.task, info)
}

// Sigqueue is rt_sigqueueinfo(2): pid's process gets info, whose number is sig.
func (t *Task) Sigqueue(pid, sig int32, info *SigInfo) abi.Errno {
	info.SetSigno(sig)
	if forgedInfo(info) && t.tg.pid != pid {
		return unix.EPERM
	}
	k := t.k
	k.mu.RLock()
	defer k.mu.RUnlock()
	return t.killProcess(pid, info)
}

// TgSigqueue is rt_tgsigqueueinfo(2).
func (t *Task) TgSigqueue(tgid, tid, sig int32, info *SigInfo) abi.Errno {
	info.SetSigno(sig)
	if forgedInfo(info) && t.tid != tid {
		return unix.EPERM
	}
	return t.sendToThread(tgid, tid, info)
}

// forgedInfo tells whether a user's siginfo claims to come from the kernel or
// from kill(2) and tgkill(2); a task may say so to itself alone.
func forgedInfo(i *SigInfo) bool { return i.Code() >= 0 || i.Code() == SI_TKILL }

// SendOwner sends the signal that F_SETOWN asked for (owner of type
// F_OWNER_TID 0, F_OWNER_PID 1, F_OWNER_PGRP 2), with the credentials that
// were kept then.
func (k *Kernel) SendOwner(typ, id int32, uid, euid uint32, info SigInfo) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	p := k.pids[id]
	if p == nil {
		return
	}
	may := func(tg *ThreadGroup) bool {
		t := tg.signalTarget()
		if t == nil {
			return false
		}
		d := t.Creds()
		return euid == 0 || euid == d.SUID || euid == d.UID || uid == d.SUID || uid == d.UID
	}
	switch {
	case typ == 0 && p.task != nil && may(p.task.tg):
		p.task.tg.send(&info, p.task, false, nil)
	case typ == 1 && p.tg != nil && may(p.tg):
		p.tg.send(&info, nil, false, nil)
	case typ == 2 && p.pgrp != nil:
		for m := p.pgrp.head; m != nil; m = m.pgNext {
			if may(m) {
				m.send(&info, nil, false, nil)
			}
		}
	}
}
