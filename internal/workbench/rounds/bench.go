// Package rounds owns the measurement itself: which workload runs on which
// runtime when, what counts as a sample, when to give up on a cell, and how
// much time is left.
//
// Round after round, each workload runs on every runtime in turn (A B C, then
// B C A, …), so that a machine which warms up or gets busy does so to all of
// them, and samples of one pass are pairs. One goroutine does all of it; there
// are no locks.
package rounds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// Bench is one measurement.
type Bench struct {
	Results   *results.Results
	Runtimes  []*drive.Runtime // those that can be measured, the baseline first
	Workloads []*spec.Workload // expanded for the mode
	Rounds    int
	Deadline  time.Time // zero: none
	Dir       string    // for bundles and writable directories
	RootFS    string
	Bench     string
	Image     string
	Save      func() error      // called after every round
	Progress  func(Progress)    // called before every run
	DropCache func() error      // empties the page cache
	Full      func(error) error // says whether a full disk is what made a run fail; nil: nobody looks

	stop    error // what ended the measurement before its time
	cells   map[place]*results.Cell
	isLate  bool
	answers map[string]string // workload: the right answer, or the first one given
	seq     int
}

// place is where a cell is in the matrix.
type place struct{ workload, runtime string }

func (b *Bench) cell(w *spec.Workload, r *drive.Runtime) *results.Cell {
	if c := b.cells[place{w.Name, r.Name}]; c != nil {
		return c
	}
	c := b.Results.Cell(w.Name, r.Name)
	if b.cells == nil {
		b.cells = map[place]*results.Cell{}
	}
	b.cells[place{w.Name, r.Name}] = c
	return c
}

// runnable says whether a cell is still worth running.
func runnable(c *results.Cell) bool {
	return c.Status == results.CellPending || c.Status == results.CellOK
}

// maxFailures is when a cell is given up: failures one after the other.
const maxFailures = 2

// ErrDeadline says that the time ran out before all rounds were done.
var ErrDeadline = errors.New("the time is over")

// Run measures until all rounds are done, the deadline comes or ctx ends. What
// was measured is in Results, whatever Run returns.
func (b *Bench) Run(ctx context.Context) error {
	b.answers = map[string]string{}
	if !b.Deadline.IsZero() {
		dctx, cancel := context.WithDeadlineCause(ctx, b.Deadline, ErrDeadline)
		defer cancel()
		ctx = dctx
	}
	b.prepare()
	warm, cold := b.split()
	// Emptying the page cache would disturb the others: those workloads come last.
	for _, part := range [][]*spec.Workload{warm, cold} {
		if err := b.part(ctx, part); err != nil {
			return err
		}
	}
	if err := b.late(ctx, b.sorted(warm), b.sorted(cold)); err != nil {
		return err
	}
	b.leftOver(b.Workloads)
	b.Results.Complete = true
	return b.save()
}

// split sorts the workloads into those with warm and with cold caches.
func (b *Bench) split() (warm, cold []*spec.Workload) {
	for _, w := range b.Workloads {
		if w.Caches == "cold" {
			cold = append(cold, w)
		} else {
			warm = append(warm, w)
		}
	}
	return warm, cold
}

// part runs all rounds of some workloads. The first round is preceded by each
// cell's warm-up, which also shows whether the cell works at all.
func (b *Bench) part(ctx context.Context, part []*spec.Workload) error {
	if len(part) == 0 {
		return nil
	}
	for round := range b.Rounds {
		if round == 1 {
			part = b.sorted(part)
		}
		for _, w := range part {
			for pass := range w.Repeat {
				if err := b.pass(ctx, w, round, round*w.Repeat+pass); err != nil {
					return err
				}
			}
		}
		if err := b.save(); err != nil {
			return err
		}
		if round+1 < b.Rounds && b.outOfTime(part) {
			b.Results.Note(fmt.Sprintf("The time limit ended the measurement of %s after %d of %d rounds.", describe(part), round+1, b.Rounds))
			break
		}
	}
	return nil
}

func describe(part []*spec.Workload) string {
	if part[0].Caches == "cold" {
		return "the workloads with cold caches"
	}
	return "the workloads with warm caches"
}

func (b *Bench) save() error {
	b.Results.Updated = time.Now()
	if b.Save == nil {
		return nil
	}
	return b.Save()
}

// pass takes one sample of a workload on every runtime, one right after the
// other. Who begins changes from round to round.
func (b *Bench) pass(ctx context.Context, w *spec.Workload, round, pass int) error {
	n := len(b.Runtimes)
	turn := b.turn(w, round, pass)
	for i := range n {
		r := b.Runtimes[(round+i)%n]
		if !turn[r] {
			continue
		}
		c := b.cell(w, r)
		if !c.Warmed {
			b.warmUp(ctx, w, r, c, pass)
		}
		if runnable(c) && !c.Has(pass) && b.over(ctx) == nil && (r.TimeShare == 0 || b.affordable(r, c)) {
			if got := b.once(ctx, w, r, c, time.Duration(w.Timeout)); got != nil {
				c.Keep(pass, got)
			}
		}
		if err := b.over(ctx); err != nil {
			return err
		}
	}
	return nil
}

// over says why nothing more can be measured, if so.
func (b *Bench) over(ctx context.Context) error {
	if b.stop == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return b.stop
}

