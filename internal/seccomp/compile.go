package seccomp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
	offIP   = 8
	offArgs = 16

	archX8664 = 0xc000003e // AUDIT_ARCH_X86_64
	x32Bit    = 0x40000000
	maxInsns  = 4096 // BPF_MAXINSNS
)

// label is a place in the program; forward jumps alone are made to it.
type label int

// insn is an instruction whose jump may go to a label.
type insn struct {
	unix.SockFilter
	to label // of BPF_JA; -1 if none
}

// program is a filter in the making.
type program struct {
	insns  []insn
	labels []int // where each label stands, -1 until placed
}

func (p *program) newLabel() label {
	p.labels = append(p.labels, -1)
	return label(len(p.labels) - 1)
}

func (p *program) place(l label) { p.labels[l] = len(p.insns) }

func (p *program) emit(code uint16, jt, jf uint8, k uint32) {
	p.insns = append(p.insns, insn{unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k}, -1})
}

func (p *program) load(off uint32) { p.emit(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, off) }
func (p *program) ret(a Action)    { p.emit(unix.BPF_RET|unix.BPF_K, 0, 0, uint32(a)) }

func (p *program) jump(l label) {
	p.emit(unix.BPF_JMP|unix.BPF_JA, 0, 0, 0)
	p.insns[len(p.insns)-1].to = l
}

// jumpIf goes to l if the accumulator compares with k by op; conditional jumps
// reach but 255 instructions, so that the far ones go by BPF_JA.
func (p *program) jumpIf(op uint16, k uint32, l label) {
	p.emit(unix.BPF_JMP|op|unix.BPF_K, 0, 1, k)
	p.jump(l)
}

func (p *program) jumpUnless(op uint16, k uint32, l label) {
	p.emit(unix.BPF_JMP|op|unix.BPF_K, 1, 0, k)
	p.jump(l)
}

// Compile makes the program. It begins with the architecture: calls of another
// one (int 0x80, x32) get Foreign, or else the default action.
func (f *Filter) Compile() ([]unix.SockFilter, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	p := &program{}
	refuse, foreign := p.newLabel(), p.newLabel()
	p.load(offArch)
	p.jumpUnless(unix.BPF_JEQ, archX8664, foreign)
	if len(f.Guard) > 0 {
		outside, inside := p.newLabel(), p.newLabel()
		for _, c := range f.Guard {
			p.cond(c, outside)
		}
		p.jump(inside)
		p.place(outside)
		p.ret(f.Else)
		p.place(inside)
	}
	p.load(offNr)
	p.jumpIf(unix.BPF_JGE, x32Bit, foreign)
	p.search(f, f.Calls(), refuse)
	p.place(foreign)
	if f.Foreign != 0 {
		p.ret(f.Foreign)
	}
	p.place(refuse)
	p.ret(f.Default)
	return p.link()
}

// search finds the number among nrs by halving; the accumulator has it.
func (p *program) search(f *Filter, nrs []uint32, refuse label) {
	if len(nrs) > 4 {
		mid := len(nrs) / 2
		upper := p.newLabel()
		p.jumpIf(unix.BPF_JGE, nrs[mid], upper)
		p.search(f, nrs[:mid], refuse)
		p.place(upper)
		p.search(f, nrs[mid:], refuse)
		return
	}
	for _, nr := range nrs {
		next := p.newLabel()
		p.jumpUnless(unix.BPF_JEQ, nr, next)
		p.rules(f, nr, refuse)
		p.place(next)
	}
	p.jump(refuse)
}

// rules tries the alternatives for one call.
func (p *program) rules(f *Filter, nr uint32, refuse label) {
	for _, r := range f.Rules {
		if r.Nr != nr {
			continue
		}
		action := r.Action
		if action == 0 {
			action = Allow
		}
		next := p.newLabel()
		for _, c := range r.When {
			p.cond(c, next)
		}
		p.ret(action)
		p.place(next)
		if len(r.When) == 0 {
			return
		}
	}
	p.jump(refuse)
}

// cond goes to fail unless c holds. It leaves the accumulator changed.
func (p *program) cond(c Cond, fail label) {
	off := uint32(offIP)
	if c.Arg != IP {
		off = offArgs + 8*uint32(c.Arg)
	}
	lo, hi := off, off+4
	switch c.Test {
	case Eq:
		p.half(hi, ^uint32(0), uint32(c.Value>>32), fail)
		p.half(lo, ^uint32(0), uint32(c.Value), fail)
	case Masked:
		p.half(hi, uint32(c.Mask>>32), uint32(c.Value>>32), fail)
		p.half(lo, uint32(c.Mask), uint32(c.Value), fail)
	case Between:
		p.atLeast(lo, hi, c.Value, fail)
		p.atMost(lo, hi, c.High, fail)
	}
}

// half compares one half of an argument under a mask.
func (p *program) half(off, mask, value uint32, fail label) {
	if mask == 0 {
		return
	}
	p.load(off)
	if mask != ^uint32(0) {
		p.emit(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0, 0, mask)
	}
	p.jumpUnless(unix.BPF_JEQ, value, fail)
}

func (p *program) atLeast(lo, hi uint32, v uint64, fail label) {
	if v == 0 {
		return
	}
	ok := p.newLabel()
	p.load(hi)
	p.jumpIf(unix.BPF_JGT, uint32(v>>32), ok)
	p.jumpUnless(unix.BPF_JEQ, uint32(v>>32), fail)
	p.load(lo)
	p.jumpUnless(unix.BPF_JGE, uint32(v), fail)
	p.place(ok)
}

func (p *program) atMost(lo, hi uint32, v uint64, fail label) {
	if v == ^uint64(0) {
		return
	}
	ok := p.newLabel()
	p.load(hi)
	p.jumpIf(unix.BPF_JGT, uint32(v>>32), fail)
	p.jumpUnless(unix.BPF_JEQ, uint32(v>>32), ok)
	p.load(lo)
	p.jumpIf(unix.BPF_JGT, uint32(v), fail)
	p.place(ok)
}

// link gives the jumps their distances.
func (p *program) link() ([]unix.SockFilter, error) {
	if len(p.insns) > maxInsns {
		return nil, fmt.Errorf("seccomp: the filter has %d instructions, more than the kernel's %d", len(p.insns), maxInsns)
	}
	out := make([]unix.SockFilter, len(p.insns))
	for i, in := range p.insns {
		if in.to >= 0 {
			in.K = uint32(p.labels[in.to] - i - 1)
		}
		out[i] = in.SockFilter
	}
	return out, nil
}
