package proc

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

const esrch = unix.ESRCH

func nothing(*taskDir, *bytes.Buffer) abi.Errno { return 0 }

// accept takes what is written, where Linux changes something that has no
// meaning here.
func accept(*taskDir, vfs.Caller, []byte) abi.Errno { return 0 }

func writeEnviron(d *taskDir, b *bytes.Buffer) abi.Errno {
	b.Write(d.t.Environ())
	return 0
}

func writeCmdline(d *taskDir, b *bytes.Buffer) abi.Errno {
	b.Write(d.t.Command())
	return 0
}

func writeAuxv(d *taskDir, b *bytes.Buffer) abi.Errno {
	b.Write(d.t.Auxv())
	return 0
}

func writePersonality(d *taskDir, b *bytes.Buffer) abi.Errno {
	fmt.Fprintf(b, "%08x\n", d.t.Personality())
	return 0
}

func writeComm(d *taskDir, b *bytes.Buffer) abi.Errno {
	b.WriteString(d.t.Comm())
	b.WriteByte('\n')
	return 0
}

// setComm renames a thread of the writer's own process.
func setComm(d *taskDir, c vfs.Caller, data []byte) abi.Errno {
	if c.TGID() != d.t.PID() {
		return unix.EINVAL
	}
	name := strings.TrimRight(string(data[:min(len(data), 15)]), "\x00\n")
	d.t.SetComm(name)
	return 0
}

func writeChildren(d *taskDir, b *bytes.Buffer) abi.Errno {
	for _, pid := range d.t.Children() {
		fmt.Fprintf(b, "%d ", pid)
	}
	return 0
}

func writeWchan(_ *taskDir, b *bytes.Buffer) abi.Errno {
	b.WriteByte('0')
	return 0
}

// refuseStack: a guest's kernel has no stack to be shown.
func refuseStack(*taskDir, *bytes.Buffer) abi.Errno { return unix.EACCES }

func writeSyscall(d *taskDir, b *bytes.Buffer) abi.Errno {
	if d.t.Stat().State == 'R' {
		b.WriteString("running\n")
		return 0
	}
	b.WriteString("-1 0x0 0x0\n")
	return 0
}

func writeSched(d *taskDir, b *bytes.Buffer) abi.Errno {
	s := d.t.Stat()
	fmt.Fprintf(b, "%s (%d, #threads: %d)\n%s\n", d.t.Comm(), d.t.TID(), s.Threads, strings.Repeat("-", 67))
	line := func(name string, v any) { fmt.Fprintf(b, "%-45s:%21v\n", name, v) }
	line("se.sum_exec_runtime", fmt.Sprintf("%.6f", float64(s.UserNS+s.SystemNS)/1e6))
	line("nr_switches", s.Voluntary+s.Forced)
	line("nr_voluntary_switches", s.Voluntary)
	line("nr_involuntary_switches", s.Forced)
	line("policy", s.Policy)
	line("prio", 120+s.Nice)
	return 0
}

func writeSchedstat(d *taskDir, b *bytes.Buffer) abi.Errno {
	s := d.t.Stat()
	fmt.Fprintf(b, "%d 0 %d\n", s.UserNS+s.SystemNS, s.Voluntary+s.Forced)
	return 0
}

func writeCpuset(_ *taskDir, b *bytes.Buffer) abi.Errno {
	b.WriteString("/\n")
	return 0
}

func writeCgroup(d *taskDir, b *bytes.Buffer) abi.Errno {
	fmt.Fprintf(b, "0::%s\n", d.i.p.conf.CgroupPath)
	return 0
}

