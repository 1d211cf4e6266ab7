// Package bpf checks and runs the classic BPF programs of guests: seccomp
// filters (seccomp(2)), here, and filters of sockets (SO_ATTACH_FILTER of
// socket(7)), in packet.go. A Program never changes once made; it has no locks.
//
// An instruction is struct sock_filter: code u16, jt u8, jf u8, k u32. The
// machine has an accumulator A, an index X and sixteen words of memory; it
// reads struct seccomp_data:
//
//	0 int nr   4 u32 arch   8 u64 instruction_pointer   16 u64 args[6]
package bpf

import "encoding/binary"

// MaxLen is BPF_MAXINSNS.
const MaxLen = 4096

// DataSize is the size of struct seccomp_data.
const DataSize = 64

// Instruction is one of a program.
type Instruction struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// Data is struct seccomp_data, as sixteen words.
type Data [DataSize / 4]uint32

// MakeData fills in seccomp_data.
func MakeData(nr, arch uint32, ip uint64, args *[6]uint64) (d Data) {
	d[0], d[1] = nr, arch
	d[2], d[3] = uint32(ip), uint32(ip>>32)
	for i, a := range args {
		d[4+2*i], d[5+2*i] = uint32(a), uint32(a>>32)
	}
	return d
}

// Decode gives the instructions of an array of struct sock_filter.
func Decode(b []byte) []Instruction {
	p := make([]Instruction, len(b)/8)
	for i := range p {
		s := b[8*i:]
		p[i] = Instruction{
			Code: binary.LittleEndian.Uint16(s), JT: s[2], JF: s[3], K: binary.LittleEndian.Uint32(s[4:]),
		}
	}
	return p
}

// Parts of an instruction's code (linux/bpf_common.h).
const (
	clsLD, clsLDX, clsST, clsSTX, clsALU, clsJMP, clsRET, clsMISC = 0, 1, 2, 3, 4, 5, 6, 7

	modeIMM, modeABS, modeMEM, modeLEN = 0x00, 0x20, 0x60, 0x80

	aluADD, aluSUB, aluMUL, aluDIV, aluOR, aluAND = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50
	aluLSH, aluRSH, aluNEG, aluXOR                = 0x60, 0x70, 0x80, 0xa0
	jmpJA, jmpJEQ, jmpJGT, jmpJGE, jmpJSET        = 0x00, 0x10, 0x20, 0x30, 0x40
	srcX                                          = 0x08
	retK, retA                                    = 0x00, 0x10
	miscTAX, miscTXA                              = 0x00, 0x80
	memWords                                      = 16
)

// Program is a checked filter.
type Program struct {
	code []Instruction
	// allow has the calls below 512 that the filter lets through whatever
	// their arguments are (on x86-64).
	allow [8]uint64
}

// Len gives the number of instructions.
func (p *Program) Len() int { return len(p.code) }

// Always tells whether call nr is let through without a look at its arguments.
func (p *Program) Always(nr uint32) bool { return nr < 512 && p.allow[nr/64]>>(nr%64)&1 != 0 }

// Run gives the program's answer (SECCOMP_RET_*).
func (p *Program) Run(d *Data) uint32 {
	var a, x uint32
	var mem [memWords]uint32
	code := p.code
	for pc := 0; ; pc++ {
		in := &code[pc]
		v := in.K
		if in.Code&srcX != 0 {
			v = x
		}
		switch in.Code & 7 {
		case clsLD:
			switch in.Code & 0xe0 {
			case modeABS:
				a = d[in.K/4]
			case modeMEM:
				a = mem[in.K]
			case modeLEN:
				a = DataSize
			default:
				a = in.K
			}
		case clsLDX:
			switch in.Code & 0xe0 {
			case modeMEM:
				x = mem[in.K]
			case modeLEN:
				x = DataSize
			default:
				x = in.K
			}
		case clsST:
			mem[in.K] = a
		case clsSTX:
			mem[in.K] = x
		case clsALU:
			if in.Code&0xf0 == aluDIV && v == 0 {
				return 0
			}
			a = alu(in.Code&0xf0, a, v)
		case clsJMP:
			if in.Code&0xf0 == jmpJA {
				pc += int(in.K)
				continue
			}
			if jump(in.Code&0xf0, a, v) {
				pc += int(in.JT)
			} else {
				pc += int(in.JF)
			}
		case clsRET:
			if in.Code&0x18 == retA {
				return a
			}
			return in.K
		case clsMISC:
			if in.Code&0xf8 == miscTAX {
				x = a
			} else {
				a = x
			}
		}
	}
}

func alu(op uint16, a, v uint32) uint32 {
	switch op {
	case aluADD:
		return a + v
	case aluSUB:
		return a - v
	case aluMUL:
		return a * v
	case aluDIV:
		return a / v
	case aluOR:
		return a | v
	case aluAND:
		return a & v
	case aluXOR:
		return a ^ v
	case aluLSH:
		return a << (v & 31)
	case aluRSH:
		return a >> (v & 31)
	}
	return -a
}

func jump(op uint16, a, v uint32) bool {
	switch op {
	case jmpJEQ:
		return a == v
	case jmpJGT:
		return a > v
	case jmpJGE:
		return a >= v
	}
	return a&v != 0
}
