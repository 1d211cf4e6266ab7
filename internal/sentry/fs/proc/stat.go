package proc

import (
	"bytes"
	"fmt"
	"strings"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

const (
	pageSize   = 4096
	nsPerTick  = 10_000_000 // USER_HZ is 100
	noRSSLimit = ^uint64(0)
)

// makeStat is /proc/PID/stat (proc_pid_stat(5)): addresses are zero for those
// who may not trace the process.
func makeStat(d *taskDir, n kernfs.Meta) vfs.Inode {
	f := text(nothing)(d, n).(*kernfs.File)
	f.Read = func(c vfs.Caller, b *bytes.Buffer) abi.Errno {
		if !d.t.Alive() {
			return esrch
		}
		writeStat(d, b, mayTrace(c, d.t))
		return 0
	}
	return f
}

func writeStat(d *taskDir, b *bytes.Buffer, mayTrace bool) {
	s, m := d.t.Stat(), d.t.Memory()
	prio, policy := int64(20+s.Nice), s.Policy
	if s.RTPriority > 0 {
		prio = -1 - int64(s.RTPriority)
	}
	fmt.Fprintf(b, "%d (%s) %c %d %d %d %d %d 4194304", d.t.TID(), d.t.Comm(), s.State, s.PPID, s.PGID, s.SID, int32(s.TTY), s.Foreground)
	fmt.Fprintf(b, " %d %d %d %d", s.MinFaults, s.ChildMin, s.MajFaults, s.ChildMaj)
	fmt.Fprintf(b, " %d %d %d %d", s.UserNS/nsPerTick, s.SystemNS/nsPerTick, s.ChildUserNS/nsPerTick, s.ChildSys/nsPerTick)
	boot, _ := d.i.p.view.Boot()
	start := (s.StartNS - boot) / nsPerTick
	fmt.Fprintf(b, " %d %d %d 0 %d %d %d %d", prio, s.Nice, s.Threads, max(start, 0), m.Total, m.RSS/pageSize, noRSSLimit)
	if !mayTrace {
		m.StartCode, m.EndCode, m.StartStack = 0, 0, 0
		m.StartBrk, m.ArgStart, m.ArgEnd, m.EnvStart, m.EnvEnd = 0, 0, 0, 0, 0
		s.ExitStatus = 0
	}
	fmt.Fprintf(b, " %d %d %d 0 0", m.StartCode, m.EndCode, m.StartStack)
	fmt.Fprintf(b, " %d %d %d %d 0 0 0", s.Pending&0x7fffffff, s.Blocked&0x7fffffff, s.Ignored&0x7fffffff, s.Caught&0x7fffffff)
	fmt.Fprintf(b, " %d %d %d %d 0 0 0", s.ExitSignal, s.CPU, s.RTPriority, policy)
	fmt.Fprintf(b, " 0 0 %d %d %d %d %d %d\n", m.StartBrk, m.ArgStart, m.ArgEnd, m.EnvStart, m.EnvEnd, s.ExitStatus)
}

func writeStatm(d *taskDir, b *bytes.Buffer) abi.Errno {
	m := d.t.Memory()
	shared := m.RSSFile + m.RSSShmem
	fmt.Fprintf(b, "%d %d %d %d 0 %d 0\n", m.Total/pageSize, m.RSS/pageSize, shared/pageSize,
		m.Exec/pageSize, (m.Data+m.Stack)/pageSize)
	return 0
}

// stateNames are those of status; stat has the letter alone.
var stateNames = map[byte]string{
	'R': "running", 'S': "sleeping", 'D': "disk sleep", 'T': "stopped", 't': "tracing stop", 'Z': "zombie", 'X': "dead",
}

// writeStatus is /proc/PID/status (proc_pid_status(5)).
func writeStatus(d *taskDir, b *bytes.Buffer) abi.Errno {
	t := d.t
	s, m, c := t.Stat(), t.Memory(), t.Creds()
	p := func(format string, a ...any) { fmt.Fprintf(b, format, a...) }
	p("Name:\t%s\n", escapeComm(t.Comm()))
	if s.State != 'Z' {
		p("Umask:\t%04o\n", s.Umask)
	}
	p("State:\t%c (%s)\n", s.State, stateNames[s.State])
	p("Tgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", t.PID(), t.TID(), s.PPID)
	p("Uid:\t%d\t%d\t%d\t%d\n", c.UID, c.EUID, c.SUID, c.FSUID)
	p("Gid:\t%d\t%d\t%d\t%d\n", c.GID, c.EGID, c.SGID, c.FSGID)
	fdSize := 0
	if fds, release := t.FDs(); fds != nil {
		fdSize = fds.Size()
		release()
	}
	p("FDSize:\t%d\nGroups:\t", fdSize)
	for _, g := range c.Groups {
		p("%d ", g)
	}
	p("\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\nKthread:\t0\n", t.PID(), t.TID(), s.PGID, s.SID)
	if !m.None {
		for _, l := range []struct {
			name string
			v    uint64
		}{
			{"VmPeak", max(m.Peak, m.Total)}, {"VmSize", m.Total}, {"VmLck", m.Locked}, {"VmPin", 0}, {"VmHWM", max(m.PeakRSS, m.RSS)},
			{"VmRSS", m.RSS}, {"RssAnon", m.RSSAnon}, {"RssFile", m.RSSFile}, {"RssShmem", m.RSSShmem}, {"VmData", m.Data},
			{"VmStk", m.Stack}, {"VmExe", m.Exec}, {"VmLib", m.Lib}, {"VmPTE", m.PTE}, {"VmSwap", 0}, {"HugetlbPages", 0},
		} {
			p("%s:\t%8d kB\n", l.name, l.v/1024)
		}
		p("CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n")
	}
	p("Threads:\t%d\nSigQ:\t%d/%d\n", s.Threads, s.Queued, s.QueueLimit)
	p("SigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n", s.Pending, s.SharedPending, s.Blocked, s.Ignored, s.Caught)
	p("CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\nCapAmb:\t%016x\n", uint64(c.Inheritable), uint64(c.Permitted), uint64(c.Effective), uint64(c.Bounding), uint64(c.Ambient))
	p("NoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%d\n", bit(s.NoNewPrivs), s.SeccompMode, s.SeccompFilters)
	p("Speculation_Store_Bypass:\tvulnerable\nSpeculationIndirectBranch:\talways enabled\n")
	p("Cpus_allowed:\t%s\nCpus_allowed_list:\t%s\n", cpuMask(s.CPUs), cpuList(s.CPUs))
	p("Mems_allowed:\t1\nMems_allowed_list:\t0\n")
	p("voluntary_ctxt_switches:\t%d\nnonvoluntary_ctxt_switches:\t%d\n", s.Voluntary, s.Forced)
	return 0
}

func bit(v bool) int {
	if v {
		return 1
	}
	return 0
}

// escapeComm writes newlines and backslashes of a name so that a line stays
// one.
func escapeComm(s string) string {
	return strings.NewReplacer("\\", "\\\\", "\n", "\\n").Replace(s)
}

// cpuMask writes a set as groups of 32 bits, cpuList as ranges.
func cpuMask(set []uint64) string {
	out := ""
	for i := 2*len(set) - 1; i >= 0; i-- {
		w := uint32(set[i/2] >> (32 * (i % 2)))
		switch {
		case out != "":
			out += fmt.Sprintf(",%08x", w)
		case w != 0 || i == 0:
			out = fmt.Sprintf("%x", w)
		}
	}
	return out
}

func cpuList(set []uint64) string {
	has := func(i int) bool { return i < len(set)*64 && set[i/64]>>(i%64)&1 != 0 }
	var parts []string
	for i := 0; i < len(set)*64; i++ {
		if !has(i) {
			continue
		}
		j := i
		for has(j + 1) {
			j++
		}
		if i == j {
			parts = append(parts, fmt.Sprint(i))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", i, j))
		}
		i = j
	}
	return strings.Join(parts, ",")
}
