package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
)

func init() {
	register(
		Row{Nr: unix.SYS_CLONE, Name: "clone", Args: "hex ptr ptr ptr ptr", Fn: sysClone, Note: noNamespaces},
		Row{Nr: unix.SYS_CLONE3, Name: "clone3", Args: "ptr size", Fn: sysClone3, Note: noNamespaces},
		Row{Nr: unix.SYS_FORK, Name: "fork", Fn: sysFork},
		Row{Nr: unix.SYS_VFORK, Name: "vfork", Fn: sysVfork},
		Row{Nr: unix.SYS_EXIT, Name: "exit", Args: "int", Fn: sysExit},
		Row{Nr: unix.SYS_EXIT_GROUP, Name: "exit_group", Args: "int", Fn: sysExitGroup},
		Row{Nr: unix.SYS_SET_TID_ADDRESS, Name: "set_tid_address", Args: "ptr", Fn: sysSetTidAddress},
		Row{Nr: unix.SYS_SET_ROBUST_LIST, Name: "set_robust_list", Args: "ptr size", Fn: sysSetRobustList},
		Row{Nr: unix.SYS_GET_ROBUST_LIST, Name: "get_robust_list", Args: "pid ptr ptr", Fn: sysGetRobustList},
		Row{Nr: unix.SYS_RT_SIGRETURN, Name: "rt_sigreturn", Fn: sysRtSigreturn},
		Row{Nr: unix.SYS_ARCH_PRCTL, Name: "arch_prctl", Args: "int ptr", Fn: sysArchPrctl, Missing: "the GS base is the platform's"},
		Row{Nr: unix.SYS_RSEQ, Name: "rseq", Args: "ptr size hex hex", Fn: sysRseq, Note: "the host's own; flags after RSEQ_FLAG_UNREGISTER: EINVAL"},
		Row{Nr: unix.SYS_FUTEX, Name: "futex", Args: "ptr int uint ptr ptr uint", Fn: sysFutex, Note: "priority inheritance: ENOSYS, as without CONFIG_FUTEX_PI"},
	)
}

// sysClone is clone(2), with x86-64's order of arguments.
func sysClone(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := uint64(uint32(a[0])) &^ 0xff
	if flags&unix.CLONE_PIDFD != 0 && flags&unix.CLONE_PARENT_SETTID != 0 {
		return 0, unix.EINVAL
	}
	return t.Clone(&kernel.CloneArgs{Flags: flags, ExitSignal: int32(a[0] & 0xff), Stack: a[1], ParentTID: a[2], PidFD: a[2], ChildTID: a[3], TLS: a[4]})
}

// cloneArgsSize0 is CLONE_ARGS_SIZE_VER0; the last version known has 88 bytes.
const cloneArgsSize0, cloneArgsSize2 = 64, 88

// sysClone3 is clone3(2).
func sysClone3(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[1] > 4096 {
		return 0, unix.E2BIG
	}
	if a[1] < cloneArgsSize0 {
		return 0, unix.EINVAL
	}
	raw := make([]byte, max(int(a[1]), cloneArgsSize2))
	if e := t.CopyIn(a[0], raw[:a[1]]); e != 0 {
		return 0, e
	}
	for _, b := range raw[cloneArgsSize2:] {
		if b != 0 {
			return 0, unix.E2BIG
		}
	}
	f := func(i int) uint64 { return binary.LittleEndian.Uint64(raw[8*i:]) }
	c := kernel.CloneArgs{Flags: f(0), PidFD: f(1), ChildTID: f(2), ParentTID: f(3), ExitSignal: int32(f(4)), TLS: f(7)}
	stack, size, setTID, nTID := f(5), f(6), f(8), f(9)
	switch {
	case f(4) > 64, c.Flags&0xff != 0, c.Flags>>32&^uint64(3) != 0, (stack == 0) != (size == 0), nTID > 32, (setTID == 0) != (nTID == 0),
		c.Flags&(unix.CLONE_THREAD|unix.CLONE_PARENT) != 0 && c.ExitSignal != 0, c.Flags&unix.CLONE_DETACHED != 0:
		return 0, unix.EINVAL
	}
	if c.Flags&unix.CLONE_INTO_CGROUP != 0 {
		if e := ownCgroup(t, f(10), a[1]); e != 0 {
			return 0, e
		}
	}
	if size != 0 {
		c.Stack = stack + size
	}
	if nTID > 0 {
		if nTID > 1 {
			return 0, unix.EINVAL
		}
		var b [4]byte
		if e := t.CopyIn(setTID, b[:]); e != 0 {
			return 0, e
		}
		if c.SetTID = int32(binary.LittleEndian.Uint32(b[:])); c.SetTID < 1 {
			return 0, unix.EINVAL
		}
		if !t.Creds().Capable(40) && !t.Creds().Capable(21) {
			return 0, unix.EPERM
		}
	}
	return t.Clone(&c)
}

