package rounds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// hungError is a run that its time limit ended.
type hungError struct{ what string }

func (e *hungError) Error() string { return e.what }

// wrongError is a result that is not right; it is final.
type wrongError struct{ error }

func (e wrongError) Unwrap() error { return e.error }

func wrongf(format string, args ...any) error { return wrongError{fmt.Errorf(format, args...)} }

func isWrong(err error) bool {
	var w wrongError
	return errors.As(err, &w)
}

// run is one workload on one runtime, once.
type run struct {
	*Bench
	w *spec.Workload
	r *drive.Runtime
}

// measure runs a workload once, for at most limit, and returns its metrics and its answer. After a
// failure nothing of it is left.
func (b *Bench) measure(ctx context.Context, w *spec.Workload, r *drive.Runtime, limit time.Duration) (map[string]float64, string, error) {
	rctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if w.Caches == "cold" {
		if err := b.DropCache(); err != nil {
			return nil, "", fmt.Errorf("empty the page cache: %w", err)
		}
	}
	x := run{b, w, r}
	got, answer, err := x.kind(rctx)
	if err != nil && rctx.Err() != nil && ctx.Err() == nil {
		killed, _ := drive.Sweep()
		err = &hungError{fmt.Sprintf("hung: still not done after %v, killed (%d processes left)", limit, killed)}
	}
	if _, serr := drive.Sweep(); serr != nil && err == nil {
		err = serr
	}
	return got, answer, err
}

func (x run) kind(ctx context.Context) (map[string]float64, string, error) {
	switch x.w.Kind {
	case spec.Command:
		return x.command(ctx)
	case spec.Lifecycle:
		return x.lifecycle(ctx)
	case spec.Exec:
		return x.exec(ctx)
	case spec.Idle, spec.Many:
		return x.hold(ctx)
	case spec.Rate:
		return x.rate(ctx)
	}
	return nil, "", fmt.Errorf("kind %s", x.w.Kind)
}

// container describes a new container of the workload.
func (x run) container(args []string) (*drive.Container, func(), error) {
	x.seq++
	c := &drive.Container{
		ID:   fmt.Sprintf("bench-%d-%d-%s", os.Getpid(), x.seq, x.w.Name),
		Args: args, Env: x.w.Env, RootFS: x.RootFS, Bench: x.Bench.Bench, Image: x.Image,
	}
	if !x.w.Writable {
		return c, func() {}, nil
	}
	c.Work = filepath.Join(x.Dir, c.ID+".work")
	if err := os.Mkdir(c.Work, 0o755); err != nil {
		return nil, nil, fmt.Errorf("a writable directory: %w", err)
	}
	return c, func() { os.RemoveAll(c.Work) }, nil
}

// purge removes a container after a failure, even when ctx is over.
func (x run) purge(c *drive.Container) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	x.r.Driver.Purge(ctx, c)
}

func (x run) command(ctx context.Context) (map[string]float64, string, error) {
	c, done, err := x.container(x.w.Command)
	if err != nil {
		return nil, "", err
	}
	defer done()
	out, err := x.r.Driver.Run(ctx, c)
	if err != nil || out.Exit != x.w.Check.Exit {
		x.purge(c)
	}
	if err != nil {
		return nil, "", err
	}
	return x.judge(out, map[string]time.Duration{"wall": out.Wall})
}

// judge checks an outcome and collects the metrics.
func (x run) judge(out drive.Outcome, times map[string]time.Duration) (map[string]float64, string, error) {
	answer, err := x.w.Check.Verify(out.Exit, out.Stdout)
	if err != nil {
		if c := drive.Complaint(out.Stderr); c != "" {
			err = fmt.Errorf("%w; its error output ends: %s", err, c)
		}
		return nil, answer, wrongError{err}
	}
	got := map[string]float64{}
	for i := range x.w.Metrics {
		m := &x.w.Metrics[i]
		if m.Source != "" {
			got[m.Name] = times[m.Source].Seconds() * m.Scale
			continue
		}
		if got[m.Name], err = m.Value(out.Stdout); err != nil {
			return nil, answer, wrongError{err}
		}
	}
	return got, answer, nil
}

func (x run) lifecycle(ctx context.Context) (map[string]float64, string, error) {
	c, done, err := x.container(x.w.Command)
	if err != nil {
		return nil, "", err
	}
	defer done()
	p, out, err := x.r.Driver.Life(ctx, c)
	if err != nil {
		x.purge(c)
		return nil, "", err
	}
	return x.judge(out, map[string]time.Duration{"create": p.Create, "start": p.Start, "first": p.First,
		"delete": p.Delete, "total": p.Total})
}

