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

// fdSets are select's three sets, as words of 64 descriptors.
type fdSets struct {
	addr [3]uint64 // 0: not given
	set  [3][]byte
	n    int // descriptors
}

// copySets copies the sets that are given. Descriptors beyond the table's size
// are not looked at.
func (f *fdSets) copySets(t *kernel.Task, n int32, addrs [3]uint64) abi.Errno {
	if n < 0 {
		return unix.EINVAL
	}
	f.n, f.addr = min(int(n), t.FDs().Size()), addrs
	size := (f.n + 63) / 64 * 8
	for i, addr := range addrs {
		f.set[i] = make([]byte, size)
		if addr != 0 && size > 0 {
			if e := t.CopyIn(addr, f.set[i]); e != 0 {
				return e
			}
		}
	}
	return 0
}

func (f *fdSets) has(i, fd int) bool { return f.set[i][fd/8]>>(fd%8)&1 != 0 }

// fill gives s every descriptor of the sets; the items' numbers go to nums.
func (f *fdSets) fill(t *kernel.Task, s *pollSet) (nums []int32, e abi.Errno) {
	le := binary.LittleEndian
	for w := 0; w < len(f.set[0]); w += 8 {
		all := le.Uint64(f.set[0][w:]) | le.Uint64(f.set[1][w:]) | le.Uint64(f.set[2][w:])
		for ; all != 0; all &= all - 1 {
			num := w*8 + bits.TrailingZeros64(all)
			if num >= f.n {
				break
			}
			var want uint32
			for i, m := range [3]uint32{selectIn, selectOut, selectEx} {
				if f.has(i, num) {
					want |= m
				}
			}
			fd, e := t.FDs().GetFile(int32(num))
			if e != 0 {
				return nil, e
			}
			s.add(fd, want)
			nums = append(nums, int32(num))
		}
	}
	return nums, 0
}

// answer writes the ready descriptors into the sets, and counts them.
func (f *fdSets) answer(t *kernel.Task, s *pollSet, nums []int32) (uint64, abi.Errno) {
	var asked [3][]byte
	asked, f.set = f.set, [3][]byte{}
	count := uint64(0)
	for i, m := range [3]uint32{selectIn, selectOut, selectEx} {
		f.set[i] = make([]byte, len(asked[i]))
		for k := range s.items {
			num := nums[k]
			if s.items[k].got&m != 0 && asked[i][num/8]>>(num%8)&1 != 0 {
				f.set[i][num/8] |= 1 << (num % 8)
				count++
			}
		}
		if f.addr[i] != 0 && len(f.set[i]) > 0 {
			if e := t.CopyOut(f.addr[i], f.set[i]); e != 0 {
				return 0, e
			}
		}
	}
	return count, 0
}

// doSelect is select(2) with its timeout worked out.
func doSelect(t *kernel.Task, n int32, addrs [3]uint64, d timeout) (uint64, abi.Errno) {
	var f fdSets
	if e := f.copySets(t, n, addrs); e != 0 {
		return 0, e
	}
	s := pollSets.Get().(*pollSet)
	defer s.put()
	nums, e := f.fill(t, s)
	if e != 0 {
		return 0, e
	}
	for k := range s.items {
		s.items[k].only = true
	}
	if _, e := s.wait(t, d.deadline, d.past); e != 0 {
		return 0, e
	}
	return f.answer(t, s, nums)
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
	var mask [16]byte
	if a[5] != 0 {
		if e := t.CopyIn(a[5], mask[:]); e != 0 {
			return 0, e
		}
	}
	d, e := copyTimeout(t, a[4], abi.Timespec)
	if e != 0 {
		return 0, e
	}
	if e := tempMask(t, binary.LittleEndian.Uint64(mask[:]), binary.LittleEndian.Uint64(mask[8:])); e != 0 {
		return 0, e
	}
	n, e := doSelect(t, a.Int(0), [3]uint64{a[1], a[2], a[3]}, d)
	t.RestoreMask(e == abi.ERESTARTSYS)
	return n, finishTimed(t, e, a[4], d, abi.PutTimespec)
}
