package report

import (
	"fmt"
	"slices"

	"bulkhead.dev/bulkhead/internal/workbench/results"
)

// notes are the measurement's own, and what its numbers of runs say.
func (m *model) notes() []string { return append(slices.Clone(m.res.Notes), m.fewer()...) }

// fewer names the runtimes that had fewer rounds than were asked for.
func (m *model) fewer() []string {
	if m.res.Rounds == 0 { // not recorded
		return nil
	}
	var out []string
	for _, rt := range m.columns {
		all, less := 0, 0
		least, most := m.res.Rounds, 0
		for i := range m.res.Workloads {
			w := &m.res.Workloads[i]
			c := m.res.Find(w.Name, rt.Name)
			if c == nil || c.Status != results.CellOK {
				continue
			}
			all++
			rounds := c.Count() / max(w.Repeat, 1)
			if c.Count() < m.res.Rounds*max(w.Repeat, 1) {
				less++
				least, most = min(least, rounds), max(most, rounds)
			}
		}
		if less == 0 {
			continue
		}
		t := fmt.Sprintf("%s: %d of %s have fewer than %s", rt.Title, less, count(all, "workload"), count(m.res.Rounds, "round"))
		if rt.TimeShare > 0 {
			t += fmt.Sprintf(", for it is slow and may take %.0f %% of the time", 100*rt.TimeShare)
		}
		out = append(out, t+fmt.Sprintf(" (%s); each figure shows its runs.", span(least, most, "round")))
	}
	return out
}

func span(lo, hi int, what string) string {
	if lo == hi {
		return count(lo, what)
	}
	return fmt.Sprintf("%d to %s", lo, count(hi, what))
}

// runs says how many runs a figure has, for a small line.
func runs(n int) string {
	if n == 1 {
		return "one run"
	}
	return fmt.Sprintf("%d runs", n)
}

// rangeOfCosts says in a sentence what a runtime costs over all its figures.
func (m *model) rangeOfCosts(i int) string {
	var all []float64
	for _, g := range m.groups {
		for _, r := range g.rows {
			if f := &r.cells[i]; f.cost.OK() {
				all = append(all, f.cost.Median)
			}
		}
	}
	if len(all) < 4 {
		return ""
	}
	slices.Sort(all)
	return fmt.Sprintf("Of its %d figures half cost between %s and %s what %s does.", len(all), times(all[len(all)/4]), times(all[(3*len(all)-1)/4]), m.baselineTitle())
}

// unfit counts a runtime's workloads that did not fit into its time.
func (m *model) unfit(rt *results.Runtime) int {
	n := 0
	for _, c := range m.res.Cells {
		if c.Runtime == rt.Name && rt.TimeShare > 0 && c.Status == results.CellSkipped && m.anyFigure(c.Workload) {
			n++
		}
	}
	return n
}

func (m *model) anyFigure(workload string) bool {
	for _, c := range m.res.Cells {
		if c.Workload == workload && c.Status == results.CellOK {
			return true
		}
	}
	return false
}
