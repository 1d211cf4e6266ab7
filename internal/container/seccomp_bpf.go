package container

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// bpfAssembler lays out a classic BPF program.
type bpfAssembler struct{ code []wire.BPF }

func (a *bpfAssembler) emit(code, jt, jf int, k uint32) {
	a.code = append(a.code, wire.BPF{uint32(code), uint32(jt), uint32(jf), k})
}

func (a *bpfAssembler) ret(k uint32) { a.emit(unix.BPF_RET|unix.BPF_K, 0, 0, k) }

func (a *bpfAssembler) load(offset uint32) { a.emit(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, offset) }

// tree emits a binary search for the span of the number in the accumulator. A
// conditional jump reaches 255 instructions, so the far side is reached by an
// unconditional one.
func (a *bpfAssembler) tree(spans []seccompSpan) {
	if len(spans) == 1 {
		a.leaf(spans[0])
		return
	}
	mid := len(spans) / 2
	a.emit(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, 0, 1, uint32(spans[mid].first))
	jump := len(a.code)
	a.emit(unix.BPF_JMP|unix.BPF_JA, 0, 0, 0)
	a.tree(spans[:mid])
	a.code[jump][3] = uint32(len(a.code) - jump - 1)
	a.tree(spans[mid:])
}

// leaf tries the rules of one call in order.
func (a *bpfAssembler) leaf(s seccompSpan) {
	for _, r := range s.rules {
		var misses []jumpRef
		for _, arg := range r.args {
			misses = append(misses, a.condition(arg)...)
		}
		a.ret(r.ret)
		for _, m := range misses {
			m.land(a)
		}
	}
	a.ret(s.ret)
}

// jumpRef is a conditional jump (its jt if taken, else its jf) whose target
// comes later.
type jumpRef struct {
	at    int
	taken bool
}

func (j jumpRef) land(a *bpfAssembler) {
	side := 2
	if j.taken {
		side = 1
	}
	a.code[j.at][side] = uint32(len(a.code) - j.at - 1)
}

// seccompOps say how to compare the upper and lower half of an argument. invert
// turns the answer round.
var seccompOps = map[specs.LinuxSeccompOperator]struct {
	low    int
	invert bool
}{
	specs.OpEqualTo:      {unix.BPF_JEQ, false},
	specs.OpNotEqual:     {unix.BPF_JEQ, true},
	specs.OpGreaterThan:  {unix.BPF_JGT, false},
	specs.OpLessEqual:    {unix.BPF_JGT, true},
	specs.OpGreaterEqual: {unix.BPF_JGE, false},
	specs.OpLessThan:     {unix.BPF_JGE, true},
	specs.OpMaskedEqual:  {unix.BPF_JEQ, false},
}

// condition falls through when the argument matches, and returns the jumps
// that are taken when it does not. The halves are compared from the upper one:
//
//	high = value's → the low half decides
//	high > value's → true for an order, false for equality
//	else           → false
func (a *bpfAssembler) condition(arg specs.LinuxSeccompArg) (misses []jumpRef) {
	op := seccompOps[arg.Op]
	mask, value := ^uint64(0), arg.Value
	if arg.Op == specs.OpMaskedEqual {
		mask, value = arg.Value, arg.ValueTwo
	}
	half := func(shift uint) uint32 {
		a.load(uint32(dataArgs + 8*arg.Index + shift/8))
		if mask != ^uint64(0) {
			a.emit(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0, 0, uint32(mask>>shift))
		}
		return uint32(value >> shift)
	}
	var yes, no []jumpRef
	jump := func(code int, k uint32) jumpRef {
		a.emit(unix.BPF_JMP|code|unix.BPF_K, 0, 0, k)
		return jumpRef{at: len(a.code) - 1}
	}
	high := half(32)
	if op.low != unix.BPF_JEQ {
		j := jump(unix.BPF_JGT, high)
		yes = append(yes, jumpRef{j.at, true})
	}
	j := jump(unix.BPF_JEQ, high)
	no = append(no, jumpRef{j.at, false})
	low := half(0)
	j = jump(op.low, low)
	yes, no = append(yes, jumpRef{j.at, true}), append(no, jumpRef{j.at, false})
	if op.invert {
		yes, no = no, yes
	}
	for _, r := range yes {
		r.land(a)
	}
	return no
}
