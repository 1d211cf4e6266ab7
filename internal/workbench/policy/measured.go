package policy

import (
	"fmt"
	"math"
	"strings"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/machine"
	"bulkhead.dev/bulkhead/internal/workbench/report"
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/stats"
)

// reportPlaces are where `bulkhead bench` and the lab leave their results.
var reportPlaces = []string{"report/results.json", "docs/report/results.json", "report/containerd/results.json"}

// Report is what the workbench measured; a nil one is none.
type Report struct {
	path string
	res  *results.Results
	here machine.Machine // this machine, now
	now  time.Time
}

// LoadReport reads the report that the flag names: a file, "none", or by default
// the latest of those in the usual places.
func LoadReport(flag string) (*Report, error) {
	switch flag {
	case "none":
		return nil, nil
	case "":
		return latestReport(), nil
	}
	res, err := results.Load(flag)
	if err != nil {
		return nil, fmt.Errorf("--report: %w", err)
	}
	return newReport(flag, res), nil
}

func newReport(path string, res *results.Results) *Report {
	return &Report{path: path, res: res, here: machine.Describe("/var/tmp"), now: time.Now()}
}

func latestReport() *Report {
	var best *results.Results
	var at string
	for _, path := range reportPlaces {
		res, err := results.Load(path)
		if err == nil && (best == nil || res.Updated.After(best.Updated)) {
			best, at = res, path
		}
	}
	if best == nil {
		return nil
	}
	return newReport(at, best)
}

// Origin is which report a figure is from.
type Origin struct {
	File     string    `json:"file"`
	Measured time.Time `json:"measured"`
	Age      string    `json:"age"`
	Machine  string    `json:"machine"`
	Same     bool      `json:"this_machine"`
	Mode     string    `json:"mode"`
	Busy     string    `json:"busy,omitempty"`
	Baseline string    `json:"baseline"`
}

// Origin describes the report, nil when there is none.
func (r *Report) Origin() *Origin {
	if r == nil {
		return nil
	}
	m := r.res.Machine
	o := &Origin{File: r.path, Measured: r.res.Updated, Age: age(r.now.Sub(r.res.Updated)), Mode: r.res.Mode, Baseline: r.res.Baseline,
		Machine: describeMachine(m),
		Same:    m.CPU == r.here.CPU && m.CPUs == r.here.CPUs && m.Kernel == r.here.Kernel && m.MemoryBytes == r.here.MemoryBytes}
	if m.Load > 0.5*float64(m.CPUs) {
		o.Busy = fmt.Sprintf("load %.1f when it began", m.Load)
	}
	return o
}

