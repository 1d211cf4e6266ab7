package syscalls

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ipc"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
)

func init() {
	register(
		Row{Nr: unix.SYS_MSGGET, Name: "msgget", Args: "hex hex", Fn: sysMsgget},
		Row{Nr: unix.SYS_MSGSND, Name: "msgsnd", Args: "int ptr size hex", Fn: sysMsgsnd},
		Row{Nr: unix.SYS_MSGRCV, Name: "msgrcv", Args: "int ptr size int hex", Fn: sysMsgrcv},
		Row{Nr: unix.SYS_MSGCTL, Name: "msgctl", Args: "int int ptr", Fn: sysMsgctl},
	)
}

// sysMsgget is msgget(2).
func sysMsgget(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id, e := ipc.Default.Msg.Get(t, a.Int(0), a.Uint32(1))
	return uint64(uint32(id)), e
}

// sysMsgsnd is msgsnd(2).
func sysMsgsnd(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id, addr, size, flags := a.Int(0), a[1], a[2], a.Int(3)
	typ, e := get64(t, addr)
	if e != 0 {
		return 0, e
	}
	if size > uint64(ipc.Default.Msg.Max()) || id < 0 || int64(typ) < 1 {
		return 0, unix.EINVAL
	}
	text, e := t.WriteBuf(addr+8, int(size))
	if e != 0 {
		return 0, e
	}
	return 0, ipc.Default.Msg.Send(t, t, id, &ipc.Message{Type: int64(typ), Text: bytes.Clone(text)}, flags)
}

// sysMsgrcv is msgrcv(2).
func sysMsgrcv(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id, addr, size, typ, flags := a.Int(0), a[1], a[2], int64(a[3]), a.Int(4)
	if id < 0 || int64(size) < 0 {
		return 0, unix.EINVAL
	}
	m, e := ipc.Default.Msg.Receive(t, t, id, int(size), typ, flags)
	if e != 0 {
		return 0, e
	}
	n := min(len(m.Text), int(size))
	b := make([]byte, 8+n)
	binary.LittleEndian.PutUint64(b, uint64(m.Type))
	copy(b[8:], m.Text)
	if _, e := t.CopyOutNow(addr, b); e != 0 {
		return 0, unix.EFAULT
	}
	return uint64(n), 0
}

// sysMsgctl is msgctl(2).
func sysMsgctl(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	id, cmd, buf := a.Int(0), a.Int(1), a[2]
	s := &ipc.Default.Msg
	if id < 0 || cmd < 0 {
		return 0, unix.EINVAL
	}
	switch cmd {
	case ipc.IPC_INFO, ipc.MSG_INFO:
		b, n := s.Info(cmd == ipc.MSG_INFO)
		return n, t.CopyOut(buf, b[:])
	case ipc.IPC_STAT, ipc.MSG_STAT, ipc.MSG_STAT_ANY:
		b, full, e := s.Stat(t, id, cmd != ipc.IPC_STAT, cmd == ipc.MSG_STAT_ANY)
		if e != 0 {
			return 0, e
		}
		return statResult(t, buf, b[:], full, cmd)
	case ipc.IPC_SET:
		var b [ipc.MsgDSSize]byte
		if e := t.CopyIn(buf, b[:]); e != 0 {
			return 0, e
		}
		return 0, s.Set(t, id, b[:])
	case ipc.IPC_RMID:
		return 0, s.Remove(t, id)
	}
	return 0, unix.EINVAL
}