func (x run) exec(ctx context.Context) (map[string]float64, string, error) {
	c, done, err := x.container([]string{"/bin/sleep", "600"})
	if err != nil {
		return nil, "", err
	}
	defer done()
	h, err := x.r.Driver.Hold(ctx, c)
	defer x.release(h)
	if err != nil {
		return nil, "", err
	}
	out, err := x.r.Driver.Exec(ctx, h, x.w.Command)
	if err != nil {
		return nil, "", err
	}
	return x.judge(out, map[string]time.Duration{"wall": out.Wall})
}

func (x run) release(h *drive.Held) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return x.r.Driver.Release(ctx, h)
}

// hold starts Count containers at once, waits until each has answered, looks at
// their processes, and ends them.
func (x run) hold(ctx context.Context) (map[string]float64, string, error) {
	n := int(spec.Number(x.w.Count, 1))
	held := make([]*drive.Held, n)
	errs := make([]error, n)
	containers := make([]*drive.Container, n)
	for i := range n {
		c, done, err := x.container(x.w.Command)
		if err != nil {
			return nil, "", err
		}
		defer done()
		containers[i] = c
	}
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { held[i], errs[i] = x.up(ctx, containers[i]) })
	}
	wg.Wait()
	wall := time.Since(begin)
	settle(ctx)
	pids := x.r.Driver.Processes(held)
	memory := drive.Memory(pids)
	for i := range n {
		wg.Go(func() {
			if err := x.release(held[i]); err != nil && errs[i] == nil && ctx.Err() == nil {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	if err := firstError(errs); err != nil {
		return nil, "", err
	}
	if len(pids) == 0 || memory == 0 {
		return nil, "", fmt.Errorf("no process of a running container was found")
	}
	got := map[string]float64{}
	all := map[string]float64{"wall": wall.Seconds(), "memory": float64(memory) / float64(n), "processes": float64(len(pids)) / float64(n)}
	for _, m := range x.w.Metrics {
		got[m.Name] = all[m.Source] * m.Scale
	}
	return got, "", nil
}

// settle lets containers that have answered go to sleep before they are looked
// at; it is no part of a time.
func settle(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond):
	}
}

// up starts a container that stays and checks its first output.
func (x run) up(ctx context.Context, c *drive.Container) (*drive.Held, error) {
	h, err := x.r.Driver.Hold(ctx, c)
	if err != nil {
		return h, err
	}
	out, err := h.WaitOutput(ctx)
	if errors.Is(err, drive.ErrUnseen) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	if _, err := x.w.Check.Verify(x.w.Check.Exit, out); err != nil {
		return h, wrongError{err}
	}
	return h, nil
}

func firstError(errs []error) error {
	failed := 0
	var first error
	for _, e := range errs {
		if e != nil {
			failed++
			if first == nil {
				first = e
			}
		}
	}
	if failed > 1 {
		return fmt.Errorf("%d of %d containers failed, the first: %w", failed, len(errs), first)
	}
	return first
}

// rate runs the command in Parallel loops for Seconds and counts whole runs.
func (x run) rate(ctx context.Context) (map[string]float64, string, error) {
	lanes := int(spec.Number(x.w.Parallel, 1))
	length := time.Duration(spec.Number(x.w.Seconds, 1) * float64(time.Second))
	var (
		mu   sync.Mutex
		runs int   // under mu
		bad  error // under mu
	)
	next := func() *drive.Container {
		mu.Lock()
		defer mu.Unlock()
		if bad != nil || ctx.Err() != nil {
			return nil
		}
		c, _, err := x.container(x.w.Command) // never writable: see below
		bad = err
		return c
	}
	begin := time.Now()
	var wg sync.WaitGroup
	for range lanes {
		wg.Go(func() {
			for time.Since(begin) < length {
				c := next()
				if c == nil {
					return
				}
				err := x.oneRun(ctx, c)
				mu.Lock()
				if err == nil {
					runs++
				} else if bad == nil {
					bad = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	if bad == nil {
		bad = ctx.Err()
	}
	if bad != nil {
		return nil, "", bad
	}
	got := map[string]float64{}
	for _, m := range x.w.Metrics {
		got[m.Name] = float64(runs) / took.Seconds() * m.Scale
	}
	return got, "", nil
}

func (x run) oneRun(ctx context.Context, c *drive.Container) error {
	out, err := x.r.Driver.Run(ctx, c)
	if err == nil {
		_, err = x.w.Check.Verify(out.Exit, out.Stdout)
		if c := drive.Complaint(out.Stderr); err != nil && c != "" {
			err = fmt.Errorf("%w; its error output ends: %s", err, strings.TrimSpace(c))
		}
	}
	if err != nil {
		x.purge(c)
	}
	return err
}
