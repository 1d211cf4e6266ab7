package report

import (
	"fmt"
	"html"
	"math"
	"strings"

	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/stats"
)

const overviewRow = 30.0

// overview draws what each workload costs on each runtime, as ratios to the
// baseline on one logarithmic scale: the whole matrix in one picture. Of a
// workload's metrics it takes its time, else the first that has ratios.
func (m *model) overview() string {
	rows := m.overviewRows()
	if len(rows) == 0 {
		return ""
	}
	a := axis{lo: 0.5, hi: 2, log: true}
	for _, r := range rows {
		for i := range r.cells {
			if c := r.cells[i].cost; c.OK() {
				a.lo, a.hi = math.Min(a.lo, c.Lo*0.9), math.Max(a.hi, c.Hi*1.15)
			}
		}
	}
	top := m.legendHeight()
	height := top + float64(len(rows))*overviewRow + axisHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot overview" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, plotWidth, height,
		html.EscapeString("Cost of each workload as a multiple of "+m.baselineTitle()))
	m.legend(&b)
	for _, t := range ratioTicks(a) {
		x := a.at(t)
		class := "grid"
		if t == 1 {
			class = "one"
		}
		fmt.Fprintf(&b, `<line class="%s" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><text class="tick" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`,
			class, x, x, top, height-axisHeight, x, height-7, fmt.Sprintf("%g×", t))
	}
	for k, r := range rows {
		m.overviewLine(&b, a, r, top+float64(k)*overviewRow)
	}
	b.WriteString("</svg>")
	return b.String()
}

func (m *model) overviewRows() []*row {
	var out []*row
	for _, g := range m.groups {
		for _, r := range g.rows {
			n := len(out)
			switch {
			case !hasCost(r):
			case n == 0 || out[n-1].w != r.w:
				out = append(out, r)
			case r.m.Name == "total" || r.m.Name == "time":
				out[n-1] = r // says more than a workload's first metric
			}
		}
	}
	return out
}

func hasCost(r *row) bool {
	for i := range r.cells {
		if r.cells[i].cost.OK() {
			return true
		}
	}
	return false
}

func (m *model) overviewLine(b *strings.Builder, a axis, r *row, y float64) {
	fmt.Fprintf(b, `<text class="lane plain" x="%.0f" y="%.1f">%s</text>`, plotLeft, y+11, html.EscapeString(r.name()))
	mid := y + 21
	fmt.Fprintf(b, `<line class="grid" x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f"/>`, plotLeft, plotRight, mid, mid)
	for i := range r.cells {
		f := &r.cells[i]
		if !f.cost.OK() {
			continue
		}
		lo, hi, x := a.at(f.cost.Lo), a.at(f.cost.Hi), a.at(f.cost.Median)
		fill := ""
		if f.verdict == stats.Noise || f.verdict == stats.Unknown {
			fill = " open" // no verdict
		}
		fmt.Fprintf(b, `<g class="s%d"><title>%s</title><rect class="ci" x="%.1f" y="%.1f" width="%.1f" height="6" rx="1"/><circle class="cost%s" cx="%.1f" cy="%.1f" r="4"/></g>`,
			i%8, html.EscapeString(f.rt.Title+", "+r.name()+": "+costText(f)), lo, mid-3, math.Max(hi-lo, 1), fill, x, mid)
	}
}

func (m *model) legendHeight() float64 { return 8 + 16*math.Ceil(float64(len(m.columns)-1)/2) }

func (m *model) legend(b *strings.Builder) {
	k := 0
	for i, c := range m.columns {
		if i == m.baseline {
			continue
		}
		x, y := plotLeft+float64(k%2)*plotWidth/2, 12+16*float64(k/2)
		fmt.Fprintf(b, `<g class="s%d"><circle class="cost" cx="%.1f" cy="%.1f" r="4"/><text class="lane" x="%.1f" y="%.1f">%s</text></g>`,
			i%8, x+4, y-4, x+12, y, html.EscapeString(c.Title))
		k++
	}
}

// ratioTicks are powers of ten, with twos and fives while there is room.
func ratioTicks(a axis) []float64 {
	var out []float64
	steps := []float64{1, 2, 5}
	if a.hi/a.lo > 200 {
		steps = []float64{1}
	}
	for e := math.Floor(math.Log10(a.lo)); e <= math.Log10(a.hi); e++ {
		for _, s := range steps {
			if v := s * math.Pow(10, e); v >= a.lo && v <= a.hi {
				out = append(out, v)
			}
		}
	}
	return out
}

// Picture is the overview as a file of its own, for a README; empty when there
// are no ratios to show.
func Picture(res *results.Results) string {
	svg := newModel(res).overview()
	if svg == "" {
		return ""
	}
	style := "<style>\n" + pageCSS + ".plot text { font-family: system-ui, sans-serif; }\n</style><rect width=\"100%\" height=\"100%\" fill=\"var(--bg)\"/>"
	head, rest, _ := strings.Cut(svg, ">")
	return strings.Replace(head, "<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"680\" ", 1) + ">" + style + rest + "\n"
}
