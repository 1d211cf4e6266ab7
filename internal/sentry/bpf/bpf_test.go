package bpf

import "testing"

const archX86 = 0xc000003e

func ins(code uint16, jt, jf uint8, k uint32) Instruction { return Instruction{code, jt, jf, k} }

// allowBut refuses call nr with errno 1 and lets the others through.
func allowBut(nr uint32) []Instruction {
	return []Instruction{
		ins(0x20, 0, 0, 4),
		ins(0x15, 1, 0, archX86),
		ins(0x06, 0, 0, 0),
		ins(0x20, 0, 0, 0),
		ins(0x15, 0, 1, nr),
		ins(0x06, 0, 0, 0x50001),
		ins(0x06, 0, 0, retAllow),
	}
}

func run(p *Program, nr, arch uint32, args ...uint64) uint32 {
	var a [6]uint64
	copy(a[:], args)
	d := MakeData(nr, arch, 0x1234, &a)
	return p.Run(&d)
}

func TestFilter(t *testing.T) {
	p, ok := New(allowBut(39), archX86)
	if !ok {
		t.Fatal("refused")
	}
	if got := run(p, 39, archX86); got != 0x50001 {
		t.Errorf("getpid: %#x", got)
	}
	if got := run(p, 1, archX86); got != retAllow {
		t.Errorf("write: %#x", got)
	}
	if got := run(p, 1, 0x40000003); got != 0 {
		t.Errorf("other architecture: %#x", got)
	}
	if p.Always(39) || !p.Always(1) || p.Always(512) {
		t.Error("calls that are always let through")
	}
}

func TestArithmetic(t *testing.T) {
	// A = low word of args[0]; M[3] = A; X = A; A = len; A = A*2 - X; A ^= 5;
	// A <<= 1; A |= 1; A = -A; X = M[3]; A += X; return A
	code := []Instruction{
		ins(0x20, 0, 0, 16), ins(0x02, 0, 0, 3), ins(0x07, 0, 0, 0), ins(0x80, 0, 0, 0),
		ins(0x24, 0, 0, 2), ins(0x1c, 0, 0, 0), ins(0xa4, 0, 0, 5), ins(0x64, 0, 0, 1),
		ins(0x44, 0, 0, 1), ins(0x84, 0, 0, 0), ins(0x61, 0, 0, 3), ins(0x0c, 0, 0, 0), ins(0x16, 0, 0, 0),
	}
	p, ok := New(code, archX86)
	if !ok {
		t.Fatal("refused")
	}
	a := uint32(64*2-7) ^ 5
	want := -(a<<1 | 1) + 7
	if got := run(p, 0, archX86, 7); got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
}

func TestDivisionByZeroEnds(t *testing.T) {
	code := []Instruction{ins(0x20, 0, 0, 16), ins(0x07, 0, 0, 0), ins(0x3c, 0, 0, 0), ins(0x06, 0, 0, retAllow)}
	p, ok := New(code, archX86)
	if !ok {
		t.Fatal("refused")
	}
	if got := run(p, 0, archX86, 0); got != 0 {
		t.Errorf("got %#x", got)
	}
	if got := run(p, 0, archX86, 2); got != retAllow {
		t.Errorf("got %#x", got)
	}
}

func TestBadPrograms(t *testing.T) {
	ret := ins(0x06, 0, 0, retAllow)
	for name, code := range map[string][]Instruction{
		"empty":              {},
		"no end":             {ins(0x20, 0, 0, 0)},
		"offset not aligned": {ins(0x20, 0, 0, 2), ret},
		"offset outside":     {ins(0x20, 0, 0, 64), ret},
		"byte load":          {ins(0x30, 0, 0, 0), ret},
		"indirect load":      {ins(0x40, 0, 0, 0), ret},
		"jump out":           {ins(0x15, 1, 0, 0), ret},
		"far jump":           {ins(0x05, 0, 0, 0xffffffff), ret},
		"division by 0":      {ins(0x34, 0, 0, 0), ret},
		"modulo":             {ins(0x94, 0, 0, 3), ret},
		"wide shift":         {ins(0x64, 0, 0, 32), ret},
		"memory not written": {ins(0x60, 0, 0, 1), ret},
		"written on one way": {ins(0x20, 0, 0, 0), ins(0x15, 0, 1, 5), ins(0x02, 0, 0, 1), ins(0x60, 0, 0, 1), ret},
		"memory outside":     {ins(0x02, 0, 0, 16), ret},
		"too long":           append(make([]Instruction, MaxLen), ret),
	} {
		if _, ok := New(code, archX86); ok {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzRun(f *testing.F) {
	f.Add([]byte{0x20, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0xff, 0x7f}, uint32(3))
	f.Fuzz(func(t *testing.T, b []byte, nr uint32) {
		p, ok := New(Decode(b), archX86)
		if !ok {
			return
		}
		got := run(p, nr, archX86, 1, 2, 3)
		if p.Always(nr) && got != retAllow {
			t.Fatalf("call %d is said to be let through, and gets %#x", nr, got)
		}
	})
}

func TestPacketFilter(t *testing.T) {
	ret := ins(0x06, 0, 0, 9)
	p := &Packet{Data: []byte{0x45, 1, 2, 3}, Protocol: 0x800, Mark: 7, Ifindex: 2}
	for name, c := range map[string]struct {
		code []Instruction
		want uint32
	}{
		"word":               {[]Instruction{ins(0x20, 0, 0, 0), ins(0x16, 0, 0, 0)}, 0x45010203},
		"half":               {[]Instruction{ins(0x28, 0, 0, 2), ins(0x16, 0, 0, 0)}, 0x0203},
		"beyond":             {[]Instruction{ins(0x20, 0, 0, 1), ret}, 0},
		"indirect, wrapping": {[]Instruction{ins(0x01, 0, 0, 0xffffffff), ins(0x50, 0, 0, 2), ins(0x16, 0, 0, 0)}, 1},
		"indirect, beyond":   {[]Instruction{ins(0x01, 0, 0, 0xffffffff), ins(0x50, 0, 0, 0), ret}, 0},
		"header length":      {[]Instruction{ins(0xb1, 0, 0, 0), ins(0x87, 0, 0, 0), ins(0x16, 0, 0, 0)}, 20},
		"network header":     {[]Instruction{ins(0x30, 0, 0, 0xfff00003), ins(0x16, 0, 0, 0)}, 3},
		"protocol":           {[]Instruction{ins(0x28, 0, 0, 0xfffff000), ins(0x16, 0, 0, 0)}, 0x800},
		"mark":               {[]Instruction{ins(0x20, 0, 0, 0xfffff000+20), ins(0x16, 0, 0, 0)}, 7},
		"modulo by 0":        {[]Instruction{ins(0x9c, 0, 0, 0), ret}, 0},
	} {
		f, ok := NewFilter(c.code)
		if !ok {
			t.Errorf("%s: refused", name)
		} else if got := f.Run(p); got != c.want {
			t.Errorf("%s: %#x, want %#x", name, got, c.want)
		}
	}
}

// FuzzPacketFilter: what the check lets through reads nothing outside the packet, and ends.
func FuzzPacketFilter(f *testing.F) {
	f.Add([]byte{0x30, 0, 0, 0, 0, 0, 0, 0, 0x16, 0, 0, 0, 0, 0, 0, 0}, []byte("packet"))
	f.Fuzz(func(t *testing.T, b, data []byte) {
		if p, ok := NewFilter(Decode(b)); ok {
			p.Run(&Packet{Data: data})
		}
	})
}
