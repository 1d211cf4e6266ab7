package advise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/workbench"
	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// adviser is one advice in the making.
type adviser struct {
	o       *options
	place   *workbench.Place
	program string
	say     func(format string, args ...any)
	out     io.Writer // what the counted run writes
	serial  int
	said    string // the last complaint of a run that failed
}

// advise runs the command and judges.
func (a *adviser) advise(ctx context.Context) (*Advice, error) {
	adv := &Advice{Schema: Schema, Command: a.o.command}
	a.say("behind the Sentry, its calls counted")
	log := filepath.Join(a.place.Dir, "calls")
	var said lastWords
	exit, _, err := a.sentry(ctx, io.MultiWriter(a.out, &said), "--count-calls", "--debug-log", log)
	if err != nil {
		return nil, err
	}
	if exit == 125 || exit == 126 || exit == 127 {
		return nil, fmt.Errorf("the command could not be run (status %d): %s", exit, said.line())
	}
	if adv.Top, err = readCounts(log); err != nil {
		return nil, err
	}
	adv.Calls, adv.Refused = total(adv.Top), refusals(adv.Top)
	base, once := a.baseline(ctx)
	adv.Sentry, adv.Baseline = &Runs{Place: "the Sentry", Exit: exit}, base
	for i := 0; i < a.o.runs; i++ {
		if once != nil && base.Why == "" {
			a.say("run %d of %d by %s", i+1, a.o.runs, base.Place)
			e, t, err := once(ctx)
			if err != nil {
				return nil, fmt.Errorf("by %s: %w", base.Place, err)
			}
			base.add(e, t)
			if e != 0 && exit == 0 {
				base.Why = fmt.Sprintf("by %s it ends with status %d (%s)", base.Place, e, a.said)
			}
		}
		a.say("run %d of %d behind the Sentry", i+1, a.o.runs)
		e, t, err := a.sentry(ctx, io.Discard)
		if err != nil {
			return nil, err
		}
		adv.Sentry.add(e, t)
	}
	if base.Median > 0 && base.Why == "" {
		adv.Ratio = adv.Sentry.Median / base.Median
	}
	if adv.Sentry.Median > 0 {
		adv.Rate = float64(adv.Calls) / adv.Sentry.Median
	}
	adv.judge(a.o.dear)
	return adv, nil
}

func (r *Runs) add(exit int, took time.Duration) {
	r.Exit = exit
	r.Times = append(r.Times, took.Seconds())
	s := append([]float64(nil), r.Times...)
	sort.Float64s(s)
	r.Median = s[len(s)/2]
	if len(s)%2 == 0 {
		r.Median = (s[len(s)/2-1] + s[len(s)/2]) / 2
	}
}

// sentry runs the command once by bulkhead do.
func (a *adviser) sentry(ctx context.Context, out io.Writer, flags ...string) (int, time.Duration, error) {
	args := append([]string{"do", "--workdir", a.o.cwd}, flags...)
	for _, v := range a.o.volumes {
		args = append(args, "--volume", v)
	}
	return a.command(ctx, out, a.program, append(append(args, "--"), a.o.command...)...)
}

// lastWords keeps the end of what is written to it.
type lastWords struct{ end []byte }

func (l *lastWords) Write(p []byte) (int, error) {
	const kept = 512
	l.end = append(l.end, p...)
	l.end = l.end[max(0, len(l.end)-kept):]
	return len(p), nil
}

// line is the last line, without what a terminal would obey.
func (l *lastWords) line() string {
	lines := strings.Split(strings.TrimSpace(string(l.end)), "\n")
	words := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return -1
		}
		return r
	}, lines[len(lines)-1])
	if words == "" {
		return "it said nothing; try it with bulkhead do first"
	}
	return words
}

// command runs a command to its end.
func (a *adviser) command(ctx context.Context, out io.Writer, name string, args ...string) (int, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, a.o.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, a.o.cwd
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if ctx.Err() != nil {
		return 0, took, fmt.Errorf("it did not end within %v (--time-limit)", a.o.limit)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			return 128 + int(s.Signal()), took, nil
		}
		return exit.ExitCode(), took, nil
	}
	return 0, took, err
}

