package report

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes of a plot in its own units; it is drawn as wide as its column, so the
// text keeps a readable size on a phone.
const (
	plotWidth  = 340.0
	laneHeight = 38.0
	plotLeft   = 6.0
	plotRight  = 334.0
	axisHeight = 22.0
)

// axis maps values to positions.
type axis struct {
	lo, hi float64
	log    bool
}

// newAxis covers the values: from zero, or logarithmic when they differ too
// much to be seen on one linear scale.
func newAxis(values []float64) axis {
	lo, hi := math.Inf(1), 0.0
	for _, v := range values {
		if v > 0 {
			lo = math.Min(lo, v)
		}
		hi = math.Max(hi, v)
	}
	if hi <= 0 {
		return axis{0, 1, false}
	}
	if hi/lo > 12 {
		return axis{math.Pow(10, math.Floor(math.Log10(lo)*4)/4), math.Pow(10, math.Ceil(math.Log10(hi)*4)/4), true}
	}
	return axis{0, hi * 1.04, false}
}

func (a axis) at(v float64) float64 {
	f := v / a.hi
	if a.log {
		v = math.Max(v, a.lo)
		f = (math.Log(v) - math.Log(a.lo)) / (math.Log(a.hi) - math.Log(a.lo))
	}
	return plotLeft + f*(plotRight-plotLeft)
}

// ticks are round values, three to five of them.
func (a axis) ticks(unit string) []float64 {
	var out []float64
	if a.log {
		return a.logTicks(unit)
	}
	step := math.Pow(10, math.Floor(math.Log10(a.hi)))
	for _, d := range []float64{1, 2, 5, 10} {
		if a.hi/(step/d) >= 3 {
			step /= d
			break
		}
	}
	for v := 0.0; v <= a.hi; v += step {
		out = append(out, v)
	}
	return out
}

// logTicks are powers of ten, of four for bytes, with steps between them when
// there are few.
func (a axis) logTicks(unit string) []float64 {
	base, between := 10.0, []float64{1, 3}
	if strings.HasPrefix(unit, "B") {
		base, between = 4, []float64{1}
	}
	log := func(v float64) float64 { return math.Log(v) / math.Log(base) }
	first, last := math.Ceil(log(a.lo)-1e-9), math.Floor(log(a.hi)+1e-9)
	step := math.Max(1, math.Ceil((last-first)/4))
	if last-first > 1 {
		between = between[:1]
	}
	var out []float64
	for e := first - 1; e <= last; e++ {
		for _, f := range between {
			v := f * math.Pow(base, e)
			if v >= a.lo*0.999 && v <= a.hi*1.001 && (len(between) > 1 || math.Mod(e-first, step) == 0) {
				out = append(out, v)
			}
		}
	}
	return out
}

// plot draws one row of the matrix: every run as a dot, the interval as a band,
// the median as a line; the baseline's median runs through all lanes.
func (m *model) plot(r *row) string {
	var all []float64
	lanes := 0
	for i := range r.cells {
		for _, s := range r.cells[i].samples {
			all = append(all, s.Value)
		}
		if r.cells[i].ok() {
			lanes++
		}
	}
	if lanes == 0 {
		return ""
	}
	a := newAxis(all)
	height := float64(lanes)*laneHeight + axisHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, plotWidth, height, html.EscapeString(plotLabel(r)))
	drawAxis(&b, a, r.m.Unit, height)
	if m.baseline >= 0 && r.cells[m.baseline].ok() {
		x := a.at(r.cells[m.baseline].value.Median)
		fmt.Fprintf(&b, `<line class="base" x1="%.1f" x2="%.1f" y1="0" y2="%.1f"/>`, x, x, height-axisHeight)
	}
	y := 0.0
	for i := range r.cells {
		if f := &r.cells[i]; f.ok() {
			drawLane(&b, a, f, r.m.Unit, i, y)
			y += laneHeight
		}
	}
	b.WriteString("</svg>")
	return b.String()
}

func plotLabel(r *row) string {
	var parts []string
	for i := range r.cells {
		if f := &r.cells[i]; f.ok() {
			parts = append(parts, f.rt.Title+" "+value(f.value.Median, r.m.Unit))
		}
	}
	return r.name() + ": " + strings.Join(parts, ", ")
}

func drawAxis(b *strings.Builder, a axis, unit string, height float64) {
	bottom := height - axisHeight
	for _, t := range a.ticks(unit) {
		x := a.at(t)
		anchor := "middle"
		if x < 20 {
			anchor = "start"
		} else if x > plotWidth-24 {
			anchor = "end"
		}
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="0" y2="%.1f"/><text class="tick" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`,
			x, x, bottom, x, height-7, anchor, html.EscapeString(tickText(t, unit)))
	}
}

func tickText(v float64, unit string) string {
	if v == 0 {
		return "0"
	}
	f, name := scaleOf(v*1.0000001, unit)
	t := strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.1f", v*f), "0"), ".")
	return strings.TrimSpace(t + " " + name)
}

func drawLane(b *strings.Builder, a axis, f *figure, unit string, i int, y float64) {
	mid := y + 27
	right := value(f.value.Median, unit)
	if f.cost.OK() {
		right += " · " + costText(f)
	}
	fmt.Fprintf(b, `<g class="s%d"><text class="lane" x="%.0f" y="%.1f">%s</text><text class="lane num" x="%.0f" y="%.1f" text-anchor="end">%s</text>`,
		i%8, plotLeft, y+14, html.EscapeString(f.rt.Title), plotRight, y+14, html.EscapeString(right))
	lo, hi := a.at(f.value.Lo), a.at(f.value.Hi)
	fmt.Fprintf(b, `<rect class="ci" x="%.1f" y="%.1f" width="%.1f" height="12" rx="2"/>`, lo, mid-6, math.Max(hi-lo, 1))
	for k, s := range f.samples {
		// spread over the lane's height, so that equal values stay visible
		dy := float64((k*5)%9-4) * 0.9
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="2.2"/>`, a.at(s.Value), mid+dy)
	}
	x := a.at(f.value.Median)
	fmt.Fprintf(b, `<line class="median" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/></g>`, x, x, mid-8, mid+8)
}
