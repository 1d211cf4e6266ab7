package workbench

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// options are the command line's.
type options struct {
	quick, full                 bool
	runtimes, workloads         string
	runtimesFile, workloadsFile string
	onlyFiles                   bool
	baseline                    string
	rounds                      int
	timeLimit, tryLimit         time.Duration
	rootfs, image, out, work    string
	resume                      bool
	space                       uint64 // that must be free below work; 0 for as much as any workload needs
}

var errHelp = errors.New("help was asked for")

const defaultBaseline = "runc"

// Rounds and time limits of the two modes.
const (
	quickRounds = 10
	fullRounds  = 10
	quickLimit  = 170 * time.Second // the report and the clean-up fit into the three minutes
	fullLimit   = 35 * time.Minute
)

func parse(args []string, stdout, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&o.quick, "quick", false, "")
	f.BoolVar(&o.full, "full", false, "")
	f.StringVar(&o.runtimes, "runtimes", "", "")
	f.StringVar(&o.workloads, "workloads", "", "")
	f.StringVar(&o.runtimesFile, "runtimes-file", "", "")
	f.StringVar(&o.workloadsFile, "workloads-file", "", "")
	f.BoolVar(&o.onlyFiles, "only-files", false, "")
	f.StringVar(&o.baseline, "baseline", defaultBaseline, "")
	f.IntVar(&o.rounds, "rounds", 0, "")
	f.DurationVar(&o.timeLimit, "time-limit", 0, "")
	f.DurationVar(&o.tryLimit, "try-limit", 0, "")
	f.StringVar(&o.rootfs, "rootfs", "", "")
	f.StringVar(&o.image, "image", "", "")
	f.StringVar(&o.out, "out", "report", "")
	f.StringVar(&o.work, "work", "/var/tmp", "")
	f.BoolVar(&o.resume, "resume", false, "")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			return nil, errHelp
		}
		return nil, fmt.Errorf("%w (bulkhead bench --help shows the flags)", err)
	}
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: name workloads with --workloads and runtimes with --runtimes", rest[0])
	case o.quick && o.full:
		return errors.New("--quick and --full exclude each other")
	case o.rounds < 0 || o.rounds > 1000:
		return fmt.Errorf("--rounds %d: want 1 to 1000", o.rounds)
	case o.timeLimit < 0:
		return fmt.Errorf("--time-limit %v: want a positive time", o.timeLimit)
	case o.tryLimit < 0:
		return fmt.Errorf("--try-limit %v: want a positive time", o.tryLimit)
	case o.onlyFiles && o.runtimesFile == "" && o.workloadsFile == "":
		return errors.New("--only-files needs --runtimes-file or --workloads-file")
	}
	return nil
}

func (o *options) mode() string {
	if o.full {
		return "full"
	}
	return "quick"
}

// plan is what is to be measured: the files read, the names resolved.
type plan struct {
	mode      string
	runtimes  []*spec.Runtime
	leftOut   []*spec.Runtime // not of this mode
	workloads []*spec.Workload
	rounds    int
	limit     time.Duration
}

// plan reads the files; every mistake in them is found before anything starts.
func (o *options) plan() (*plan, error) {
	p := &plan{mode: o.mode(), rounds: quickRounds, limit: quickLimit}
	if o.full {
		p.rounds, p.limit = fullRounds, fullLimit
	}
	if o.rounds > 0 {
		p.rounds = o.rounds
	}
	if o.timeLimit > 0 {
		p.limit = o.timeLimit
	}
	if err := o.planRuntimes(p); err != nil {
		return nil, err
	}
	return p, o.planWorkloads(p)
}

func (o *options) planRuntimes(p *plan) error {
	all, err := spec.DefaultRuntimes()
	if err != nil {
		return err
	}
	if o.runtimesFile != "" {
		more, err := spec.LoadRuntimes(o.runtimesFile)
		if err != nil {
			return err
		}
		if o.onlyFiles {
			all = nil
		}
		all = mergeRuntimes(all, more)
	}
	if i := slices.IndexFunc(all, func(r *spec.Runtime) bool { return r.Name == o.baseline }); i < 0 && o.baseline != defaultBaseline {
		_, err := spec.SelectRuntimes(all, []string{o.baseline})
		return fmt.Errorf("--baseline: %w", err)
	}
	if o.runtimes != "" {
		if all, err = spec.SelectRuntimes(all, split(o.runtimes)); err != nil {
			return err
		}
		p.runtimes = baselineFirst(all, o.baseline)
		return nil
	}
	for _, r := range baselineFirst(all, o.baseline) {
		if r.InMode(p.mode) {
			p.runtimes = append(p.runtimes, r)
		} else {
			p.leftOut = append(p.leftOut, r)
		}
	}
	return nil
}

// mergeRuntimes lets a user's runtime replace a built-in one of its name.
func mergeRuntimes(all, more []*spec.Runtime) []*spec.Runtime {
	for _, m := range more {
		replaced := false
		for i, r := range all {
			if r.Name == m.Name {
				all[i], replaced = m, true
			}
		}
		if !replaced {
			all = append(all, m)
		}
	}
	return all
}

func baselineFirst(all []*spec.Runtime, name string) []*spec.Runtime {
	var first, rest []*spec.Runtime
	for _, r := range all {
		if r.Name == name {
			first = append(first, r)
		} else {
			rest = append(rest, r)
		}
	}
	return append(first, rest...)
}

func (o *options) planWorkloads(p *plan) error {
	all, err := spec.Defaults()
	if err != nil {
		return err
	}
	chosen := map[string]bool{} // a user's own are measured whatever the mode
	if o.workloadsFile != "" {
		more, err := spec.LoadWorkloads(o.workloadsFile)
		if err != nil {
			return err
		}
		if o.onlyFiles {
			all = nil
		}
		for _, w := range more {
			chosen[w.Name] = true
			all = append(without(all, w.Name), w)
		}
	}
	if o.workloads != "" {
		if all, err = spec.Select(all, split(o.workloads)); err != nil {
			return err
		}
		for _, w := range all {
			chosen[w.Name] = true
		}
	}
	for _, w := range all {
		if !w.InMode(p.mode) && !chosen[w.Name] {
			continue
		}
		e, err := w.ForMode(p.mode)
		if err != nil {
			return err
		}
		p.workloads = append(p.workloads, e)
	}
	return nil
}

func without(all []*spec.Workload, name string) []*spec.Workload {
	var out []*spec.Workload
	for _, w := range all {
		if w.Name != name {
			out = append(out, w)
		}
	}
	return out
}

func split(names string) []string {
	var out []string
	for _, n := range strings.Split(names, ",") {
		if n = strings.TrimSpace(n); n != "" {
			out = append(out, n)
		}
	}
	return out
}

// labCache is where make lab keeps what it made.
func labCache() string {
	if d := os.Getenv("LAB_CACHE"); d != "" {
		return d
	}
	if os.Geteuid() == 0 {
		return "/var/cache/bulkhead-lab"
	}
	d, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(d, "bulkhead-lab")
}

// searchPath is where runtimes are looked for before $PATH: beside this
// program, in the build directory, and among what the lab has built.
func searchPath() []string {
	var dirs []string
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	return append(dirs, filepath.Join(labCache(), "bin"))
}
