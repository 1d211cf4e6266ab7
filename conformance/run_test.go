package conformance

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	caseLimit = 20 * time.Second // of one case, held by the guest's runner
	silence   = 25 * time.Second // beside it
)

// state is how one case ended.
type state int

const (
	notRun state = iota
	passed
	failed
	skipped
)

type verdict struct {
	state  state
	detail string // why it failed or was skipped
}

// place is somewhere that a command can run: on the host's kernel or behind the wall.
type place interface {
	// command gives the command that runs argv with dir as its scratch directory; done is called when it has ended
	// and tells what it left over.
	command(argv []string, dir string, env []string) (cmd *exec.Cmd, done func() []string, err error)
	// caseLimit is how long one case may take there.
	caseLimit() time.Duration
}

// native is the host's own kernel; as root with mounts, IPC objects and a host name apart from the host's.
type native struct{}

func (native) caseLimit() time.Duration { return caseLimit }

func (native) command(argv []string, dir string, env []string) (*exec.Cmd, func() []string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if namespacesWork() {
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	} else {
		cmd.Env = append(cmd.Env, "CONFORM_SHARED_MOUNTS=1", "CONFORM_SHARED_UTS=1")
	}
	return cmd, func() []string { return nil }, nil
}

var namespacesWork = sync.OnceValue(func() bool {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	return cmd.Run() == nil
})

// sandbox is `bulkhead do`.
type sandbox struct {
	binary string
	base   string // where the directories of each run are made
	flags  []string
}

func (s sandbox) caseLimit() time.Duration { return caseLimit }

func (s sandbox) command(argv []string, dir string, env []string) (*exec.Cmd, func() []string, error) {
	run, err := os.MkdirTemp(s.base, "run")
	if err != nil {
		return nil, nil, err
	}
	root, tmp := filepath.Join(run, "state"), filepath.Join(run, "tmp")
	for _, d := range []string{root, tmp} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, nil, err
		}
	}
	args := []string{"--root", root, "do", "--debug-log", "/dev/stderr", "--volume", dir + ":" + dir, "--workdir", dir}
	args = append(args, s.flags...)
	for _, e := range append(env, "PATH="+os.Getenv("PATH")) {
		args = append(args, "--env", e)
	}
	cmd := exec.Command(s.binary, append(append(args, "--"), argv...)...)
	mark := "CONFORM_MARK=" + filepath.Base(run)
	cmd.Env = append(os.Environ(), mark, "XDG_RUNTIME_DIR="+root, "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	before := mounts()
	done := func() []string {
		left := leftover(mark, root, tmp, before)
		os.RemoveAll(run)
		return left
	}
	return cmd, done, nil
}

// outcome is what a command did.
type outcome struct {
	lines  []string
	stderr string
	end    string // how it ended, for a report: "exit status 1", "hang", …
	left   []string
	err    error
}

