package kernel

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/mm"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// View is the sandbox as /proc shows it.
type View struct{ k *Kernel }

// View gives the sandbox to /proc. The first call comes before the Sentry shuts
// itself in.
func (k *Kernel) View() View {
	procDir()
	return View{k}
}

var _ inspect.View = View{}

// PIDs lists the processes above after.
func (v View) PIDs(after int32) []int32 {
	var out []int32
	for _, tg := range v.k.ThreadGroups() {
		if tg.pid > after {
			out = append(out, tg.pid)
		}
	}
	return out
}

// Task finds a thread.
func (v View) Task(tid int32) inspect.Task {
	if t := v.k.Task(tid); t != nil {
		return shownTask{t}
	}
	return nil
}

// System gives the sandbox's figures.
func (v View) System() inspect.System {
	k := v.k
	s := inspect.System{
		Forks: k.Forks(), LastPID: k.LastPID(), UserNS: k.deadUTime.Load(), SystemNS: k.deadSTime.Load(),
	}
	s.Tasks, s.Processes = k.Counts()
	for _, tg := range k.ThreadGroups() {
		u := tg.Usage()
		s.UserNS += u.UTime
		s.SystemNS += u.STime
		for _, t := range tg.liveTasks() {
			if t.runs() {
				s.Running++
			}
		}
	}
	return s
}

// Boot gives the clocks at boot.
func (v View) Boot() (mono, real int64) { return v.k.bootMono, v.k.bootReal }

// MemTotal is the memory that the guest is told of.
func (v View) MemTotal() uint64 { return v.k.memTotal() }

// MemUse sums what processes have in memory.
func (v View) MemUse() (used, shmem uint64) {
	k := v.k
	var alive []*Task
	k.mu.RLock()
	for tg := k.groups.head; tg != nil; tg = tg.allNext {
		if t := tg.aliveTask(); t != nil {
			alive = append(alive, t)
		}
	}
	k.mu.RUnlock()
	for _, t := range alive {
		used += shownTask{t}.Memory().RSS
	}
	return used, 0
}

// memTotal is the memory that the guest is told of.
func (k *Kernel) memTotal() uint64 {
	if k.config.MemTotal != 0 {
		return k.config.MemTotal
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 1 << 30
	}
	return uint64(s.Totalram) * uint64(s.Unit)
}

func (v View) Hostname() string                 { return v.k.Hostname() }
func (v View) SetHostname(s string) abi.Errno   { return v.k.SetHostname(s) }
func (v View) Domainname() string               { return v.k.Domainname() }
func (v View) SetDomainname(s string) abi.Errno { return v.k.SetDomainname(s) }

// runs tells whether the task neither sleeps nor is stopped; a hint.
func (t *Task) runs() bool { return !t.park.asleep() }

// shownTask is a task as /proc shows it.
type shownTask struct{ t *Task }

// TID, PID and Alive are inspect.Task's.
func (s shownTask) TID() int32 {
	s.t.k.mu.RLock()
	defer s.t.k.mu.RUnlock()
	return s.t.tid
}

func (s shownTask) PID() int32 { return s.group().pid }

func (s shownTask) group() *ThreadGroup {
	s.t.k.mu.RLock()
	defer s.t.k.mu.RUnlock()
	return s.t.tg
}

func (s shownTask) Alive() bool {
	k := s.t.k
	k.mu.RLock()
	defer k.mu.RUnlock()
	p := k.pids[s.t.tid]
	return p != nil && p.task == s.t
}

func (s shownTask) Threads() []int32 {
	var out []int32
	for _, t := range s.group().Tasks() {
		out = append(out, shownTask{t}.TID())
	}
	return out
}

func (s shownTask) Children() []int32 {
	k, tg := s.t.k, s.group()
	k.mu.RLock()
	defer k.mu.RUnlock()
	var out []int32
	for c := tg.children.head; c != nil; c = c.sibNext {
		if c.parentTask == s.t {
			out = append(out, c.pid)
		}
	}
	return out
}

func (s shownTask) Comm() string        { return s.t.Name() }
func (s shownTask) SetComm(name string) { s.t.SetName(name) }
func (s shownTask) Creds() *auth.Creds  { return s.t.Creds() }
func (s shownTask) Dumpable() bool      { return s.group().Dumpable() == 1 }

