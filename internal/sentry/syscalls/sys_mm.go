package syscalls

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/mm"
)

func init() {
	const pinned = "memory is counted and there, but not pinned: a container's memory is the host's to page"
	register(
		Row{Nr: unix.SYS_MMAP, Name: "mmap", Args: "ptr size prot mapflags fd off", Fn: sysMmap},
		Row{Nr: unix.SYS_MUNMAP, Name: "munmap", Args: "ptr size", Fn: sysMunmap},
		Row{Nr: unix.SYS_MPROTECT, Name: "mprotect", Args: "ptr size prot", Fn: sysMprotect},
		Row{Nr: unix.SYS_MREMAP, Name: "mremap", Args: "ptr size size hex ptr", Fn: sysMremap},
		Row{Nr: unix.SYS_MADVISE, Name: "madvise", Args: "ptr size int", Fn: sysMadvise},
		Row{Nr: unix.SYS_BRK, Name: "brk", Args: "ptr", Fn: sysBrk},
		Row{Nr: unix.SYS_MSYNC, Name: "msync", Args: "ptr size hex", Fn: sysMsync},
		Row{Nr: unix.SYS_MINCORE, Name: "mincore", Args: "ptr size ptr", Fn: sysMincore},
		Row{Nr: unix.SYS_MLOCK, Name: "mlock", Args: "ptr size", Fn: sysMlock, Missing: pinned},
		Row{Nr: unix.SYS_MLOCK2, Name: "mlock2", Args: "ptr size hex", Fn: sysMlock2, Missing: pinned},
		Row{Nr: unix.SYS_MUNLOCK, Name: "munlock", Args: "ptr size", Fn: sysMunlock},
		Row{Nr: unix.SYS_MLOCKALL, Name: "mlockall", Args: "hex", Fn: sysMlockall, Missing: pinned},
		Row{Nr: unix.SYS_MUNLOCKALL, Name: "munlockall", Fn: sysMunlockall},
		Row{Nr: unix.SYS_REMAP_FILE_PAGES, Name: "remap_file_pages", Args: "ptr size prot int hex", Refuse: unix.ENOSYS, Why: "deprecated; as a kernel without it"},
		Row{Nr: unix.SYS_PKEY_MPROTECT, Name: "pkey_mprotect", Args: "ptr size prot int", Fn: sysPkeyMprotect},
		Row{Nr: unix.SYS_PKEY_ALLOC, Name: "pkey_alloc", Args: "hex hex", Refuse: unix.ENOSPC, Why: "no protection keys, as on a CPU without them"},
		Row{Nr: unix.SYS_PKEY_FREE, Name: "pkey_free", Args: "int", Refuse: unix.EINVAL, Why: "no protection keys, as on a CPU without them"},
	)
}

func limits(t *kernel.Task) *mm.Limits {
	tg := t.ThreadGroup()
	return &mm.Limits{AS: tg.LimitCur(kernel.RLIMIT_AS), Data: tg.LimitCur(kernel.RLIMIT_DATA), Stack: tg.LimitCur(kernel.RLIMIT_STACK), Memlock: memlock(t)}
}

func memlock(t *kernel.Task) uint64 {
	if t.Creds().Capable(auth.CAP_IPC_LOCK) {
		return ^uint64(0)
	}
	return t.ThreadGroup().LimitCur(kernel.RLIMIT_MEMLOCK)
}

const (
	mapSharedValidate = 3
	mapLegacy         = unix.MAP_SHARED | unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_ANONYMOUS | unix.MAP_DENYWRITE | unix.MAP_EXECUTABLE |
		unix.MAP_GROWSDOWN | unix.MAP_LOCKED | unix.MAP_NORESERVE | unix.MAP_POPULATE | unix.MAP_NONBLOCK | unix.MAP_STACK | unix.MAP_HUGETLB |
		unix.MAP_32BIT | 0x03f<<26
)

