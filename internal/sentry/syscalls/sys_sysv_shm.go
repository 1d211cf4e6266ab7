package syscalls

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ipc"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/mm"
)

func init() {
	register(
		Row{Nr: unix.SYS_SHMGET, Name: "shmget", Args: "hex size hex", Fn: sysShmget,
			Note: "SHM_HUGETLB: EINVAL, as without CONFIG_HUGETLBFS"},
		Row{Nr: unix.SYS_SHMAT, Name: "shmat", Args: "int ptr hex", Fn: sysShmat},
		Row{Nr: unix.SYS_SHMDT, Name: "shmdt", Args: "ptr", Fn: sysShmdt},
		Row{Nr: unix.SYS_SHMCTL, Name: "shmctl", Args: "int int ptr", Fn: sysShmctl},
	)
}

// sysShmget is shmget(2).
func sysShmget(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id, e := ipc.Default.Shm.Get(t, a.Int(0), a[1], a.Uint32(2))
	return uint64(uint32(id)), e
}

// sysShmat is shmat(2).
func sysShmat(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id, addr, flags := a.Int(0), a[1], a.Uint32(2)
	if id < 0 {
		return 0, unix.EINVAL
	}
	o := mm.MapOpts{Prot: unix.PROT_READ, Flags: unix.MAP_SHARED, Limits: limits(t)}
	if addr != 0 {
		if addr&(pageSize-1) != 0 {
			if flags&ipc.SHM_RND == 0 {
				return 0, unix.EINVAL
			}
			addr &^= pageSize - 1
			if addr == 0 && flags&ipc.SHM_REMAP != 0 {
				return 0, unix.EINVAL
			}
		}
		o.Flags |= unix.MAP_FIXED_NOREPLACE
		if flags&ipc.SHM_REMAP != 0 {
			o.Flags |= unix.MAP_FIXED
		}
	} else if flags&ipc.SHM_REMAP != 0 {
		return 0, unix.EINVAL
	}
	if flags&ipc.SHM_RDONLY == 0 {
		o.Prot |= unix.PROT_WRITE
	}
	if flags&ipc.SHM_EXEC != 0 {
		o.Prot |= unix.PROT_EXEC
	}
	at, e := ipc.Default.Shm.Attach(t, id, flags)
	if e != 0 {
		return 0, e
	}
	o.Addr, o.Length, o.File, o.Tag = addr, at.Size, at.File, at.Segment
	if flags&ipc.SHM_REMAP != 0 {
		o.Flags &^= unix.MAP_FIXED_NOREPLACE
	}
	got, e := t.MM().Mmap(t, t.Thread(), o)
	at.File.DecRef()
	at.Segment.Attached(t.TGID(), e == 0)
	if e == unix.EEXIST {
		e = unix.EINVAL
	}
	return got, e
}

// sysShmdt is shmdt(2): every part that is left of the attachment at the
// address goes.
func sysShmdt(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	addr := a[0]
	if addr&(pageSize-1) != 0 {
		return 0, unix.EINVAL
	}
	var seg *ipc.Segment
	type part struct{ start, end uint64 }
	var parts []part
	t.MM().Regions(func(v mm.VMA) bool {
		s, ok := v.Tag.(*ipc.Segment)
		if ok && v.Start >= addr && v.Start-addr == uint64(v.Off) && (seg == nil || s == seg) {
			seg = s
			parts = append(parts, part{v.Start, v.End})
		}
		return true
	})
	if seg == nil {
		return 0, unix.EINVAL
	}
	seg.Detached(t.TGID())
	for i, p := range parts {
		if i > 0 { // who waits for the part before may hold what Munmap takes
			t.Thread().Flush()
		}
		if e := t.MM().Munmap(t.Thread(), p.start, p.end-p.start); e != 0 {
			return 0, e
		}
	}
	return 0, 0
}

// sysShmctl is shmctl(2).
func sysShmctl(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id, cmd, buf := a.Int(0), a.Int(1), a[2]
	shm := &ipc.Default.Shm
	if id < 0 || cmd < 0 {
		return 0, unix.EINVAL
	}
	switch cmd {
	case ipc.IPC_INFO:
		b, n := shm.Info()
		return n, t.CopyOut(buf, b[:])
	case ipc.SHM_INFO:
		b, n := shm.Usage()
		return n, t.CopyOut(buf, b[:])
	case ipc.IPC_STAT, ipc.SHM_STAT, ipc.SHM_STAT_ANY:
		b, full, e := shm.Stat(t, id, cmd != ipc.IPC_STAT, cmd == ipc.SHM_STAT_ANY)
		if e != 0 {
			return 0, e
		}
		return statResult(t, buf, b[:], full, cmd)
	case ipc.IPC_SET:
		var b [ipc.ShmDSSize]byte
		if e := t.CopyIn(buf, b[:]); e != 0 {
			return 0, e
		}
		return 0, shm.Set(t, id, b[:])
	case ipc.IPC_RMID:
		return 0, shm.Remove(t, id)
	case ipc.SHM_LOCK, ipc.SHM_UNLOCK:
		return 0, shm.Lock(t, id, cmd == ipc.SHM_LOCK)
	}
	return 0, unix.EINVAL
}

// statResult ends IPC_STAT (0), or one of the *_STAT by index: the id.
func statResult(t *kernel.Task, buf uint64, b []byte, id, cmd int32) (uint64, abi.Errno) {
	if cmd == ipc.IPC_STAT {
		id = 0
	}
	return uint64(id), t.CopyOut(buf, b)
}
