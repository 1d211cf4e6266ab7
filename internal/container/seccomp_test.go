package container

import (
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// seccompData is a call as a filter sees it.
type seccompData struct {
	nr, arch uint32
	args     [6]uint64
}

func (d *seccompData) word(off uint32) uint32 {
	switch {
	case off == dataNr:
		return d.nr
	case off == dataArch:
		return d.arch
	}
	arg := d.args[(off-dataArgs)/8]
	if (off-dataArgs)%8 != 0 {
		arg >>= 32
	}
	return uint32(arg)
}

// evaluate runs the few instructions that the compiler emits.
func evaluate(t *testing.T, prog []wire.BPF, d seccompData) uint32 {
	t.Helper()
	var acc uint32
	for pc := 0; pc < len(prog); pc++ {
		code, jt, jf, k := prog[pc][0], int(prog[pc][1]), int(prog[pc][2]), prog[pc][3]
		var cond bool
		switch code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = d.word(k)
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= k
			continue
		case unix.BPF_RET | unix.BPF_K:
			return k
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(k)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			cond = acc == k
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			cond = acc > k
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			cond = acc >= k
		default:
			t.Fatalf("instruction %d: code %#x", pc, code)
		}
		if jt > 255 || jf > 255 {
			t.Fatalf("instruction %d: jump out of range", pc)
		}
		if cond {
			pc += jt
		} else {
			pc += jf
		}
	}
	t.Fatal("ran off the end")
	return 0
}

func TestSeccompProfile(t *testing.T) {
	enosys := uint(unix.ENOSYS)
	profile := &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86},
		Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read", "write", "openat", "no_such_call"}, Action: specs.ActAllow},
			{Names: []string{"clone"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 0x7e020000, ValueTwo: 0, Op: specs.OpMaskedEqual}}},
			{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &enosys},
			{Names: []string{"personality"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 8, Op: specs.OpEqualTo}}},
			{Names: []string{"personality"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 0xffffffff, Op: specs.OpEqualTo}}},
			{Names: []string{"kill"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1, Op: specs.OpGreaterThan}, {Index: 1, Value: 9, Op: specs.OpNotEqual}}},
			{Names: []string{"reboot"}, Action: specs.ActKillProcess},
		},
	}
	s, err := compileSeccomp(profile)
	if err != nil {
		t.Fatal(err)
	}
	eperm := uint32(retErrno | uint32(unix.EPERM))
	x86 := uint32(unix.AUDIT_ARCH_X86_64)
	for _, tc := range []struct {
		d    seccompData
		want uint32
	}{
		{seccompData{nr: unix.SYS_READ, arch: x86}, retAllow},
		{seccompData{nr: unix.SYS_OPENAT, arch: x86}, retAllow},
		{seccompData{nr: unix.SYS_MOUNT, arch: x86}, eperm},
		{seccompData{nr: unix.SYS_READ, arch: 0x40000003}, retKillProcess},
		{seccompData{nr: unix.SYS_READ | x32Bit, arch: x86}, retErrno | uint32(unix.ENOSYS)},
		{seccompData{nr: unix.SYS_CLONE, arch: x86, args: [6]uint64{17}}, retAllow},
		{seccompData{nr: unix.SYS_CLONE, arch: x86, args: [6]uint64{unix.CLONE_NEWUSER}}, eperm},
		{seccompData{nr: unix.SYS_CLONE, arch: x86, args: [6]uint64{1 << 40}}, retAllow},
		{seccompData{nr: unix.SYS_CLONE3, arch: x86}, retErrno | uint32(unix.ENOSYS)},
		{seccompData{nr: unix.SYS_PERSONALITY, arch: x86, args: [6]uint64{8}}, retAllow},
		{seccompData{nr: unix.SYS_PERSONALITY, arch: x86, args: [6]uint64{0xffffffff}}, retAllow},
		{seccompData{nr: unix.SYS_PERSONALITY, arch: x86, args: [6]uint64{9}}, eperm},
		{seccompData{nr: unix.SYS_PERSONALITY, arch: x86, args: [6]uint64{8 | 1<<32}}, eperm},
		{seccompData{nr: unix.SYS_KILL, arch: x86, args: [6]uint64{2, 15}}, retAllow},
		{seccompData{nr: unix.SYS_KILL, arch: x86, args: [6]uint64{2, 9}}, eperm},
		{seccompData{nr: unix.SYS_KILL, arch: x86, args: [6]uint64{1, 15}}, eperm},
		{seccompData{nr: unix.SYS_REBOOT, arch: x86}, retKillProcess},
		{seccompData{nr: 460, arch: x86}, retErrno | uint32(unix.ENOSYS)}, // newer than the profile
	} {
		if got := evaluate(t, s.Filter, tc.d); got != tc.want {
			t.Errorf("%+v: %#x, want %#x", tc.d, got, tc.want)
		}
	}
}

