package rounds

import (
	"cmp"
	"context"
	"slices"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// sorted puts the workloads in the order of what they cost the runtimes without
// a share, where there are others: those then reach as many as possible.
func (b *Bench) sorted(part []*spec.Workload) []*spec.Workload {
	if !slices.ContainsFunc(b.Runtimes, func(r *drive.Runtime) bool { return b.first(r) > 0 }) {
		return part
	}
	return slices.SortedStableFunc(slices.Values(part), func(x, y *spec.Workload) int { return cmp.Compare(b.dear(x), b.dear(y)) })
}

// dear is the mean time of a workload's runs on the runtimes without a share.
func (b *Bench) dear(w *spec.Workload) float64 {
	spent, runs := 0.0, 0
	for _, r := range b.Runtimes {
		if c := b.cell(w, r); r.TimeShare == 0 {
			spent += c.Spent
			runs += c.Runs
		}
	}
	return spent / float64(max(runs, 1))
}

// lateMargin is how much longer than usual a late run is taken to last.
const lateMargin = 1.3

// late gives the time that the rounds have left to the cells which their
// runtime's share did not reach: one run each, and the baseline beside it.
func (b *Bench) late(ctx context.Context, parts ...[]*spec.Workload) error {
	if b.Deadline.IsZero() {
		return nil
	}
	b.isLate = true
	defer func() { b.isLate = false }()
	for _, w := range slices.Concat(parts...) {
		for _, r := range b.Runtimes {
			if c := b.cell(w, r); r.TimeShare == 0 || c.Status != results.CellPending || c.Runs > 0 {
				continue
			}
			if time.Until(b.Deadline).Seconds()*margin < b.usual(r)*lateMargin {
				return nil
			}
			if err := b.lateRun(ctx, w, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// lateRun numbers its pass behind those of all rounds.
func (b *Bench) lateRun(ctx context.Context, w *spec.Workload, r *drive.Runtime) error {
	pass, first := b.Rounds*w.Repeat, b.Runtimes[0]
	if c := b.cell(w, first); c.Status == results.CellOK && !c.Has(pass) {
		if got := b.once(ctx, w, first, c, time.Duration(w.Timeout)); got != nil {
			c.Keep(pass, got)
		}
	}
	if err := b.over(ctx); err != nil {
		return err
	}
	b.warmUp(ctx, w, r, b.cell(w, r), pass)
	return b.over(ctx)
}
