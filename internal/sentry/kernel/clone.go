package kernel

import (
	"encoding/binary"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/mm"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// CloneArgs are clone3(2)'s, with clone's and fork's in the same form.
type CloneArgs struct {
	Flags      uint64
	PidFD      uint64 // where to store the pidfd
	ChildTID   uint64
	ParentTID  uint64
	ExitSignal int32
	Stack      uint64 // the child's stack pointer; 0: as the caller's
	TLS        uint64
	SetTID     int32 // 0: any
}

// vforkWait is what a parent waits for in vfork(2).
type vforkWait struct {
	parent *Task
	done   atomic.Bool
}

func (v *vforkWait) end() {
	if v != nil && !v.done.Swap(true) {
		v.parent.park.wake()
	}
}

// Flags that ask for what is not there: namespaces.
const cloneRefused = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// NoNamespace is why the namespaces of flags cannot be made. Mount namespaces
// belong to every kernel: there are as many as user.max_mnt_namespaces allows,
// which is 0. The others are options, and EINVAL without them.
func NoNamespace(flags uint64) abi.Errno {
	if flags&cloneRefused == unix.CLONE_NEWNS {
		return unix.ENOSPC
	}
	return unix.EINVAL
}

// Clone is clone(2), fork(2), vfork(2) and clone3(2) (own goroutine, in a call
// that came through SIGSYS). It gives the child's id.
func (t *Task) Clone(a *CloneArgs) (uint64, abi.Errno) {
	if a.Flags&cloneRefused != 0 {
		if a.Flags&unix.CLONE_NEWUSER == 0 && !t.Creds().Capable(21 /* CAP_SYS_ADMIN */) {
			return 0, unix.EPERM
		}
		if a.Flags&(unix.CLONE_NEWNS|unix.CLONE_FS) == unix.CLONE_NEWNS|unix.CLONE_FS {
			return 0, unix.EINVAL
		}
		return 0, NoNamespace(a.Flags)
	}
	child, e := t.k.NewTask(t, CloneOptions{Flags: a.Flags, ExitSignal: a.ExitSignal, SetTID: a.SetTID})
	if e != 0 {
		return 0, e
	}
	pidfd, e := t.clonePidFD(child, a)
	if e == 0 {
		e = t.cloneHost(child, a)
	}
	if e != 0 {
		if pidfd >= 0 {
			t.fds.Close(t, pidfd)
		}
		child.Discard()
		return 0, e
	}
	t.cloneShare(child, a)
	if pidfd >= 0 && a.Flags&unix.CLONE_FILES == 0 {
		child.fds.Close(t, pidfd)
	}
	id := uint64(child.tid)
	var v *vforkWait
	if a.Flags&unix.CLONE_VFORK != 0 {
		v = &vforkWait{parent: t}
		child.plat.vforker = v
	}
	child.startChild(t.plat.th.Load().CPU())
	for v != nil && !v.done.Load() {
		if t.BlockUninterruptible() != 0 {
			break
		}
	}
	return id, 0
}

// cloneHost makes the host's side of the child.
func (t *Task) cloneHost(child *Task, a *CloneArgs) abi.Errno {
	th := t.plat.th.Load()
	if a.Flags&unix.CLONE_VM == 0 {
		return t.forkHost(child, th, a)
	}
	// What is told behind the clone must not undo it.
	st := platform.CloneState{SP: a.Stack, Vfork: a.Flags&unix.CLONE_THREAD == 0, Now: a.Flags&unix.CLONE_PIDFD != 0}
	if a.Flags&unix.CLONE_SETTLS != 0 {
		st.SetTLS, st.TLS = true, a.TLS
	}
	// In shared memory the ids must stand before the child runs: it may have
	// exited, and cleared its own, before the caller is back.
	if a.Flags&unix.CLONE_PARENT_SETTID != 0 {
		t.CopyOut(a.ParentTID, le32(uint32(child.tid)))
	}
	if a.Flags&unix.CLONE_CHILD_SETTID != 0 {
		t.CopyOut(a.ChildTID, le32(uint32(child.tid)))
	}
	c, err := th.Clone(st)
	if err != nil {
		return asErrno(err)
	}
	child.plat.th.Store(c)
	child.mm = t.mm
	t.mm.IncUsers()
	if !st.Vfork && a.Stack != 0 {
		c.LetDrop(t.mm.Droppable(a.Stack - 1))
	}
	if st.Vfork {
		t.mm.AddProcess(c.Process())
	} else if !st.Now {
		t.plat.opErrno = child.unborn
	}
	return 0
}

func (t *Task) forkHost(child *Task, th *platform.Thread, a *CloneArgs) abi.Errno {
	var c *platform.Thread
	m, e := t.mm.Fork(th, func() abi.Errno {
		var err error
		c, err = th.Fork()
		return asErrno(err)
	})
	if e != 0 {
		return e
	}
	child.plat.th.Store(c)
	child.mm = m
	m.AddProcess(c.Process())
	if a.Stack != 0 {
		c.SetSP(a.Stack)
	}
	if a.Flags&unix.CLONE_SETTLS != 0 {
		c.SetFS(a.TLS)
	}
	if a.Flags&unix.CLONE_CHILD_SETTID != 0 {
		child.CopyOut(a.ChildTID, le32(uint32(child.tid)))
	}
	m.WipeForked(c)
	if a.Flags&unix.CLONE_PARENT_SETTID != 0 {
		t.CopyOutNow(a.ParentTID, le32(uint32(child.tid)))
	}
	return 0
}

func asErrno(err error) abi.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(unix.Errno); ok && e != 0 {
		return e
	}
	return unix.EAGAIN
}

