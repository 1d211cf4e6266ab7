package bpf

// New checks a program as the kernel does for a seccomp filter: known
// instructions, jumps within the program, loads within the data, memory
// written before it is read, an end by RET. ok false: EINVAL.
func New(code []Instruction, arch uint32) (p *Program, ok bool) {
	if len(code) < 1 || len(code) > MaxLen {
		return nil, false
	}
	for pc := range code {
		if !checkOne(code, pc) {
			return nil, false
		}
	}
	if code[len(code)-1].Code&7 != clsRET || !checkMemory(code) {
		return nil, false
	}
	p = &Program{code: code}
	for nr := range uint32(512) {
		if p.constAllow(nr, arch) {
			p.allow[nr/64] |= 1 << (nr % 64)
		}
	}
	return p, true
}

func checkOne(code []Instruction, pc int) bool {
	in := &code[pc]
	c := in.Code
	switch c & 7 {
	case clsLD:
		switch c {
		case clsLD | modeABS:
			return in.K < DataSize && in.K%4 == 0
		case clsLD | modeMEM:
			return in.K < memWords
		}
		return c == clsLD|modeIMM || c == clsLD|modeLEN
	case clsLDX:
		if c == clsLDX|modeMEM {
			return in.K < memWords
		}
		return c == clsLDX|modeIMM || c == clsLDX|modeLEN
	case clsST, clsSTX:
		return (c == clsST || c == clsSTX) && in.K < memWords
	case clsALU:
		return checkALU(in)
	case clsJMP:
		return checkJump(code, pc)
	case clsRET:
		return c == clsRET|retK || c == clsRET|retA
	}
	return c == clsMISC|miscTAX || c == clsMISC|miscTXA
}

func checkALU(in *Instruction) bool {
	if in.Code&^0xff != 0 {
		return false
	}
	x := in.Code&srcX != 0
	switch in.Code & 0xf0 {
	case aluADD, aluSUB, aluMUL, aluOR, aluAND, aluXOR:
		return true
	case aluDIV:
		return x || in.K != 0
	case aluLSH, aluRSH:
		return x || in.K < 32
	case aluNEG:
		return !x
	}
	return false
}

func checkJump(code []Instruction, pc int) bool {
	in := &code[pc]
	left := len(code) - pc - 1
	switch in.Code {
	case clsJMP | jmpJA:
		return uint64(in.K) < uint64(left)
	case clsJMP | jmpJEQ, clsJMP | jmpJGT, clsJMP | jmpJGE, clsJMP | jmpJSET,
		clsJMP | jmpJEQ | srcX, clsJMP | jmpJGT | srcX, clsJMP | jmpJGE | srcX, clsJMP | jmpJSET | srcX:
		return int(in.JT) < left && int(in.JF) < left
	}
	return false
}

// checkMemory follows which words of memory have been written on every way to
// an instruction.
func checkMemory(code []Instruction) bool {
	masks := make([]uint16, len(code))
	for i := range masks {
		masks[i] = 0xffff
	}
	valid := uint16(0)
	for pc := range code {
		valid &= masks[pc]
		in := &code[pc]
		switch in.Code & 7 {
		case clsST, clsSTX:
			valid |= 1 << in.K
		case clsLD, clsLDX:
			if in.Code&0xe0 == modeMEM && valid>>in.K&1 == 0 {
				return false
			}
		case clsJMP:
			if in.Code&0xf0 == jmpJA {
				masks[pc+1+int(in.K)] &= valid
			} else {
				masks[pc+1+int(in.JT)] &= valid
				masks[pc+1+int(in.JF)] &= valid
			}
			valid = 0xffff
		case clsRET:
			valid = 0xffff
		}
	}
	return true
}

// SECCOMP_RET_ALLOW.
const retAllow = 0x7fff0000

// constAllow runs the program for call nr as far as that needs nothing but nr
// and arch, and tells whether it lets the call through.
func (p *Program) constAllow(nr, arch uint32) bool {
	var a uint32
	known := false
	for pc := 0; pc < len(p.code); pc++ {
		in := &p.code[pc]
		switch {
		case in.Code == clsLD|modeABS:
			switch in.K {
			case 0:
				a, known = nr, true
			case 4:
				a, known = arch, true
			default:
				return false
			}
		case in.Code == clsRET|retK:
			return in.K == retAllow
		case in.Code == clsJMP|jmpJA:
			pc += int(in.K)
		case in.Code&7 == clsJMP && in.Code&srcX == 0 && known:
			if jump(in.Code&0xf0, a, in.K) {
				pc += int(in.JT)
			} else {
				pc += int(in.JF)
			}
		case in.Code == clsALU|aluAND && known:
			a &= in.K
		default:
			return false
		}
	}
	return false
}
