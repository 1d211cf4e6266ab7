package container

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// linux.seccomp is compiled to the program that seccomp(2) takes, and the
// guest kernel attaches it as if the container had done so itself: it is one
// wall more inside the guest, not what holds the guest.
//
//	arch ≠ x86-64        → kill
//	nr ≥ 0x40000000      → ENOSYS (x32)
//	binary search by nr  → the call's action, or
//	                       its rules with arguments in their order, then
//	                       its rule without, then the default action
//	nr above the profile → ENOSYS where the default is an errno, so that a C
//	                       library falls back from calls newer than the profile

// Offsets in struct seccomp_data.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16
)

const (
	retKillProcess = 0x80000000
	retKillThread  = 0x00000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000

	x32Bit       = 0x40000000
	maxBPF       = 4096 // BPF_MAXINSNS
	errnoRetMax  = 4095 // MAX_ERRNO
	seccompArgs  = 6
	defaultErrno = unix.EPERM
)

// seccompRule is one way of a call to match.
type seccompRule struct {
	args []specs.LinuxSeccompArg
	ret  uint32
}

// compileSeccomp makes the filter of a profile; nil for none.
func compileSeccomp(s *specs.LinuxSeccomp) (*wire.Seccomp, error) {
	if s == nil {
		return nil, nil
	}
	if err := seccompArch(s.Architectures); err != nil {
		return nil, err
	}
	def, err := seccompRet(s.DefaultAction, s.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("defaultAction: %w", err)
	}
	flags, err := seccompFlags(s.Flags)
	if err != nil {
		return nil, err
	}
	rules, last, err := seccompRules(s, def)
	if err != nil {
		return nil, err
	}
	beyond := def
	if def&0xffff0000 == retErrno && len(rules) > 0 {
		beyond = retErrno | uint32(unix.ENOSYS)
	}
	var a bpfAssembler
	a.emit(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, dataArch)
	a.emit(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, unix.AUDIT_ARCH_X86_64)
	a.ret(retKillProcess)
	a.emit(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, dataNr)
	a.emit(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, 0, 1, x32Bit)
	a.ret(retErrno | uint32(unix.ENOSYS))
	a.tree(seccompSpans(rules, last, def, beyond))
	if len(a.code) > maxBPF {
		return nil, fmt.Errorf("the filter has %d instructions; the kernel takes at most %d", len(a.code), maxBPF)
	}
	return &wire.Seccomp{Filter: a.code, Flags: flags}, nil
}

func seccompArch(list []specs.Arch) error {
	if len(list) == 0 {
		return nil
	}
	for _, arch := range list {
		if arch == specs.ArchX86_64 {
			return nil
		}
	}
	return fmt.Errorf("architectures: %v are without %s, the only one of the guest", list, specs.ArchX86_64)
}

func seccompFlags(list []specs.LinuxSeccompFlag) (flags uint32, err error) {
	for _, f := range list {
		switch f {
		case specs.LinuxSeccompFlagLog:
			flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case specs.LinuxSeccompFlagWaitKillableRecv:
			// Says how to wait for a supervisor, and there is none.
		case "SECCOMP_FILTER_FLAG_TSYNC":
			// The process has one thread when it gets the filter.
		default:
			return 0, fmt.Errorf("flags: %q is not known", f)
		}
	}
	return flags, nil
}

// seccompRet gives the return value of a filter for an action.
func seccompRet(action specs.LinuxSeccompAction, errnoRet *uint) (uint32, error) {
	data := uint(defaultErrno)
	if errnoRet != nil {
		data = *errnoRet
	}
	switch action {
	case specs.ActErrno:
		if data > errnoRetMax {
			return 0, fmt.Errorf("errnoRet %d is greater than %d", data, errnoRetMax)
		}
		return retErrno | uint32(data), nil
	case specs.ActTrace:
		if data > 0xffff {
			return 0, fmt.Errorf("errnoRet %d is greater than 65535", data)
		}
		return retTrace | uint32(data), nil
	case specs.ActNotify:
		return 0, fmt.Errorf("%s is refused: it asks for a supervisor of system calls on the host, which cannot hold a descriptor of the guest kernel", action)
	}
	plain := map[specs.LinuxSeccompAction]uint32{
		specs.ActKill: retKillThread, specs.ActKillThread: retKillThread, specs.ActKillProcess: retKillProcess,
		specs.ActTrap: retTrap, specs.ActAllow: retAllow, specs.ActLog: retLog,
	}
	ret, ok := plain[action]
	if !ok {
		return 0, fmt.Errorf("action %q is not known", action)
	}
	if errnoRet != nil && *errnoRet != 0 {
		return 0, fmt.Errorf("errnoRet is not for %s", action)
	}
	return ret, nil
}

