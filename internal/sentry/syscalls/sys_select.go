package syscalls

import (
	"encoding/binary"
	"math/bits"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// What select(2)'s three sets ask of poll.
const (
	selectIn  = waiter.RdNorm | waiter.RdBand | waiter.In | waiter.Hup | waiter.Err
	selectOut = waiter.WrBand | waiter.WrNorm | waiter.Out | waiter.Err
	selectEx  = waiter.Pri
)

// fdSets are select's three sets, as bytes of 8 descriptors: what is asked, and
// what is answered.
type fdSets struct {
	addr    [3]uint64 // 0: not given
	ask     [3][]byte
	answers [3][]byte
	n       int // descriptors
}

// copySets copies the sets that are given into memory of s. Descriptors beyond
// the table's size are not looked at.
func (f *fdSets) copySets(t *kernel.Task, s *pollSet, n int32, addrs [3]uint64) abi.Errno {
	if n < 0 {
		return unix.EINVAL
	}
	f.n, f.addr = min(int(n), t.FDs().Size()), addrs
	size := (f.n + 63) / 64 * 8
	raw := s.bytes(6 * size)
	clear(raw)
	for i, addr := range addrs {
		f.ask[i], f.answers[i], raw = raw[:size], raw[size:2*size], raw[2*size:]
		if addr != 0 && size > 0 {
			if e := t.CopyIn(addr, f.ask[i]); e != 0 {
				return e
			}
		}
	}
	return 0
}

func (f *fdSets) asks(i int, num int32) bool { return f.ask[i][num/8]>>(num%8)&1 != 0 }

// fill gives s every descriptor of the sets.
func (f *fdSets) fill(t *kernel.Task, s *pollSet) abi.Errno {
	le := binary.LittleEndian
	for w := 0; w < len(f.ask[0]); w += 8 {
		all := le.Uint64(f.ask[0][w:]) | le.Uint64(f.ask[1][w:]) | le.Uint64(f.ask[2][w:])
		for ; all != 0; all &= all - 1 {
			num := w*8 + bits.TrailingZeros64(all)
			if num >= f.n {
				break
			}
			var want uint32
			for i, m := range [3]uint32{selectIn, selectOut, selectEx} {
				if f.asks(i, int32(num)) {
					want |= m
				}
			}
			fd, e := t.FDs().GetFile(int32(num))
			if e != 0 {
				return e
			}
			s.add(fd, want)
			it := &s.items[len(s.items)-1]
			it.only, it.num = true, int32(num)
		}
	}
	return 0
}

// answer writes the ready descriptors into the guest's sets, and counts them.
func (f *fdSets) answer(t *kernel.Task, s *pollSet) (uint64, abi.Errno) {
	count := uint64(0)
	for i, m := range [3]uint32{selectIn, selectOut, selectEx} {
		for k := range s.items {
			if it := &s.items[k]; it.got&m != 0 && f.asks(i, it.num) {
				f.answers[i][it.num/8] |= 1 << (it.num % 8)
				count++
			}
		}
		if f.addr[i] != 0 && len(f.answers[i]) > 0 {
			if e := t.CopyOut(f.addr[i], f.answers[i]); e != 0 {
				return 0, e
			}
		}
	}
	return count, 0
}

// doSelect is select(2) with its timeout worked out.
func doSelect(t *kernel.Task, n int32, addrs [3]uint64, d timeout) (uint64, abi.Errno) {
	var f fdSets
	s := pollSets.Get().(*pollSet)
	defer s.put()
	if e := f.copySets(t, s, n, addrs); e != 0 {
		return 0, e
	}
	if e := f.fill(t, s); e != 0 {
		return 0, e
	}
	if _, e := s.wait(t, d.deadline, d.past); e != 0 {
		return 0, e
	}
	return f.answer(t, s)
}

// sysSelect is select(2).
func sysSelect(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	d, e := copyTimeout(t, a[4], selectTime)
	if e != 0 {
		return 0, e
	}
	n, e := doSelect(t, a.Int(0), [3]uint64{a[1], a[2], a[3]}, d)
	return n, finishTimed(t, e, a[4], d, abi.PutTimeval)
}

// selectTime decodes select's timeval, whose microseconds may be a million and
// more.
func selectTime(b []byte) (int64, bool) {
	sec, usec := int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))
	if sec < 0 || usec < 0 {
		return 0, false
	}
	sec += usec / 1e6
	if sec < 0 || sec >= abi.MaxSec {
		return 1<<63 - 1, true
	}
	return sec*1e9 + usec%1e6*1e3, true
}

// sysPselect6 is the system call behind pselect(2); the last argument points to
// the mask and its size.
func sysPselect6(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	var mask, size uint64
	if a[5] != 0 {
		var b [16]byte
		if e := t.CopyIn(a[5], b[:]); e != 0 {
			return 0, e
		}
		mask, size = binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	}
	d, e := copyTimeout(t, a[4], abi.Timespec)
	if e != 0 {
		return 0, e
	}
	if e := tempMask(t, mask, size); e != 0 {
		return 0, e
	}
	n, e := doSelect(t, a.Int(0), [3]uint64{a[1], a[2], a[3]}, d)
	t.RestoreMask(e == abi.ERESTARTSYS)
	return n, finishTimed(t, e, a[4], d, abi.PutTimespec)
}
