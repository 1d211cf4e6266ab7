package rounds

import (
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

func (b *Bench) report(w *spec.Workload, r *drive.Runtime, pass int) {
	if b.Progress == nil {
		return
	}
	p := Progress{Workload: w.Name, Runtime: r.Name, Warmup: pass < 0}
	for _, v := range b.Workloads {
		done, left, time := b.ahead(v, b.Rounds*v.Repeat)
		p.Done += done
		p.Total += done + left
		p.Left += time
	}
	if !b.Deadline.IsZero() {
		p.Left = min(p.Left, time.Until(b.Deadline))
	}
	b.Progress(p)
}

// ahead counts a workload's runs, up to so many samples per cell, and how long
// those that are left will take by what the cells have shown so far.
func (b *Bench) ahead(w *spec.Workload, samples int) (done, left int, d time.Duration) {
	other := b.typical(w)
	for _, r := range b.Runtimes {
		c := b.Results.Find(w.Name, r.Name)
		if c == nil || c.Status != results.CellPending && c.Status != results.CellOK || b.greedy(c) {
			continue
		}
		n := samples - c.Count()
		done += c.Count()
		if !c.Warmed {
			n++
		} else {
			done++
		}
		if n <= 0 {
			continue
		}
		left += n
		each := other
		if c.Runs > 0 {
			each = time.Duration(c.Spent / float64(c.Runs) * float64(time.Second))
		}
		d += time.Duration(n) * each
	}
	return done, left, d
}

// typical is the mean time of a workload's runs on the runtimes that had one.
func (b *Bench) typical(w *spec.Workload) time.Duration {
	spent, runs := 0.0, 0
	for _, r := range b.Runtimes {
		if c := b.Results.Find(w.Name, r.Name); c != nil {
			spent += c.Spent
			runs += c.Runs
		}
	}
	if runs == 0 {
		return guess
	}
	return time.Duration(spent / float64(runs) * float64(time.Second))
}

// outOfTime says whether another round of these workloads, and then one of
// those that come after them, would not fit before the deadline.
func (b *Bench) outOfTime(part []*spec.Workload) bool {
	if b.Deadline.IsZero() {
		return false
	}
	var need time.Duration
	for _, w := range part {
		need += b.oneRound(w)
	}
	if part[0].Caches != "cold" {
		_, cold := b.split()
		for _, w := range cold {
			need += 3 * b.oneRound(w) // three rounds are the least worth showing
		}
	}
	return time.Until(b.Deadline) < need
}

func (b *Bench) oneRound(w *spec.Workload) (d time.Duration) {
	for _, r := range b.Runtimes {
		c := b.Results.Find(w.Name, r.Name)
		if c == nil || c.Status != results.CellPending && c.Status != results.CellOK || b.greedy(c) {
			continue
		}
		each := b.typical(w)
		if c.Runs > 0 {
			each = time.Duration(c.Spent / float64(c.Runs) * float64(time.Second))
		}
		d += time.Duration(w.Repeat) * each
	}
	return d
}
