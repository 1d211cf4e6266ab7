package kernel

import (
	"bytes"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
)

// CopyIn copies len(dst) bytes of the guest's memory at addr. What the stub
// sent along costs no further call.
func (t *Task) CopyIn(addr uint64, dst []byte) abi.Errno {
	if len(dst) == 0 {
		return 0
	}
	th := t.plat.th.Load()
	if th == nil {
		return unix.EFAULT
	}
	if b := th.Sent(addr, len(dst)); b != nil {
		copy(dst, b)
		return 0
	}
	_, e := th.Process().ReadMemory(addr, dst)
	return e
}

// CopyInPart is CopyIn that gives how much could be copied before a fault.
func (t *Task) CopyInPart(addr uint64, dst []byte) (int, abi.Errno) {
	if len(dst) == 0 {
		return 0, 0
	}
	th := t.plat.th.Load()
	if th == nil {
		return 0, unix.EFAULT
	}
	if b := th.Sent(addr, len(dst)); b != nil {
		return copy(dst, b), 0
	}
	return th.Process().ReadMemory(addr, dst)
}

// CopyOut has src copied to the guest's memory at addr by the time the call
// returns. A fault found only then makes the call's result EFAULT.
func (t *Task) CopyOut(addr uint64, src []byte) abi.Errno {
	th := t.plat.th.Load()
	if th == nil {
		return unix.EFAULT
	}
	return th.CopyOut(addr, src)
}

// CopyOutNow is CopyOut at once, and gives how much could be copied.
func (t *Task) CopyOutNow(addr uint64, src []byte) (int, abi.Errno) {
	if len(src) == 0 {
		return 0, 0
	}
	th := t.plat.th.Load()
	if th == nil {
		return 0, unix.EFAULT
	}
	return th.Process().WriteMemory(addr, src)
}

// CopyInString copies a string that ends in NUL within max bytes, without the
// NUL: ENAMETOOLONG if it does not end, EFAULT if it cannot be read. The
// string is valid during the call only.
func (t *Task) CopyInString(addr uint64, max int) (string, abi.Errno) {
	th := t.plat.th.Load()
	if th == nil {
		return "", unix.EFAULT
	}
	if b := th.SentFrom(addr); b != nil {
		if len(b) > max {
			b = b[:max]
		}
		s := t.strings.take(b)
		if i := bytes.IndexByte(s, 0); i >= 0 {
			return viewString(s[:i]), 0
		}
	}
	return t.readString(th, addr, max)
}

func (t *Task) readString(th *platform.Thread, addr uint64, max int) (string, abi.Errno) {
	var out []byte
	buf := t.strings.scratch(platformPage)
	for len(out) < max {
		n := platformPage - int(addr&(platformPage-1))
		n = min(n, max-len(out))
		got, e := th.Process().ReadMemory(addr, buf[:n])
		b := buf[:got]
		if i := bytes.IndexByte(b, 0); i >= 0 {
			return string(append(out, b[:i]...)), 0
		}
		if e != 0 {
			return "", e
		}
		out = append(out, b...)
		addr += uint64(got)
	}
	return "", unix.ENAMETOOLONG
}

const platformPage = 4096

// callStrings is the memory of a call's strings: two paths of full length.
type callStrings struct {
	buf  []byte
	used int
}

// take copies b into the call's memory.
func (c *callStrings) take(b []byte) []byte {
	if c.buf == nil {
		c.buf = make([]byte, 2*platformPage)
	}
	if len(b) > len(c.buf)-c.used {
		return bytes.Clone(b)
	}
	s := c.buf[c.used : c.used+len(b) : c.used+len(b)]
	copy(s, b)
	c.used += len(b)
	return s
}

func (c *callStrings) scratch(n int) []byte { return make([]byte, n) }

// ReadBuf gives n bytes to fill for the guest (n at most 256 KiB): the shared
// page's own where there is room, so that CopyOut of it moves nothing twice.
func (t *Task) ReadBuf(n int) []byte {
	if th := t.plat.th.Load(); th != nil {
		if b := th.Out(n); b != nil {
			return b
		}
	}
	return make([]byte, n)
}

// WriteBuf gives n of the guest's bytes at addr in private memory, valid until
// the call returns.
func (t *Task) WriteBuf(addr uint64, n int) ([]byte, abi.Errno) {
	b := t.writeBuf
	if cap(b) < n {
		b = make([]byte, n, (n+4095)&^4095)
		if n <= 64<<10 {
			t.writeBuf = b
		}
	}
	b = b[:n]
	return b, t.CopyIn(addr, b)
}
