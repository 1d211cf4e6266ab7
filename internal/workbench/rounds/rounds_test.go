package rounds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// puppet is a driver that only notes who is called when.
type puppet struct {
	drive.Driver
	name string
	log  *[]string
	out  string
	err  error
	hang bool // until the run is given up
}

func (p *puppet) Run(ctx context.Context, c *drive.Container) (drive.Outcome, error) {
	*p.log = append(*p.log, p.name+":"+c.ID[strings.LastIndex(c.ID, "-")+1:])
	if p.hang {
		<-ctx.Done()
		return drive.Outcome{}, ctx.Err()
	}
	return drive.Outcome{Stdout: p.out, Wall: time.Second}, p.err
}

func (p *puppet) Purge(context.Context, *drive.Container) {}

func workloads(t *testing.T, text string) []*spec.Workload {
	t.Helper()
	all, err := spec.ParseWorkloads("test", []byte("workloads:\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func bench(log *[]string, w []*spec.Workload, names ...string) *Bench {
	b := &Bench{Results: &results.Results{}, Workloads: w, Rounds: 2, DropCache: func() error { *log = append(*log, "drop"); return nil }}
	for _, n := range names {
		r := &drive.Runtime{Driver: &puppet{name: n, log: log, out: "7\n"}}
		r.Name = n
		b.Runtimes = append(b.Runtimes, r)
	}
	return b
}

const (
	warm = "  - {name: w, command: [x], metrics: [{name: t, source: wall}]}\n"
	cold = "  - {name: c, caches: cold, command: [x], metrics: [{name: t, source: wall}]}\n"
)

// A B, then B A; the first run of each is its warm-up; cold caches come last,
// and are emptied before every run of theirs.
func TestOrder(t *testing.T) {
	var log []string
	b := bench(&log, workloads(t, cold+warm), "A", "B")
	saved := 0
	b.Save = func() error { saved++; return nil }
	if err := b.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	log = log[1:] // whether the cache can be emptied at all
	want := []string{"A:w", "A:w", "B:w", "B:w", "B:w", "A:w",
		"drop", "A:c", "drop", "A:c", "drop", "B:c", "drop", "B:c", "drop", "B:c", "drop", "A:c"}
	if !slices.Equal(log, want) {
		t.Errorf("got  %q\nwant %q", log, want)
	}
	if c := b.Results.Find("w", "A"); c.Count() != 2 || c.Runs != 3 || !b.Results.Complete || saved != 5 {
		t.Errorf("%+v, saved %d times", c, saved)
	}
}

func TestAnswersMustAgree(t *testing.T) {
	var log []string
	w := workloads(t, "  - {name: w, command: [x], check: {answer: '(.+)'}, metrics: [{name: t, source: wall}]}\n")
	b := bench(&log, w, "A", "B")
	b.Runtimes[1].Driver.(*puppet).out = "8\n"
	if err := b.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c := b.Results.Find("w", "A"); c.Status != results.CellOK {
		t.Errorf("A: %+v", c)
	}
	if c := b.Results.Find("w", "B"); c.Status != results.CellFailed || !strings.Contains(c.Why, `wrong answer: "8" instead of "7"`) || c.Samples != nil {
		t.Errorf("B: %+v", c)
	}
}

// What the host counts is the right answer, whatever the first runtime says.
func TestFilesUnder(t *testing.T) {
	var log []string
	w := workloads(t, "  - {name: w, command: [x], requires: [/usr/f1], check: {answer: '(.+)', files-under: /usr}, metrics: [{name: t, source: wall}]}\n")
	b := bench(&log, w, "A")
	b.RootFS = t.TempDir()
	os.Mkdir(filepath.Join(b.RootFS, "usr"), 0o755)
	for i := range 3 {
		os.WriteFile(filepath.Join(b.RootFS, "usr", fmt.Sprintf("f%d", i)), nil, 0o644)
	}
	os.Symlink("f1", filepath.Join(b.RootFS, "usr/link"))
	if err := b.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c := b.Results.Find("w", "A"); !strings.Contains(c.Why, `"7" instead of "3"`) {
		t.Errorf("%+v", c)
	}
}

func TestMissingIsSkipped(t *testing.T) {
	var log []string
	w := workloads(t, "  - {name: w, command: [x], requires: [/no/such], metrics: [{name: t, source: wall}]}\n"+cold)
	b := bench(&log, w, "A")
	b.RootFS = t.TempDir()
	b.DropCache = func() error { return errors.New("read-only") }
	if err := b.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for name, why := range map[string]string{"w": "has no /no/such", "c": "cannot be emptied here: read-only"} {
		if c := b.Results.Find(name, "A"); c.Status != results.CellSkipped || !strings.Contains(c.Why, why) {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if len(log) > 0 {
		t.Errorf("ran %q", log)
	}
}

// One failure is forgiven and noted, two in a row end the cell.
func TestFailures(t *testing.T) {
	var log []string
	b := bench(&log, workloads(t, warm), "A")
	b.Rounds = 5
	b.Runtimes[0].Driver.(*puppet).err = errors.New("trouble")
	if err := b.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c := b.Results.Find("w", "A"); c.Status != results.CellFailed || c.Why != "trouble" || len(log) != 2 || len(b.Results.Notes) != 1 {
		t.Errorf("%+v after %q, notes %q", c, log, b.Results.Notes)
	}
}

func TestTimeLeft(t *testing.T) {
	var log []string
	b := bench(&log, workloads(t, warm+cold), "A", "B")
	b.prepare()
	c := b.Results.Cell("w", "A")
	c.Spent, c.Runs, c.Warmed = 6, 2, true
	c.Add("t", 0, 1)
	var got Progress
	b.Progress = func(p Progress) { got = p }
	b.report(b.Workloads[0], b.Runtimes[0], false)
	// w on A: 1 sample of 3 s is left; on B 3 runs like A's; c was never timed.
	if want := 3*time.Second + 9*time.Second + 6*guess; got.Left != want || got.Done != 2 || got.Total != 12 {
		t.Errorf("got %+v, want %v left", got, want)
	}
	b.Deadline = time.Now().Add(time.Second)
	b.report(b.Workloads[0], b.Runtimes[0], false)
	if got.Left > time.Second {
		t.Errorf("more time is left than there is: %v", got.Left)
	}
	if !b.outOfTime(b.Workloads[:1]) {
		t.Error("a round of six seconds fits into one")
	}
	b.Deadline = time.Now().Add(time.Hour)
	if b.outOfTime(b.Workloads[:1]) {
		t.Error("a round does not fit into an hour")
	}
}