// turn says who runs in a pass: whoever can afford it, and the baseline, which
// comes first, beside any slow runtime, whose few samples would have no pairs.
func (b *Bench) turn(w *spec.Workload, round, pass int) map[*drive.Runtime]bool {
	out, slow := map[*drive.Runtime]bool{}, false
	for _, r := range b.Runtimes {
		c := b.cell(w, r)
		if round >= b.first(r) && runnable(c) && !c.Has(pass) && b.affordable(r, c) {
			out[r] = true
			slow = slow || r.TimeShare > 0
		}
	}
	if c := b.cell(w, b.Runtimes[0]); slow && runnable(c) && !c.Has(pass) {
		out[b.Runtimes[0]] = true
	}
	return out
}

// warmUp runs a cell once, without counting it. Where a second run would not
// fit into the runtime's share of the time, the first is better than nothing.
func (b *Bench) warmUp(ctx context.Context, w *spec.Workload, r *drive.Runtime, c *results.Cell, pass int) {
	limit, bounded := b.firstRun(w, r)
	b.report(w, r, true)
	got := b.once(ctx, w, r, c, limit)
	if b.over(ctx) != nil {
		return
	}
	c.Warmed = true
	switch {
	case c.Status == results.CellHung && bounded:
		b.tooSlow(c, r, limit)
	case got != nil && r.TimeShare > 0 && c.Count() == 0 && (b.isLate || !b.affordable(r, c)):
		c.Keep(pass, got)
		b.Results.Note(fmt.Sprintf("Where %s has one run, that is its first, without a warm-up: a second did not fit into its share of the time.", r.Title))
	}
}

// once runs one workload on one runtime, and returns its figures; nil when it
// failed, which the cell then knows.
func (b *Bench) once(ctx context.Context, w *spec.Workload, r *drive.Runtime, c *results.Cell, limit time.Duration) map[string]float64 {
	if c.Warmed {
		b.report(w, r, false)
	}
	begin := time.Now()
	values, answer, err := b.measure(ctx, w, r, limit)
	c.Spent += time.Since(begin).Seconds()
	c.Runs++
	if ctx.Err() != nil {
		return nil // not this cell's fault, and not a sample
	}
	if err == nil {
		err = b.compare(w, answer)
	}
	if err != nil && b.Full != nil {
		if b.stop = b.Full(err); b.stop != nil {
			return nil // not the cell's fault either
		}
	}
	if err != nil {
		b.failed(c, err)
		return nil
	}
	c.Failures, c.Answer = 0, answer
	return values
}

// failed decides what a failure means for the cell. A hang or a wrong answer is
// final; anything else may happen once.
func (b *Bench) failed(c *results.Cell, err error) {
	c.Failures++
	var hang *hungError
	switch {
	case errors.As(err, &hang):
		c.Status = results.CellHung
	case errors.Is(err, drive.ErrNoSteps):
		c.Status = results.CellSkipped
	case isWrong(err) || c.Failures >= maxFailures:
		c.Status = results.CellFailed
	default:
		b.Results.Note(fmt.Sprintf("%s on %s failed once: %v", c.Workload, c.Runtime, err))
		return
	}
	c.Why = err.Error()
	c.Samples = nil // figures of a cell that fails are not to be trusted
}

// compare holds an answer against the right one: the host's, or the one that
// the first runtime, which is the baseline, has given.
func (b *Bench) compare(w *spec.Workload, answer string) error {
	if w.Check.Answer == "" {
		return nil
	}
	want, ok := b.answers[w.Name]
	if !ok {
		b.answers[w.Name] = answer
		return nil
	}
	if answer != want {
		return wrongf("wrong answer: %s instead of %s", spec.Excerpt(answer), spec.Excerpt(want))
	}
	return nil
}

// prepare finds what the host knows better, and cells that cannot be measured.
func (b *Bench) prepare() {
	for _, w := range b.Workloads {
		why := b.missing(w)
		if why == "" && w.Check.FilesUnder != "" {
			b.answers[w.Name] = countFiles(filepath.Join(b.RootFS, w.Check.FilesUnder))
		}
		for _, r := range b.Runtimes {
			c := b.cell(w, r)
			if why != "" {
				c.Status, c.Why = results.CellSkipped, why
			}
			if c.Answer != "" && b.answers[w.Name] == "" {
				b.answers[w.Name] = c.Answer // resumed: the answer is known
			}
		}
	}
}

// missing says what a workload needs and the root file system does not have.
func (b *Bench) missing(w *spec.Workload) string {
	for _, p := range w.Requires {
		if !b.has(p) {
			return fmt.Sprintf("the root file system has no %s", p)
		}
	}
	if w.Caches == "cold" {
		if err := b.DropCache(); err != nil {
			return fmt.Sprintf("the page cache cannot be emptied here: %v", err)
		}
	}
	return ""
}

func (b *Bench) has(path string) bool {
	if rest, ok := cutDir(path, drive.BenchDir); ok {
		_, err := os.Stat(filepath.Join(b.Bench, rest))
		return err == nil
	}
	_, err := os.Lstat(filepath.Join(b.RootFS, path))
	return err == nil
}

func cutDir(path, dir string) (string, bool) {
	rel, err := filepath.Rel(dir, path)
	return rel, err == nil && filepath.IsLocal(rel)
}

// countFiles counts as find DIR -type f does.
func countFiles(dir string) string {
	n := 0
	filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return nil
	})
	return fmt.Sprint(n)
}
