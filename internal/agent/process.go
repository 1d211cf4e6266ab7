package agent

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// process is the first process of a container, or an exec'ed one.
type process struct {
	container string
	id        string // "" of the first
	child     *child
	stdio     *stdio

	// killedBy is the signal that the agent turned into SIGKILL (init_killable).
	killedBy atomic.Uint32

	// namespace is PID 1 of the PID namespace, where that is not this process
	// (nsinit.go).
	namespace atomic.Pointer[child]

	// Set before done is closed.
	status   uint32
	exitedAt time.Time
	done     chan struct{}
}

func (p *process) pid() int { return p.child.pid }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Descriptors of a child once its script has tidied up: nothing else is open
// when it enters a directory of the container's or runs its program.
const (
	childReport = 3
	childStart  = 4
	childFirst  = 16 // those made for a child lie from here on until then
	childMounts = 900
)

// low makes sure that a descriptor is none of those that the script will
// overwrite.
func low(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, childFirst)
	unix.Close(fd)
	if err != nil {
		return -1, fmt.Errorf("descriptors: %w", err)
	}
	return n, nil
}

// pipePair is a pipe of which one end is for the child.
func pipePair(childReads bool) (mine *os.File, theirs int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, fmt.Errorf("pipe: %w", err)
	}
	own, other := p[0], p[1]
	if childReads {
		own, other = p[1], p[0]
	}
	if theirs, err = low(other); err != nil {
		unix.Close(own)
		return nil, -1, err
	}
	if err := unix.SetNonblock(own, true); err != nil {
		unix.Close(own)
		unix.Close(theirs)
		return nil, -1, fmt.Errorf("pipe: %w", err)
	}
	return os.NewFile(uintptr(own), "pipe"), theirs, nil
}

// newScript makes an empty script with its pipes.
func newScript() (s *script, report, start *os.File, err error) {
	s = &script{}
	report, s.report, err = pipePair(false)
	if err != nil {
		return nil, nil, nil, err
	}
	start, s.start, err = pipePair(true)
	if err != nil {
		report.Close()
		unix.Close(s.report)
		return nil, nil, nil, err
	}
	s.ends = [2]int{s.report, s.start}
	return s, report, start, nil
}

// closeChildEnds drops the agent's copies after the fork.
func (s *script) closeChildEnds() {
	unix.Close(s.ends[0])
	unix.Close(s.ends[1])
}

// stage1 gives the child its standard descriptors and session, and closes
// everything else.
func (s *script) stage1(io *stdio) {
	// A session keyring of its own, keyrings(7); a kernel may have none.
	s.add("keyctl", unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0).may()
	s.add("setsid", unix.SYS_SETSID)
	for i, fd := range io.child {
		s.add("standard descriptors", unix.SYS_DUP3, uintptr(fd), uintptr(i), 0)
	}
	if io.master != nil {
		s.add("controlling terminal", unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0)
	}
	s.add("descriptors", unix.SYS_DUP3, uintptr(s.report), childReport, unix.O_CLOEXEC).kind = opMoved
	s.add("descriptors", unix.SYS_DUP3, uintptr(s.start), childStart, unix.O_CLOEXEC)
	s.add("descriptors", unix.SYS_CLOSE_RANGE, childStart+1, 1<<32-1, 0)
	s.report, s.start = childReport, childStart
}

