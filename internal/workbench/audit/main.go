package audit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// Exit codes of the command.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitFinding = 3 // a condition of --fail-on holds
)

const usage = `usage: bulkhead audit [flags]
       bulkhead audit show [-o text|markdown|json|html|drill] AUDIT.json
       bulkhead audit cases

Calls every system call, and the risky arguments of the wide ones, inside each
runtime that is present, and tells what was answered, refused or killed, beside
the host without a profile and the default seccomp profile; and what each
runtime's own processes may still ask of the host's kernel. Every call is made
in a process of its own with arguments that do no harm. Takes about a minute.

  --runtime A,B     only these (runc, crun, runsc, bulkhead, bulkhead-vm, …)
  --runtimes-file F runtimes of your own, as bulkhead bench has them
  -o FORMAT         what goes to stdout: text (default), markdown, json, html, drill
  --out DIR         write audit.json, audit.md, audit.html and hardening.md there,
                    beside the report of bulkhead bench
  --fail-on LIST    exit with status 3 if one of these holds:
      weaker        a wall is not strictly stronger than the default profile
      guest>N       guest code of a wall reaches more than N host calls
      sentry>N      a Sentry's filter allows more than N host calls
      gofer>N       a Gofer's filter allows more than N host calls; so
                    hypervisor>N, virtiofsd>N and monitor>N of the VM wall
      unfiltered    a process of a wall has no seccomp filter at all
      leak          a call that the profile refuses is answered under it
      unused        a rule of our filters was not needed by the traced run
      missing       a runtime of --runtime could not be audited
      new=FILE      something answers that did not in that audit.json
  --workload CMD    also trace this command (/bin/sh -c); may be repeated
  --no-trace        leave the traced run out
  --rootfs DIR      the containers' root file system ("host": the host's own)
  --work DIR        where its files are for the while (default /var/tmp)
  --try-limit TIME  how long a runtime's first container may take (default 20s)
  --quiet           no progress on stderr

Examples:
  bulkhead audit
  bulkhead audit --runtime bulkhead --out report
  bulkhead audit --runtime bulkhead --fail-on 'weaker,guest>14,sentry>55,gofer>45'
  bulkhead audit --fail-on new=report/audit.json -o markdown
  bulkhead audit show -o drill report/audit.json > docs/hardening.md

Without root, the host and Bulkhead's Sentry are audited, and filters are not read
back. Exit status: 0 audited, 1 not, 2 wrong usage, 3 a condition of --fail-on holds.
`

// options are the command line's.
type options struct {
	runtimes, runtimesFile    string
	format, out, work, rootfs string
	failOn                    string
	tryLimit                  time.Duration
	noTrace, quiet            bool
	workloads                 list
	plan                      []*spec.Runtime
	conditions                []condition
}

type list []string

func (l *list) String() string     { return strings.Join(*l, ", ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

var errHelp = errors.New("help was asked for")

// Main is `bulkhead audit` with the arguments after that word.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	code, err := run(ctx, args, stdout, stderr)
	if err != nil && !errors.Is(err, workbench.ErrSaid) {
		fmt.Fprintf(stderr, "bulkhead audit: %v\n", err)
	}
	return code
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	if len(args) > 0 {
		switch args[0] {
		case "show":
			return show(args[1:], stdout)
		case "cases":
			return printCases(stdout)
		case "help":
			fmt.Fprint(stdout, usage)
			return exitOK, nil
		}
	}
	o, err := parse(args, stdout)
	if errors.Is(err, errHelp) {
		return exitOK, nil
	}
	if err != nil {
		return exitUsage, err
	}
	ctx, moved, code, err := workbench.Enclose(ctx, stderr)
	if moved || err != nil {
		return code, err
	}
	rec, err := Audit(ctx, o, stderr)
	if err != nil {
		return exitFailed, err
	}
	return finish(o, rec, stdout, stderr)
}

func parse(args []string, stdout io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("audit", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.runtimes, "runtime", "", "")
	f.StringVar(&o.runtimes, "runtimes", "", "")
	f.StringVar(&o.runtimesFile, "runtimes-file", "", "")
	f.StringVar(&o.format, "o", "text", "")
	f.StringVar(&o.out, "out", "", "")
	f.StringVar(&o.failOn, "fail-on", "", "")
	f.StringVar(&o.rootfs, "rootfs", "", "")
	f.StringVar(&o.work, "work", "/var/tmp", "")
	f.DurationVar(&o.tryLimit, "try-limit", 20*time.Second, "")
	f.Var(&o.workloads, "workload", "")
	f.BoolVar(&o.noTrace, "no-trace", false, "")
	f.BoolVar(&o.quiet, "quiet", false, "")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			return nil, errHelp
		}
		return nil, fmt.Errorf("%w (bulkhead audit --help shows the flags)", err)
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: name runtimes with --runtime", f.Arg(0))
	}
	if formats[o.format] == nil {
		return nil, fmt.Errorf("-o %s: want text, markdown, json, html or drill", o.format)
	}
	var err error
	if o.conditions, err = parseConditions(o.failOn); err != nil {
		return nil, err
	}
	return o, o.choose()
}

