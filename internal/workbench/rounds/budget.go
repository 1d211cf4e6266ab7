package rounds

import (
	"fmt"
	"math"
	"slices"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// A time limit is divided among the cells by what their runs take. A runtime
// with a time-share (a VM under software emulation, say) has a part of the limit
// as its own: at least its share, and more when the others need less than what
// is left. All others divide the rest. Within such a part every cell may take
// equally much, and what one does not need goes to those that need more:
//
//	time
//	 │          ┌──┐┌──┐ ── level: the most that a cell may take
//	 │     ┌──┐ │  ││  │
//	 │┌──┐ │  │ │  ││  │
//	 └┴──┴─┴──┴─┴──┴┴──┴── cells
//
// So quick cells get all their rounds, and slow ones as many as fit. Since a
// cell runs in the first rounds until it has used up its part, samples of two
// runtimes with the same pass stay pairs. Runtimes with a share of their own
// begin with the second round: by then it is known what they may take, and the
// others have figures already, however short the time is, and what each workload
// costs: from then on the cheapest come first, so that a short share reaches as many
// as it can. What the rounds leave of the time goes to those that it did not reach.

// margin is what is left for all that is not a run: reports, cleaning up.
const margin = 0.97

// first is the round in which a runtime begins.
func (b *Bench) first(r *drive.Runtime) int {
	if r.TimeShare > 0 && !b.Deadline.IsZero() && b.Rounds > 1 {
		return 1
	}
	return 0
}

// asked is how many samples of a workload a runtime is to have.
func (b *Bench) asked(w *spec.Workload, r *drive.Runtime) int {
	return (b.Rounds - b.first(r)) * w.Repeat
}

// allowance is what a time limit leaves to a runtime.
type allowance struct {
	each float64 // seconds that one cell may take altogether
	left float64 // seconds that are left of the runtime's own share, if it has one
}

// limits are what the time limit allows each runtime; nil without one.
func (b *Bench) limits() map[*drive.Runtime]allowance {
	if b.Deadline.IsZero() {
		return nil
	}
	return b.allowances(b.wants())
}

// affordable says whether a cell may run once more. One of a runtime without a
// share of its own has at least one sample in any case.
func (b *Bench) affordable(r *drive.Runtime, c *results.Cell) bool {
	switch {
	case b.Deadline.IsZero() || r.TimeShare == 0 && c.Count() == 0:
		return true
	case c.Runs == 0:
		return b.limits()[r].left >= b.usual(r)
	}
	return c.Spent+each(c) <= b.limits()[r].each
}

// each is what one run of a cell takes: 0 before the first.
func each(c *results.Cell) float64 {
	if c.Runs == 0 {
		return 0
	}
	return c.Spent / float64(c.Runs)
}

// wants lists, for each runtime, what its cells have taken and what all the
// runs that are left would take.
func (b *Bench) wants() map[*drive.Runtime][]float64 {
	out := map[*drive.Runtime][]float64{}
	for _, r := range b.Runtimes {
		unknown := math.Inf(1)
		if r.TimeShare == 0 {
			unknown = b.usual(r)
		}
		for _, w := range b.Workloads {
			out[r] = append(out[r], want(b.cell(w, r), b.asked(w, r), unknown))
		}
	}
	return out
}

func want(c *results.Cell, samples int, unknown float64) float64 {
	if !runnable(c) {
		return c.Spent
	}
	left := samples - c.Count()
	if !c.Warmed {
		left++
	}
	if c.Runs == 0 {
		return float64(left) * unknown
	}
	return c.Spent + float64(max(left, 0))*each(c)
}

// usual is the mean time of a run over a runtime's cells that have figures.
func (b *Bench) usual(r *drive.Runtime) float64 {
	sum, n := 0.0, 0
	for _, w := range b.Workloads {
		if c := b.cell(w, r); c.Status == results.CellOK {
			sum += each(c)
			n++
		}
	}
	if n == 0 {
		return guess.Seconds()
	}
	return sum / float64(n)
}

// allowances divides the whole time, what is spent included.
func (b *Bench) allowances(wants map[*drive.Runtime][]float64) map[*drive.Runtime]allowance {
	spent := map[*drive.Runtime]float64{}
	total := max(0, time.Until(b.Deadline).Seconds()*margin)
	var common []float64 // of all runtimes without a share
	shares := 0.0
	for _, r := range b.Runtimes {
		for _, w := range b.Workloads {
			spent[r] += b.cell(w, r).Spent
		}
		total += spent[r]
		shares += r.TimeShare
		if r.TimeShare == 0 {
			common = append(common, wants[r]...)
		}
	}
	left, out := total, map[*drive.Runtime]allowance{}
	for _, r := range b.Runtimes {
		if r.TimeShare > 0 {
			own := max(r.TimeShare*total, (total-sum(common))*r.TimeShare/shares)
			out[r] = allowance{each: level(wants[r], own), left: own - spent[r]}
			left -= min(own, sum(wants[r]))
		}
	}
	rest := level(common, left)
	for _, r := range b.Runtimes {
		if r.TimeShare == 0 {
			out[r] = allowance{each: rest, left: math.Inf(1)}
		}
	}
	return out
}

// level is the most that one may take of a budget which all divide fairly. A want
// that rounding puts above its part fits: parts are computed from sums of wants.
func level(wants []float64, budget float64) float64 {
	sorted := slices.Sorted(slices.Values(wants))
	for i, w := range sorted {
		if even := budget / float64(len(sorted)-i); w > even*(1+1e-9) {
			return max(even, 0)
		}
		budget -= w
	}
	return math.Inf(1)
}

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

// Bounds of a first run on a runtime with a share of its own: most cells need
// less than the even part of it, and below some seconds nothing is worth trying.
const (
	evenParts = 2
	shortest  = 10.0
)

// firstRun is the time limit of a runtime's first run of a workload, and
// whether it is the runtime's share that sets it.
func (b *Bench) firstRun(w *spec.Workload, r *drive.Runtime) (limit time.Duration, bounded bool) {
	limit = time.Duration(w.Timeout)
	if b.Deadline.IsZero() || r.TimeShare == 0 {
		return limit, false
	}
	if b.isLate {
		own := time.Duration(float64(time.Until(b.Deadline)) * margin)
		return min(own, limit), own < limit
	}
	a := b.limits()[r]
	if own := seconds(min(max(evenParts*a.each, shortest), a.left)); own < limit {
		return own, true
	}
	return limit, false
}

// leftOver gives the cells that a runtime's share of the time did not reach
// their reason.
func (b *Bench) leftOver(part []*spec.Workload) {
	for _, w := range part {
		for _, r := range b.Runtimes {
			if c := b.cell(w, r); c.Status == results.CellPending && r.TimeShare > 0 && !b.Deadline.IsZero() {
				c.Status = results.CellSkipped
				c.Why = fmt.Sprintf("this runtime may take %.0f %% of the time, and other workloads have used it up: a longer --time-limit gives it more", 100*r.TimeShare)
			}
		}
	}
}

// tooSlow makes the cell of a runtime with a share one that says why it has no
// figure.
func (b *Bench) tooSlow(c *results.Cell, r *drive.Runtime, limit time.Duration) {
	c.Status = results.CellSkipped
	c.Why = fmt.Sprintf("one run takes more than %v, the bound for a workload of a runtime that may take %.0f %% of the time: a longer --time-limit raises it",
		limit.Round(time.Second), 100*r.TimeShare)
}
