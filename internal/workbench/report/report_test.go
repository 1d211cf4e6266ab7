package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/machine"
	"bulkhead.dev/bulkhead/internal/workbench/results"
)

// sampleResults are results with everything a report has to show.
func sampleResults() *results.Results {
	r := &results.Results{
		Schema: results.Schema, Started: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Mode: "full", Complete: true,
		Baseline: "runc", RootFS: "/rootfs", Machine: machine.Machine{CPU: "a CPU <of> sorts", CPUs: 2, Kernel: "6.1"},
		Notes: []string{"a note"},
		Runtimes: []results.Runtime{
			{Name: "runc", Title: "runc", Wall: "none", Status: results.RuntimeMeasured},
			{Name: "fast", Title: "Fast | <b>", Wall: "kernel", Needs: "Nothing.", Isolation: "Some.", Status: results.RuntimeMeasured},
			{Name: "slow", Title: "Slow", Wall: "VM", Status: results.RuntimeMeasured},
			{Name: "gone", Title: "Gone", Status: results.RuntimeAbsent, Why: "it is not installed"},
		},
		Workloads: []results.Workload{
			{Name: "run-true", Title: "run of true", Group: "start-up", Metrics: []results.Metric{{Name: "time", Title: "time", Unit: "s", Better: "lower"}}},
			{Name: "find", Title: "find", Group: "files", Metrics: []results.Metric{{Name: "time", Title: "time", Unit: "s", Better: "lower"}}},
			{Name: "sysbench-cpu", Title: "sysbench", Group: "cpu", Metrics: []results.Metric{{Name: "rate", Title: "events", Unit: "/s", Better: "higher"}}},
			{Name: "idle", Title: "idle", Group: "memory", Metrics: []results.Metric{{Name: "memory", Title: "memory", Unit: "B", Better: "lower"}}},
		},
	}
	fill(r, "run-true", "time", map[string]float64{"runc": 0.040, "fast": 0.010, "slow": 0.200})
	fill(r, "find", "time", map[string]float64{"runc": 0.1, "fast": 0.1})
	fill(r, "sysbench-cpu", "rate", map[string]float64{"runc": 1000, "fast": 500, "slow": 999})
	fill(r, "idle", "memory", map[string]float64{"runc": 1 << 20, "fast": 9 << 20, "slow": 200 << 20})
	c := r.Cell("find", "slow")
	c.Status, c.Why = results.CellFailed, "wrong answer: \"41\" instead of \"42\""
	return r
}

// fill makes seven samples around each value, the same wobble for all.
func fill(r *results.Results, w, m string, values map[string]float64) {
	for rt, v := range values {
		c := r.Cell(w, rt)
		c.Status = results.CellOK
		for pass := range 7 {
			wobble := 1 + 0.01*float64(pass%3)
			if rt != "runc" {
				wobble += 0.004 * float64(pass%4-1)
			}
			c.Add(m, pass, v*wobble)
		}
	}
}

func TestMarkdown(t *testing.T) {
	md := Markdown(sampleResults())
	for _, want := range []string{
		"| run of true | 40.4 ms (40.0–40.8 · 7 runs) | 10.",
		"| *failed*",
		"Fast \\| &lt;b>", // nothing breaks out of a table
		"| Gone | every workload | absent: it is not installed |",
		"| Slow | find | failed: wrong answer: \"41\" instead of \"42\" |",
		"- a note",
		"**Start-up.** Starting a program (run of true). runc: 40.4 ms (40.0–40.8).",
		"Cheaper than runc: Fast",
		"Dearer than runc: Slow 5",
		"No difference from runc beyond the noise: Fast", // find
		"It failed one workload",
		"Of the walls Fast | &lt;b> costs least.",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("no %q in\n%s", want, md)
		}
	}
	for i, line := range strings.Split(md, "\n") {
		if strings.HasPrefix(line, "| run of") && strings.Count(line, "|") != 5 {
			t.Errorf("line %d has the wrong number of columns: %s", i, line)
		}
	}
}

// Every figure of the page comes with its interval, nothing is fetched from
// elsewhere, and hostile names stay text.
func TestHTML(t *testing.T) {
	page := HTML(sampleResults())
	for _, want := range []string{"<b>40.4 ms</b><small>40.0–40.8 · 7 runs</small>", "Fast | &lt;b&gt;", "a CPU &lt;of&gt; sorts", "not measured", "within the noise", "<svg class=\"plot overview\""} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	if m := regexp.MustCompile(`(?i)(src|href)="?(https?:)?//|url\(|@import`).FindString(page); m != "" {
		t.Errorf("the page refers to the network: %s", m)
	}
	for _, svg := range append(regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1), Picture(sampleResults())) {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("a plot is not XML: %v\n%s", err, svg)
			}
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("a plot with impossible coordinates:\n%s", svg)
		}
	}
}

// A report of nothing, or of little, is still a report.
func TestLittle(t *testing.T) {
	empty := &results.Results{Schema: 1, Baseline: "runc"}
	if !strings.Contains(HTML(empty), "</html>") || Markdown(empty) == "" || Summary(empty) == "" {
		t.Error("no report of nothing")
	}
	r := sampleResults()
	r.Cells = nil
	r.Cell("find", "runc").Add("time", 0, 0.1)
	r.Find("find", "runc").Status = results.CellOK
	if page := HTML(r); strings.Contains(page, "NaN") || !strings.Contains(page, "one run") {
		t.Error("one sample")
	}
	r.Baseline = "gone"
	if md := Markdown(r); !strings.Contains(md, "not reached") {
		t.Errorf("without a baseline:\n%s", md)
	}
}