// sysMmap is mmap(2).
func sysMmap(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := uint32(a[3])
	o := mm.MapOpts{Addr: a[0], Length: a[1], Prot: uint32(a[2]), Flags: flags, Off: int64(a[5]), Limits: limits(t)}
	if a[5]&4095 != 0 {
		return 0, unix.EINVAL
	}
	if flags&unix.MAP_ANONYMOUS == 0 {
		f, e := t.FDs().GetFile(int32(a[4]))
		if e != 0 {
			return 0, e
		}
		defer f.DecRef()
		o.File = f
	}
	switch flags & 3 {
	case unix.MAP_PRIVATE, unix.MAP_SHARED:
	case mapSharedValidate:
		if o.File == nil {
			return 0, unix.EINVAL
		}
		if flags&^uint32(mapLegacy|mapSharedValidate) != 0 {
			return 0, unix.EOPNOTSUPP
		}
	default:
		return 0, unix.EINVAL
	}
	if flags&unix.MAP_LOCKED != 0 && memlock(t) == 0 {
		return 0, unix.EPERM
	}
	if flags&unix.MAP_HUGETLB != 0 {
		if o.File != nil {
			return 0, unix.EINVAL
		}
		return 0, unix.ENOMEM // no huge pages are set aside
	}
	if o.File == nil || !mm.NoExec(o.File) {
		o.Prot |= impliedExec(t, o.Prot)
	}
	return t.MM().Mmap(t, t.Thread(), o)
}

// impliedExec is PROT_EXEC where READ_IMPLIES_EXEC adds it to prot.
func impliedExec(t *kernel.Task, prot uint32) uint32 {
	if prot&unix.PROT_READ != 0 && t.Personality()&kernel.READ_IMPLIES_EXEC != 0 {
		return unix.PROT_EXEC
	}
	return 0
}

// sysMunmap is munmap(2).
func sysMunmap(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return 0, t.MM().Munmap(t.Thread(), a[0], a[1])
}

// sysMprotect is mprotect(2).
func sysMprotect(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	prot := uint32(a[2])
	return 0, t.MM().Mprotect(t, t.Thread(), a[0], a[1], prot|impliedExec(t, prot))
}

// sysPkeyMprotect is pkey_mprotect(2) with the key -1, which is mprotect.
func sysPkeyMprotect(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if int32(a[3]) != -1 {
		return 0, unix.EINVAL
	}
	return sysMprotect(t, a)
}

// sysMremap is mremap(2).
func sysMremap(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return t.MM().Mremap(t.Thread(), a[0], a[1], a[2], uint32(a[3]), a[4], limits(t))
}

// sysMadvise is madvise(2).
func sysMadvise(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return 0, t.MM().Madvise(t.Thread(), a[0], a[1], int32(a[2]))
}

// sysBrk is brk(2).
func sysBrk(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return t.MM().Brk(t.Thread(), a[0], limits(t)), 0
}

// sysMsync is msync(2).
func sysMsync(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return 0, t.MM().Msync(t, a[0], a[1], uint32(a[2]))
}

// sysMincore is mincore(2). Pages of files count as resident, as they do for who
// may not write the file.
func sysMincore(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if e := t.MM().Mincore(a[0], a[1]); e != 0 {
		return 0, e
	}
	var vec [4096]byte
	for addr, at, n := a[0], a[2], (a[1]+mm.PageSize-1)/mm.PageSize; n > 0; {
		b := vec[:min(n, uint64(len(vec)))]
		t.Resident(addr, b)
		if _, e := t.CopyOutNow(at, b); e != 0 {
			return 0, e
		}
		addr, at, n = addr+uint64(len(b))*mm.PageSize, at+uint64(len(b)), n-uint64(len(b))
	}
	return 0, 0
}

// sysMlock is mlock(2).
func sysMlock(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return mlock(t, a, true)
}

func mlock(t *kernel.Task, a *Args, fill bool) (uint64, abi.Errno) {
	t.Thread().LetDrop(0, 0) // what is locked is not dropped
	return 0, t.MM().Mlock(t.Thread(), a[0], a[1], true, fill, memlock(t))
}

// sysMlock2 is mlock2(2).
func sysMlock2(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[2]&^uint64(unix.MLOCK_ONFAULT) != 0 {
		return 0, unix.EINVAL
	}
	return mlock(t, a, a[2]&unix.MLOCK_ONFAULT == 0)
}

// sysMunlock is munlock(2).
func sysMunlock(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return 0, t.MM().Mlock(t.Thread(), a[0], a[1], false, false, 0)
}

// sysMlockall is mlockall(2).
func sysMlockall(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := uint32(a[0])
	if flags == 0 || flags&^(unix.MCL_CURRENT|unix.MCL_FUTURE|4) != 0 || flags == 4 {
		return 0, unix.EINVAL
	}
	lim := memlock(t)
	if lim == 0 {
		return 0, unix.EPERM
	}
	t.Thread().LetDrop(0, 0)
	return 0, t.MM().MlockAll(t.Thread(), flags, lim)
}

// sysMunlockall is munlockall(2).
func sysMunlockall(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	t.MM().MunlockAll()
	return 0, 0
}
