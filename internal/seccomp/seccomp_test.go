package seccomp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// data is struct seccomp_data.
type data struct {
	nr, arch uint32
	ip       uint64
	args     [6]uint64
}

func (d *data) word(off uint32) uint32 {
	half := func(v uint64, hi bool) uint32 {
		if hi {
			return uint32(v >> 32)
		}
		return uint32(v)
	}
	switch {
	case off == offNr:
		return d.nr
	case off == offArch:
		return d.arch
	case off < offArgs:
		return half(d.ip, off&4 != 0)
	}
	return half(d.args[(off-offArgs)/8], off&4 != 0)
}

// run interprets the few instructions that Compile emits.
func run(t *testing.T, p []unix.SockFilter, d *data) Action {
	acc := uint32(0)
	for pc := 0; pc < len(p); pc++ {
		in := p[pc]
		jump := func(ok bool) {
			if ok {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = d.word(in.K)
		case unix.BPF_RET | unix.BPF_K:
			return Action(in.K)
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(acc == in.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(acc >= in.K)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(acc > in.K)
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= in.K
		default:
			t.Fatalf("instruction %d has unknown code %#x", pc, in.Code)
		}
	}
	t.Fatal("the program runs off its end")
	return 0
}

func TestCompile(t *testing.T) {
	f := Filter{Default: Errno(unix.EPERM), Else: Trap}
	f.Guard = []Cond{Range(IP, 0x7000_0000_0000, 0x7000_0000_ffff)}
	for nr := range uint32(300) {
		f.Rules = append(f.Rules, Rule{Nr: 2 * nr, Name: "even", Reason: "test"})
	}
	f.Rules = append(f.Rules,
		Rule{Nr: 1001, Name: "eq", Reason: "test", When: []Cond{Arg(1, 5<<32|7)}},
		Rule{Nr: 1001, Name: "eq", Reason: "test", When: []Cond{Bits(2, 0xff00, 0x1200), Arg(0, 0)}},
		Rule{Nr: 1003, Name: "range", Reason: "test", When: []Cond{Range(0, 10, 3<<32|20)}, Action: Log},
	)
	p, err := f.Compile()
	if err != nil {
		t.Fatal(err)
	}
	const ip = 0x7000_0000_1234
	for _, c := range []struct {
		d    data
		want Action
	}{
		{data{nr: 0, arch: archX8664, ip: ip}, Allow},
		{data{nr: 598, arch: archX8664, ip: ip}, Allow},
		{data{nr: 599, arch: archX8664, ip: ip}, f.Default},
		{data{nr: 600, arch: archX8664, ip: ip}, f.Default},
		{data{nr: 0, arch: 0x40000003, ip: ip}, f.Default},
		{data{nr: x32Bit, arch: archX8664, ip: ip}, f.Default},
		{data{nr: 0, arch: archX8664, ip: ip - 1<<32}, Trap},
		{data{nr: 0, arch: archX8664, ip: 0x7000_0001_0000}, Trap},
		{data{nr: 1001, arch: archX8664, ip: ip, args: [6]uint64{0, 5<<32 | 7}}, Allow},
		{data{nr: 1001, arch: archX8664, ip: ip, args: [6]uint64{0, 7}}, f.Default},
		{data{nr: 1001, arch: archX8664, ip: ip, args: [6]uint64{0, 0, 0xff12ff}}, Allow},
		{data{nr: 1001, arch: archX8664, ip: ip, args: [6]uint64{1, 0, 0xff12ff}}, f.Default},
		{data{nr: 1003, arch: archX8664, ip: ip, args: [6]uint64{9}}, f.Default},
		{data{nr: 1003, arch: archX8664, ip: ip, args: [6]uint64{10}}, Log},
		{data{nr: 1003, arch: archX8664, ip: ip, args: [6]uint64{3 << 32}}, Log},
		{data{nr: 1003, arch: archX8664, ip: ip, args: [6]uint64{3<<32 | 20}}, Log},
		{data{nr: 1003, arch: archX8664, ip: ip, args: [6]uint64{3<<32 | 21}}, f.Default},
		{data{nr: 1003, arch: archX8664, ip: ip, args: [6]uint64{4 << 32}}, f.Default},
	} {
		if got := run(t, p, &c.d); got != c.want {
			t.Errorf("%+v: %#x, want %#x", c.d, got, c.want)
		}
	}
}

func TestRulesNeedReasons(t *testing.T) {
	f := Filter{Rules: []Rule{{Nr: 1, Name: "write"}}}
	if _, err := f.Compile(); err == nil {
		t.Error("a rule without a reason was accepted")
	}
}
