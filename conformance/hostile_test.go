package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hostile builds a program of hostile/ and gives its path.
func hostile(t *testing.T, name string) string {
	t.Helper()
	dir, err := scratch(base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	out := filepath.Join(dir, name)
	if b, err := exec.Command("gcc", "-O1", "-static", "-pthread", "-w", "-o", out, "hostile/"+name+".c").CombinedOutput(); err != nil {
		t.Fatalf("hostile/%s.c: %v\n%s", name, err, b)
	}
	return out
}

// behind runs a hostile program behind the wall: whatever it does, the sandbox ends in time, the Sentry with it, and nothing
// is left over.
func behind(t *testing.T, limit time.Duration, argv ...string) outcome {
	t.Helper()
	if nativeOnly() {
		t.Skip("on demand: without CONFORM_NATIVE_ONLY")
	}
	o := run(wall(t), argv, filepath.Dir(argv[0]), nil, limit, limit)
	if o.err != nil {
		t.Fatal(o.err)
	}
	if len(o.left) > 0 {
		t.Errorf("left over: %s", strings.Join(o.left, ", "))
	}
	if strings.Contains(o.stderr, "goroutine ") || strings.Contains(o.stderr, "SIGSYS") {
		t.Errorf("the Sentry crashed:\n%s", o.stderr)
	}
	return o
}

// guestCalls are the host calls that DESIGN allows code inside the stub, as the platform's filter has them.
var guestCalls = map[int]string{
	syscall.SYS_FUTEX: "futex", syscall.SYS_SCHED_YIELD: "sched_yield", syscall.SYS_RT_SIGRETURN: "rt_sigreturn", syscall.SYS_MMAP: "mmap",
	syscall.SYS_MUNMAP: "munmap", syscall.SYS_MPROTECT: "mprotect", syscall.SYS_MREMAP: "mremap", syscall.SYS_MADVISE: "madvise",
	syscall.SYS_RECVMSG: "recvmsg", syscall.SYS_CLOSE: "close", syscall.SYS_CLONE: "clone", syscall.SYS_EXIT: "exit",
	334: "rseq", syscall.SYS_PRCTL: "prctl",
}

// beyondSeccomp are uretprobe and uprobe: the host's kernel lets them past every seccomp filter, and refuses them anywhere
// but in a trampoline of its own.
var beyondSeccomp = map[int]bool{335: true, 336: true}

// answeredByFilter is restart_syscall: the filter itself answers EINTR, the host's kernel does not see it.
var answeredByFilter = map[int]bool{syscall.SYS_RESTART_SYSCALL: true}

// TestReach tries every number from inside the stub: none passes but those of the filter, 14 at most.
func TestReach(t *testing.T) {
	o := behind(t, 3*time.Minute, hostile(t, "stub"), "reach")
	if o.end != "exit status 0" {
		t.Fatalf("ended with %s: %s %s", o.end, strings.Join(o.lines, " "), o.stderr)
	}
	if len(o.lines) > 14+len(beyondSeccomp)+len(answeredByFilter) {
		t.Errorf("%d host calls in reach, want 14 at most", len(o.lines))
	}
	var odd []string
	for _, l := range o.lines {
		var nr int
		if _, err := fmt.Sscan(l, &nr); err != nil || guestCalls[nr] == "" && !beyondSeccomp[nr] && !answeredByFilter[nr] {
			odd = append(odd, l)
		}
	}
	sort.Strings(odd)
	if len(odd) > 0 {
		t.Errorf("host calls in reach that no rule allows: %s", strings.Join(odd, " "))
	}
	t.Logf("%d host calls in reach", len(o.lines))
}

// TestArguments tries, from inside the stub, arguments of the calls in reach that no rule allows: each ends who tried it.
func TestArguments(t *testing.T) {
	o := behind(t, 3*time.Minute, hostile(t, "stub"), "arguments")
	if o.end != "exit status 0" || len(o.lines) != 1 || !strings.HasPrefix(o.lines[0], "tried ") {
		t.Fatalf("ended with %s:\n%s\n%s", o.end, strings.Join(o.lines, "\n"), o.stderr)
	}
	t.Log(o.lines[0])
}

// TestRequeue: a guest that moves sleeping threads of the Sentry to futexes of its own harms itself alone: a bystander goes
// on, and each such process can be ended.
func TestRequeue(t *testing.T) {
	o := behind(t, 6*time.Minute, hostile(t, "stub"), "requeue")
	if o.end != "exit status 0" {
		t.Fatalf("ended with %s: %s\n%s", o.end, strings.Join(o.lines, "\n"), o.stderr)
	}
	t.Log(strings.Join(o.lines, "; "))
}

// TestStubUnderAttack: jumps into the stub, writes over the shared pages, other ways into the host's kernel.
func TestStubUnderAttack(t *testing.T) {
	prog := hostile(t, "stub")
	for _, what := range []string{"jumps", "scribble", "entries", "loans"} {
		t.Run(what, func(t *testing.T) {
			o := behind(t, 4*time.Minute, prog, what)
			if o.end != "exit status 0" {
				t.Fatalf("ended with %s: %s\n%s", o.end, strings.Join(o.lines, "\n"), o.stderr)
			}
			t.Log(strings.Join(o.lines, "; "))
		})
	}
}

// TestLentUnderAttack: writes over what a stub knows of lent sockets and of a lent epoll instance.
func TestLentUnderAttack(t *testing.T) {
	o := behind(t, 4*time.Minute, hostile(t, "boxes"))
	if o.end != "exit status 0" {
		t.Fatalf("ended with %s: %s\n%s", o.end, strings.Join(o.lines, "\n"), o.stderr)
	}
	t.Log(strings.Join(o.lines, "; "))
}

// TestExecStays: an exec leaves the process, and the stub's memory in it, only to programs that may do no more than the old
// one, and that it may read.
func TestExecStays(t *testing.T) {
	o := behind(t, time.Minute, hostile(t, "stub"), "stays")
	want := map[string]string{"the same rights": "stays", "a capability more": "new", "unreadable": "new", "fewer rights": "stays"}
	if os.Getuid() != 0 {
		want = map[string]string{"the same rights": "stays"}
	}
	if o.end != "exit status 0" || len(o.lines) != len(want) {
		t.Fatalf("ended with %s:\n%s\n%s", o.end, strings.Join(o.lines, "\n"), o.stderr)
	}
	for _, l := range o.lines {
		what, got, _ := strings.Cut(l, ": ")
		if want[what] != got {
			t.Errorf("%s: %s, want %s", what, got, want[what])
		}
	}
}
