package workbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/machine"
	"bulkhead.dev/bulkhead/internal/workbench/report"
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/rounds"
)

// Names of the files of a report.
const (
	resultsFile = "results.json"
	matrixFile  = "matrix.md"
	pageFile    = "index.html"
	pictureFile = "overview.svg"
)

// measure does a whole measurement and writes the report.
func measure(ctx context.Context, o *options, p *plan, stdout, stderr io.Writer) (int, error) {
	begin := time.Now()
	if err := enter(); err != nil {
		return exitFailed, err
	}
	if err := drive.BecomeSubreaper(); err != nil {
		return exitFailed, err
	}
	drive.RemoveCgroups() // of one that was killed
	res, err := o.startingResults(p)
	if err != nil {
		return exitFailed, err
	}
	res.Rounds, res.Limit = p.rounds, p.limit.Seconds()
	o.space = p.space()
	s, err := newSite(ctx, o)
	if err != nil {
		return exitFailed, err
	}
	defer s.remove()
	res.Machine = machine.Describe(s.dir)
	res.RootFS = describeRoot(s)
	for _, n := range s.notes {
		res.Note(n)
	}
	noteLoad(res)
	found := find(ctx, o, p, s, res, stderr)
	if len(found) == 0 {
		return noRuntime(ctx, res)
	}
	defer closeAll(found)
	b := &rounds.Bench{
		Results: res, Runtimes: found, Workloads: p.workloads, Rounds: p.rounds,
		Dir: s.dir, RootFS: s.rootfs, Bench: s.bench, Image: o.image, DropCache: dropCaches, Full: s.full(o),
	}
	before := res.Elapsed
	clock := func() { res.Elapsed = before + time.Since(begin).Seconds() }
	b.Save = func() error { clock(); return res.Save(filepath.Join(o.out, resultsFile)) }
	if p.limit > 0 {
		b.Deadline = begin.Add(p.limit - seconds(before))
	}
	show := newProgress(stderr, begin)
	b.Progress = show.update
	runErr := b.Run(ctx)
	clock()
	show.end()
	return finish(o, res, runErr, stdout, stderr)
}

// minLeft is the least time for which a measurement is worth resuming.
const minLeft = 5 * time.Second

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// startingResults are new ones, or with --resume those of before.
func (o *options) startingResults(p *plan) (*results.Results, error) {
	path := filepath.Join(o.out, resultsFile)
	now := time.Now()
	if !o.resume {
		res := &results.Results{Schema: results.Schema, Started: now, Updated: now, Mode: p.mode, Baseline: o.baseline}
		res.Workloads = describeWorkloads(p)
		return res, nil
	}
	old, err := results.Load(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("--resume: there is no %s: start without --resume, or name its directory with --out", path)
	}
	if err != nil {
		return nil, fmt.Errorf("--resume: %w", err)
	}
	if err := sameWorkloads(old, describeWorkloads(p)); err != nil {
		return nil, fmt.Errorf("--resume %s: %w", path, err)
	}
	if left := p.limit - seconds(old.Elapsed); p.limit > 0 && left < minLeft {
		return nil, fmt.Errorf("--resume %s: %v of its time limit of %v are used up: --time-limit gives more; all sessions count", path, seconds(old.Elapsed).Round(time.Second), p.limit)
	}
	old.Complete, old.Runtimes = false, nil
	old.Note("The measurement was interrupted and resumed: its samples come from more than one session.")
	for _, c := range old.Cells {
		if c.Status == results.CellSkipped {
			c.Status, c.Why = results.CellPending, ""
		}
		if c.Runs > 0 { // what a run takes is known; the time it took is gone
			c.Spent, c.Runs = c.Spent/float64(c.Runs), 1
		}
		c.Warmed = c.Warmed && c.Status != results.CellPending && c.Status != results.CellOK
	}
	return old, nil
}

// find tries every runtime; those that do not start are rows of the report too.
func find(ctx context.Context, o *options, p *plan, s *site, res *results.Results, stderr io.Writer) []*drive.Runtime {
	f := &drive.Finder{Dir: s.dir, RootFS: s.rootfs, Bench: s.bench, Image: o.image, Path: searchPath(), Mode: p.mode, Limit: o.tryLimit}
	var found []*drive.Runtime
	for _, r := range p.runtimes {
		if ctx.Err() != nil {
			break
		}
		d := f.Find(ctx, r)
		res.Runtimes = append(res.Runtimes, d.Runtime)
		if d.Driver != nil {
			found = append(found, d)
			fmt.Fprintf(stderr, "%-14s %s\n", r.Name, d.Version)
			continue
		}
		fmt.Fprintf(stderr, "%-14s %s: %s\n", r.Name, d.Status, d.Why)
	}
	for _, r := range p.leftOut {
		res.Runtimes = append(res.Runtimes, results.Runtime{Name: r.Name, Title: r.Title, Wall: r.Wall, Isolation: r.Isolation, Needs: r.Needs,
			Command: r.Command, TimeShare: r.TimeShare[p.mode], Status: results.RuntimeLeftOut, Why: "not part of a " + p.mode + " measurement: name it with --runtimes, or measure with --full"})
	}
	return found
}

func noRuntime(ctx context.Context, res *results.Results) (int, error) {
	if ctx.Err() != nil {
		return exitInterrupted, errors.New("interrupted before anything was measured")
	}
	why := "none of the runtimes starts on this machine, so there is nothing to measure; each one's reason is above"
	if os.Geteuid() != 0 {
		why += "; most need root"
	}
	return exitFailed, errors.New(why)
}

func closeAll(found []*drive.Runtime) {
	for _, r := range found {
		r.Driver.Close()
	}
}

// finish writes the report of whatever was measured.
func finish(o *options, res *results.Results, runErr error, stdout, stderr io.Writer) (int, error) {
	code, interrupted := exitOK, false
	switch {
	case errors.Is(runErr, rounds.ErrDeadline):
		res.Note("The time limit ended the measurement; some cells have fewer samples than others, or none.")
	case errors.Is(runErr, context.Canceled):
		res.Note("The measurement was interrupted; some cells have fewer samples than others, or none.")
		code, interrupted = exitInterrupted, true
	case runErr != nil:
		res.Note(fmt.Sprintf("The measurement ended early; some cells have fewer samples than others, or none: %v.", runErr))
		code = exitFailed
	}
	res.Updated = time.Now()
	err := write(o.out, res)
	if err != nil || runErr != nil && code == exitFailed {
		// The disk is full, say: what was measured must not be lost with it.
		fmt.Fprint(stdout, report.Markdown(res))
		return exitFailed, errors.Join(runErr, err)
	}
	fmt.Fprint(stdout, report.Summary(res))
	fmt.Fprintf(stdout, "\n%s\n", filepath.Join(o.out, pageFile))
	if interrupted {
		fmt.Fprintf(stderr, "interrupted: what was measured is in %s; go on with --resume --out %s\n", o.out, o.out)
	}
	return code, nil
}

// write makes the files of the report.
func write(dir string, res *results.Results) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := res.Save(filepath.Join(dir, resultsFile)); err != nil {
		return err
	}
	if err := results.WriteFile(filepath.Join(dir, matrixFile), []byte(report.Markdown(res))); err != nil {
		return err
	}
	if picture := report.Picture(res); picture != "" {
		if err := results.WriteFile(filepath.Join(dir, pictureFile), []byte(picture)); err != nil {
			return err
		}
	}
	return results.WriteFile(filepath.Join(dir, pageFile), []byte(report.HTML(res)))
}
