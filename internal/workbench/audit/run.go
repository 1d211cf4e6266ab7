package audit

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"bulkhead.dev/bulkhead/internal/workbench"
	"bulkhead.dev/bulkhead/internal/workbench/audit/probe"
	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/machine"
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// The probe as it is inside containers.
const (
	probeName = "audit-probe"
	probePath = drive.BenchDir + "/" + probeName
)

// How long things may take: the probe behind a wall, behind a virtual machine
// without hardware help.
const (
	probeLimit   = 10 * time.Minute
	probeLimitVM = 20 * time.Minute
	slowVM       = 15
)

// auditor is one audit.
type auditor struct {
	o       *options
	place   *workbench.Place
	rec     *Record
	profile *specs.LinuxSeccomp
	say     func(format string, args ...any)
	serial  int
	program string // bulkhead's, or ""
	rules   []filterRule
}

// run fills a record.
func (a *auditor) run(ctx context.Context) error {
	if err := a.install(); err != nil {
		return err
	}
	a.rec.Machine = machine.Describe(a.place.Dir)
	a.tables(ctx)
	s, err := defaultProfile(drive.DefaultCapabilities())
	if err != nil {
		return err
	}
	a.profile, a.rec.Profile = s, describeProfile(s)
	for _, c := range allCases() {
		a.rec.Cases = append(a.rec.Cases, &CaseResults{ID: c.ID, Family: c.Family, Call: c.Call, Nr: uint64(c.Nr), About: c.About, Results: map[string]string{}})
	}
	if err := a.host(ctx); err != nil {
		return err
	}
	for _, r := range a.o.plan {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.runtime(ctx, r)
	}
	a.rec.judge()
	return ctx.Err()
}

// install puts this program among the guest programs, as the probe.
func (a *auditor) install() error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("the probe: %w", err)
	}
	defer self.Close()
	f, err := os.OpenFile(filepath.Join(a.place.Bench, probeName), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return fmt.Errorf("the probe: %w", err)
	}
	if _, err := io.Copy(f, self); err != nil {
		f.Close()
		return fmt.Errorf("the probe: %w", err)
	}
	return f.Close()
}

// tables asks our own program for its filters and its table of calls.
func (a *auditor) tables(ctx context.Context) {
	for _, dir := range append(workbench.SearchPath(), filepath.SplitList(os.Getenv("PATH"))...) {
		if p, err := exec.LookPath(filepath.Join(dir, "bulkhead")); err == nil {
			a.program = p
			break
		}
	}
	if a.program == "" {
		a.rec.note("The program bulkhead was not found: its filters' rules and its table of calls are not shown.")
		return
	}
	var err error
	if a.rules, err = helpJSON[filterRule](ctx, a.program, "filters"); err != nil {
		a.rec.note("The rules of our own filters are not shown: %v.", err)
	}
	if a.rec.Table, err = helpJSON[tableRow](ctx, a.program, "syscalls"); err != nil {
		a.rec.note("The Sentry's table is not shown: %v.", err)
	}
}

// host runs the probe without a container.
func (a *auditor) host(ctx context.Context) error {
	a.say("the host's kernel, without a container")
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(a.place.Bench, probeName), probe.Command)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET}
	}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("the probe on the host: %w", err)
	}
	col := &Column{Name: hostColumn, Title: "host", Kernel: onHost, Status: audited, Version: "Linux " + a.rec.Machine.Kernel}
	a.rec.Columns = append(a.rec.Columns, col)
	return a.take(col, string(out))
}

// columnsOf are the places that one runtime gives.
func columnsOf(r *spec.Runtime) []*Column {
	c := &Column{Name: r.Name, Title: r.Title, Kernel: kernelOf(r), Runtime: r.Name, Status: audited}
	switch {
	case c.Kernel != onShared:
		return []*Column{c}
	case r.Name == "runc":
		p := *c
		p.Name, p.Title, p.Profile = "runc+profile", "runc, default profile", true
		c.Title = "runc, no profile"
		return []*Column{c, &p}
	}
	c.Name, c.Title, c.Profile = r.Name+"+profile", r.Title+", default profile", true
	return []*Column{c}
}

