package bpf

import (
	"encoding/binary"
	"math/rand/v2"
)

// Filter is a checked filter of a socket. It reads a packet, big-endian, and
// answers how much of it to keep.
type Filter struct{ code []Instruction }

// Packet is what a Filter looks at.
type Packet struct {
	Data     []byte
	Protocol uint16 // ETH_P_*; 0 for packets without a link
	Mark     uint32
	Ifindex  uint32
}

const (
	modeIND, modeMSH      = 0x40, 0xa0
	sizeW, sizeH, sizeB   = 0x00, 0x08, 0x10
	aluMOD                = 0x90
	sizeMask, modeMask    = 0x18, 0xe0
	ancillary             = 0xfffff000 // SKF_AD_OFF: what lies above are the packet's other properties
	network               = 0xfff00000 // SKF_NET_OFF: from here on, offsets in the network header
	ancProtocol, ancType  = 0, 4
	ancIfindex, ancMark   = 8, 20
	ancQueue, ancHatype   = 24, 28
	ancRxhash, ancCPU     = 32, 36
	ancXorX, ancVlanTag   = 40, 44
	ancVlan, ancPayOff    = 48, 52
	ancRandom, ancVlanTPI = 56, 60
)

// NewFilter checks a program as the kernel does for a socket. ok false: EINVAL.
func NewFilter(code []Instruction) (f *Filter, ok bool) {
	if len(code) < 1 || len(code) > MaxLen {
		return nil, false
	}
	for pc := range code {
		if !checkPacket(code, pc) {
			return nil, false
		}
	}
	if code[len(code)-1].Code&7 != clsRET || !checkMemory(code) {
		return nil, false
	}
	return &Filter{code}, true
}

func checkPacket(code []Instruction, pc int) bool {
	in := &code[pc]
	switch c := in.Code; c & 7 {
	case clsLD:
		switch c &^ sizeMask {
		case clsLD | modeABS:
			return c&sizeMask != sizeMask && (in.K < ancillary || knownAncillary(in.K-ancillary))
		case clsLD | modeIND:
			return c&sizeMask != sizeMask
		}
	case clsLDX:
		if c == clsLDX|modeMSH|sizeB {
			return true
		}
	case clsALU:
		if c == clsALU|aluMOD {
			return in.K != 0
		}
		if c == clsALU|aluMOD|srcX {
			return true
		}
	}
	return checkOther(code, pc)
}

// checkOther is checkOne but for loads from the data, which packets have otherwise.
func checkOther(code []Instruction, pc int) bool {
	return code[pc].Code != clsLD|modeABS && checkOne(code, pc)
}

func knownAncillary(k uint32) bool {
	switch k {
	case ancProtocol, ancType, ancIfindex, ancMark, ancQueue, ancHatype, ancRxhash, ancCPU, ancXorX, ancVlanTag, ancVlan, ancPayOff,
		ancRandom, ancVlanTPI, 12, 16: // and SKF_AD_NLATTR, SKF_AD_NLATTR_NEST
		return true
	}
	return false
}

// Run gives how many bytes of the packet to keep; 0: none, it is dropped.
func (f *Filter) Run(p *Packet) uint32 {
	var a, x uint32
	var mem [memWords]uint32
	for pc := 0; ; pc++ {
		in := &f.code[pc]
		v := in.K
		if in.Code&srcX != 0 {
			v = x
		}
		switch in.Code & 7 {
		case clsLD:
			switch in.Code & modeMask {
			case modeABS, modeIND:
				at := uint64(in.K)
				if in.Code&modeMask == modeIND {
					at = uint64(uint32(in.K + x))
				} else if in.K >= ancillary {
					a = p.other(in.K-ancillary, a, x)
					continue
				}
				var ok bool
				if a, ok = p.load(at, in.Code&sizeMask); !ok {
					return 0
				}
			case modeMEM:
				a = mem[in.K]
			case modeLEN:
				a = uint32(len(p.Data))
			default:
				a = in.K
			}
		case clsLDX:
			switch in.Code & modeMask {
			case modeMEM:
				x = mem[in.K]
			case modeLEN:
				x = uint32(len(p.Data))
			case modeMSH:
				b, ok := p.load(uint64(in.K), sizeB)
				if !ok {
					return 0
				}
				x = b & 15 * 4
			default:
				x = in.K
			}
		case clsST:
			mem[in.K] = a
		case clsSTX:
			mem[in.K] = x
		case clsALU:
			op := in.Code & 0xf0
			if (op == aluDIV || op == aluMOD) && v == 0 {
				return 0
			}
			if op == aluMOD {
				a %= v
			} else {
				a = alu(op, a, v)
			}
		case clsJMP:
			switch {
			case in.Code&0xf0 == jmpJA:
				pc += int(in.K)
			case jump(in.Code&0xf0, a, v):
				pc += int(in.JT)
			default:
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

// load reads a big-endian number; false if it is not all there.
func (p *Packet) load(at uint64, size uint16) (uint32, bool) {
	if at >= network && at < ancillary {
		at -= network // the socket's packets begin at their network header, or have none
	}
	n := uint64(4)
	switch size {
	case sizeH:
		n = 2
	case sizeB:
		n = 1
	}
	if at+n > uint64(len(p.Data)) {
		return 0, false
	}
	switch b := p.Data[at:]; n {
	case 4:
		return binary.BigEndian.Uint32(b), true
	case 2:
		return uint32(binary.BigEndian.Uint16(b)), true
	default:
		return uint32(b[0]), true
	}
}

// other gives a property of the packet that is not among its bytes.
func (p *Packet) other(k, a, x uint32) uint32 {
	switch k {
	case ancProtocol:
		return uint32(p.Protocol)
	case ancIfindex:
		return p.Ifindex
	case ancMark:
		return p.Mark
	case ancXorX:
		return a ^ x
	case ancRandom:
		return rand.Uint32()
	}
	return 0 // to us, from no queue, on no known CPU, without a VLAN
}