// baseline chooses what the Sentry is compared with, and how to run it once.
func (a *adviser) baseline(ctx context.Context) (*Runs, func(context.Context) (int, time.Duration, error)) {
	switch a.o.baseline {
	case "none":
		return &Runs{Place: "nothing", Why: "no run to compare with was wanted"}, nil
	case "native":
		return &Runs{Place: "the host itself"}, func(ctx context.Context) (int, time.Duration, error) {
			return a.command(ctx, io.Discard, a.o.command[0], a.o.command[1:]...)
		}
	}
	r := &Runs{Place: "runc"}
	d, err := a.runc(ctx)
	if err != nil {
		r.Why = err.Error() + "; --baseline native runs the command on the host itself, without any wall, to compare"
		return r, nil
	}
	return r, func(ctx context.Context) (int, time.Duration, error) { return a.onRunc(ctx, d) }
}

// runc finds runc.
func (a *adviser) runc(ctx context.Context) (drive.Driver, error) {
	all, err := spec.DefaultRuntimes()
	if err != nil {
		return nil, err
	}
	rs, err := spec.SelectRuntimes(all, []string{"runc"})
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("runc needs root here")
	}
	// The driver's mount namespace is a copy of this one as it is now.
	for i := range a.o.runs {
		if err := overlay(a.root(i)); err != nil {
			return nil, err
		}
	}
	f := &drive.Finder{Dir: a.place.Dir, RootFS: a.place.RootFS, Bench: a.place.Bench, Path: workbench.SearchPath(), Limit: 20 * time.Second}
	found := f.Find(ctx, rs[0])
	if found.Status != results.RuntimeMeasured {
		return nil, fmt.Errorf("runc: %s", found.Why)
	}
	return found.Driver, nil
}

// onRunc runs the command once in a container over the host's root: read-only
// below an overlay in memory, as bulkhead do has it.
func (a *adviser) onRunc(ctx context.Context, d drive.Driver) (int, time.Duration, error) {
	dir := a.root(a.serial)
	a.serial++
	ctx, cancel := context.WithTimeout(ctx, a.o.limit)
	defer cancel()
	c := &drive.Container{ID: fmt.Sprintf("advise-%d-%d", os.Getpid(), a.serial), Args: a.o.command, RootFS: filepath.Join(dir, "root"),
		Whole: true, Cwd: a.o.cwd, Env: map[string]string{"HOME": os.Getenv("HOME"), "PATH": os.Getenv("PATH")}}
	for _, v := range a.o.volumes {
		src, rest, _ := strings.Cut(v, ":")
		if dst, _, _ := strings.Cut(rest, ":"); dst != src {
			return 0, 0, fmt.Errorf("--volume %s: only a volume of the same name inside can be compared with runc; take --baseline native or none", v)
		}
		c.Binds = append(c.Binds, src)
	}
	out, err := d.Run(ctx, c)
	if err != nil {
		purge(d, c)
	}
	if out.Exit != 0 {
		a.said = drive.Complaint(out.Stderr)
	}
	return out.Exit, out.Wall, err
}

func (a *adviser) root(i int) string { return filepath.Join(a.place.Dir, fmt.Sprintf("root%d", i)) }

// leave unmounts the roots before the place is removed.
func (a *adviser) leave() {
	for i := range a.o.runs {
		unix.Unmount(filepath.Join(a.root(i), "root"), unix.MNT_DETACH)
		unix.Unmount(a.root(i), unix.MNT_DETACH)
	}
}

func purge(d drive.Driver, c *drive.Container) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	d.Purge(ctx, c)
	drive.Sweep()
}

// overlay mounts the host's root below a tmpfs at dir/root. The mount namespace
// is the workbench's own.
func overlay(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("advise", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("a tmpfs for the root: %w", err)
	}
	for _, d := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	opts := fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", dir, dir)
	if err := unix.Mount("overlay", filepath.Join(dir, "root"), "overlay", 0, opts); err != nil {
		return fmt.Errorf("an overlay over the host's root: %w", err)
	}
	return nil
}
