package platform

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

func code(before, after []byte) []byte {
	b := bytes.Repeat([]byte{0x90}, siteBefore+2+siteAfter)
	copy(b[siteBefore-len(before):], before)
	copy(b[siteBefore:], append([]byte{0x0f, 0x05}, after...))
	return b
}

// TestPatchForms: each form of a site is changed as PlanPatch says, and no other.
func TestPatchForms(t *testing.T) {
	const site, tramp = 0x401018, 0x3f0000 // the jump lies within a cache line
	mov := []byte{0xb8, 14, 0, 0, 0}
	lea := []byte{0x48, 0x8d, 0x35, 0x00, 0x10, 0, 0} // lea 0x1000(%rip),%rsi
	near := []byte{0x48, 0x8d, 0xb3, 8, 0, 0, 0}      // lea 8(%rbx),%rsi
	for _, c := range []struct {
		name   string
		before []byte
		want   bool
	}{
		{"mov", mov, true},
		{"mov, lea of code", append(bytes.Clone(mov), lea...), true},
		{"mov, lea of data", append(bytes.Clone(mov), near...), true},
		{"mov, xor edi", append(bytes.Clone(mov), 0x31, 0xff), true},
		{"mov, xor eax", append(bytes.Clone(mov), 0x31, 0xc0), false},
		{"mov, jump", append(bytes.Clone(mov), 0xeb, 0x00), false},
		{"mov, load of code", append(bytes.Clone(mov), 0x48, 0x8b, 0x35, 0, 0x10, 0, 0), false},
		{"mov r8", append([]byte{0x41}, mov...), false},
		{"another number", []byte{0xb8, 15, 0, 0, 0}, false},
		{"two instructions", append(bytes.Clone(mov), 0x31, 0xff, 0x31, 0xd2), false},
	} {
		p, ok := PlanPatch(site, 14, code(c.before, nil), tramp)
		if ok != c.want {
			t.Errorf("%s: %v", c.name, ok)
		}
		if ok {
			checkTrampoline(t, c.name, p, c.before[5:], site, tramp)
		}
	}
}

// checkTrampoline reads what is jumped to, instruction by instruction.
func checkTrampoline(t *testing.T, name string, p *Patch, mid []byte, site, tramp uint64) {
	t.Helper()
	b, at := p.Code[:], tramp
	next := func() x86asm.Inst {
		in, err := x86asm.Decode(b, 64)
		if err != nil {
			t.Fatalf("%s: %v in % x", name, err, p.Code)
		}
		b, at = b[in.Len:], at+uint64(in.Len)
		return in
	}
	if in := next(); in.Op != x86asm.MOV || in.Args[0] != x86asm.EAX || in.Args[1] != x86asm.Imm(14) {
		t.Errorf("%s: %v, not the number", name, in)
	}
	if len(mid) > 0 {
		was, _ := x86asm.Decode(mid, 64)
		is := next()
		m, rip := was.Args[1].(x86asm.Mem)
		if rip = rip && m.Base == x86asm.RIP; rip {
			n := is.Args[1].(x86asm.Mem)
			if uint64(int64(at)+n.Disp) != uint64(int64(site)+m.Disp) {
				t.Errorf("%s: lea of %#x, not %#x", name, int64(at)+n.Disp, int64(site)+m.Disp)
			}
		} else if is.String() != was.String() {
			t.Errorf("%s: %v, not %v", name, is, was)
		}
	}
	ret := next()
	if m := ret.Args[1].(x86asm.Mem); ret.Args[0] != x86asm.RCX || uint64(int64(at)+m.Disp) != site+2 {
		t.Errorf("%s: %v at %#x, not the address behind the call", name, ret, at)
	}
	if in := next(); in.Op != x86asm.JMP || binary.LittleEndian.Uint64(b) != fastEntry {
		t.Errorf("%s: %v to %#x", name, in, binary.LittleEndian.Uint64(b))
	}
	w := p.Writes[0]
	var now [8]byte
	binary.LittleEndian.PutUint64(now[:], w.New)
	at5 := site - 5 - uint64(len(mid))
	jmp := now[at5-w.Addr:]
	if jmp[0] != 0xe9 || uint64(int64(at5)+5+int64(int32(binary.LittleEndian.Uint32(jmp[1:])))) != tramp {
		t.Errorf("%s: the jump is % x", name, jmp[:5])
	}
}
