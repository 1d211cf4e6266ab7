package platform

import (
	"encoding/binary"

	"golang.org/x/arch/x86/x86asm"
)

// layoutAt is where the stub's file has its table: the address of fast_entry,
// then numbers (stub.c).
const layoutAt = 0x100

// fastEntry is where trampolines jump.
var fastEntry = binary.LittleEndian.Uint64(stubELF[layoutAt:])

const (
	// TrampolineSize is what one call site takes of a page of trampolines.
	TrampolineSize = 40
	// siteBefore and siteAfter are how much code around a site is looked at.
	siteBefore, siteAfter = 24, 128
	// reach is how far a jump goes, with some room.
	Reach = 1<<31 - 1<<20
)

// Write is a change of 8 bytes of code in one cache line.
type Write struct {
	Addr     uint64
	Old, New uint64
}

// Patch is how a call site is made to jump to a trampoline.
type Patch struct {
	Site   uint64 // of the syscall instruction
	Writes []Write
	Code   [TrampolineSize]byte
}

// SiteRange gives the code that PlanPatch wants to see for a site.
func SiteRange(site uint64) (addr uint64, n int) { return site - siteBefore, siteBefore + siteAfter }

// PlanPatch decides how the call of nr at site, surrounded by code, can jump to
// a trampoline at tramp; false if it cannot. The syscall instruction stays
// where it is or becomes a short jump: a thread on its way through the old
// bytes is never left in the middle of a new instruction.
//
//	mov $nr,%eax; syscall   →  jmp trampoline; syscall
//	mov $nr,%eax; x; syscall  →  jmp trampoline; x; syscall, where the trampoline
//	                             has x too
//	syscall … ret; nopl     →  jmp.s 1f … ret; 1: jmp trampoline
func PlanPatch(site uint64, nr uint32, code []byte, tramp uint64) (*Patch, bool) {
	if len(code) < siteBefore+2 || code[siteBefore] != 0x0f || code[siteBefore+1] != 0x05 {
		return nil, false
	}
	v := &view{base: site - siteBefore, code: code}
	p := &Patch{Site: site}
	if mid, ok := v.movForm(nr); ok {
		// The mov may cross a cache line: then the padding has to do.
		if w, ok := v.jump32(site-5-uint64(len(mid)), tramp); ok {
			if !relocate(mid, site, tramp+5+uint64(len(mid))) {
				return nil, false
			}
			p.Writes = []Write{w}
			p.Code = trampoline(tramp, site+2, int64(nr), mid)
			return p, true
		}
	}
	pad, ok := v.padding(site + 2)
	if !ok {
		return nil, false
	}
	far, ok := v.jump32(pad, tramp)
	if !ok {
		return nil, false
	}
	v.apply(far)
	near, ok := v.window(site, []byte{0xeb, byte(pad - (site + 2))})
	if !ok {
		return nil, false
	}
	p.Writes = []Write{far, near}
	p.Code = trampoline(tramp, site+2, -1, nil)
	return p, true
}

// trampoline: the number, if the patch took it away, and what stood between it and
// the call; the address behind the call in rcx, as the instruction would leave it;
// and on to the stub.
func trampoline(at, ret uint64, nr int64, mid []byte) (b [TrampolineSize]byte) {
	i := 0
	if nr >= 0 {
		b[0] = 0xb8
		binary.LittleEndian.PutUint32(b[1:], uint32(nr))
		i = 5 + copy(b[5:], mid)
	}
	copy(b[i:], []byte{0x48, 0x8d, 0x0d}) // lea rel32(%rip), %rcx
	binary.LittleEndian.PutUint32(b[i+3:], uint32(int32(int64(ret)-int64(at)-int64(i+7))))
	copy(b[i+7:], []byte{0xff, 0x25, 0, 0, 0, 0}) // jmp *0(%rip)
	binary.LittleEndian.PutUint64(b[i+13:], fastEntry)
	return b
}

// view is a piece of code.
type view struct {
	base uint64
	code []byte
}

func (v *view) at(addr uint64) int { return int(addr - v.base) }

// maxMid is the longest instruction that a trampoline has room for.
const maxMid = TrampolineSize - 5 - 7 - 6 - 8

// movForm: the five bytes before the call, or before one instruction in front of
// it that mid has then, are mov $nr,%eax, without a prefix that would make it
// another register's.
func (v *view) movForm(nr uint32) (mid []byte, ok bool) {
	for n := 0; n <= maxMid; n++ {
		b := v.code[:siteBefore-n]
		at := len(b) - 5
		if b[at] != 0xb8 || binary.LittleEndian.Uint32(b[at+1:]) != nr || b[at-1]&0xf0 == 0x40 {
			continue
		}
		mid = append([]byte(nil), v.code[len(b):siteBefore]...)
		if n == 0 || movable(mid) {
			return mid, true
		}
	}
	return nil, false
}

