package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/mm"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_PROCESS_VM_READV, Name: "process_vm_readv", Args: "pid ptr uint ptr uint hex", Fn: sysProcessVMReadv},
		Row{Nr: unix.SYS_PROCESS_VM_WRITEV, Name: "process_vm_writev", Args: "pid ptr uint ptr uint hex", Fn: sysProcessVMWritev},
	)
}

// sysProcessVMReadv is process_vm_readv(2).
func sysProcessVMReadv(t *kernel.Task, a *Args) (uint64, abi.Errno) { return processVM(t, a, false) }

// sysProcessVMWritev is process_vm_writev(2).
func sysProcessVMWritev(t *kernel.Task, a *Args) (uint64, abi.Errno) { return processVM(t, a, true) }

func processVM(t *kernel.Task, a *Args, write bool) (uint64, abi.Errno) {
	if a[5] != 0 {
		return 0, unix.EINVAL
	}
	local, e := importIovecs(t, a[1], uint64(a.Uint32(2)))
	if e != 0 {
		return 0, e
	}
	defer local.put()
	if local.total == 0 {
		return 0, 0
	}
	remote, e := importIovecs(t, a[3], a[4])
	if e != 0 {
		return 0, e
	}
	defer remote.put()
	target := t.Kernel().Task(a.Int(0))
	if target == nil {
		return 0, unix.ESRCH
	}
	if !t.MayAccess(target, false) {
		return 0, unix.EPERM
	}
	m := target.PeerMM()
	if m == nil {
		return 0, unix.ESRCH
	}
	defer m.DecUsers()
	return moveVM(t, m, local, remote, write)
}

// moveVM moves bytes between the two vectors, as many as both hold. What was
// moved before a bad page counts.
func moveVM(t *kernel.Task, m *mm.MemoryManager, local, remote *iovecs, write bool) (uint64, abi.Errno) {
	s := getScratch(chunkSize)
	defer s.put()
	done := 0
	for _, r := range remote.v {
		for off := 0; off < r.n; {
			n := min(r.n-off, local.total-done, chunkSize)
			if n == 0 {
				return uint64(done), 0
			}
			k, e := moveChunk(t, m, local, done, r.addr+uint64(off), s.b[:n], write)
			done += k
			off += k
			if e != 0 || k < n {
				if done == 0 {
					return 0, unix.EFAULT
				}
				return uint64(done), 0
			}
		}
	}
	return uint64(done), 0
}

func moveChunk(t *kernel.Task, m *mm.MemoryManager, local *iovecs, at int, addr uint64, b []byte, write bool) (int, abi.Errno) {
	if write {
		n, e := local.copyIn(t, at, b)
		if n == 0 {
			return 0, e
		}
		return m.Write(addr, b[:n])
	}
	n, e := m.Read(addr, b)
	if n == 0 {
		return 0, e
	}
	return local.copyOutNow(t, at, b[:n])
}

// copyOutNow is copyOut for bytes that are not in the shared page, with faults
// found at once.
func (v *iovecs) copyOutNow(t *kernel.Task, off int, src []byte) (int, abi.Errno) {
	done := 0
	for _, p := range v.v {
		if off >= p.n {
			off -= p.n
			continue
		}
		k := min(p.n-off, len(src)-done)
		if k == 0 {
			break
		}
		n, e := t.CopyOutNow(p.addr+uint64(off), src[done:done+k])
		done += n
		if e != 0 {
			return done, e
		}
		off = 0
	}
	return done, 0
}
