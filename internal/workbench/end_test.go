package workbench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/results"
)

// command is the whole command as a process of its own; before are words such
// as unshare's.
func (l *lab) command(before []string, args ...string) *exec.Cmd {
	l.t.Helper()
	if l.self == "" {
		self, err := os.Executable()
		if err != nil {
			l.t.Fatal(err)
		}
		l.self = self
	}
	argv := append(before, l.self, "--only-files", "--runtimes-file", l.runtimes, "--workloads-file", l.workloads, "--work", l.dir,
		"--rootfs", "/", "--out", l.out, "--baseline", "ok")
	argv = append(argv, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "FAKE_BENCH=1", innerEnv+"=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	l.stdout.Reset()
	l.stder.Reset()
	cmd.Stdout, cmd.Stderr = &l.stdout, &l.stder
	return cmd
}

// nothingRuns waits for the kernel to finish with a namespace that was killed:
// no process names the lab's directory, and none of its sites or mounts is left.
func (l *lab) nothingRuns() {
	l.t.Helper()
	var left []string
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if left = l.leftovers(); len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			l.t.Errorf("left: %q", left)
			return
		}
	}
}

func (l *lab) leftovers() (left []string) {
	cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, c := range cmdlines {
		if b, _ := os.ReadFile(c); bytes.Contains(b, []byte(l.dir)) && filepath.Dir(c) != fmt.Sprintf("/proc/%d", os.Getpid()) {
			left = append(left, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	var sites []string
	filepath.WalkDir(l.dir, func(p string, _ os.DirEntry, _ error) error {
		if strings.Contains(p, "/"+sitePrefix) {
			sites = append(sites, p)
		}
		return nil
	})
	if mounts, _ := os.ReadFile("/proc/self/mounts"); bytes.Contains(mounts, []byte(l.dir)) {
		left = append(left, "a mount")
	}
	return append(left, sites...)
}

// interrupt is ^C where that is not ignored (as it is in the background of a
// shell script), and else SIGTERM.
func interrupt() syscall.Signal {
	if signal.Ignored(syscall.SIGINT) {
		return syscall.SIGTERM
	}
	return syscall.SIGINT
}

// ^C at any moment: during the start, the trials, any kind of workload, the
// report. The exit status says so, nothing is left, and --resume goes on to the
// same samples as if nothing had been.
func TestInterruptAtAnyMoment(t *testing.T) {
	l := newLab(t, "ok", "slow")
	for after := 2 * time.Millisecond; after < 5*time.Second; after = next(after) {
		os.RemoveAll(l.out)
		cmd := l.command(nil, "--rounds", "1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after) // the moment is the test's subject, not a synchronisation
		syscall.Kill(-cmd.Process.Pid, interrupt())
		cmd.Wait()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		done := status.Exited() && status.ExitStatus() == exitOK // it was quicker
		early := status.Signaled() && l.stdout.Len() == 0        // before it could catch anything
		if !done && !early && status.ExitStatus() != exitInterrupted {
			t.Errorf("after %v: %v\n%s%s", after, cmd.ProcessState, l.stdout.String(), l.stder.String())
		}
		l.nothingRuns()
		if r, err := results.Load(filepath.Join(l.out, resultsFile)); err != nil && !os.IsNotExist(err) {
			t.Errorf("after %v the results are broken: %+v, %v", after, r, err)
		}
		if done {
			break
		}
		l.resumed(after)
	}
}

// next is dense where the process moves into its namespaces, for a signal there
// comes to a process that has no handlers yet.
func next(after time.Duration) time.Duration {
	if after < 50*time.Millisecond {
		return after + 4*time.Millisecond
	}
	return after * 8 / 5
}

// A signal that comes before the process in the namespaces is there ends it too.
func TestInterruptBeforeAnything(t *testing.T) {
	l := newLab(t, "ok")
	cmd := l.command(nil, "--rounds", "1000")
	cmd.Env = append(cmd.Env, "FAKE_BENCH=interrupted")
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit %d: %s%s", code, l.stdout.String(), l.stder.String())
	}
	l.nothingRuns()
}

// resumed goes on with what an interrupted measurement has left, if anything.
func (l *lab) resumed(after time.Duration) {
	l.t.Helper()
	_, err := os.Stat(filepath.Join(l.out, resultsFile))
	cmd := l.command(nil, "--rounds", "1", "--resume")
	cmd.Run()
	code := cmd.ProcessState.ExitCode()
	if err != nil {
		if code != exitFailed || !strings.Contains(l.stder.String(), "start without --resume") {
			l.t.Errorf("nothing was measured in %v, and --resume exits with %d: %s", after, code, l.stder.String())
		}
		return
	}
	r := l.results()
	if code != exitOK || !r.Complete {
		l.t.Errorf("--resume after %v: exit %d, complete %v: %s", after, code, r.Complete, l.stder.String())
	}
	for _, c := range r.Cells {
		if c.Status != results.CellOK || c.Count() != 1 {
			l.t.Errorf("--resume after %v: %s on %s: %s, %d samples %s", after, c.Workload, c.Runtime, c.Status, c.Count(), c.Why)
		}
	}
	l.nothingRuns()
}

// needTmpfs are the words that run a command with a tmpfs of that size on dir.
func needTmpfs(t *testing.T, dir, size string) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a disk of its own and fills it")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	words := []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", "mount -t tmpfs -o size=" + size + " none " + dir + ` && exec "$0" "$@"`}
	if out, err := exec.Command(words[0], append(words[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("this host lets no tmpfs be mounted in a mount namespace: %v %s", err, out)
	}
	return words
}

// A disk that fills up while the figures are taken: what was measured is shown,
// the message says what to do, and nothing is left.
func TestDiskFillsUp(t *testing.T) {
	l := newLab(t, "ok")
	before := needTmpfs(t, l.out, "5m")
	l.write("workloads.yaml", `workloads:
  - name: filler
    command: [/bin/sh, -c, "head -c 8m /dev/zero > `+l.out+`/fill || true; echo right"]
    check: {output: right}
    metrics: [{name: wall, source: wall}]
`)
	cmd := l.command(before, "--rounds", "1")
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(l.stder.String(), "the disk is full") || !strings.Contains(l.stder.String(), "--out") {
		t.Errorf("exit %d: %s", code, l.stder.String())
	}
	if !strings.Contains(l.stdout.String(), "| filler | ") {
		t.Errorf("what was measured is lost: %s", l.stdout.String())
	}
	l.nothingRuns()
}

// The disk of --work fills up while something is measured: that ends the
// measurement with a message, no cell is blamed, and --resume goes on elsewhere.
func TestWorkDiskFillsUp(t *testing.T) {
	l := newLab(t, "ok", "slow")
	work := filepath.Join(l.dir, "work")
	before := needTmpfs(t, work, "24m")
	// What filler's bundle gives back is room for one more, and pair needs two.
	l.write("workloads.yaml", `workloads:
  - name: filler
    command: [/bin/sh, -c, "head -c 32m /dev/zero > `+work+`/fill || true; echo right"]
    check: {output: right}
    metrics: [{name: wall, source: wall}]
  - name: pair
    kind: idle
    count: 2
    command: [/bin/sh, -c, "echo ready; exec sleep 600"]
    check: {output: ready}
    metrics: [{name: memory, source: memory}]
`)
	cmd := l.command(before, "--rounds", "1", "--work", work)
	cmd.Run()
	want := "--work " + work + ": the disk is full"
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(l.stder.String(), want) || !strings.Contains(l.stdout.String(), "ended early") {
		t.Errorf("exit %d, want %q: %s%s", code, want, l.stder.String(), l.stdout.String())
	}
	l.nothingRuns()
	r := l.results()
	for _, c := range r.Cells {
		if want := map[string]results.CellStatus{"filler": results.CellOK, "pair": results.CellPending}[c.Workload]; c.Status != want || c.Failures > 0 || r.Complete {
			t.Errorf("%s on %s is to be %s: %+v", c.Workload, c.Runtime, want, c)
		}
	}
	cmd = l.command(nil, "--rounds", "1", "--resume")
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitOK || !l.results().Complete {
		t.Errorf("resume: exit %d: %s", code, l.stder.String())
	}
	l.nothingRuns()
}

// A disk that is too small is refused before anything starts.
func TestDiskIsTooSmall(t *testing.T) {
	for _, flag := range []string{"--out", "--work"} {
		l := newLab(t, "ok")
		small := filepath.Join(l.dir, "small")
		cmd := l.command(needTmpfs(t, small, "1m"), flag, small)
		cmd.Run()
		want := flag + " " + small + ": the disk is full: 1 MB are free there"
		if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(l.stder.String(), want) {
			t.Errorf("exit %d: %s, want %q", code, l.stder.String(), want)
		}
		l.nothingRuns()
	}
}

// Without root what needs root is a row that says so, and the rest is measured.
func TestWithoutRoot(t *testing.T) {
	l := newLab(t, "ok", "slow")
	l.write("runtimes.yaml", strings.Replace(read(t, l.runtimes), "rootless: true", "rootless: false", 1))
	var before []string
	if os.Geteuid() == 0 {
		before = []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"}
		l.openTo()
	}
	cmd := l.command(before, "--rounds", "1", "--workloads", "echo", "--baseline", "slow")
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitOK {
		t.Fatalf("exit %d: %s", code, l.stder.String())
	}
	r := l.results()
	if a := r.RuntimeNamed("ok"); a.Status != results.RuntimeBroken || !strings.Contains(a.Why, "needs root: run the workbench as root") {
		t.Errorf("a runtime that needs root: %+v", a)
	}
	if c := r.Find("echo", "slow"); c == nil || c.Status != results.CellOK || c.Count() != 1 {
		t.Errorf("one that does not: %+v, %s", c, l.stder.String())
	}
	l.nothingRuns()
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// openTo gives the lab to nobody, with a copy of this program: go test's own
// directories are closed to other users.
func (l *lab) openTo() {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	l.self = filepath.Join(l.dir, "self")
	b := read(l.t, self)
	if err := os.WriteFile(l.self, []byte(b), 0o755); err != nil {
		l.t.Fatal(err)
	}
	for d := l.dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	scripts, _ := filepath.Glob(filepath.Join(l.dir, "fake-*"))
	for _, s := range scripts {
		if err := os.WriteFile(s, []byte(strings.ReplaceAll(read(l.t, s), self, l.self)), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := os.Chown(l.dir, 65534, 65534); err != nil {
		l.t.Fatal(err)
	}
}
