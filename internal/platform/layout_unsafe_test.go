package platform

import (
	"encoding/binary"
	"testing"
	"unsafe"
)

// TestLayout compares the numbers of layout.go with those that the stub was
// built with (stub.c, layout).
func TestLayout(t *testing.T) {
	raw := stubELF[layoutAt:]
	var s slot
	want := []uintptr{
		unsafe.Offsetof(s.turn), unsafe.Offsetof(s.sentrySleeps), unsafe.Offsetof(s.guestSleeps), unsafe.Offsetof(s.doneSeq), unsafe.Offsetof(s.hostTID),
		unsafe.Offsetof(s.mask), unsafe.Offsetof(s.robust), unsafe.Offsetof(s.loan), unsafe.Offsetof(s.posted), unsafe.Offsetof(s.dropLo), unsafe.Offsetof(s.dropHi),
		unsafe.Offsetof(s.fdLent), unsafe.Offsetof(s.fdHead), unsafe.Offsetof(s.fdTail), unsafe.Offsetof(s.spinTSC), unsafe.Offsetof(s.yields), unsafe.Offsetof(s.answers),
		unsafe.Offsetof(s.maskable), unsafe.Offsetof(s.pid), unsafe.Offsetof(s.kind), unsafe.Offsetof(s.nr), unsafe.Offsetof(s.arg), unsafe.Offsetof(s.ip),
		unsafe.Offsetof(s.sp), unsafe.Offsetof(s.sig), unsafe.Offsetof(s.code), unsafe.Offsetof(s.addr), unsafe.Offsetof(s.trapno), unsafe.Offsetof(s.err),
		unsafe.Offsetof(s.result), unsafe.Offsetof(s.failedOp), unsafe.Offsetof(s.opErrno), unsafe.Offsetof(s.tsc), unsafe.Offsetof(s.nin), unsafe.Offsetof(s.in),
		unsafe.Offsetof(s.seq), unsafe.Offsetof(s.nops), unsafe.Offsetof(s.rax), unsafe.Offsetof(s.rflags), unsafe.Offsetof(s.op), unsafe.Sizeof(op{}),
		slotSize, maxSlots, privSize, StubTextSize, inMax, maxOps, postAt, postMax, fdsAt, fdsMax, fdOps, unsafe.Offsetof(s.note), noteAt, noteSize, noteNameMax, noteDents,
		unsafe.Offsetof(s.boxes), unsafe.Offsetof(s.boxBits), unsafe.Offsetof(s.ctlLent), unsafe.Offsetof(s.lazy), socksAt, BoxFDs, Boxes, boxMax, ctlOps, ctlAt, boxesAt, boxSize,
	}
	for i, w := range want {
		if got := uintptr(binary.LittleEndian.Uint32(raw[8+4*i:])); got != w {
			t.Errorf("number %d: the stub has %#x, layout.go %#x", i, got, w)
		}
	}
}
