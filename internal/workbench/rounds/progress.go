package rounds

import (
	"math"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// Progress is where the measurement stands.
type Progress struct {
	Workload, Runtime string
	Warmup            bool
	Done, Total       int // runs
	Left              time.Duration
}

// guess is what a run that was never timed is taken to last.
const guess = 2 * time.Second

func (b *Bench) report(w *spec.Workload, r *drive.Runtime, warmup bool) {
	if b.Progress == nil {
		return
	}
	p := Progress{Workload: w.Name, Runtime: r.Name, Warmup: warmup}
	limits := b.limits()
	for _, v := range b.Workloads {
		done, left, time := b.ahead(v, limits)
		p.Done += done
		p.Total += done + left
		p.Left += time
	}
	if !b.Deadline.IsZero() {
		p.Left = min(p.Left, time.Until(b.Deadline))
	}
	b.Progress(p)
}

// ahead counts a workload's runs, and how long
// those that are left will take by what the cells have shown so far.
func (b *Bench) ahead(w *spec.Workload, limits map[*drive.Runtime]allowance) (done, left int, d time.Duration) {
	other := b.typical(w)
	for _, r := range b.Runtimes {
		c := b.cell(w, r)
		if !runnable(c) {
			continue
		}
		done += c.Count()
		n := b.asked(w, r) - c.Count()
		if !c.Warmed {
			n++
		} else {
			done++
		}
		one := b.one(c, r, other)
		if n = min(n, b.fits(c, r, limits)); n > 0 {
			left += n
			d += time.Duration(n) * one
		}
	}
	return done, left, d
}

// fits is how many more runs of a cell the time limit allows.
func (b *Bench) fits(c *results.Cell, r *drive.Runtime, limits map[*drive.Runtime]allowance) int {
	switch {
	case limits == nil:
		return math.MaxInt32
	case c.Runs == 0 && limits[r].left < b.usual(r):
		return 0
	case each(c) == 0:
		return math.MaxInt32
	}
	n := (limits[r].each - c.Spent) / each(c)
	return int(min(max(n, 0), math.MaxInt32))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// one is what a run of a cell takes, as far as that is known.
func (b *Bench) one(c *results.Cell, r *drive.Runtime, other time.Duration) time.Duration {
	switch {
	case c.Runs > 0:
		return seconds(each(c))
	case other > 0:
		return other
	}
	return seconds(b.usual(r))
}

// typical is the mean time of a workload's runs on the runtimes that had one, 0
// when none had.
func (b *Bench) typical(w *spec.Workload) time.Duration {
	spent, runs := 0.0, 0
	for _, r := range b.Runtimes {
		c := b.cell(w, r)
		spent += c.Spent
		runs += c.Runs
	}
	if runs == 0 {
		return 0
	}
	return seconds(spent / float64(runs))
}

// outOfTime says whether another round of these workloads, and then one of
// those that come after them, would not fit before the deadline.
func (b *Bench) outOfTime(part []*spec.Workload) bool {
	if b.Deadline.IsZero() {
		return false
	}
	var need time.Duration
	limits := b.limits()
	for _, w := range part {
		need += b.oneRound(w, limits)
	}
	if part[0].Caches != "cold" {
		_, cold := b.split()
		for _, w := range cold {
			need += 3 * b.oneRound(w, limits) // three rounds are the least worth showing
		}
	}
	return time.Until(b.Deadline) < need
}

func (b *Bench) oneRound(w *spec.Workload, limits map[*drive.Runtime]allowance) (d time.Duration) {
	other := b.typical(w)
	for _, r := range b.Runtimes {
		c := b.cell(w, r)
		if !runnable(c) || b.fits(c, r, limits) == 0 {
			continue
		}
		one := b.one(c, r, other)
		d += time.Duration(w.Repeat) * one
	}
	return d
}