func (s shownTask) mm() *mm.MemoryManager {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.t.mm
}

// maxArea bounds what is read of a process's arguments or environment.
const maxArea = 1 << 20

func (s shownTask) area(lo, hi uint64) []byte {
	m := s.mm()
	if m == nil || hi <= lo {
		return nil
	}
	b := make([]byte, min(hi-lo, maxArea))
	n, _ := m.Read(lo, b)
	return b[:n]
}

// Command gives the arguments. A program that has written over the end of
// them, into its environment, shows what it wrote (setproctitle).
func (s shownTask) Command() []byte {
	i := s.group().Info()
	args := s.area(i.ArgsLo, i.ArgsHi)
	if n := len(args); n == 0 || args[n-1] == 0 {
		return args
	}
	all := s.area(i.ArgsLo, max(i.ArgsHi, i.EnvHi))
	if end := bytes.IndexByte(all, 0); end >= 0 {
		all = all[:end+1]
	}
	return all
}

func (s shownTask) Environ() []byte {
	i := s.group().Info()
	return s.area(i.EnvLo, i.EnvHi)
}

func (s shownTask) Auxv() []byte {
	if s.mm() == nil {
		return nil
	}
	var b []byte
	for _, v := range s.group().Info().Auxv {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

func (s shownTask) ReadMemory(addr uint64, b []byte) (int, abi.Errno) {
	m := s.mm()
	if m == nil {
		return 0, 0
	}
	return m.Read(addr, b)
}

func (s shownTask) WriteMemory(addr uint64, b []byte) (int, abi.Errno) {
	m := s.mm()
	if m == nil {
		return 0, 0
	}
	return m.Write(addr, b)
}

func (s shownTask) FDs() (*vfs.FDTable, func()) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	fds := s.t.fds
	if fds == nil {
		return nil, nil
	}
	fds.IncRef()
	return fds, func() { fds.DecRef(vfs.Internal) }
}

func (s shownTask) FS() (*vfs.FSContext, func()) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	fs := s.t.fs
	if fs == nil {
		return nil, nil
	}
	fs.IncRef()
	return fs, fs.DecRef
}

// Exe finds the program among the files that are mapped for execution: the
// one that bears the name exec noted, or else the first.
func (s shownTask) Exe() (vfs.Path, bool) {
	m := s.mm()
	fs, release := s.FS()
	if m == nil || fs == nil {
		return vfs.Path{}, false
	}
	defer release()
	want := s.group().Info().Exe
	var found vfs.Path
	m.Regions(func(v mm.VMA) bool {
		if v.File == nil || v.Prot&unix.PROT_EXEC == 0 {
			return true
		}
		name, _ := vfs.PathName(fs.Root(), v.File.Path)
		if found.Dentry != nil && name != want {
			return true
		}
		v.File.Path.IncRef()
		found.DecRef()
		found = v.File.Path
		return name != want
	})
	return found, found.Dentry != nil
}

func (s shownTask) OOMScoreAdj() int32     { return s.group().OOMScoreAdj() }
func (s shownTask) SetOOMScoreAdj(v int32) { s.group().SetOOMScoreAdj(v) }
func (s shownTask) Personality() uint32    { return s.t.Personality() }
func (s shownTask) TimerSlack() int64      { return s.t.TimerSlack() }
func (s shownTask) SetTimerSlack(ns int64) { s.t.SetTimerSlack(ns) }

func (s shownTask) Limits() (out [16][2]uint64) {
	tg := s.group()
	for i := range out {
		l := tg.Limit(i)
		out[i] = [2]uint64{l.Cur, l.Max}
	}
	return out
}

func (s shownTask) Regions(f func(inspect.Region) bool) {
	m := s.mm()
	if m == nil {
		return
	}
	m.Regions(func(v mm.VMA) bool {
		return f(inspect.Region{
			Start: v.Start, End: v.End, Prot: v.Prot, Shared: v.Shared, File: v.File, Off: v.Off,
			Name: v.Name, Locked: v.Locked, Grows: v.Grows,
		})
	})
}

