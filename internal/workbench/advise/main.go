package advise

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench"
)

const usage = `usage: bulkhead advise [flags] -- COMMAND…

Runs the command behind the Sentry with its system calls counted, then several
times for its cost beside runc, and recommends a runtime with the reasons.
Nothing that the command writes stays, but in a --volume.

  --runs N           timed runs in each place (default 5)
  --baseline B       runc (default; root), native: on the host itself, without
                     any wall, so only for code that you trust; none
  --max-cost R       how many times the baseline the Sentry may cost (default 1.5)
  --volume SRC:DST[:ro]  as bulkhead do has it; may be repeated
  --workdir DIR      where the command starts (default: here)
  --time-limit TIME  of one run (default 10m)
  -o FORMAT          text (default) or json
  --show             show what the counted run writes, on stderr
  --quiet            no progress on stderr

Examples:
  bulkhead advise -- python3 job.py
  bulkhead advise --volume "$PWD:$PWD" --runs 9 -- make test
  bulkhead advise -o json --baseline none -- ./server --self-test

Exit status: 0 with advice, 1 without, 2 wrong usage.
`

// options are the command line's.
type options struct {
	runs        int
	baseline    string
	dear        float64
	volumes     list
	cwd         string
	limit       time.Duration
	format      string
	show, quiet bool
	command     []string
}

type list []string

func (l *list) String() string     { return strings.Join(*l, ", ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// Main is `bulkhead advise` with the arguments after that word.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	code, err := run(ctx, args, stdout, stderr)
	if err != nil && !errors.Is(err, workbench.ErrSaid) {
		fmt.Fprintf(stderr, "bulkhead advise: %v\n", err)
	}
	return code
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return 0, nil
	}
	if err != nil {
		return 2, err
	}
	ctx, moved, code, err := workbench.Enclose(ctx, stderr)
	if moved || err != nil {
		return code, err
	}
	a := &adviser{o: o, out: io.Discard}
	if o.show {
		a.out = stderr
	}
	a.say = func(format string, args ...any) {
		if !o.quiet {
			fmt.Fprintf(stderr, "  %s\n", fmt.Sprintf(format, args...))
		}
	}
	if a.program, err = find("bulkhead"); err != nil {
		return 1, err
	}
	if a.place, err = workbench.NewPlace(ctx, "/var/tmp", "/var/tmp", "host"); err != nil {
		return 1, err
	}
	defer a.place.Remove()
	defer a.leave()
	adv, err := a.advise(ctx)
	if err != nil {
		return 1, err
	}
	if o.format == "json" {
		e := json.NewEncoder(stdout)
		e.SetIndent("", " ")
		return 0, e.Encode(adv)
	}
	_, err = io.WriteString(stdout, adv.text())
	return 0, err
}

func parse(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("advise", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&o.runs, "runs", 5, "")
	f.StringVar(&o.baseline, "baseline", "runc", "")
	f.Float64Var(&o.dear, "max-cost", 1.5, "")
	f.Var(&o.volumes, "volume", "")
	f.StringVar(&o.cwd, "workdir", "", "")
	f.DurationVar(&o.limit, "time-limit", 10*time.Minute, "")
	f.StringVar(&o.format, "o", "text", "")
	f.BoolVar(&o.show, "show", false, "")
	f.BoolVar(&o.quiet, "quiet", false, "")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, fmt.Errorf("%w (bulkhead advise --help shows the flags)", err)
	}
	o.command = f.Args()
	switch {
	case len(o.command) == 0:
		return nil, errors.New("no command: give one after --, as in: bulkhead advise -- python3 job.py")
	case o.runs < 1 || o.runs > 1000:
		return nil, fmt.Errorf("--runs %d: want 1 to 1000", o.runs)
	case o.baseline != "runc" && o.baseline != "native" && o.baseline != "none":
		return nil, fmt.Errorf("--baseline %s: want runc, native or none", o.baseline)
	case o.format != "text" && o.format != "json":
		return nil, fmt.Errorf("-o %s: want text or json", o.format)
	case o.dear <= 0:
		return nil, fmt.Errorf("--max-cost %g: want more than 0", o.dear)
	}
	if o.cwd == "" {
		o.cwd, _ = os.Getwd()
	}
	return o, nil
}

// find looks for a program beside this one, then on the PATH.
func find(name string) (string, error) {
	for _, dir := range workbench.SearchPath() {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	p, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside this program nor on the PATH: make build makes it", name)
	}
	return p, nil
}