// choose picks the runtimes; a client such as ctr has no probe of its own.
func (o *options) choose() error {
	all, err := spec.DefaultRuntimes()
	if err != nil {
		return err
	}
	if o.runtimesFile != "" {
		more, err := spec.LoadRuntimes(o.runtimesFile)
		if err != nil {
			return err
		}
		all = append(all, more...)
	}
	if o.runtimes != "" {
		o.plan, err = spec.SelectRuntimes(all, strings.FieldsFunc(o.runtimes, func(r rune) bool { return r == ',' || r == ' ' }))
		return err
	}
	for _, r := range all {
		if r.Client == nil && r.InMode("quick") && !optional[r.Name] {
			o.plan = append(o.plan, r)
		}
	}
	return nil
}

// optional are runtimes that are audited only when named: a wall of the same
// kernel as another one.
var optional = map[string]bool{"runsc-kvm": true, "runsc-ptrace": true, "kata": true}

// Audit runs it.
func Audit(ctx context.Context, o *options, stderr io.Writer) (*Record, error) {
	out := o.out
	if out == "" {
		out = o.work
	}
	place, err := workbench.NewPlace(ctx, out, o.work, o.rootfs)
	if err != nil {
		return nil, err
	}
	defer place.Remove()
	a := &auditor{o: o, place: place, rec: &Record{Schema: Schema, Made: time.Now().UTC().Truncate(time.Second)}}
	begin := time.Now()
	a.say = func(format string, args ...any) {
		if !o.quiet {
			fmt.Fprintf(stderr, "%4.0fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
		}
	}
	if os.Geteuid() != 0 {
		a.rec.note("Audited without root: runtimes that need it are left out, and the filters of processes were not read back.")
	}
	return a.rec, a.run(ctx)
}

// finish writes what was asked for, and judges it.
func finish(o *options, rec *Record, stdout, stderr io.Writer) (int, error) {
	if o.out != "" {
		if err := writeAll(o.out, rec); err != nil {
			return exitFailed, err
		}
	}
	if _, err := io.WriteString(stdout, formats[o.format](rec)); err != nil {
		return exitFailed, err
	}
	found, err := rec.findings(o.conditions)
	if err != nil {
		return exitFailed, err
	}
	for _, f := range found {
		fmt.Fprintf(stderr, "bulkhead audit: --fail-on: %s\n", f)
	}
	if len(found) > 0 {
		return exitFinding, workbench.ErrSaid
	}
	return exitOK, nil
}

// formats are the ways of writing a record.
var formats = map[string]func(*Record) string{
	"text": text, "markdown": Markdown, "json": asJSON, "html": HTML, "drill": Drill,
}

// Files beside the bench report.
var files = map[string]string{"audit.json": "json", "audit.md": "markdown", "audit.html": "html", "hardening.md": "drill"}

func writeAll(dir string, rec *Record) error {
	for name, format := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(formats[format](rec)), 0o644); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	return nil
}

// show writes an audit that was made before.
func show(args []string, stdout io.Writer) (int, error) {
	f := flag.NewFlagSet("audit show", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	format := f.String("o", "text", "")
	if err := f.Parse(args); err != nil {
		return exitUsage, err
	}
	if f.NArg() != 1 || formats[*format] == nil {
		return exitUsage, errors.New("want bulkhead audit show [-o text|markdown|json|html|drill] AUDIT.json")
	}
	rec, err := Load(f.Arg(0))
	if err != nil {
		return exitFailed, err
	}
	_, err = io.WriteString(stdout, formats[*format](rec))
	return exitOK, err
}

// printCases lists what is called, for who wants to know before.
func printCases(w io.Writer) (int, error) {
	for _, c := range allCases() {
		fmt.Fprintf(w, "%-40s %#x", c.ID, c.Nr)
		for _, a := range c.Args {
			fmt.Fprintf(w, " %#x", a)
		}
		fmt.Fprintln(w)
	}
	return exitOK, nil
}

// ProbeMain is the hidden command that runs inside containers.
func ProbeMain(args []string) int { return probeMain(args) }