// movable: b is one instruction that sets a register other than rax, or memory,
// and can stand elsewhere (see relocate).
func movable(b []byte) bool {
	in, err := x86asm.Decode(b, 64)
	if err != nil || in.Len != len(b) || in.Op != x86asm.MOV && in.Op != x86asm.LEA && in.Op != x86asm.XOR {
		return false
	}
	for i, a := range in.Args {
		switch a := a.(type) {
		case x86asm.Reg:
			if i == 0 && (a == x86asm.RAX || a == x86asm.EAX || a == x86asm.AX || a == x86asm.AL || a == x86asm.AH) {
				return false
			}
		case x86asm.Mem:
			if a.Base == x86asm.RIP && in.Op != x86asm.LEA {
				return false
			}
		}
	}
	return true
}

// relocate makes mid, which ended at from, one that ends at to.
func relocate(mid []byte, from, to uint64) bool {
	in, err := x86asm.Decode(mid, 64)
	if len(mid) == 0 || err != nil || in.Op != x86asm.LEA {
		return len(mid) == 0 || err == nil
	}
	if m, ok := in.Args[1].(x86asm.Mem); !ok || m.Base != x86asm.RIP {
		return true
	}
	at := mid[len(mid)-4:] // lea has its displacement last
	d := int64(int32(binary.LittleEndian.Uint32(at))) + int64(from) - int64(to)
	if d > Reach || d < -Reach {
		return false
	}
	binary.LittleEndian.PutUint32(at, uint32(int32(d)))
	return true
}

// padding finds five bytes of dead code within a short jump of from: no-ops
// behind an instruction that never goes on to the next.
func (v *view) padding(from uint64) (uint64, bool) {
	for i := v.at(from); i < len(v.code) && i < v.at(from)+100; {
		in, err := x86asm.Decode(v.code[i:], 64)
		if err != nil || in.Len == 0 {
			return 0, false
		}
		i += in.Len
		if !endsFlow(in) {
			continue
		}
		n := nops(v.code[i:])
		if n >= 5 && i+5 <= v.at(from)+127 {
			return v.base + uint64(i), true
		}
		i += n
	}
	return 0, false
}

func endsFlow(in x86asm.Inst) bool {
	switch in.Op {
	case x86asm.RET, x86asm.JMP, x86asm.UD2, x86asm.HLT:
		return true
	}
	return false
}

// nops counts the bytes of no-ops that code begins with.
func nops(code []byte) int {
	n := 0
	for n < len(code) {
		in, err := x86asm.Decode(code[n:], 64)
		if err != nil || in.Len == 0 || in.Op != x86asm.NOP {
			break
		}
		n += in.Len
	}
	return n
}

func (v *view) jump32(from, to uint64) (Write, bool) {
	d := int64(to) - int64(from) - 5
	if d > Reach || d < -Reach {
		return Write{}, false
	}
	b := []byte{0xe9, 0, 0, 0, 0}
	binary.LittleEndian.PutUint32(b[1:], uint32(int32(d)))
	return v.window(from, b)
}

// window makes the change of b at addr one of 8 bytes within a cache line.
func (v *view) window(addr uint64, b []byte) (Write, bool) {
	for start := addr; start+8 >= addr+uint64(len(b)); start-- {
		if start&63 > 56 {
			continue
		}
		i := v.at(start)
		if i < 0 || i+8 > len(v.code) {
			return Write{}, false
		}
		old := binary.LittleEndian.Uint64(v.code[i:])
		var w [8]byte
		copy(w[:], v.code[i:i+8])
		copy(w[addr-start:], b)
		return Write{Addr: start, Old: old, New: binary.LittleEndian.Uint64(w[:])}, true
	}
	return Write{}, false
}

func (v *view) apply(w Write) { binary.LittleEndian.PutUint64(v.code[v.at(w.Addr):], w.New) }

// Patch has a site changed in the guest's process; prot is the code's.
func (t *Thread) Patch(w Write, prot uint32) {
	t.add(opPatch, w.Addr, w.Old, w.New, uint64(prot))
}

// Poke writes code into a page of trampolines that the Sentry had mapped.
func (t *Thread) Poke(addr uint64, code []byte, prot uint32) bool {
	off, err := t.put(code)
	if err != nil {
		return false
	}
	t.add(opPoke, addr, uint64(off), uint64(len(code)), uint64(prot))
	return true
}