// seccompRules gathers the rules of every call by number, and the greatest
// number that the profile names. Names that no x86-64 kernel knows are those of
// other architectures, and left out.
func seccompRules(s *specs.LinuxSeccomp, def uint32) (rules map[int][]seccompRule, last int, err error) {
	numbers := syscallNumbers()
	rules = make(map[int][]seccompRule)
	for i, call := range s.Syscalls {
		if len(call.Names) == 0 {
			return nil, 0, fmt.Errorf("syscalls[%d].names: is required", i)
		}
		ret, err := seccompRet(call.Action, call.ErrnoRet)
		if err != nil {
			return nil, 0, fmt.Errorf("syscalls[%d]: %w", i, err)
		}
		for j, arg := range call.Args {
			if arg.Index >= seccompArgs {
				return nil, 0, fmt.Errorf("syscalls[%d].args[%d].index: %d is not below %d", i, j, arg.Index, seccompArgs)
			}
			if _, ok := seccompOps[arg.Op]; !ok {
				return nil, 0, fmt.Errorf("syscalls[%d].args[%d].op: %q is not known", i, j, arg.Op)
			}
		}
		for _, name := range call.Names {
			nr, ok := numbers[name]
			if !ok {
				continue
			}
			last = max(last, nr)
			for _, args := range alternatives(call.Args) {
				rules[nr] = append(rules[nr], seccompRule{args, ret})
			}
		}
	}
	return rules, last, nil
}

// alternatives are the conjunctions a rule stands for: one of all its
// conditions, unless two are on the same argument; then each stands alone.
func alternatives(args []specs.LinuxSeccompArg) [][]specs.LinuxSeccompArg {
	var seen [seccompArgs]bool
	for _, a := range args {
		if seen[a.Index] {
			var each [][]specs.LinuxSeccompArg
			for i := range args {
				each = append(each, args[i:i+1])
			}
			return each
		}
		seen[a.Index] = true
	}
	return [][]specs.LinuxSeccompArg{args}
}

func syscallNumbers() map[string]int {
	fields := strings.Fields(sysNumbers)
	out := make(map[string]int, len(fields)/2)
	for i := 0; i+1 < len(fields); i += 2 {
		out[fields[i]], _ = strconv.Atoi(fields[i+1])
	}
	return out
}

// seccompSpan is a run of call numbers, from first to that of the next span,
// with the same answer: conditions tried in order, then ret.
type seccompSpan struct {
	first int
	rules []seccompRule
	ret   uint32
}

func seccompSpans(rules map[int][]seccompRule, last int, def, beyond uint32) []seccompSpan {
	var spans []seccompSpan
	add := func(s seccompSpan) {
		if n := len(spans); n > 0 && len(s.rules) == 0 && len(spans[n-1].rules) == 0 && spans[n-1].ret == s.ret {
			return
		}
		spans = append(spans, s)
	}
	for nr := 0; nr <= last; nr++ {
		s := seccompSpan{first: nr, ret: def}
		for _, r := range rules[nr] {
			if len(r.args) == 0 {
				s.ret = r.ret
			} else {
				s.rules = append(s.rules, r)
			}
		}
		add(s)
	}
	add(seccompSpan{first: last + 1, ret: beyond})
	sort.SliceStable(spans, func(i, j int) bool { return spans[i].first < spans[j].first })
	return spans
}

func (c *checker) seccomp(s *specs.LinuxSeccomp) {
	if s == nil {
		return
	}
	c.treatField(s.ListenerPath != "", "linux.seccomp.listenerPath")
	c.treatField(s.ListenerMetadata != "", "linux.seccomp.listenerMetadata")
	if _, err := compileSeccomp(s); err != nil {
		c.errs = append(c.errs, fmt.Errorf("linux.seccomp.%w", err))
	}
}
