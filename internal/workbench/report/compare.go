package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/stats"
)

// CompareOptions says what counts as a regression.
type CompareOptions struct {
	Threshold float64  // a change of the median by this share, such as 0.05
	Runtimes  []string // only these, all when empty
}

// alpha is the chance of calling noise a change, for one figure.
const alpha = 0.01

// change is one figure in two results.
type change struct {
	name, runtime string
	unit          string
	old, now      stats.Summary
	cost          float64 // more than 1 is dearer than before
	p             float64
	verdict       string
}

// Difference is what changed between two results.
type Difference struct {
	changes     []change
	notes       []string
	Regressions int
}

const (
	regressed = "REGRESSION"
	improved  = "improved"
	unchanged = "same"
	broke     = "BROKEN"
)

// Compare tests each figure that both results have with the Mann-Whitney U
// test. A regression is both significant and larger than the threshold, or a
// cell that used to work.
func Compare(old, now *results.Results, o CompareOptions) *Difference {
	d := &Difference{}
	if old.Machine.CPU != now.Machine.CPU || old.Machine.CPUs != now.Machine.CPUs || old.Machine.Kernel != now.Machine.Kernel {
		d.notes = append(d.notes, fmt.Sprintf("the machines differ: %s (%d CPUs, kernel %s) before, %s (%d CPUs, kernel %s) now",
			old.Machine.CPU, old.Machine.CPUs, old.Machine.Kernel, now.Machine.CPU, now.Machine.CPUs, now.Machine.Kernel))
	}
	if old.Mode != now.Mode {
		d.notes = append(d.notes, fmt.Sprintf("the modes differ: %s before, %s now", old.Mode, now.Mode))
	}
	for i := range now.Workloads {
		w := &now.Workloads[i]
		for j := range w.Metrics {
			for k := range now.Runtimes {
				rt := &now.Runtimes[k]
				if len(o.Runtimes) == 0 || slices.Contains(o.Runtimes, rt.Name) {
					d.figure(old, now, w, &w.Metrics[j], rt.Name, o)
				}
			}
		}
	}
	return d
}

func (d *Difference) figure(old, now *results.Results, w *results.Workload, m *results.Metric, rt string, o CompareOptions) {
	a, b := old.Find(w.Name, rt).Values(m.Name), now.Find(w.Name, rt).Values(m.Name)
	name := (&row{w: w, m: m}).name()
	if len(a) == 0 {
		return
	}
	c := change{name: name, runtime: rt, unit: m.Unit, old: stats.Summarize(a), now: stats.Summarize(b), verdict: unchanged}
	if len(b) == 0 {
		d.broken(c, now.Find(w.Name, rt))
		return
	}
	c.p = stats.DifferP(a, b)
	c.cost = c.now.Median / c.old.Median
	if m.Better == "higher" {
		c.cost = c.old.Median / c.now.Median
	}
	if c.p < alpha && math.Abs(c.cost-1) > o.Threshold {
		c.verdict = improved
		if c.cost > 1 {
			c.verdict = regressed
			d.Regressions++
		}
	}
	d.changes = append(d.changes, c)
}

// broken is a figure that there was and is not any more; that the time ran out
// is no fault of the runtime's.
func (d *Difference) broken(c change, cell *results.Cell) {
	if cell == nil || cell.Status == results.CellPending || cell.Status == results.CellSkipped {
		return
	}
	c.verdict = broke + ": " + whyNot(cell)
	d.Regressions++
	d.changes = append(d.changes, c)
}

// Text is the difference as a table: all figures, or only those that changed.
func (d *Difference) Text(all bool) string {
	var b strings.Builder
	for _, n := range d.notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	table := [][]string{{"workload", "runtime", "old", "new", "cost", "p", ""}}
	for _, c := range d.changes {
		if !all && c.verdict == unchanged {
			continue
		}
		line := []string{c.name, c.runtime, value(c.old.Median, c.unit), "", "", "", c.verdict}
		if c.now.OK() {
			line[3] = value(c.now.Median, c.unit)
			line[4] = fmt.Sprintf("%+.1f %%", 100*(c.cost-1))
			line[5] = fmt.Sprintf("%.3f", c.p)
		}
		table = append(table, line)
	}
	if len(table) > 1 {
		b.WriteString(align(table))
	}
	fmt.Fprintf(&b, "%d figures compared, %d regressed\n", len(d.changes), d.Regressions)
	return b.String()
}