// cloneShare gives the child its files and directories.
func (t *Task) cloneShare(child *Task, a *CloneArgs) {
	if a.Flags&unix.CLONE_FILES != 0 {
		child.fds = t.fds
		t.fds.IncRef()
	} else {
		child.fds = t.fds.Fork()
	}
	if a.Flags&unix.CLONE_FS != 0 {
		child.fs = t.fs
		t.fs.IncRef()
	} else {
		child.fs = t.fs.Fork()
	}
	if a.Flags&unix.CLONE_CHILD_CLEARTID != 0 {
		child.plat.clearTID = a.ChildTID
	}
}

// clonePidFD opens CLONE_PIDFD's descriptor, the parent's alone, and tells its
// number; -1: it is not asked for.
func (t *Task) clonePidFD(child *Task, a *CloneArgs) (int32, abi.Errno) {
	if a.Flags&unix.CLONE_PIDFD == 0 {
		return -1, 0
	}
	d := vfs.NewAnon("pidfd", NewPidFD(child.tg, nil), unix.O_RDWR)
	fd, e := t.InstallFD(d, true)
	if e != 0 {
		d.DecRef()
		return -1, unix.EMFILE
	}
	_, e = t.CopyOutNow(a.PidFD, le32(uint32(fd)))
	return fd, e
}

func le32(v uint32) []byte {
	b := make([]byte, 4)
	binary.LittleEndian.PutUint32(b, v)
	return b
}

// SetClearTID is set_tid_address(2).
func (t *Task) SetClearTID(addr uint64) { t.plat.clearTID = addr }

// ClearTID is where it is (PR_GET_TID_ADDRESS).
func (t *Task) ClearTID() uint64 { return t.plat.clearTID }

// SetRobustList and RobustList are set_robust_list(2), which the stub answers
// where it may, and get_robust_list(2).
func (t *Task) SetRobustList(head uint64) { t.plat.th.Load().SetRobust(head) }

func (t *Task) RobustList() uint64 {
	if th := t.plat.th.Load(); th != nil {
		return th.Robust()
	}
	return 0
}

// exit ends the task: its host thread, its memory and its files, and tells of
// it.
func (t *Task) exit(status uint32) platform.Kind {
	t.plat.user.Store(false)
	t.BeginExit()
	t.acctHost()
	th := t.plat.th.Load()
	if th != nil {
		t.endLoan()
		t.keepMask(th) // from here on nobody looks into the slot
	}
	t.plat.th.Store(nil)
	if th != nil {
		t.leaveHost(th)
	}
	t.plat.vforker.end()
	t.setMM(nil)
	t.mu.Lock()
	fds, fs := t.fds, t.fs
	t.fds, t.fs = nil, nil
	t.mu.Unlock()
	if fds != nil {
		fds.DecRef(t)
	}
	if fs != nil {
		fs.DecRef()
	}
	t.ExitNotify(status)
	return kindExited
}

// leaveHost lets the host thread go.
func (t *Task) leaveHost(th *platform.Thread) {
	clear := t.plat.clearTID
	if t.mm != nil && t.mm.Users() == 1 {
		clear = 0
	}
	proc := th.Process()
	if !proc.Dead() {
		th.Exit(uint32(t.tid), clear)
	}
	if t.mm != nil {
		t.mm.Forget(th)
	}
	th.End()
	th.Free()
	if t.mm != nil && proc.Idle() {
		t.mm.RemoveProcess(proc)
	}
	t.plat.clearTID = 0
}

func (t *Task) setMM(m *mm.MemoryManager) {
	t.mu.Lock()
	old := t.mm
	t.mm = m
	t.mu.Unlock()
	if old != nil {
		old.DecUsers()
	}
}

// unborn ends a thread that its parent's reply could not clone.
func (t *Task) unborn() {
	t.plat.unborn.Store(true)
	t.plat.th.Load().Unborn()
}