// limitNames are the lines of /proc/PID/limits, by resource, in its order.
var limitNames = []struct {
	resource   int
	name, unit string
}{
	{unix.RLIMIT_CPU, "Max cpu time", "seconds"}, {unix.RLIMIT_FSIZE, "Max file size", "bytes"},
	{unix.RLIMIT_DATA, "Max data size", "bytes"}, {unix.RLIMIT_STACK, "Max stack size", "bytes"},
	{unix.RLIMIT_CORE, "Max core file size", "bytes"}, {unix.RLIMIT_RSS, "Max resident set", "bytes"},
	{unix.RLIMIT_NPROC, "Max processes", "processes"}, {unix.RLIMIT_NOFILE, "Max open files", "files"},
	{unix.RLIMIT_MEMLOCK, "Max locked memory", "bytes"}, {unix.RLIMIT_AS, "Max address space", "bytes"},
	{unix.RLIMIT_LOCKS, "Max file locks", "locks"}, {unix.RLIMIT_SIGPENDING, "Max pending signals", "signals"},
	{unix.RLIMIT_MSGQUEUE, "Max msgqueue size", "bytes"}, {unix.RLIMIT_NICE, "Max nice priority", ""},
	{unix.RLIMIT_RTPRIO, "Max realtime priority", ""}, {unix.RLIMIT_RTTIME, "Max realtime timeout", "us"},
}

