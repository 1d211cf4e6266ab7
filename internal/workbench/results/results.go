// Package results owns the workbench's record of one measurement: what was
// measured, on which machine, every single sample, and what was not measured
// and why. The record is plain data: the matrix, the page and the comparison
// are all made from it, and from nothing else.
//
// It takes no locks: one goroutine owns a Results.
package results

import (
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/machine"
)

// Schema is the version of the file's layout; a reader refuses others.
const Schema = 1

// Results is one run of the workbench.
type Results struct {
	Schema    int             `json:"schema"`
	Started   time.Time       `json:"started"`
	Updated   time.Time       `json:"updated"`
	Mode      string          `json:"mode"`
	Complete  bool            `json:"complete"`
	Baseline  string          `json:"baseline"`
	Rounds    int             `json:"rounds,omitempty"`  // asked for
	Limit     float64         `json:"limit,omitempty"`   // seconds that it might take, 0 for any
	Elapsed   float64         `json:"elapsed,omitempty"` // seconds that it took, over all sessions
	RootFS    string          `json:"rootfs"`
	Machine   machine.Machine `json:"machine"`
	Runtimes  []Runtime       `json:"runtimes"`
	Workloads []Workload      `json:"workloads"`
	Cells     []*Cell         `json:"cells"`
	Notes     []string        `json:"notes,omitempty"`
}

// RuntimeStatus says whether a runtime could be measured at all.
type RuntimeStatus string

const (
	RuntimeMeasured RuntimeStatus = "measured"
	RuntimeAbsent   RuntimeStatus = "absent"
	RuntimeBroken   RuntimeStatus = "does not start"
	RuntimeLeftOut  RuntimeStatus = "left out"
)

// Runtime is one column of the matrix.
type Runtime struct {
	Name      string        `json:"name"`
	Title     string        `json:"title"`
	Wall      string        `json:"wall"`
	Isolation string        `json:"isolation,omitempty"`
	Needs     string        `json:"needs,omitempty"`
	Version   string        `json:"version,omitempty"`
	Command   []string      `json:"command,omitempty"`
	TimeShare float64       `json:"timeShare,omitempty"` // of a time limit, for a slow one
	Status    RuntimeStatus `json:"status"`
	Why       string        `json:"why,omitempty"`
}

// Workload is a block of rows of the matrix, one row per metric.
type Workload struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Group   string   `json:"group"`
	About   string   `json:"about,omitempty"`
	Kind    string   `json:"kind"`
	Command []string `json:"command,omitempty"`
	Repeat  int      `json:"repeat,omitempty"` // samples in each round
	Metrics []Metric `json:"metrics"`
}

// Metric is one figure of a workload. Times are in seconds, sizes in bytes,
// rates per second, so that a reader needs no table of units.
type Metric struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Unit   string `json:"unit"`
	Better string `json:"better"`
}

// CellStatus says what became of one workload on one runtime.
type CellStatus string

const (
	CellPending CellStatus = "pending" // not reached: time ran out, or ^C
	CellOK      CellStatus = "ok"
	CellFailed  CellStatus = "failed" // wrong answer, or an error
	CellHung    CellStatus = "hung"   // killed at its time limit
	CellSkipped CellStatus = "skipped"
)

// Cell is one workload on one runtime, with all its samples.
type Cell struct {
	Workload string              `json:"workload"`
	Runtime  string              `json:"runtime"`
	Status   CellStatus          `json:"status"`
	Why      string              `json:"why,omitempty"`
	Answer   string              `json:"answer,omitempty"`
	Samples  map[string][]Sample `json:"samples,omitempty"`
	Failures int                 `json:"failures,omitempty"`
	Warmed   bool                `json:"warmed,omitempty"`
	Spent    float64             `json:"spent,omitempty"` // seconds, warm-up included
	Runs     int                 `json:"runs,omitempty"`  // warm-up included
}

// Sample is one value. Pass numbers the interleaved pass it came from: samples
// of two runtimes with the same pass were taken back to back and are a pair.
type Sample struct {
	Pass  int     `json:"pass"`
	Value float64 `json:"value"`
}

// Cell returns the cell of a workload and runtime, made pending when new.
func (r *Results) Cell(workload, runtime string) *Cell {
	if c := r.Find(workload, runtime); c != nil {
		return c
	}
	c := &Cell{Workload: workload, Runtime: runtime, Status: CellPending}
	r.Cells = append(r.Cells, c)
	return c
}

// Find returns the cell of a workload and runtime, or nil.
func (r *Results) Find(workload, runtime string) *Cell {
	for _, c := range r.Cells {
		if c.Workload == workload && c.Runtime == runtime {
			return c
		}
	}
	return nil
}

// RuntimeNamed returns the runtime of that name, or nil.
func (r *Results) RuntimeNamed(name string) *Runtime {
	for i := range r.Runtimes {
		if r.Runtimes[i].Name == name {
			return &r.Runtimes[i]
		}
	}
	return nil
}

// Note adds a remark for the report, once.
func (r *Results) Note(text string) {
	for _, n := range r.Notes {
		if n == text {
			return
		}
	}
	r.Notes = append(r.Notes, text)
}

// Add records one sample.
func (c *Cell) Add(metric string, pass int, value float64) {
	if c.Samples == nil {
		c.Samples = map[string][]Sample{}
	}
	c.Samples[metric] = append(c.Samples[metric], Sample{Pass: pass, Value: value})
}

// Keep records the figures of one run.
func (c *Cell) Keep(pass int, values map[string]float64) {
	c.Status = CellOK
	for metric, v := range values {
		c.Add(metric, pass, v)
	}
}

// Values returns a metric's values without their passes.
func (c *Cell) Values(metric string) []float64 {
	if c == nil {
		return nil
	}
	var out []float64
	for _, s := range c.Samples[metric] {
		out = append(out, s.Value)
	}
	return out
}

// Has says whether the cell has samples of that pass.
func (c *Cell) Has(pass int) bool {
	for _, samples := range c.Samples {
		for _, s := range samples {
			if s.Pass == pass {
				return true
			}
		}
		return false // every metric has the same passes
	}
	return false
}

// Count is the number of samples of each metric.
func (c *Cell) Count() int {
	for _, samples := range c.Samples {
		return len(samples)
	}
	return 0
}