// kernelOf reads what stands between a runtime's containers and the host.
func kernelOf(r *spec.Runtime) string {
	switch {
	case strings.Contains(r.Wall, "VM"):
		return onVM
	case strings.Contains(r.Wall, "userspace"):
		return onUserspace
	}
	return onShared
}

// runtime audits one runtime: the probe in each of its columns, then what its
// processes may do to the host.
func (a *auditor) runtime(ctx context.Context, r *spec.Runtime) {
	cols := columnsOf(r)
	limit := a.o.tryLimit
	if kernelOf(r) == onVM {
		limit = max(limit, 3*time.Minute)
	}
	f := &drive.Finder{Dir: a.place.Dir, RootFS: a.place.RootFS, Bench: a.place.Bench, Path: workbench.SearchPath(), Limit: limit}
	a.say("%s: a first container", r.Title)
	found := f.Find(ctx, r)
	for _, c := range cols {
		c.Version = found.Version
		if found.Status != results.RuntimeMeasured {
			c.Status, c.Why = string(found.Status), found.Why
		}
		a.rec.Columns = append(a.rec.Columns, c)
	}
	if found.Driver == nil {
		return
	}
	defer found.Driver.Close()
	for _, c := range cols {
		a.say("%s: every call", c.Title)
		if err := a.probe(ctx, found.Driver, c); err != nil {
			c.Status, c.Why = "not audited", err.Error()
			continue
		}
		a.say("%s: what its processes may call", c.Title)
		a.rec.Walls = append(a.rec.Walls, a.processes(ctx, found.Driver, c))
	}
}

func (a *auditor) container(c *Column, args ...string) *drive.Container {
	a.serial++
	out := &drive.Container{ID: fmt.Sprintf("audit-%d-%d", os.Getpid(), a.serial), Args: args, RootFS: a.place.RootFS, Bench: a.place.Bench}
	if c.Profile {
		out.Seccomp = a.profile
	}
	return out
}

// probe runs the probe in a container.
func (a *auditor) probe(ctx context.Context, d drive.Driver, c *Column) error {
	limit, slow := probeLimit, "1"
	if c.Kernel == onVM {
		limit, slow = probeLimitVM, fmt.Sprint(slowVM)
	}
	tctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ct := a.container(c, probePath, probe.Command, slow)
	out, err := d.Run(tctx, ct)
	if err != nil || out.Exit != 0 {
		purge(d, ct)
	}
	if err != nil {
		return err
	}
	if out.Exit != 0 {
		return fmt.Errorf("the probe ended with status %d: %s", out.Exit, drive.Complaint(out.Stderr))
	}
	return a.take(c, out.Stdout)
}

func purge(d drive.Driver, c *drive.Container) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	d.Purge(ctx, c)
	drive.Sweep()
}

// take reads the probe's output, which comes from behind a wall: nothing in it
// is believed but a number where a number is due.
func (a *auditor) take(c *Column, out string) error {
	cases := allCases()
	seen := 0
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
		if s.Text() == "done" {
			if seen != len(cases) {
				return fmt.Errorf("the probe told of %d of %d calls", seen, len(cases))
			}
			return nil
		}
		var i int
		var state uint8
		var v int64
		if n, err := fmt.Sscan(s.Text(), &i, &state, &v); n != 3 || err != nil || i < 0 || i >= len(cases) || state > uint8(probe.NoChild) {
			return fmt.Errorf("the probe wrote %s", spec.Excerpt(s.Text()))
		}
		a.rec.Cases[i].Results[c.Name] = words(probe.Result{State: probe.State(state), Result: v}, cases[i].Family)
		seen++
	}
	return fmt.Errorf("the probe did not finish: it told of %d of %d calls", seen, len(cases))
}