func writeLimits(d *taskDir, b *bytes.Buffer) abi.Errno {
	l := d.t.Limits()
	show := func(v uint64) string {
		if v == ^uint64(0) {
			return "unlimited"
		}
		return fmt.Sprint(v)
	}
	fmt.Fprintf(b, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units")
	for _, n := range limitNames {
		fmt.Fprintf(b, "%-25s %-20s %-20s %-10s\n", n.name, show(l[n.resource][0]), show(l[n.resource][1]), n.unit)
	}
	return 0
}

func writeIO(d *taskDir, b *bytes.Buffer) abi.Errno {
	s := d.t.Stat()
	fmt.Fprintf(b, "rchar: %d\nwchar: %d\nsyscr: %d\nsyscw: %d\nread_bytes: %d\nwrite_bytes: %d\ncancelled_write_bytes: 0\n",
		s.ReadBytes, s.WriteBytes, s.ReadCalls, s.WriteCalls, 0, 0)
	return 0
}

// Bounds of oom_score_adj and of the old oom_adj.
const (
	oomMax        = 1000
	oldOOMDisable = -17
	oldOOMMax     = 15
)

func writeOOMScore(d *taskDir, b *bytes.Buffer) abi.Errno {
	total := d.i.p.view.MemTotal()
	score := int64(d.t.OOMScoreAdj())
	if total > 0 {
		score += int64(d.t.Memory().RSS * 1000 / total)
	}
	// The kernel shows it within 0 and 2000 thirds of a badness.
	fmt.Fprintf(b, "%d\n", max((score+1000)*2/3, 0))
	return 0
}

func writeOOMScoreAdj(d *taskDir, b *bytes.Buffer) abi.Errno {
	fmt.Fprintf(b, "%d\n", d.t.OOMScoreAdj())
	return 0
}

func setOOMScoreAdj(d *taskDir, c vfs.Caller, data []byte) abi.Errno {
	n, ok := kernfs.ParseInt(data)
	if !ok || n < -oomMax || n > oomMax {
		return unix.EINVAL
	}
	return changeOOM(d, c, int32(n))
}

func changeOOM(d *taskDir, c vfs.Caller, n int32) abi.Errno {
	if n < d.t.OOMScoreAdj() && !c.Creds().Capable(auth.CAP_SYS_RESOURCE) {
		return unix.EACCES
	}
	d.t.SetOOMScoreAdj(n)
	return 0
}

func writeOOMAdj(d *taskDir, b *bytes.Buffer) abi.Errno {
	n := d.t.OOMScoreAdj()
	if n == oomMax {
		n = oldOOMMax
	} else {
		n = n * -oldOOMDisable / oomMax
	}
	fmt.Fprintf(b, "%d\n", n)
	return 0
}

func setOOMAdj(d *taskDir, c vfs.Caller, data []byte) abi.Errno {
	n, ok := kernfs.ParseInt(data)
	if !ok || n != oldOOMDisable && (n < -16 || n > oldOOMMax) {
		return unix.EINVAL
	}
	if n == oldOOMMax {
		return changeOOM(d, c, oomMax)
	}
	return changeOOM(d, c, int32(n*oomMax/-oldOOMDisable))
}

// writeUnset is what loginuid and sessionid have without a login.
func writeUnset(_ *taskDir, b *bytes.Buffer) abi.Errno {
	b.WriteString("4294967295")
	return 0
}

// setLoginUID: a sandbox keeps no audit trail, so that only the absence of a
// login can be set.
func setLoginUID(_ *taskDir, c vfs.Caller, data []byte) abi.Errno {
	n, ok := kernfs.ParseInt(data)
	if !ok {
		return unix.EINVAL
	}
	if n != 4294967295 && n != -1 && !c.Creds().Capable(auth.CAP_AUDIT_CONTROL) {
		return unix.EPERM
	}
	return 0
}

func writeCoreFilter(_ *taskDir, b *bytes.Buffer) abi.Errno {
	b.WriteString("00000033\n")
	return 0
}

func writeMap(b *bytes.Buffer, m []IDMap) abi.Errno {
	if len(m) == 0 {
		m = []IDMap{{0, 0, 4294967295}}
	}
	for _, l := range m {
		fmt.Fprintf(b, "%10d %10d %10d\n", l.Inside, l.Outside, l.Count)
	}
	return 0
}

func writeUIDMap(d *taskDir, b *bytes.Buffer) abi.Errno { return writeMap(b, d.i.p.conf.UIDMap) }
func writeGIDMap(d *taskDir, b *bytes.Buffer) abi.Errno { return writeMap(b, d.i.p.conf.GIDMap) }

func writeProjidMap(_ *taskDir, b *bytes.Buffer) abi.Errno { return writeMap(b, nil) }

// setMap: the sandbox's user namespace has its maps already.
func setMap(*taskDir, vfs.Caller, []byte) abi.Errno { return unix.EPERM }

func writeSetgroups(_ *taskDir, b *bytes.Buffer) abi.Errno {
	b.WriteString("allow\n")
	return 0
}

func setSetgroups(_ *taskDir, _ vfs.Caller, data []byte) abi.Errno {
	if strings.TrimSpace(string(data)) == "allow" {
		return 0
	}
	return unix.EPERM
}

func writeTimerSlack(d *taskDir, b *bytes.Buffer) abi.Errno {
	fmt.Fprintf(b, "%d\n", d.t.TimerSlack())
	return 0
}

func setTimerSlack(d *taskDir, c vfs.Caller, data []byte) abi.Errno {
	n, ok := kernfs.ParseInt(data)
	if !ok || n < 0 {
		return unix.EINVAL
	}
	if c.TGID() != d.t.PID() && !c.Creds().Capable(auth.CAP_SYS_NICE) {
		return unix.EPERM
	}
	if n == 0 {
		n = 50000
	}
	d.t.SetTimerSlack(n)
	return 0
}

func writeAutogroup(_ *taskDir, b *bytes.Buffer) abi.Errno {
	b.WriteString("/autogroup-1 nice 0\n")
	return 0
}

// makeAttr is /proc/PID/attr, as a kernel without a security module that uses
// it has it: reading gives EINVAL.
func makeAttr(d *taskDir, n kernfs.Meta) vfs.Inode {
	dir := &kernfs.Dir{Refusal: unix.ENOENT}
	dir.Meta = n
	dir.Nlink = 2
	for k, name := range []string{"current", "prev", "exec", "fscreate", "keycreate", "sockcreate"} {
		f := &kernfs.File{
			Read:  func(vfs.Caller, *bytes.Buffer) abi.Errno { return unix.EINVAL },
			Write: func(vfs.Caller, []byte) abi.Errno { return unix.EINVAL },
		}
		f.Meta = n
		f.Mode = reg | 0666
		f.Ino = n.Ino | uint64(k+1)<<48
		dir.Add(name, f)
	}
	return dir
}
