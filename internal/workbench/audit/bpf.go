package audit

import "golang.org/x/sys/unix"

// allowance is whether a filter lets a call through to the kernel.
type allowance uint8

// Allowances, the least first: of several filters the least counts.
const (
	never  allowance = iota
	some             // by its arguments, or by where it is made
	always           // whatever its arguments
)

// program is a seccomp filter as the kernel has it.
type program []unix.SockFilter

// Offsets in struct seccomp_data, and what a filter returns (seccomp(2)).
const (
	dataNr   = 0
	dataArch = 4
	dataIP   = 8

	archX8664 = 0xc000003e
	archI386  = 0x40000003

	actionMask  = 0xffff0000
	actionAllow = 0x7fff0000
	actionLog   = 0x7ffc0000
)

// allows follows every way through the program for one number, with the
// arguments unknown, and the call's address too where from is 0.
func (p program) allows(nr, arch uint32, from uint64) allowance {
	w := walk{p: p, nr: nr, arch: arch, ip: from, seen: map[place]bool{}}
	w.from(place{})
	switch {
	case !w.yes:
		return never
	case w.no:
		return some
	}
	return always
}

// place is where a walk is, and what the accumulator holds there.
type place struct {
	pc    int
	known bool
	a     uint32
}

type walk struct {
	p        program
	nr, arch uint32
	ip       uint64
	seen     map[place]bool
	yes, no  bool // some way ends in allow, in another action
}

func (w *walk) from(at place) {
	for at.pc >= 0 && at.pc < len(w.p) && !w.seen[at] {
		w.seen[at] = true
		in := w.p[at.pc]
		at.pc++
		switch in.Code & 7 {
		case unix.BPF_LD:
			w.load(&at, in)
		case unix.BPF_ALU:
			w.alu(&at, in)
		case unix.BPF_JMP:
			w.jump(&at, in)
		case unix.BPF_RET:
			w.ret(at, in)
			return
		case unix.BPF_MISC:
			at.known = at.known && in.Code&0xf8 == unix.BPF_TAX
		}
	}
}

func (w *walk) load(at *place, in unix.SockFilter) {
	at.known, at.a = false, 0
	switch {
	case in.Code&0xe0 == unix.BPF_IMM:
		at.known, at.a = true, in.K
	case in.Code&0xe0 == unix.BPF_ABS && in.K == dataNr:
		at.known, at.a = true, w.nr
	case in.Code&0xe0 == unix.BPF_ABS && in.K == dataArch:
		at.known, at.a = true, w.arch
	case in.Code&0xe0 == unix.BPF_ABS && in.K == dataIP && w.ip != 0:
		at.known, at.a = true, uint32(w.ip)
	case in.Code&0xe0 == unix.BPF_ABS && in.K == dataIP+4 && w.ip != 0:
		at.known, at.a = true, uint32(w.ip>>32)
	}
}

func (w *walk) alu(at *place, in unix.SockFilter) {
	if !at.known || in.Code&unix.BPF_X != 0 {
		at.known, at.a = false, 0
		return
	}
	switch in.Code & 0xf0 {
	case unix.BPF_AND:
		at.a &= in.K
	case unix.BPF_OR:
		at.a |= in.K
	case unix.BPF_ADD:
		at.a += in.K
	case unix.BPF_SUB:
		at.a -= in.K
	case unix.BPF_LSH:
		at.a <<= in.K
	case unix.BPF_RSH:
		at.a >>= in.K
	default:
		at.known, at.a = false, 0
	}
}

// jump takes the way that is known, or both.
func (w *walk) jump(at *place, in unix.SockFilter) {
	if in.Code&0xf0 == unix.BPF_JA {
		at.pc += int(in.K)
		return
	}
	if !at.known || in.Code&unix.BPF_X != 0 {
		other := *at
		other.pc += int(in.Jt)
		w.from(other)
		at.pc += int(in.Jf)
		return
	}
	holds := false
	switch in.Code & 0xf0 {
	case unix.BPF_JEQ:
		holds = at.a == in.K
	case unix.BPF_JGT:
		holds = at.a > in.K
	case unix.BPF_JGE:
		holds = at.a >= in.K
	case unix.BPF_JSET:
		holds = at.a&in.K != 0
	}
	if holds {
		at.pc += int(in.Jt)
	} else {
		at.pc += int(in.Jf)
	}
}

func (w *walk) ret(at place, in unix.SockFilter) {
	k, known := in.K, true
	if in.Code&0x18 == unix.BPF_A {
		k, known = at.a, at.known
	}
	if !known {
		w.yes, w.no = true, true
		return
	}
	if a := k & actionMask; a == actionAllow || a == actionLog {
		w.yes = true
	} else {
		w.no = true
	}
}

// allowedBy gives the numbers that all filters of a process let through:
// always, and by arguments; made from an address, or from anywhere where that is
// 0. No filter lets everything through.
func allowedBy(filters []program, arch uint32, from uint64) (free, checked []uint32) {
	for nr := uint32(0); nr <= lastNumber; nr++ {
		if callNames().byNr[nr] == "" {
			continue
		}
		least := always
		for _, f := range filters {
			least = min(least, f.allows(nr, arch, from))
		}
		switch least {
		case always:
			free = append(free, nr)
		case some:
			checked = append(checked, nr)
		}
	}
	return free, checked
}