// TestSeccompOperators compares every operator with Go's own arithmetic at the
// edges of the two halves.
func TestSeccompOperators(t *testing.T) {
	edges := []uint64{0, 1, 2, 0x7fffffff, 0xfffffffe, 0xffffffff, 1 << 32, 1<<32 + 1, 3<<32 + 5, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	holds := map[specs.LinuxSeccompOperator]func(a, v uint64) bool{
		specs.OpEqualTo:      func(a, v uint64) bool { return a == v },
		specs.OpNotEqual:     func(a, v uint64) bool { return a != v },
		specs.OpGreaterThan:  func(a, v uint64) bool { return a > v },
		specs.OpGreaterEqual: func(a, v uint64) bool { return a >= v },
		specs.OpLessThan:     func(a, v uint64) bool { return a < v },
		specs.OpLessEqual:    func(a, v uint64) bool { return a <= v },
		specs.OpMaskedEqual:  func(a, v uint64) bool { return a&v == v&0x1_0000_0001 },
	}
	for op, want := range holds {
		for _, v := range edges {
			s, err := compileSeccomp(&specs.LinuxSeccomp{
				DefaultAction: specs.ActAllow,
				Syscalls: []specs.LinuxSyscall{{Names: []string{"write"}, Action: specs.ActTrap,
					Args: []specs.LinuxSeccompArg{{Index: 3, Value: v, ValueTwo: v & 0x1_0000_0001, Op: op}}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range edges {
				d := seccompData{nr: unix.SYS_WRITE, arch: unix.AUDIT_ARCH_X86_64}
				d.args[3] = a
				if got := evaluate(t, s.Filter, d) == retTrap; got != want(a, v) {
					t.Errorf("%s: %#x against %#x: %v", op, a, v, got)
				}
			}
		}
	}
}

// TestSeccompAllCalls allows every other call, the worst for the search, and
// asks for each.
func TestSeccompAllCalls(t *testing.T) {
	var names []string
	f := strings.Fields(sysNumbers)
	for i := 0; i < len(f); i += 4 { // every other call: the worst for spans
		names = append(names, f[i])
	}
	s, err := compileSeccomp(&specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: names, Action: specs.ActAllow}}})
	if err != nil {
		t.Fatal(err)
	}
	allowed := make(map[string]bool)
	for _, n := range names {
		allowed[n] = true
	}
	for i := 0; i < len(f); i += 2 {
		nr, err := strconv.Atoi(f[i+1])
		if err != nil {
			t.Fatalf("number of %s: %v", f[i], err)
		}
		got := evaluate(t, s.Filter, seccompData{nr: uint32(nr), arch: unix.AUDIT_ARCH_X86_64})
		if (got == retAllow) != allowed[f[i]] {
			t.Errorf("%s: %#x", f[i], got)
		}
	}
}

func TestSyscallNames(t *testing.T) {
	n := syscallNumbers()
	for name, want := range map[string]int{
		"read": unix.SYS_READ, "clone3": unix.SYS_CLONE3, "newfstatat": unix.SYS_NEWFSTATAT, "_sysctl": unix.SYS__SYSCTL,
		"io_uring_setup": unix.SYS_IO_URING_SETUP, "listmount": unix.SYS_LISTMOUNT,
	} {
		if n[name] != want {
			t.Errorf("%s is %d, not %d", name, n[name], want)
		}
	}
	if len(n) < 380 {
		t.Errorf("only %d calls", len(n))
	}
}

func TestSeccompRefuses(t *testing.T) {
	big := uint(5000)
	for _, s := range []*specs.LinuxSeccomp{
		{DefaultAction: "SCMP_ACT_X"},
		{DefaultAction: specs.ActNotify},
		{DefaultAction: specs.ActErrno, DefaultErrnoRet: &big},
		{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchARM}},
		{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"X"}},
		{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Action: specs.ActAllow}}},
		{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActTrap, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}}},
		{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActTrap, Args: []specs.LinuxSeccompArg{{Op: "X"}}}}},
	} {
		if _, err := compileSeccomp(s); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}