// ownCgroup checks CLONE_INTO_CGROUP's descriptor: the one cgroup that there is
// to be born in is the caller's own.
func ownCgroup(t *kernel.Task, num, size uint64) abi.Errno {
	if num > 1<<31-1 || size < cloneArgsSize2 {
		return unix.EINVAL
	}
	fd, e := t.FDs().Get(int32(num))
	if e != 0 {
		return e
	}
	defer fd.DecRef()
	if m := fd.Path.Mount; m == nil || m.FS.Type != "cgroup2" || fd.Path.Dentry != m.Root {
		return unix.EBADF
	}
	return 0
}

// sysFork is fork(2).
func sysFork(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return t.Clone(&kernel.CloneArgs{ExitSignal: kernel.SIGCHLD})
}

// sysVfork is vfork(2).
func sysVfork(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return t.Clone(&kernel.CloneArgs{Flags: unix.CLONE_VM | unix.CLONE_VFORK, ExitSignal: kernel.SIGCHLD})
}

// sysExit is _exit(2) of one thread.
func sysExit(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return uint64(kernel.ExitStatus(int32(a[0]))), kernel.ExitTask
}

// sysExitGroup is exit_group(2).
func sysExitGroup(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return uint64(t.GroupExit(kernel.ExitStatus(int32(a[0])))), kernel.ExitTask
}

// sysSetTidAddress is set_tid_address(2).
func sysSetTidAddress(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	t.SetClearTID(a[0])
	return uint64(t.TID()), 0
}

const robustListHead = 24

// sysSetRobustList is set_robust_list(2).
func sysSetRobustList(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[1] != robustListHead {
		return 0, unix.EINVAL
	}
	t.SetRobustList(a[0])
	return 0, 0
}

// sysGetRobustList is get_robust_list(2).
func sysGetRobustList(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	of := t
	if pid := a.Int(0); pid != 0 {
		if of = t.Kernel().Task(pid); of == nil {
			return 0, unix.ESRCH
		}
		if of != t && of.Creds().UID != t.Creds().UID && !t.Creds().Capable(19) {
			return 0, unix.EPERM
		}
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], robustListHead)
	if e := t.CopyOut(a[2], b[:]); e != 0 {
		return 0, e
	}
	binary.LittleEndian.PutUint64(b[:], of.RobustList())
	return 0, t.CopyOut(a[1], b[:])
}

// sysRtSigreturn is never reached: the run loop handles the call.
func sysRtSigreturn(t *kernel.Task, a *Args) (uint64, abi.Errno) { return 0, unix.ENOSYS }

// Codes of arch_prctl(2).
const (
	archSetFS    = 0x1002
	archGetFS    = 0x1003
	archGetCPUID = 0x1011
)

// sysArchPrctl is arch_prctl(2); the FS base is the stub's to read and set.
func sysArchPrctl(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	switch a.Int(0) {
	case archSetFS, archGetFS:
		return 0, kernel.RetryNative
	case archGetCPUID:
		return 1, 0
	}
	return 0, unix.EINVAL
}

// sysRseq is rseq(2), which the stub has the host's kernel do.
func sysRseq(t *kernel.Task, a *Args) (uint64, abi.Errno) { return 0, kernel.RetryNative }

// sysFutex sees what the stub does not do itself: operations of priority
// inheritance, unknown ones, and waits that a kick has cut short.
func sysFutex(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	cmd := uint32(a[1]) & 127
	if cmd > 10 || 0x63b>>cmd&1 == 0 {
		return 0, unix.ENOSYS
	}
	return 0, kernel.RetryNative
}
