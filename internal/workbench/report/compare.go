package report

import (
	"encoding/json"
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
	Name     string  `json:"name"`
	Workload string  `json:"workload"`
	Metric   string  `json:"metric"`
	Runtime  string  `json:"runtime"`
	Unit     string  `json:"unit"`
	Old      *spread `json:"old"`
	New      *spread `json:"new,omitempty"`
	Cost     float64 `json:"cost,omitempty"` // more than 1 is dearer than before
	P        float64 `json:"p,omitempty"`
	Verdict  string  `json:"verdict"`
	Why      string  `json:"why,omitempty"`
}

// spread is a median and its interval.
type spread struct {
	Median float64 `json:"median"`
	Lo     float64 `json:"lo"`
	Hi     float64 `json:"hi"`
	Runs   int     `json:"runs"`
}

func spreadOf(values []float64) *spread {
	s := stats.Summarize(values)
	return &spread{s.Median, s.Lo, s.Hi, s.N}
}

// Difference is what changed between two results.
type Difference struct {
	Notes       []string `json:"notes"`
	Compared    int      `json:"compared"`
	Regressions int      `json:"regressions"`
	TooFew      int      `json:"tooFewRuns"`
	Changes     []change `json:"figures"`
}

// Verdicts on a figure.
const (
	regressed = "REGRESSION"
	broke     = "BROKEN"
	improved  = "improved"
	unchanged = "same"
	tooFew    = "too few runs"
)

// Compare tests each figure that both results have with the Mann-Whitney U
// test. A regression is both significant and larger than the threshold, or a
// cell that used to work.
func Compare(old, now *results.Results, o CompareOptions) *Difference {
	d := &Difference{Notes: []string{}, Changes: []change{}}
	if old.Machine.CPU != now.Machine.CPU || old.Machine.CPUs != now.Machine.CPUs || old.Machine.Kernel != now.Machine.Kernel {
		d.note(fmt.Sprintf("the machines differ: %s (%d CPUs, kernel %s) before, %s (%d CPUs, kernel %s) now",
			old.Machine.CPU, old.Machine.CPUs, old.Machine.Kernel, now.Machine.CPU, now.Machine.CPUs, now.Machine.Kernel))
	}
	if old.Mode != now.Mode {
		d.note(fmt.Sprintf("the modes differ: %s before, %s now", old.Mode, now.Mode))
	}
	for i := range now.Workloads {
		w := &now.Workloads[i]
		for k := range now.Runtimes {
			rt := &now.Runtimes[k]
			if len(o.Runtimes) > 0 && !slices.Contains(o.Runtimes, rt.Name) {
				continue
			}
			for j := range w.Metrics {
				d.figure(old, now, w, &w.Metrics[j], rt, o)
			}
		}
	}
	if d.TooFew > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("%s had too few runs for a verdict: below five on each side nothing can be told from noise", count(d.TooFew, "figure")))
	}
	return d
}

func (d *Difference) figure(old, now *results.Results, w *results.Workload, m *results.Metric, rt *results.Runtime, o CompareOptions) {
	a, b := old.Find(w.Name, rt.Name).Values(m.Name), now.Find(w.Name, rt.Name).Values(m.Name)
	if len(a) == 0 {
		return
	}
	c := change{Name: (&row{w: w, m: m}).name(), Workload: w.Name, Metric: m.Name, Runtime: rt.Name, Unit: m.Unit, Old: spreadOf(a), Verdict: unchanged}
	if len(b) == 0 {
		d.broken(c, now.Find(w.Name, rt.Name), rt)
		return
	}
	c.New, c.P = spreadOf(b), stats.DifferP(a, b)
	c.Cost = ratio(c.New.Median, c.Old.Median)
	if m.Better == "higher" {
		c.Cost = ratio(c.Old.Median, c.New.Median)
	}
	switch {
	case stats.LeastP(len(a), len(b)) >= alpha:
		c.Verdict = tooFew
		d.TooFew++
	case c.P >= alpha || math.Abs(c.Cost-1) <= o.Threshold:
	case c.Cost > 1:
		c.Verdict = regressed
		d.Regressions++
	default:
		c.Verdict = improved
	}
	d.Compared++
	d.Changes = append(d.Changes, c)
}

// ratio is finite, so that it can be written as JSON.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 1
	}
	return a / b
}

// broken is a figure that there was and is not any more: since the runtime does
// not start, or the workload fails on it. That the time ran out, or that the
// runtime is not there, is no fault of the runtime's; it is said, though.
func (d *Difference) broken(c change, cell *results.Cell, rt *results.Runtime) {
	failed := cell != nil && (cell.Status == results.CellFailed || cell.Status == results.CellHung)
	switch {
	case rt.Status == results.RuntimeBroken:
		c.Why = string(rt.Status) + ": " + rt.Why
	case failed:
		c.Why = whyNot(cell)
	default:
		why := "not measured this time: " + whyNot(cell)
		if rt.Status != results.RuntimeMeasured {
			why = string(rt.Status) + ": " + rt.Why
		}
		d.note(fmt.Sprintf("%s on %s: %s", c.Name, c.Runtime, why))
		return
	}
	c.Verdict = broke
	d.Regressions++
	d.Compared++
	d.Changes = append(d.Changes, c)
}

func (d *Difference) note(text string) { d.Notes = append(d.Notes, text) }

// JSON is the difference for other programs, every figure included.
func (d *Difference) JSON() ([]byte, error) {
	out, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode the comparison: %w", err)
	}
	return append(out, '\n'), nil
}

// Text is the difference as a table: all figures, or only those that changed.
func (d *Difference) Text(all bool) string {
	var b strings.Builder
	for _, n := range d.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	table := [][]string{{"workload", "runtime", "old", "new", "cost", "p", ""}}
	for _, c := range d.Changes {
		if !all && (c.Verdict == unchanged || c.Verdict == tooFew) {
			continue
		}
		line := []string{c.Name, c.Runtime, value(c.Old.Median, c.Unit), "", "", "", c.Verdict}
		if c.New != nil {
			line[3] = value(c.New.Median, c.Unit)
			line[4] = fmt.Sprintf("%+.1f %%", 100*(c.Cost-1))
			line[5] = fmt.Sprintf("%.3f", c.P)
		}
		if c.Why != "" {
			line[6] += ": " + c.Why
		}
		table = append(table, line)
	}
	if len(table) > 1 {
		b.WriteString(align(table))
	}
	fmt.Fprintf(&b, "%d figures compared, %d regressed\n", d.Compared, d.Regressions)
	return b.String()
}
