package syscalls

import (
	"encoding/binary"
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

const (
	maxRW      = 0x7ffff000     // MAX_RW_COUNT
	taskSize   = 0x7ffffffff000 // TASK_SIZE_MAX: user addresses are below
	maxIOV     = 1024           // UIO_MAXIOV
	chunkSize  = 256 << 10      // what one pass of a large read or write moves
	pathMax    = 4096
	pageSize   = 4096
	maxNameLen = 255
)

// accessOK tells whether [addr, addr+n) can be the guest's, as access_ok does.
func accessOK(addr, n uint64) bool { return n <= taskSize && addr <= taskSize-n }

// scratch is private memory for bulk data.
type scratch struct{ b []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// getScratch gives a scratch of n bytes, at most chunkSize.
func getScratch(n int) *scratch {
	s := scratches.Get().(*scratch)
	if cap(s.b) < n {
		size := 4096
		for size < n {
			size *= 2
		}
		s.b = make([]byte, size)
	}
	s.b = s.b[:n]
	return s
}

func (s *scratch) put() { scratches.Put(s) }

// iovec is a part of the guest's memory.
type iovec struct {
	addr uint64
	n    int
}

// iovecs is a list of parts, from a pool.
type iovecs struct {
	v     []iovec
	total int
	raw   []byte
}

var iovecPool = sync.Pool{New: func() any { return &iovecs{v: make([]iovec, 0, 8)} }}

func (v *iovecs) put() {
	v.v, v.total = v.v[:0], 0
	iovecPool.Put(v)
}

// single makes a list of one part.
func single(addr, n uint64) (*iovecs, abi.Errno) {
	if !accessOK(addr, n) {
		return nil, unix.EFAULT
	}
	v := iovecPool.Get().(*iovecs)
	v.total = int(min(n, maxRW))
	v.v = append(v.v, iovec{addr, v.total})
	return v, 0
}

// importIovecs copies struct iovec[count]: readv(2). The total is cut at
// MAX_RW_COUNT.
func importIovecs(t *kernel.Task, addr, count uint64) (*iovecs, abi.Errno) {
	if count > maxIOV {
		return nil, unix.EINVAL
	}
	v := iovecPool.Get().(*iovecs)
	need := int(count) * abi.IovecSize
	if cap(v.raw) < need {
		v.raw = make([]byte, need)
	}
	raw := v.raw[:need]
	if need > 0 {
		if e := t.CopyIn(addr, raw); e != 0 {
			v.put()
			return nil, e
		}
	}
	bad := abi.Errno(0)
	for ; len(raw) > 0; raw = raw[abi.IovecSize:] {
		base, n := binary.LittleEndian.Uint64(raw), binary.LittleEndian.Uint64(raw[8:])
		if int64(n) < 0 {
			v.put()
			return nil, unix.EINVAL
		}
		if !accessOK(base, n) {
			bad = unix.EFAULT
		}
		k := int(min(n, uint64(maxRW-v.total)))
		v.v = append(v.v, iovec{base, k})
		v.total += k
	}
	if bad != 0 {
		v.put()
		return nil, bad
	}
	return v, 0
}

// outBuf is memory to fill for the guest: the shared page's own where it is
// not large, else a scratch, which put gives back.
type outBuf struct {
	b []byte
	s *scratch
}

// sharedOut is the most that goes through the shared page.
const sharedOut = 32 << 10

func getOut(t *kernel.Task, n int) outBuf {
	if n <= sharedOut {
		return outBuf{b: t.ReadBuf(n)}
	}
	s := getScratch(n)
	return outBuf{b: s.b, s: s}
}

func (o *outBuf) put() {
	if o.s != nil {
		o.s.put()
	}
}

// copyOut copies src, a part of o, and tells how much of it arrived before a
// bad page. Through the shared page, that is found out only when the call ends,
// with EFAULT.
func (o *outBuf) copyOut(t *kernel.Task, addr uint64, src []byte) (int, abi.Errno) {
	if o.s != nil {
		return t.CopyOutNow(addr, src)
	}
	if e := t.CopyOut(addr, src); e != 0 {
		return t.CopyOutNow(addr, src)
	}
	return len(src), 0
}

// copyOutSure copies what must be taken back if it does not arrive: a bad
// address is found now, not when the call ends.
func copyOutSure(t *kernel.Task, addr uint64, src []byte) abi.Errno {
	if t.MM().Writable(addr, uint64(len(src))) {
		return t.CopyOut(addr, src)
	}
	_, e := t.CopyOutNow(addr, src)
	return e
}

// copyOutPart copies at once, and tells how much arrived before a bad page.
func copyOutPart(t *kernel.Task, addr uint64, src []byte) (int, abi.Errno) {
	return t.CopyOutNow(addr, src)
}

// copyOut spreads src, a part of o, over the parts from offset on, and tells
// how much of it arrived before a bad page.
func (v *iovecs) copyOut(t *kernel.Task, o *outBuf, off int, src []byte) (int, abi.Errno) {
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
		n, e := o.copyOut(t, p.addr+uint64(off), src[done:done+k])
		done += n
		if e != 0 {
			return done, e
		}
		off = 0
	}
	return done, 0
}

// copyIn gathers len(dst) bytes of the parts from offset on, and tells how many
// there are before a bad page.
func (v *iovecs) copyIn(t *kernel.Task, off int, dst []byte) (int, abi.Errno) {
	done := 0
	for _, p := range v.v {
		if off >= p.n {
			off -= p.n
			continue
		}
		k := min(p.n-off, len(dst)-done)
		if k == 0 {
			break
		}
		n, e := t.CopyInPart(p.addr+uint64(off), dst[done:done+k])
		done += n
		if e != 0 {
			return done, e
		}
		off = 0
	}
	return done, 0
}

// inPart gives the guest's n bytes at addr, or as many as there are before a
// bad page; EFAULT only if there are none. s, if it is not nil, is to be given
// back.
func inPart(t *kernel.Task, addr uint64, n int) (b []byte, s *scratch, e abi.Errno) {
	if n <= sharedOut {
		if b, e := t.WriteBuf(addr, n); e != unix.EFAULT {
			return b, nil, e
		}
	}
	s = getScratch(n)
	k, e := t.CopyInPart(addr, s.b)
	if k == 0 && e != 0 {
		s.put()
		return nil, nil, e
	}
	return s.b[:k], s, 0
}

// put32 and put64 copy a number out; get32 and get64 copy one in.
func put32(t *kernel.Task, addr uint64, v uint32) abi.Errno {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return t.CopyOut(addr, b[:])
}

func put64(t *kernel.Task, addr, v uint64) abi.Errno {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return t.CopyOut(addr, b[:])
}

func get32(t *kernel.Task, addr uint64) (uint32, abi.Errno) {
	var b [4]byte
	e := t.CopyIn(addr, b[:])
	return binary.LittleEndian.Uint32(b[:]), e
}

func get64(t *kernel.Task, addr uint64) (uint64, abi.Errno) {
	var b [8]byte
	e := t.CopyIn(addr, b[:])
	return binary.LittleEndian.Uint64(b[:]), e
}