// run starts argv in a place and reads its output until it ends, until it is silent for too long, or until the limit.
func run(p place, argv []string, dir string, env []string, quiet, limit time.Duration) outcome {
	cmd, done, err := p.command(argv, dir, env)
	if err != nil {
		return outcome{err: err}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return outcome{err: err}
	}
	defer r.Close()
	var errors bytes.Buffer
	er, ew, err := os.Pipe()
	if err != nil {
		return outcome{err: err}
	}
	defer er.Close()
	cmd.Stdout, cmd.Stderr = w, ew
	err = start(cmd)
	w.Close()
	ew.Close()
	if err != nil {
		return outcome{err: err}
	}
	var out outcome
	lines := make(chan string, 64)
	go func() {
		in := bufio.NewReader(r)
		for {
			line, err := in.ReadString('\n')
			if line != "" {
				lines <- strings.TrimRight(line, "\n")
			}
			if err != nil {
				close(lines)
				return
			}
		}
	}()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		buf := make([]byte, 4096)
		for {
			n, err := er.Read(buf)
			if errors.Len() < 1<<18 {
				errors.Write(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- wait(cmd) }()
	silent, over := time.NewTimer(quiet), time.NewTimer(limit)
	var waitErr error
	killer := time.NewTimer(0)
	for open, alive := lines, true; open != nil || alive; {
		select {
		case line, ok := <-open:
			if !ok {
				open = nil
				break
			}
			out.lines = append(out.lines, line)
			silent.Reset(quiet)
		case waitErr = <-ended:
			alive = false
			ended = nil
			killer.Stop() // the pid is free
			// What still holds the pipe after the command's end is a leftover; it must not hold us.
			deadline := time.Now().Add(2 * time.Second)
			r.SetReadDeadline(deadline)
			er.SetReadDeadline(deadline)
		case <-silent.C:
			out.end = "hang"
			killer = abort(cmd)
		case <-over.C:
			out.end = "hang (over its time limit)"
			killer = abort(cmd)
		}
	}
	<-copied
	if out.end == "" {
		out.end = "exit status 0"
		if waitErr != nil {
			out.end = waitErr.Error()
		}
	}
	out.stderr = errors.String()
	out.left = done()
	return out
}

// abort ends a command that hangs. A sandbox first says on stderr what everything in it waits for; it has until the timer ends.
func abort(cmd *exec.Cmd) *time.Timer {
	cmd.Process.Signal(syscall.SIGABRT)
	return time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
}

// waits is what a sandbox that was aborted has said of itself: all there will be to find the reason by.
func waits(stderr string) string {
	if at := strings.Index(stderr, "bulkhead: SIGABRT"); at >= 0 {
		return "\n" + stderr[at:]
	}
	return ""
}

// runCases runs the named cases of a guest program in one go, and goes on after the case in which the sandbox died.
func runCases(p place, prog *program, names []string, args []string, base string) (map[string]verdict, []string) {
	got := map[string]verdict{}
	var left []string
	env := []string{"CONFORM_LIMIT=" + strconv.Itoa(int(p.caseLimit()/time.Second))}
	fruitless := 0
	for rest := names; len(rest) > 0 && fruitless < 2; {
		dir, err := scratch(base)
		if err != nil {
			return got, append(left, err.Error())
		}
		argv := append(append([]string{prog.path}, args...), "-a")
		if len(rest) < len(prog.cases) {
			argv = append(argv, rest...)
		}
		out := run(p, argv, dir, env, p.caseLimit()+silence, 10*time.Minute)
		os.RemoveAll(dir)
		left = append(left, out.left...)
		n := len(got)
		parse(out.lines, got)
		fruitless++
		if len(got) > n {
			fruitless = 0
		}
		var missing []string
		for _, c := range rest {
			if _, ok := got[c]; !ok {
				missing = append(missing, c)
			}
		}
		rest = missing
		if len(rest) == 0 {
			break
		}
		// The first without a verdict is the one that was running.
		why := fmt.Sprintf("no verdict: the program ended with %s", out.end)
		if out.err != nil {
			why = out.err.Error()
		}
		if tail := lastLine(out.stderr); tail != "" {
			why += "; stderr: " + tail
		}
		why += waits(out.stderr)
		got[rest[0]] = verdict{failed, why}
		rest = rest[1:]
		if fruitless == 2 {
			for _, c := range rest {
				got[c] = verdict{notRun, why}
			}
		}
	}
	return got, left
}

// parse reads the lines of `prog -a` into got.
func parse(lines []string, got map[string]verdict) {
	why := map[string]string{}
	for _, l := range lines {
		if name, text, ok := strings.Cut(l, ": "); ok && !strings.Contains(name, " ") {
			for _, kind := range []string{"FAIL ", "SKIP "} {
				if t, ok := strings.CutPrefix(text, kind); ok && why[name] == "" {
					why[name] = t
				}
			}
		}
		for prefix, s := range map[string]state{"ok ": passed, "not ok ": failed, "skip ": skipped} {
			if name, ok := strings.CutPrefix(l, prefix); ok && !strings.Contains(name, " ") {
				got[name] = verdict{s, why[name]}
			}
		}
	}
}

// lastLine is what standard error tells about an end: the head of a crash of a Go program with the function it was in, or
// the last line.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i, l := range lines {
		if !strings.HasPrefix(l, "panic: ") && !strings.HasPrefix(l, "fatal error: ") && !strings.HasPrefix(l, "SIG") {
			continue
		}
		for k := i + 1; k+1 < len(lines); k++ {
			if strings.HasPrefix(lines[k], "goroutine ") {
				return l + " in " + lines[k+1]
			}
		}
		return l
	}
	return lines[len(lines)-1]
}

// scratch makes a directory that every user may reach, for one run.
func scratch(base string) (string, error) {
	dir, err := os.MkdirTemp(base, "work")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}
