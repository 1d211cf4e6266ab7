package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/mm"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// MayAccess is the ptrace access mode check (ptrace(2)) that guards another
// process's memory, descriptors and much of its /proc: fsCreds for files of
// /proc, the real ids for calls such as kcmp(2) and process_vm_readv(2).
func (t *Task) MayAccess(target *Task, fsCreds bool) bool {
	if t.tg == target.tg {
		return true
	}
	c, d := t.Creds(), target.Creds()
	uid, gid := c.UID, c.GID
	if fsCreds {
		uid, gid = c.FSUID, c.FSGID
	}
	capable := c.Capable(auth.CAP_SYS_PTRACE)
	same := uid == d.EUID && uid == d.SUID && uid == d.UID && gid == d.EGID && gid == d.SGID && gid == d.GID
	if !same && !capable {
		return false
	}
	if target.tg.dumpable.Load() != 1 && !capable {
		return false
	}
	have := c.Permitted
	if fsCreds {
		have = c.Effective
	}
	return d.Permitted&^have == 0 || capable
}

// UserSP gives the stack pointer that the running call was made with.
func (t *Task) UserSP() uint64 {
	if th := t.plat.th.Load(); th != nil {
		return th.Req.SP
	}
	return 0
}

// SignalPipe sends the SIGPIPE of a write that nobody can read.
func (t *Task) SignalPipe() { t.SendSignal(t.userInfo(SIGPIPE, SI_USER)) }

// UnshareFDs gives the task its own table of descriptors, if it shares one.
func (t *Task) UnshareFDs() {
	old := t.fds
	if old.Users() <= 1 {
		return
	}
	n := old.Fork()
	t.mu.Lock()
	t.fds = n
	t.mu.Unlock()
	old.DecRef(t)
}

// UnshareFS gives the task its own root, working directory and umask, if it
// shares them.
func (t *Task) UnshareFS() {
	old := t.fs
	if old.Users() <= 1 {
		return
	}
	n := old.Fork()
	t.mu.Lock()
	t.fs = n
	t.mu.Unlock()
	old.DecRef()
}

// PeerFD gives a description of another task, a reference taken
// (pidfd_getfd(2), kcmp(2)); ESRCH once it has exited.
func (t *Task) PeerFD(fd int32) (*vfs.FileDescription, abi.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fds == nil {
		return nil, unix.ESRCH
	}
	t.fds.Settle()
	return t.fds.Get(fd)
}

// PeerMM gives another task's memory, a user of it counted: end with
// DecUsers. nil once it has exited.
func (t *Task) PeerMM() *mm.MemoryManager {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mm != nil {
		t.mm.IncUsers()
	}
	return t.mm
}

// What setpriority(2) and ioprio_set(2) call one process, a group, a user.
const (
	WhichProcess = iota
	WhichGroup
	WhichUser
)

// Select gives the tasks that a priority call means: a task (who 0: the
// caller), those of a process group, or those of a user.
func (t *Task) Select(which int, who int32) []*Task {
	k := t.k
	k.mu.RLock()
	defer k.mu.RUnlock()
	switch which {
	case WhichProcess:
		if who == 0 {
			return []*Task{t}
		}
		if p := k.pids[who]; p != nil && p.task != nil {
			return []*Task{p.task}
		}
		return nil
	case WhichGroup:
		g := t.tg.pgrp
		if who != 0 {
			p := k.pids[who]
			if p == nil {
				return nil
			}
			g = p.pgrp
		}
		return g.tasks()
	}
	uid := uint32(who)
	if who == 0 {
		uid = t.Creds().UID
	}
	var out []*Task
	for tg := k.groups.head; tg != nil; tg = tg.allNext {
		for _, m := range tg.tasks {
			if m.Creds().UID == uid {
				out = append(out, m)
			}
		}
	}
	return out
}

func (g *ProcessGroup) tasks() []*Task {
	if g == nil {
		return nil
	}
	var out []*Task
	for m := g.head; m != nil; m = m.pgNext {
		out = append(out, m.tasks...)
	}
	return out
}
