package platform

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ReadMemory copies guest memory of p's address space into dst. It gives how
// much could be read and EFAULT if that is less.
func (p *Process) ReadMemory(addr uint64, dst []byte) (int, unix.Errno) {
	return transfer(p.pid, addr, dst, readVM)
}

// WriteMemory copies src to guest memory; as ReadMemory.
func (p *Process) WriteMemory(addr uint64, src []byte) (int, unix.Errno) {
	return transfer(p.pid, addr, src, writeVM)
}

func transfer(pid int, addr uint64, b []byte, move func(int, uint64, []byte) (int, unix.Errno)) (int, unix.Errno) {
	done := 0
	for done < len(b) {
		if addr >= TaskSize || addr+uint64(len(b)-done) > TaskSize {
			return done, unix.EFAULT
		}
		n, e := move(pid, addr, b[done:])
		if e != 0 {
			return done, unix.EFAULT
		}
		if n == 0 {
			return done, unix.EFAULT
		}
		done += n
		addr += uint64(n)
	}
	return done, 0
}

// Sent gives the bytes at [addr, addr+n) if the stub sent them along with the
// call: a view of shared memory, to be copied once.
func (t *Thread) Sent(addr uint64, n int) []byte {
	for i := uint32(0); i < t.Req.nin; i++ {
		s := &t.Req.in[i]
		if addr >= s.addr && addr-s.addr <= uint64(s.len) && uint64(n) <= uint64(s.len)-(addr-s.addr) {
			off := uint64(s.off) + addr - s.addr
			if s.off > inMax || off+uint64(n) > inMax {
				return nil
			}
			return t.data[off : off+uint64(n)]
		}
	}
	return nil
}

// ForgetSent: the guest's memory may have changed since the call was made.
func (t *Thread) ForgetSent() { t.Req.nin = 0 }

// SentFrom gives what was sent along from addr on.
func (t *Thread) SentFrom(addr uint64) []byte {
	for i := uint32(0); i < t.Req.nin; i++ {
		s := &t.Req.in[i]
		if addr >= s.addr && addr-s.addr < uint64(s.len) && s.off <= inMax && s.len <= inMax-s.off {
			return t.data[uint64(s.off)+addr-s.addr : s.off+s.len]
		}
	}
	return nil
}

// Out gives n bytes of the slot's output area to fill, or nil if there is no
// room. CopyOut of (a part of) it copies nothing.
func (t *Thread) Out(n int) []byte {
	off := t.outAt
	if n < 0 || n > len(t.data)-int(off) {
		return nil
	}
	t.outAt = (off + uint32(n) + 15) &^ 15
	return t.data[off : int(off)+n : int(off)+n]
}

// smallCopy is what is worth copying through the slot.
const smallCopy = 2048

// CopyOut has src copied to addr when the call returns, or does it now if src
// is large. A fault of the former turns the call's result into EFAULT.
func (t *Thread) CopyOut(addr uint64, src []byte) unix.Errno {
	if len(src) == 0 {
		return 0
	}
	if addr >= TaskSize || uint64(len(src)) > TaskSize-addr {
		return unix.EFAULT
	}
	off, ok := t.inData(src)
	if !ok {
		if len(src) > smallCopy || t.nops >= maxOps-8 {
			return t.writeNow(addr, src)
		}
		var err error
		if off, err = t.put(src); err != nil {
			return t.writeNow(addr, src)
		}
	}
	t.add(opCopyOut, addr, uint64(off), uint64(len(src)))
	return 0
}

func (t *Thread) writeNow(addr uint64, src []byte) unix.Errno {
	_, e := t.proc.WriteMemory(addr, src)
	return e
}

// Mmap, and the like below: operations on the guest's host memory, carried out
// in order with the next Do or Resume. fd is a host descriptor, or -1.
func (t *Thread) Mmap(addr, length uint64, prot, flags uint32, fd int, off int64) unix.Errno {
	if fd < 0 {
		t.add(opMmap, addr, length, uint64(prot), uint64(flags), 0, 0)
		return 0
	}
	t.area.mu.Lock()
	shared := t.area.inUse > 1
	t.area.mu.Unlock()
	if shared {
		// The socket is one for all threads: a message must not go astray.
		t.area.fdMu.Lock()
		defer t.area.fdMu.Unlock()
	}
	if err := t.area.sendFDs(fd); err != nil {
		return unix.ENOMEM
	}
	t.add(opRecvFD, 1)
	t.add(opMmap, addr, length, uint64(prot), uint64(flags), 1, uint64(off))
	t.add(opCloseFD)
	if shared {
		switch t.Do() {
		case KindDone:
		case KindOpFail:
			return t.Req.OpErrno
		default:
			return unix.ENOMEM
		}
	}
	return 0
}

// Munmap, Mprotect, Mremap, Madvise: see Mmap.
func (t *Thread) Munmap(addr, length uint64) { t.add(opMunmap, addr, length) }

func (t *Thread) Mprotect(addr, length uint64, prot uint32) {
	t.add(opMprotect, addr, length, uint64(prot))
}

func (t *Thread) Mremap(old, oldLen, newLen uint64, flags uint32, to uint64) {
	t.add(opMremap, old, oldLen, newLen, uint64(flags), to)
}

func (t *Thread) Madvise(addr, length uint64, advice uint32) {
	t.add(opMadvise, addr, length, uint64(advice))
}

// Seq names the reply that is being built; Done tells whether the stub says
// that it has carried out reply seq. Only the guest itself is harmed by a lie.
func (t *Thread) Seq() uint32 { return t.seq + 1 }

// Landed tells whether the stub has carried out reply seq, or never will.
func (t *Thread) Landed(seq uint32) bool {
	return t.dead.Load() || int32(atomic.LoadUint32(&t.slot.doneSeq)-seq) >= 0
}

// HoldFD hands fd to the stub, which keeps it for MmapHeld until ReleaseFD.
func (t *Thread) HoldFD(fd int) unix.Errno {
	if err := t.area.sendFDs(fd); err != nil {
		return unix.ENOMEM
	}
	t.add(opRecvFD, 1)
	return 0
}

// MmapHeld maps the held descriptor.
func (t *Thread) MmapHeld(addr, length uint64, prot, flags uint32, off int64) {
	t.add(opMmap, addr, length, uint64(prot), uint64(flags), 1, uint64(off))
}

// ReleaseFD closes the held descriptor.
func (t *Thread) ReleaseFD() { t.add(opCloseFD) }

// Zero clears n bytes of guest memory, less than a page.
func (t *Thread) Zero(addr, n uint64) {
	if b := t.Out(int(n)); b != nil {
		clear(b)
		t.CopyOut(addr, b)
	}
}