// Memory gives the sizes of the address space.
func (s shownTask) Memory() inspect.Memory {
	m := s.mm()
	if m == nil {
		return inspect.Memory{None: true}
	}
	z, i := m.Sizes(), s.group().Info()
	out := inspect.Memory{
		Total: z.Total, Data: z.Data, Stack: z.Stack, Exec: z.Exec, Locked: z.Locked, PTE: z.Total / 512,
		StartStack: i.StartSP, ArgStart: i.ArgsLo, ArgEnd: i.ArgsHi, EnvStart: i.EnvLo, EnvEnd: i.EnvHi,
	}
	out.PeakRSS = uint64(s.group().Usage().MaxRSS) << 10
	out.RSS, out.RSSFile = residence(m, z.Total)
	out.RSSAnon = out.RSS - out.RSSFile
	return out
}

// Stat gives the task's figures.
func (s shownTask) Stat() inspect.Stat {
	t, tg := s.t, s.group()
	u, kids := t.Usage(), tg.ChildrenUsage()
	sched, cpus := t.Sched(), t.Affinity()
	out := inspect.Stat{
		MinFaults: u.MinFaults, MajFaults: u.MajFaults, ChildMin: kids.MinFaults, ChildMaj: kids.MajFaults,
		UserNS: u.UTime, SystemNS: u.STime, ChildUserNS: kids.UTime, ChildSys: kids.STime,
		Nice: t.Nice(), StartNS: t.startMono, Policy: sched.Policy, RTPriority: sched.Priority,
		CPUs: trimmed(cpus[:]), Voluntary: u.Voluntary, Forced: u.Forced, Foreground: -1,
		NoNewPrivs: t.Creds().NoNewPrivs, QueueLimit: tg.LimitCur(RLIMIT_SIGPENDING),
	}
	out.SeccompMode, out.SeccompFilters = t.SeccompMode()
	if user := t.user.Load(); user != nil {
		out.Queued = uint64(max(user.signals.Load(), 0))
	}
	if fs, release := s.FS(); fs != nil {
		out.Umask = fs.Umask()
		release()
	}
	if tty := tg.ControllingTTY(); tty != nil {
		out.TTY, out.Foreground = tty.DeviceNumber(), tty.ForegroundGroup()
	}
	s.statLocked(&out, tg)
	return out
}

// statLocked fills in what the locks of the process table guard. A process's
// own figures count all its threads where a leader is asked.
func (s shownTask) statLocked(out *inspect.Stat, tg *ThreadGroup) {
	k, t := s.t.k, s.t
	if t.tid == tg.pid {
		u := tg.Usage()
		out.UserNS, out.SystemNS = u.UTime, u.STime
		out.MinFaults, out.MajFaults = u.MinFaults, u.MajFaults
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	out.PPID, out.PGID, out.SID = tg.ppidLocked(), tg.pgidLocked(), tg.sidLocked()
	out.Threads, out.ExitSignal = len(tg.tasks), tg.exitSignal
	if t.tid != tg.pid {
		out.ExitSignal = -1
	}
	if t.tg.alive() == 0 {
		out.ExitStatus = tg.waitStatus()
	}
	out.State = s.stateLocked()
	tg.sig.mu.Lock()
	defer tg.sig.mu.Unlock()
	if t.sig.inStop && out.State != 'Z' {
		out.State = 'T'
	}
	out.Pending, out.SharedPending = uint64(t.sig.pending.set), uint64(tg.sig.shared.set)
	out.Blocked = uint64(t.blockedNow())
	for sig := int32(1); sig <= NSIG; sig++ {
		switch tg.sig.handlers.handler(sig) {
		case SIG_DFL:
		case SIG_IGN:
			out.Ignored |= uint64(SigBit(sig))
		default:
			out.Caught |= uint64(SigBit(sig))
		}
	}
}

func (s shownTask) stateLocked() byte {
	switch {
	case s.t.exitState != taskAlive:
		return 'Z'
	case s.t.runs():
		return 'R'
	}
	return 'S'
}

// trimmed drops the empty words at the end of a CPU mask, but one.
func trimmed(set []uint64) []uint64 {
	n := len(set)
	for n > 1 && set[n-1] == 0 {
		n--
	}
	return append([]uint64(nil), set[:n]...)
}