func describeMachine(m machine.Machine) string {
	var parts []string
	for _, s := range []string{m.CPU, fmt.Sprintf("%d CPUs", m.CPUs), report.Value(float64(m.MemoryBytes), "B"), "Linux " + m.Kernel} {
		if s != "" && s != "Linux " {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

func (o *Origin) String() string {
	if o == nil {
		return "no bench report: bulkhead bench makes one"
	}
	which := "on another machine"
	if o.Same {
		which = "on this machine"
	}
	s := fmt.Sprintf("%s (%s, %s ago, %s: %s)", o.File, o.Mode, o.Age, which, o.Machine)
	if o.Busy != "" {
		s += ", busy: " + o.Busy
	}
	return s
}

// dated is String for what is kept: a date in place of an age.
func (o *Origin) dated() string {
	if o == nil {
		return "none, no bench report was given"
	}
	s := fmt.Sprintf("%s of %s (%s; %s)", o.File, o.Measured.UTC().Format("2006-01-02"), o.Mode, o.Machine)
	if o.Busy != "" {
		s += ", busy: " + o.Busy
	}
	return s
}

func age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return "a minute"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// column is the runtime's column in the report, "" when it was not measured.
func (r *Report) column(rt *Runtime) string {
	for _, name := range rt.Report {
		if m := r.res.RuntimeNamed(name); m != nil && m.Status == results.RuntimeMeasured {
			return name
		}
	}
	return ""
}

// Cost is one row of the report for one runtime.
type Cost struct {
	Row     string  `json:"row"`
	Title   string  `json:"title"`
	Value   string  `json:"value,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"` // more than 1 is dearer than the baseline
	Lo      float64 `json:"lo,omitempty"`
	Hi      float64 `json:"hi,omitempty"`
	Text    string  `json:"text,omitempty"`
	Verdict string  `json:"verdict,omitempty"`
	Missing string  `json:"missing,omitempty"` // why there is no figure
}

// Costs are the rows that the class names, for the runtime.
func (r *Report) Costs(c *Class, rt *Runtime) []Cost {
	if r == nil || rt == nil {
		return nil
	}
	var out []Cost
	for _, row := range c.Cost {
		out = append(out, r.cost(row, rt))
	}
	return out
}

func (r *Report) cost(row string, rt *Runtime) Cost {
	c := Cost{Row: row, Title: row}
	wname, mname, _ := strings.Cut(row, "/")
	metric, title := r.metric(wname, mname)
	if metric == nil {
		c.Missing = "no such row in the report"
		return c
	}
	c.Title = title
	col := r.column(rt)
	if col == "" {
		c.Missing = rt.Name + " was not measured"
		return c
	}
	cell := r.res.Find(wname, col)
	s := stats.Summarize(cell.Values(mname))
	if !s.OK() {
		c.Missing = rt.Name + " has no figure in this row"
		return c
	}
	c.Value = report.Value(s.Median, metric.Unit)
	base := r.res.Find(wname, r.res.Baseline)
	if base == nil || col == r.res.Baseline {
		return c
	}
	ratio := stats.Cost(cell.Samples[mname], base.Samples[mname], metric.Better)
	if !ratio.OK() {
		return c
	}
	c.Ratio, c.Lo, c.Hi, c.Text = ratio.Median, ratio.Lo, ratio.Hi, report.Times(ratio)
	c.Verdict = map[stats.Verdict]string{stats.Unknown: "too few runs", stats.Noise: "within the noise", stats.Cheaper: "cheaper", stats.Dearer: "dearer"}[stats.Judge(ratio)]
	return c
}

func (r *Report) metric(workload, metric string) (*results.Metric, string) {
	for _, w := range r.res.Workloads {
		for i := range w.Metrics {
			if w.Name == workload && w.Metrics[i].Name == metric {
				return &w.Metrics[i], w.Title + ", " + w.Metrics[i].Title
			}
		}
	}
	return nil, ""
}

// overhead is a runtime's overhead and where it is from; nil is none.
//
// Memory is what a sleeping sandbox holds more than the baseline's, by the upper
// end of the interval: once behind the VM wall, where the containers of a pod are in
// one VM, else twice, since the pod's pause container is a sandbox too, and each
// further container costs as much again, which a fixed overhead cannot say.
func (r *Report) overhead(rt *Runtime, absent *Runtime) (*Overhead, string) {
	if rt.Wall == WallNone {
		return nil, ""
	}
	o := Overhead{}
	from := "the policy file; it was not measured"
	if rt.Overhead != nil {
		o = *rt.Overhead
	}
	if r != nil {
		if more, ok := r.idleMemory(rt, absent); ok {
			const mib = 1 << 20
			o.Memory = fmt.Sprintf("%dMi", max(1, int(math.Ceil(sandboxesPerPod(rt)*more/mib))))
			from = fmt.Sprintf("%s, row idle/memory, of %s on %s", r.path, r.res.Updated.UTC().Format("2006-01-02"), describeMachine(r.res.Machine))
			if o.CPU != "" {
				from += "; cpu is from the policy file"
			}
		}
	}
	if o == (Overhead{}) {
		return nil, ""
	}
	return &o, from
}

// sandboxesPerPod: the pause container and one of the workload's, or both in one.
func sandboxesPerPod(rt *Runtime) float64 {
	if rt.Wall == WallVM {
		return 1
	}
	return 2
}

// idleMemory is what a sleeping container holds more than on the baseline.
func (r *Report) idleMemory(rt, absent *Runtime) (float64, bool) {
	col, base := r.column(rt), r.column(absent)
	if col == "" || base == "" {
		return 0, false
	}
	s := stats.Summarize(r.res.Find("idle", col).Values("memory"))
	b := stats.Summarize(r.res.Find("idle", base).Values("memory"))
	if !s.OK() || !b.OK() {
		return 0, false
	}
	return math.Max(0, s.Hi-b.Median), true
}