func TestValue(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{1.5e-7, "s", "150 ns"}, {1.234e-5, "s", "12.3 µs"}, {0.0421, "s", "42.1 ms"}, {12, "s", "12.0 s"},
		{1 << 20, "B", "1.00 MiB"}, {3.3e9, "B/s", "3.07 GiB/s"}, {58321, "/s", "58.3 k/s"}, {7, "", "7"}, {0, "s", "0 ns"},
	} {
		if got := value(c.v, c.unit); got != c.want {
			t.Errorf("value(%v, %q) = %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestAxis(t *testing.T) {
	for _, values := range [][]float64{{1, 2}, {1, 1000}, {0}, {5e-7, 3e-3}, {1e6, 1e9}, {3}} {
		a := newAxis(values)
		for _, v := range values {
			if x := a.at(v); x < plotLeft-0.01 || x > plotRight+0.01 {
				t.Errorf("%v: %v is drawn at %v", values, v, x)
			}
		}
		for _, unit := range []string{"s", "B"} {
			if n := len(a.ticks(unit)); n < 1 || n > 11 {
				t.Errorf("%v: %d ticks %v", values, n, a.ticks(unit))
			}
		}
	}
}

func TestCompare(t *testing.T) {
	old, now := sampleResults(), sampleResults()
	if d := Compare(old, now, CompareOptions{Threshold: 0.05}); d.Regressions != 0 {
		t.Errorf("a run differs from itself:\n%s", d.Text(true))
	}
	scale(now.Find("run-true", "fast"), "time", 1.5)
	scale(now.Find("sysbench-cpu", "slow"), "rate", 1.5)
	scale(now.Find("run-true", "slow"), "time", 1.02) // below the threshold
	broken := now.Find("find", "fast")
	broken.Status, broken.Why, broken.Samples = results.CellHung, "still not done after 1m0s", nil
	d := Compare(old, now, CompareOptions{Threshold: 0.05})
	text := d.Text(false)
	if d.Regressions != 2 {
		t.Errorf("%d regressions:\n%s", d.Regressions, text)
	}
	for _, want := range []string{"REGRESSION", "+50.0 %", "BROKEN: hung: still not done", "improved", "-33.3 %"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "same") {
		t.Errorf("unchanged figures are shown:\n%s", text)
	}
	if d := Compare(old, now, CompareOptions{Threshold: 0.05, Runtimes: []string{"slow"}}); d.Regressions != 0 {
		t.Errorf("only slow:\n%s", d.Text(true))
	}
	gone := sampleResults()
	gone.RuntimeNamed("fast").Status, gone.RuntimeNamed("fast").Why = results.RuntimeBroken, "it hangs"
	gone.RuntimeNamed("slow").Status = results.RuntimeAbsent
	for _, w := range gone.Workloads {
		*gone.Cell(w.Name, "fast"), *gone.Cell(w.Name, "slow") = results.Cell{Workload: w.Name, Runtime: "fast"}, results.Cell{Workload: w.Name, Runtime: "slow"}
	}
	if d := Compare(old, gone, CompareOptions{}); d.Regressions != 4 || !strings.Contains(d.Text(false), "BROKEN: does not start: it hangs") ||
		!strings.Contains(d.Text(false), "note: run of true on slow: absent") {
		t.Errorf("a runtime that does not start any more, and one that is not there:\n%s", d.Text(false))
	}
	for _, c := range gone.Cells {
		for m := range c.Samples {
			c.Samples[m] = c.Samples[m][:4]
		}
	}
	if d := Compare(old, gone, CompareOptions{Runtimes: []string{"runc"}}); d.TooFew != 0 { // seven and four can tell
		t.Errorf("%d too few", d.TooFew)
	}
	if d := Compare(gone, gone, CompareOptions{Runtimes: []string{"runc"}}); d.TooFew != 4 || !strings.Contains(d.Text(false), "too few runs for a verdict") {
		t.Errorf("four runs against four:\n%s", d.Text(true))
	}
	now.Machine.Kernel = "7.0"
	if text := Compare(old, now, CompareOptions{}).Text(false); !strings.Contains(text, "the machines differ") {
		t.Error("another machine goes unnoticed")
	}
}

func scale(c *results.Cell, m string, f float64) {
	for i := range c.Samples[m] {
		c.Samples[m][i].Value *= f
	}
}

// Who has fewer runs than were asked for is named, with the reason if there is one.
func TestFewerRuns(t *testing.T) {
	r := sampleResults()
	r.Rounds = 10
	r.RuntimeNamed("slow").TimeShare = 0.35
	c := r.Find("idle", "slow")
	c.Samples["memory"] = c.Samples["memory"][:1]
	c = r.Find("find", "slow")
	c.Status, c.Why = results.CellSkipped, "one run takes more than 3s"
	for _, page := range []string{Markdown(r), HTML(r)} {
		for _, want := range []string{
			"runc: 4 of 4 workloads have fewer than 10 rounds (7 rounds); each figure shows its runs.",
			"Slow: 3 of 3 workloads have fewer than 10 rounds, for it is slow and may take 35 % of the time (1 to 7 rounds)",
			"one workload it was too slow", "one run takes more than 3s", "one run",
		} {
			if !strings.Contains(page, want) {
				t.Errorf("no %q", want)
			}
		}
	}
}

func ExampleSummary() {
	r := sampleResults()
	r.Runtimes, r.Workloads = r.Runtimes[:1], r.Workloads[:1]
	fmt.Print(strings.ReplaceAll(Summary(r), " ", "."))
	// Output:
	// ................runc
	// run.of.true..40.4.ms
}
