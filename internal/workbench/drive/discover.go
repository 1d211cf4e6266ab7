package drive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/guest"
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// Runtime is a runtime as found on this machine; Driver is nil unless its
// status is "measured".
type Runtime struct {
	results.Runtime
	Driver Driver
}

// Finder looks for runtimes.
type Finder struct {
	Dir    string        // where drivers keep state
	RootFS string        // for the trial start
	Bench  string        // the guest programs
	Path   []string      // directories to look in besides $PATH, first
	Image  string        // for clients
	Mode   string        // of the measurement
	Limit  time.Duration // of a first run; 0: the runtime's own, or the usual one
}

// tryLimit is how long a first run may take where nobody says so.
const tryLimit = 10 * time.Second

// limit is how long a runtime's first run may take.
func (f *Finder) limit(r *spec.Runtime) time.Duration {
	limit := cmp.Or(f.Limit, time.Duration(r.TryLimit), tryLimit)
	if r.TimeShare[f.Mode] > 0 {
		limit *= slowTry
	}
	return limit
}

// Find looks for one runtime and tries to start it. What is wrong with it is
// part of the result.
func (f *Finder) Find(ctx context.Context, r *spec.Runtime) *Runtime {
	out := &Runtime{Runtime: results.Runtime{Name: r.Name, Title: r.Title, Wall: r.Wall, Isolation: r.Isolation,
		Needs: r.Needs, Command: r.Command, TimeShare: r.TimeShare[f.Mode], Status: results.RuntimeAbsent}}
	path, err := f.lookup(r.Command[0])
	if err != nil {
		out.Why = fmt.Sprintf("%s is not installed", r.Command[0])
		if r.WhenMissing != "" {
			out.Why += "; " + r.WhenMissing
		}
		return out
	}
	out.Version = version(ctx, path, r.Version)
	if r.OnlyClient != "" {
		out.Status, out.Why = results.RuntimeLeftOut, r.OnlyClient
		return out
	}
	out.Status = results.RuntimeBroken
	if os.Geteuid() != 0 && !r.Rootless {
		out.Why = "needs root: run the workbench as root (sudo bulkhead bench)"
		return out
	}
	d, err := f.open(r, path)
	if err == nil {
		err = f.try(ctx, r, d)
	}
	if err != nil {
		if d != nil {
			d.Close()
		}
		out.Why = err.Error()
		return out
	}
	out.Status, out.Driver = results.RuntimeMeasured, d
	return out
}

func (f *Finder) open(r *spec.Runtime, path string) (Driver, error) {
	if r.Client != nil {
		k, err := NewClient(r, path)
		if err != nil {
			return nil, err
		}
		return k, nil
	}
	o, err := NewOCI(r, path, f.Dir)
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (f *Finder) lookup(name string) (string, error) {
	if strings.Contains(name, "/") {
		return exec.LookPath(name)
	}
	for _, dir := range f.Path {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return exec.LookPath(name)
}

// slowTry is how many times longer the trial of a runtime may take that is known
// to be slow: a VM under software emulation boots for seconds.
const slowTry = 3

// try runs the smallest container there is and wants to see it answer.
func (f *Finder) try(ctx context.Context, r *spec.Runtime, d Driver) error {
	limit := f.limit(r)
	tctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := &Container{ID: fmt.Sprintf("bench-try-%s-%d", r.Name, os.Getpid()), Args: []string{BenchDir + "/" + guest.First},
		RootFS: f.RootFS, Bench: f.Bench, Image: f.Image}
	out, err := d.Run(tctx, c)
	bad := err != nil || out.Exit != 0 || out.Stdout != guest.Ready
	if bad {
		f.clear(d, c)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("hangs: a program of two system calls did not end within %v and was killed%s", limit, said(out))
	case err != nil:
		return err
	case out.Exit != 0:
		return fmt.Errorf("a first run failed with status %d: %s", out.Exit, Complaint(out.Stderr+"\n"+out.Stdout))
	case out.Stdout != guest.Ready:
		return fmt.Errorf("a first run wrote %s instead of %q", spec.Excerpt(out.Stdout), guest.Ready)
	}
	return nil
}

func said(o Outcome) string {
	if c := Complaint(o.Stderr); c != "" {
		return ": " + c
	}
	return ""
}

// clear removes what a failed try left, with a context of its own, for the
// caller's may be over.
func (f *Finder) clear(d Driver, c *Container) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d.Purge(ctx, c)
	Sweep()
}

// version is the first line that the runtime says about itself.
func version(ctx context.Context, path string, args []string) string {
	if len(args) == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	first = strings.TrimPrefix(first, filepath.Base(path)+" ")
	return strings.TrimPrefix(first, "version ")
}