// stage2 makes the child who the process shall be, and executes its program.
func (s *script) stage2(p *agentpb.Process, personality uint32, seccomp *agentpb.Seccomp, lastCap int) {
	umask := uint32(0o022)
	if p.Umask != nil {
		umask = *p.Umask
	}
	s.add("umask", unix.SYS_UMASK, uintptr(umask))
	if personality != 0 {
		s.add("personality", unix.SYS_PERSONALITY, uintptr(personality))
	}
	s.credentials(p, lastCap)
	s.add("working directory "+strconv.Quote(p.Cwd), unix.SYS_CHDIR, s.str(p.Cwd))
	if p.NoNewPrivs {
		s.add("PR_SET_NO_NEW_PRIVS", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	// Whoever attaches a filter needs CAP_SYS_ADMIN or no_new_privs: this is
	// before the last capset, the only call left that the filter must allow
	// beside execve.
	if seccomp != nil && !p.NoSeccomp {
		s.add("seccomp filter", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(seccomp.Flags), s.filterProgram(seccomp.Filter))
	}
	caps := p.GetCapabilities()
	all := capMask(lastCap)
	s.add("capset", unix.SYS_CAPSET, s.capHeader(),
		s.capData(caps.GetEffective()&all, caps.GetPermitted()&all, caps.GetInheritable()&all))
	s.execute(p)
}

func capMask(last int) uint64 { return 1<<(last+1) - 1 }

func (s *script) capHeader() uintptr {
	return s.words([]uint32{unix.LINUX_CAPABILITY_VERSION_3, 0})
}

// credentials changes the ids with every capability kept, then narrows the
// bounding and ambient sets: capabilities(7), "Effect of user ID changes".
func (s *script) credentials(p *agentpb.Process, lastCap int) {
	caps, all := p.GetCapabilities(), capMask(lastCap)
	s.add("PR_SET_KEEPCAPS", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
	if len(p.Gids) > 0 {
		s.add("setgroups", unix.SYS_SETGROUPS, uintptr(len(p.Gids)), s.words(p.Gids))
	} else {
		s.add("setgroups", unix.SYS_SETGROUPS, 0, 0)
	}
	gid, uid := uintptr(p.Gid), uintptr(p.Uid)
	s.add("setresgid", unix.SYS_SETRESGID, gid, gid, gid)
	s.add("setresuid", unix.SYS_SETRESUID, uid, uid, uid)
	s.add("PR_SET_KEEPCAPS", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0, 0, 0, 0)
	s.add("capset", unix.SYS_CAPSET, s.capHeader(), s.capData(all, all, caps.GetInheritable()&all))
	for c := 0; c <= lastCap; c++ {
		if caps.GetBounding()>>c&1 == 0 {
			s.add("PR_CAPBSET_DROP", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		}
	}
	s.add("PR_CAP_AMBIENT_CLEAR_ALL", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	for c := 0; c <= lastCap; c++ {
		if caps.GetAmbient()>>c&1 != 0 {
			s.add("ambient capability "+strconv.Itoa(c), unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0)
		}
	}
}

// execute tries the candidates for the program, as execvp(3) does.
func (s *script) execute(p *agentpb.Process) {
	argv, envp := s.vector(p.Args), s.vector(p.Env)
	for _, file := range candidates(p) {
		s.add("executing "+file, unix.SYS_EXECVE, s.str(file), argv, envp).kind = opExec
	}
	s.add("executing "+programOf(p), 0).kind = opError
}

func programOf(p *agentpb.Process) string {
	if p.Program != "" {
		return p.Program
	}
	return p.Args[0]
}

// candidates are the files that a program's name may mean.
func candidates(p *agentpb.Process) []string {
	name := programOf(p)
	if strings.Contains(name, "/") {
		return []string{name}
	}
	var out []string
	for _, dir := range strings.Split(searchPath(p.Env), ":") {
		if dir == "" {
			dir = "."
		}
		out = append(out, path.Join(dir, name))
	}
	for i, file := range out {
		if !strings.Contains(file, "/") {
			out[i] = "./" + file
		}
	}
	return out
}

// searchPath is PATH of an environment; the last one counts, as in a shell.
func searchPath(env []string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], "PATH="); ok {
			return v
		}
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

// adjust sets what the agent may set for a child that waits: its limits, its
// place in the scheduler and in the way of the OOM killer.
func adjust(pid int, p *agentpb.Process) error {
	limits := map[uint32]*agentpb.Rlimit{
		// The agent's own was raised by the Go runtime.
		unix.RLIMIT_NOFILE: {Resource: unix.RLIMIT_NOFILE, Soft: 1024, Hard: maxFiles},
	}
	for _, r := range p.Rlimits {
		limits[r.Resource] = r
	}
	for _, r := range limits {
		if err := unix.Prlimit(pid, int(r.Resource), &unix.Rlimit{Cur: r.Soft, Max: r.Hard}, nil); err != nil {
			return fmt.Errorf("rlimit %d: %w", r.Resource, err)
		}
	}
	if p.OomScoreAdj != nil {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(int(*p.OomScoreAdj))), 0); err != nil {
			return fmt.Errorf("oom_score_adj: %w", err)
		}
	}
	if s := p.Scheduler; s != nil {
		if err := setScheduler(pid, s.Policy, s.Flags, s.Nice, s.Priority, s.Runtime, s.Deadline, s.Period); err != nil {
			return fmt.Errorf("scheduler: %w", err)
		}
	}
	if p.IoPriority != nil {
		const who = 1 // IOPRIO_WHO_PROCESS
		if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, who, uintptr(pid), uintptr(*p.IoPriority)); errno != 0 {
			return fmt.Errorf("ioPriority: %w", errno)
		}
	}
	if len(p.Cpus) > 0 {
		var set unix.CPUSet
		for _, c := range p.Cpus {
			set.Set(int(c))
		}
		if err := unix.SchedSetaffinity(pid, &set); err != nil {
			return fmt.Errorf("execCPUAffinity: %w", err)
		}
	}
	return nil
}
