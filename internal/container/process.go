package container

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// rlimitNumbers are the limits of getrlimit(2) by name.
var rlimitNumbers = sync.OnceValue(func() map[string]int {
	return map[string]int{
		"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
		"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
		"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
		"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
		"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
		"RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
	}
})

// processOf turns a checked specs.Process into the wire's.
func processOf(p *specs.Process) wire.Process {
	out := wire.Process{
		Args: p.Args, Env: p.Env, Cwd: p.Cwd,
		UID: p.User.UID, GID: p.User.GID, GIDs: p.User.AdditionalGids, Umask: p.User.Umask,
		NoNewPrivs: p.NoNewPrivileges, OOMScore: p.OOMScoreAdj, Terminal: p.Terminal,
	}
	if caps := p.Capabilities; caps != nil {
		mask := func(names []string) uint64 { m, _ := capMask(names); return m }
		out.Caps = wire.Capabilities{
			Bounding: mask(caps.Bounding), Effective: mask(caps.Effective), Inheritable: mask(caps.Inheritable),
			Permitted: mask(caps.Permitted), Ambient: mask(caps.Ambient),
		}
	}
	for _, r := range p.Rlimits {
		out.Rlimits = append(out.Rlimits, wire.Rlimit{Resource: rlimitNumbers()[r.Type], Soft: r.Soft, Hard: r.Hard})
	}
	out.Scheduler, _ = schedulerOf(p.Scheduler)
	out.IOPriority, _ = ioPriorityOf(p.IOPriority)
	if b := p.ConsoleSize; b != nil && p.Terminal {
		out.Rows, out.Cols = uint16(b.Height), uint16(b.Width)
	}
	return out
}

// capNames are the capabilities in the order of their numbers.
var capNames = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// capMask gives the bits of capabilities, and the names that are none.
func capMask(names []string) (mask uint64, unknown []string) {
next:
	for _, name := range names {
		for i, known := range capNames {
			if strings.EqualFold(name, known) {
				mask |= 1 << i
				continue next
			}
		}
		unknown = append(unknown, name)
	}
	return mask, unknown
}

// schedulerOf gives the argument of sched_setattr(2).
func schedulerOf(s *specs.Scheduler) (*wire.Scheduler, error) {
	if s == nil {
		return nil, nil
	}
	policies := map[specs.LinuxSchedulerPolicy]uint32{
		specs.SchedOther: unix.SCHED_NORMAL, specs.SchedFIFO: unix.SCHED_FIFO, specs.SchedRR: unix.SCHED_RR,
		specs.SchedBatch: unix.SCHED_BATCH, specs.SchedIdle: unix.SCHED_IDLE, specs.SchedDeadline: unix.SCHED_DEADLINE,
	}
	policy, ok := policies[s.Policy]
	if !ok {
		return nil, fmt.Errorf("policy %q is not offered", s.Policy)
	}
	if s.Priority < 0 {
		return nil, fmt.Errorf("priority %d is negative", s.Priority)
	}
	out := &wire.Scheduler{
		Policy: policy, Nice: s.Nice, Priority: uint32(s.Priority),
		Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
	}
	flags := map[specs.LinuxSchedulerFlag]uint64{
		specs.SchedFlagResetOnFork: 1, specs.SchedFlagReclaim: 2, specs.SchedFlagDLOverrun: 4, specs.SchedFlagKeepPolicy: 8,
		specs.SchedFlagKeepParams: 16, specs.SchedFlagUtilClampMin: 32, specs.SchedFlagUtilClampMax: 64,
	}
	for _, f := range s.Flags {
		bit, ok := flags[f]
		if !ok {
			return nil, fmt.Errorf("flag %q is not known", f)
		}
		out.Flags |= bit
	}
	if out.Nice < -20 || out.Nice > 19 {
		return nil, fmt.Errorf("nice %d is not between -20 and 19", s.Nice)
	}
	return out, nil
}

// ioPriorityOf gives the value of ioprio_set(2).
func ioPriorityOf(p *specs.LinuxIOPriority) (*int, error) {
	if p == nil {
		return nil, nil
	}
	class, ok := map[specs.IOPriorityClass]int{specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3}[p.Class]
	if !ok {
		return nil, fmt.Errorf("class %q is not known", p.Class)
	}
	if p.Priority < 0 || p.Priority > 7 {
		return nil, fmt.Errorf("priority %d is not between 0 and 7", p.Priority)
	}
	value := class<<13 | p.Priority
	return &value, nil
}

// maxCPU bounds the numbers in a list of CPUs, as the kernel's NR_CPUS does.
const maxCPU = 8192

// parseCPUList reads a list such as "0-2,7".
func parseCPUList(s string) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	bad := fmt.Errorf("%q is not a list of CPUs such as 0-2,7", s)
	var list []int
	for _, part := range strings.Split(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err1 := strconv.Atoi(from)
		last, err2 := first, error(nil)
		if isRange {
			last, err2 = strconv.Atoi(to)
		}
		if errors.Join(err1, err2) != nil || first < 0 || last < first || last >= maxCPU {
			return nil, bad
		}
		for cpu := first; cpu <= last; cpu++ {
			list = append(list, cpu)
		}
	}
	return list, nil
}
