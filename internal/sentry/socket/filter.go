package socket

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/bpf"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"golang.org/x/sys/unix"
)

// filterState is a socket's filter: SO_ATTACH_FILTER of socket(7).
type filterState struct {
	prog *bpf.Filter // nil: none
	n    int
	lock bool // SO_LOCK_FILTER
}

// Filtered tells whether a filter looks at what arrives.
func (o *Common) Filtered() bool {
	f := o.filter.Load()
	return f != nil && f.prog != nil
}

// Keep gives how much of an arriving packet to keep, 0 if it is to be dropped.
// head bytes are kept of what is not dropped.
func (o *Common) Keep(p *bpf.Packet, head int) int {
	f := o.filter.Load()
	if f == nil || f.prog == nil {
		return len(p.Data)
	}
	n := f.prog.Run(p)
	if n == 0 {
		return 0
	}
	return min(max(int(min(n, 1<<30)), head), len(p.Data))
}

// setFilterOpt is setsockopt of the options about filters; ok false: another.
func (o *Common) setFilterOpt(c vfs.Caller, name int, val []byte) (ok bool, e abi.Errno) {
	old := filterState{}
	if f := o.filter.Load(); f != nil {
		old = *f
	}
	switch name {
	case unix.SO_ATTACH_FILTER:
		code, e := copyProgram(c, val)
		if e != 0 {
			return true, e
		}
		prog, ok := bpf.NewFilter(code)
		switch {
		case old.lock:
			return true, unix.EPERM
		case !ok:
			return true, unix.EINVAL
		}
		old.prog, old.n = prog, len(code)
	case unix.SO_DETACH_FILTER:
		switch {
		case old.lock:
			return true, unix.EPERM
		case old.prog == nil:
			return true, unix.ENOENT
		}
		old.prog, old.n = nil, 0
	case unix.SO_LOCK_FILTER:
		v, e := Int(val)
		if e != 0 {
			return true, e
		}
		if old.lock && v == 0 {
			return true, unix.EPERM
		}
		old.lock = v != 0
	case unix.SO_ATTACH_BPF:
		return true, unix.EOPNOTSUPP // without CONFIG_BPF_SYSCALL
	default:
		return false, 0
	}
	o.filter.Store(&old)
	return true, 0
}

// copyProgram copies the instructions of struct sock_fprog.
func copyProgram(c vfs.Caller, val []byte) ([]bpf.Instruction, abi.Errno) {
	mem, ok := c.(vfs.UserMemory)
	if len(val) != 16 || !ok {
		return nil, unix.EINVAL
	}
	n := int(le.Uint16(val))
	if n == 0 || n > bpf.MaxLen {
		return nil, unix.EINVAL
	}
	b := make([]byte, 8*n)
	if e := mem.CopyIn(le.Uint64(val[8:]), b); e != 0 {
		return nil, e
	}
	return bpf.Decode(b), 0
}

// FilterLen is the number of instructions, for SO_GET_FILTER.
func (o *Common) FilterLen() int {
	if f := o.filter.Load(); f != nil {
		return f.n
	}
	return 0
}
