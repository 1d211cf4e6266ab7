package workbench

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/results"
)

// bench runs the command over the lab's files only.
func (l *lab) bench(ctx context.Context, args ...string) int {
	l.t.Helper()
	args = append([]string{"--only-files", "--runtimes-file", l.runtimes, "--workloads-file", l.workloads, "--work", l.dir,
		"--rootfs", "/", "--out", l.out, "--baseline", "ok"}, args...)
	l.stdout.Reset()
	l.stder.Reset()
	code := run(ctx, args, &l.stdout, &l.stder, false)
	l.nothingLeft()
	return code
}

// nothingLeft fails the test when a process, directory or mount is left.
func (l *lab) nothingLeft() {
	l.t.Helper()
	if n, err := drive.Sweep(); n != 0 || err != nil {
		l.t.Errorf("%d processes were left (%v)", n, err)
	}
	entries, _ := os.ReadDir(l.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "bulkhead-bench.") {
			l.t.Errorf("%s was left", e.Name())
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	if strings.Contains(string(mounts), l.dir) {
		l.t.Errorf("a mount was left:\n%s", mounts)
	}
}

func (l *lab) results() *results.Results {
	l.t.Helper()
	r, err := results.Load(filepath.Join(l.out, resultsFile))
	if err != nil {
		l.t.Fatalf("%v\n%s", err, l.stder.String())
	}
	return r
}

func TestMeasureEveryKind(t *testing.T) {
	l := newLab(t, "slow", "ok", "absent")
	if code := l.bench(context.Background(), "--rounds", "2"); code != exitOK {
		t.Fatalf("exit %d: %s", code, l.stder.String())
	}
	r := l.results()
	if !r.Complete || r.Runtimes[0].Name != "ok" || r.Runtimes[0].Version != "fake version 1.0" {
		t.Errorf("complete %v, first runtime %+v", r.Complete, r.Runtimes[0])
	}
	if a := r.RuntimeNamed("absent"); a.Status != results.RuntimeAbsent || !strings.Contains(a.Why, "is not installed") {
		t.Errorf("absent: %+v", a)
	}
	for _, w := range r.Workloads {
		for _, rt := range []string{"ok", "slow"} {
			c := r.Find(w.Name, rt)
			if c.Status != results.CellOK || c.Count() != 2 {
				t.Errorf("%s on %s: %s %s, %d samples", w.Name, rt, c.Status, c.Why, c.Count())
				continue
			}
			for _, m := range w.Metrics {
				for _, v := range c.Values(m.Name) {
					if v <= 0 {
						t.Errorf("%s/%s on %s: %v", w.Name, m.Name, rt, v)
					}
				}
			}
		}
	}
	if v := r.Find("echo", "ok").Values("took"); !slices.Equal(v, []float64{5, 5}) {
		t.Errorf("matched values: %v", v)
	}
	if v := r.Find("idle", "ok").Values("processes"); v[0] < 1 {
		t.Errorf("processes of a sandbox: %v", v)
	}
	for _, f := range []string{matrixFile, pageFile} {
		if b, err := os.ReadFile(filepath.Join(l.out, f)); err != nil || !strings.Contains(string(b), "echo") {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// Each failure stays in its cell, says what happened, and costs no other cell.
func TestFailures(t *testing.T) {
	l := newLab(t, "ok", "hang", "fail", "wrong", "flaky")
	if code := l.bench(context.Background(), "--rounds", "2", "--workloads", "echo"); code != exitOK {
		t.Fatalf("exit %d: %s", code, l.stder.String())
	}
	r := l.results()
	for rt, want := range map[string]struct {
		status results.CellStatus
		why    string
		count  int
	}{
		"ok":    {results.CellOK, "", 2},
		"hang":  {results.CellHung, "still not done after 10s, killed", 0},
		"fail":  {results.CellFailed, "fake trouble", 0},
		"wrong": {results.CellFailed, "wrong output", 0},
		"flaky": {results.CellFailed, "", 0},
	} {
		c := r.Find("echo", rt)
		if c.Status != want.status || !strings.Contains(c.Why, want.why) || c.Count() != want.count {
			t.Errorf("%s: %s %q, %d samples", rt, c.Status, c.Why, c.Count())
		}
	}
	md, _ := os.ReadFile(filepath.Join(l.out, matrixFile))
	if !strings.Contains(string(md), "*hung*") || !strings.Contains(string(md), "What was not measured") {
		t.Errorf("the matrix does not show the failures:\n%s", md)
	}
}

func TestHangingTrialIsBroken(t *testing.T) {
	l := newLab(t, "ok", "hangtrial")
	if code := l.bench(context.Background(), "--rounds", "1", "--workloads", "echo", "--try-limit", "10s"); code != exitOK {
		t.Fatalf("exit %d: %s", code, l.stder.String())
	}
	if r := l.results().RuntimeNamed("hangtrial"); r.Status != results.RuntimeBroken || !strings.Contains(r.Why, "hangs") {
		t.Errorf("got %+v", r)
	}
}

// An interrupted measurement keeps what it has, leaves nothing running, and is
// continued by --resume without losing or repeating a sample.
func TestInterruptAndResume(t *testing.T) {
	l := newLab(t, "ok", "slow")
	l.write("workloads.yaml", `workloads:
  - name: wait
    command: [/bin/sh, -c, "test -e `+l.dir+`/go || { touch `+l.dir+`/reached; sleep 1000; }; echo 42"]
    check: {answer: '^(\d+)$'}
    metrics: [{name: t, source: wall}]
`)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(l.dir, "reached")); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if code := l.bench(ctx, "--rounds", "3"); code != exitInterrupted {
		t.Fatalf("exit %d: %s", code, l.stder.String())
	}
	if !strings.Contains(l.stder.String(), "--resume") {
		t.Errorf("no word of how to go on: %s", l.stder.String())
	}
	if r := l.results(); r.Complete || r.Find("wait", "ok").Status != results.CellPending {
		t.Errorf("after the interrupt: complete %v, %+v", r.Complete, r.Find("wait", "ok"))
	}
	l.write("go", "")
	if code := l.bench(context.Background(), "--rounds", "3", "--resume"); code != exitOK {
		t.Fatalf("resume: exit %d: %s", code, l.stder.String())
	}
	if code := l.bench(context.Background(), "--rounds", "4", "--resume"); code != exitOK {
		t.Fatalf("second resume: exit %d: %s", code, l.stder.String())
	}
	c := l.results().Find("wait", "slow")
	var passes []int
	for _, s := range c.Samples["t"] {
		passes = append(passes, s.Pass)
	}
	if !slices.Equal(passes, []int{0, 1, 2, 3}) {
		t.Errorf("passes %v", passes)
	}
	l.write("workloads.yaml", testWorkloads)
	if code := l.bench(context.Background(), "--resume"); code != exitFailed || !strings.Contains(l.stder.String(), "other workloads") {
		t.Errorf("resume of something else: exit %d: %s", code, l.stder.String())
	}
}

func TestTimeLimit(t *testing.T) {
	l := newLab(t, "ok")
	l.write("workloads.yaml", `workloads:
  - name: forever
    command: [/bin/sleep, "1000"]
    metrics: [{name: t, source: wall}]
`)
	if code := l.bench(context.Background(), "--time-limit", "1s"); code != exitOK {
		t.Fatalf("exit %d: %s", code, l.stder.String())
	}
	r := l.results()
	if c := r.Find("forever", "ok"); c.Status != results.CellPending || r.Complete {
		t.Errorf("got %+v", c)
	}
	if !strings.Contains(strings.Join(r.Notes, "\n"), "time limit") {
		t.Errorf("notes: %q", r.Notes)
	}
}

func TestUsage(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("workloads:\n  - nam: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--workloads", "nope"}, `no workload is called "nope": there are start,`},
		{[]string{"--runtimes", "nope"}, `no runtime is called "nope": there are runc,`},
		{[]string{"--baseline", "nope"}, `--baseline: no runtime is called "nope": there are runc,`},
		{[]string{"--workloads-file", bad}, bad + `:2: unknown field "nam" in a workload`},
		{[]string{"--workloads-file", "/nonexistent.yaml"}, "/nonexistent.yaml: no such file"},
		{[]string{"--quick", "--full"}, "exclude each other"},
		{[]string{"--nonsense"}, "flag provided but not defined: -nonsense (bulkhead bench --help shows the flags)"},
		{[]string{"find"}, `unexpected argument "find"`},
		{[]string{"compare", "one"}, "want two results files"},
		{[]string{"compare", "/nonexistent", "/nonexistent"}, "/nonexistent: no such file"},
	} {
		var out, err strings.Builder
		if code := run(context.Background(), c.args, &out, &err, false); code != exitUsage || !strings.Contains(err.String(), c.want) {
			t.Errorf("%q: exit %d, %q, want %q", c.args, code, err.String(), c.want)
		}
	}
	var out, err strings.Builder
	if code := run(context.Background(), []string{"--help"}, &out, &err, false); code != exitOK || !strings.Contains(out.String(), "--resume") {
		t.Errorf("help: exit %d, %q", code, out.String())
	}
}

func TestResumeOfNothing(t *testing.T) {
	l := newLab(t, "ok")
	if code := l.bench(context.Background(), "--resume"); code != exitFailed || !strings.Contains(l.stder.String(), "start without --resume") {
		t.Errorf("exit %d: %s", code, l.stder.String())
	}
}

func TestNothingStarts(t *testing.T) {
	l := newLab(t, "absent")
	if code := l.bench(context.Background(), "--baseline", "absent"); code != exitFailed || !strings.Contains(l.stder.String(), "none of the runtimes starts") {
		t.Errorf("exit %d: %s", code, l.stder.String())
	}
}

func TestFullDisk(t *testing.T) {
	if err := room(t.TempDir(), 1<<62, "--work"); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("got %v", err)
	}
}
