package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ipc"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
)

func init() {
	register(
		Row{Nr: unix.SYS_SEMGET, Name: "semget", Args: "hex int hex", Fn: sysSemget},
		Row{Nr: unix.SYS_SEMOP, Name: "semop", Args: "int ptr size", Fn: sysSemop},
		Row{Nr: unix.SYS_SEMTIMEDOP, Name: "semtimedop", Args: "int ptr size ptr", Fn: sysSemtimedop},
		Row{Nr: unix.SYS_SEMCTL, Name: "semctl", Args: "int int int hex", Fn: sysSemctl},
	)
	kernel.AtProcessExit(func(tg *kernel.ThreadGroup) { ipc.Default.Sem.Exit(tg, tg.PID()) })
}

// sysSemget is semget(2).
func sysSemget(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id, e := ipc.Default.Sem.Get(t, a.Int(0), a.Int(1), a.Uint32(2))
	return uint64(uint32(id)), e
}

// sysSemop is semop(2).
func sysSemop(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return 0, semop(t, a.Int(0), a[1], a.Uint32(2), 0)
}

// sysSemtimedop is semtimedop(2).
func sysSemtimedop(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	deadline := int64(0)
	if a[3] != 0 {
		d, e := copyTimespec(t, a[3])
		if e != 0 {
			return 0, e
		}
		deadline = deadlineIn(d)
	}
	return 0, semop(t, a.Int(0), a[1], a.Uint32(2), deadline)
}

func semop(t *kernel.Task, id int32, addr uint64, n uint32, deadline int64) abi.Errno {
	if id < 0 {
		return unix.EINVAL
	}
	if e := ipc.Default.Sem.CheckOps(n); e != 0 {
		return e
	}
	raw, e := t.WriteBuf(addr, int(n)*6)
	if e != 0 {
		return e
	}
	ops := make([]ipc.SemOp, n)
	for i := range ops {
		b := raw[6*i:]
		ops[i] = ipc.SemOp{
			Num:   binary.LittleEndian.Uint16(b),
			Op:    int16(binary.LittleEndian.Uint16(b[2:])),
			Flags: int16(binary.LittleEndian.Uint16(b[4:])),
		}
	}
	return ipc.Default.Sem.Op(t, t, t.ThreadGroup(), id, ops, deadline)
}

// sysSemctl is semctl(2). Its fourth argument is a value or a pointer.
func sysSemctl(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id, num, cmd, arg := a.Int(0), a.Int(1), a.Int(2), a[3]
	s := &ipc.Default.Sem
	if id < 0 {
		return 0, unix.EINVAL
	}
	switch cmd {
	case ipc.IPC_INFO, ipc.SEM_INFO:
		b, n := s.Info(cmd == ipc.SEM_INFO)
		return n, t.CopyOut(arg, b[:])
	case ipc.IPC_STAT, ipc.SEM_STAT, ipc.SEM_STAT_ANY:
		b, full, e := s.Stat(t, id, cmd != ipc.IPC_STAT, cmd == ipc.SEM_STAT_ANY)
		if e != 0 {
			return 0, e
		}
		return statResult(t, arg, b[:], full, cmd)
	case ipc.GETVAL, ipc.GETPID, ipc.GETNCNT, ipc.GETZCNT:
		v, e := s.Value(t, id, num, cmd)
		return uint64(v), e
	case ipc.GETALL:
		return 0, semGetAll(t, id, arg)
	case ipc.SETALL:
		return 0, semSetAll(t, id, arg)
	case ipc.SETVAL:
		return 0, s.SetValue(t, id, num, int32(arg))
	case ipc.IPC_SET:
		var b [ipc.SemDSSize]byte
		if e := t.CopyIn(arg, b[:]); e != 0 {
			return 0, e
		}
		return 0, s.Set(t, id, b[:])
	case ipc.IPC_RMID:
		return 0, s.Remove(t, id)
	}
	return 0, unix.EINVAL
}

func semGetAll(t *kernel.Task, id int32, addr uint64) abi.Errno {
	v, e := ipc.Default.Sem.Values(t, id)
	if e != 0 {
		return e
	}
	b := make([]byte, 0, 2*len(v))
	for _, n := range v {
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	_, e = t.CopyOutNow(addr, b)
	return e
}

func semSetAll(t *kernel.Task, id int32, addr uint64) abi.Errno {
	n, e := ipc.Default.Sem.Count(t, id)
	if e != 0 {
		return e
	}
	raw, e := t.WriteBuf(addr, 2*n)
	if e != 0 {
		return e
	}
	v := make([]uint16, n)
	for i := range v {
		v[i] = binary.LittleEndian.Uint16(raw[2*i:])
	}
	return ipc.Default.Sem.SetValues(t, id, v)
}
