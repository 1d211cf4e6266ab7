package kernel

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// Memory gives the memory that guests are told of, in bytes: the sandbox's
// limit or the host's memory, and what of it is free.
func (k *Kernel) Memory() (total, free uint64) {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return k.config.MemTotal, k.config.MemTotal / 2
	}
	total, free = s.Totalram*uint64(s.Unit), s.Freeram*uint64(s.Unit)
	if m := k.config.MemTotal; m != 0 && m < total {
		total = m
	}
	return total, min(free, total)
}

// RegisterBarrier is MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED.
func (tg *ThreadGroup) RegisterBarrier() { tg.barrier.Store(true) }

// BarrierRegistered tells whether it was called since the last exec.
func (tg *ThreadGroup) BarrierRegistered() bool { return tg.barrier.Load() }

const membarrierGlobalExpedited = 2

// Barrier has every thread of every guest that runs pass a full memory barrier:
// the host's MEMBARRIER_CMD_GLOBAL_EXPEDITED, for which the zygote has
// registered itself and all that it forks.
func (k *Kernel) Barrier() abi.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_MEMBARRIER, membarrierGlobalExpedited, 0, 0)
	return e
}
