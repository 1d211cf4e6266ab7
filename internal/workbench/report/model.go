// Package report owns how results are shown: the matrix in markdown, the page
// that stands alone, the plots, and the sentences that follow from the figures.
// Everything is computed from results.Results; nothing is measured here.
//
// It holds no state.
package report

import (
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/stats"
)

// row is one metric of one workload over all runtimes.
type row struct {
	w     *results.Workload
	m     *results.Metric
	cells []figure // in the order of model.columns
}

// name is the row's title; a workload of one metric needs only its own.
func (r *row) name() string {
	if len(r.w.Metrics) == 1 {
		return r.w.Title
	}
	return r.w.Title + ": " + r.m.Title
}

func (r *row) key() string { return r.w.Name + "/" + r.m.Name }

// figure is one cell of the matrix.
type figure struct {
	rt      *results.Runtime
	cell    *results.Cell
	samples []results.Sample
	value   stats.Summary
	cost    stats.Summary // paired, against the baseline; more than 1 is dearer
	verdict stats.Verdict
}

func (f *figure) ok() bool { return f.value.OK() }

// group is the rows under one heading.
type group struct {
	name string
	rows []*row
}

type model struct {
	res      *results.Results
	columns  []*results.Runtime // the measured ones
	baseline int                // index in columns, or -1
	groups   []*group
}

func newModel(res *results.Results) *model {
	m := &model{res: res, baseline: -1}
	for i := range res.Runtimes {
		if r := &res.Runtimes[i]; r.Status == results.RuntimeMeasured {
			if r.Name == res.Baseline {
				m.baseline = len(m.columns)
			}
			m.columns = append(m.columns, r)
		}
	}
	for i := range res.Workloads {
		w := &res.Workloads[i]
		g := m.group(w.Group)
		for j := range w.Metrics {
			g.rows = append(g.rows, m.row(w, &w.Metrics[j]))
		}
	}
	return m
}

func (m *model) group(name string) *group {
	for _, g := range m.groups {
		if g.name == name {
			return g
		}
	}
	g := &group{name: name}
	m.groups = append(m.groups, g)
	return g
}

func (m *model) row(w *results.Workload, metric *results.Metric) *row {
	r := &row{w: w, m: metric}
	var base []results.Sample
	if m.baseline >= 0 {
		if c := m.res.Find(w.Name, m.res.Baseline); c != nil {
			base = c.Samples[metric.Name]
		}
	}
	for i, rt := range m.columns {
		f := figure{rt: rt, cell: m.res.Find(w.Name, rt.Name)}
		if f.cell == nil {
			f.cell = &results.Cell{Workload: w.Name, Runtime: rt.Name, Status: results.CellPending}
		}
		f.samples = f.cell.Samples[metric.Name]
		f.value = stats.Summarize(f.cell.Values(metric.Name))
		if i != m.baseline {
			f.cost = stats.Cost(f.samples, base, metric.Better)
			f.verdict = stats.Judge(f.cost)
		}
		r.cells = append(r.cells, f)
	}
	return r
}

// find returns the row of a workload's metric, or nil.
func (m *model) find(key string) *row {
	for _, g := range m.groups {
		for _, r := range g.rows {
			if r.key() == key {
				return r
			}
		}
	}
	return nil
}

// baselineTitle is how the baseline is called in sentences.
func (m *model) baselineTitle() string {
	if m.baseline >= 0 {
		return m.columns[m.baseline].Title
	}
	return m.res.Baseline
}

// gap is something that was not measured.
type gap struct{ what, where, why string }

// gaps lists runtimes and cells without figures.
func (m *model) gaps() []gap {
	var out []gap
	for _, r := range m.res.Runtimes {
		if r.Status != results.RuntimeMeasured {
			out = append(out, gap{r.Title, "every workload", string(r.Status) + ": " + r.Why})
		}
	}
	for i := range m.res.Workloads {
		out = append(out, m.workloadGaps(&m.res.Workloads[i])...)
	}
	return out
}

// workloadGaps tells a reason that all runtimes share once.
func (m *model) workloadGaps(w *results.Workload) []gap {
	var out []gap
	same := true
	for _, rt := range m.columns {
		c := m.res.Find(w.Name, rt.Name)
		if c != nil && c.Status == results.CellOK {
			same = false
			continue
		}
		why := whyNot(c)
		if len(out) > 0 && out[0].why != why {
			same = false
		}
		out = append(out, gap{rt.Title, w.Title, why})
	}
	if same && len(out) > 1 {
		return []gap{{"every runtime", w.Title, out[0].why}}
	}
	return out
}

func whyNot(c *results.Cell) string {
	switch {
	case c == nil || c.Status == results.CellPending:
		return "not reached before the measurement ended"
	case c.Status == results.CellSkipped:
		return c.Why
	}
	return string(c.Status) + ": " + c.Why
}
