package workbench

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"

	"bulkhead.dev/bulkhead/internal/workbench/report"
	"bulkhead.dev/bulkhead/internal/workbench/results"
)

// compare shows what changed between two results, and fails on a regression.
func compare(args []string, stdout, stderr io.Writer) (int, error) {
	f := flag.NewFlagSet("bench compare", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	threshold := f.Float64("threshold", 5, "")
	runtimes := f.String("runtimes", "", "")
	all := f.Bool("all", false, "")
	asJSON := f.Bool("json", false, "")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			return exitOK, nil
		}
		return exitUsage, err
	}
	if f.NArg() != 2 {
		return exitUsage, fmt.Errorf("compare: want two results files (or directories), OLD and NEW, behind the flags, got %d arguments", f.NArg())
	}
	if *threshold < 0 {
		return exitUsage, fmt.Errorf("--threshold %v: want a percentage from 0", *threshold)
	}
	old, err := loadAny(f.Arg(0))
	if err != nil {
		return exitUsage, err
	}
	now, err := loadAny(f.Arg(1))
	if err != nil {
		return exitUsage, err
	}
	names := split(*runtimes)
	for _, n := range names {
		if now.RuntimeNamed(n) == nil {
			return exitUsage, fmt.Errorf("--runtimes: %s has no runtime called %q", f.Arg(1), n)
		}
	}
	d := report.Compare(old, now, report.CompareOptions{Threshold: *threshold / 100, Runtimes: names})
	if *asJSON {
		out, err := d.JSON()
		if err != nil {
			return exitFailed, err
		}
		stdout.Write(out)
	} else {
		fmt.Fprint(stdout, d.Text(*all))
	}
	switch {
	case d.Compared == 0: // in CI this must not look like success
		return exitUsage, errors.New("compare: the two results have no figure in common")
	case d.Regressions > 0:
		return exitFailed, errSaid
	}
	return exitOK, nil
}

// loadAny reads a results file, or the one in a report's directory.
func loadAny(path string) (*results.Results, error) {
	r, err := results.Load(path)
	if err == nil {
		return r, nil
	}
	if r, derr := results.Load(filepath.Join(path, resultsFile)); derr == nil {
		return r, nil
	}
	return nil, err
}

// rerender makes the documents of existing results anew.
func rerender(args []string, stdout, stderr io.Writer) (int, error) {
	f := flag.NewFlagSet("bench report", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	out := f.String("out", "", "")
	if err := f.Parse(args); err != nil {
		return exitUsage, err
	}
	if f.NArg() != 1 {
		return exitUsage, fmt.Errorf("report: want one results file (or directory), got %d", f.NArg())
	}
	res, err := loadAny(f.Arg(0))
	if err != nil {
		return exitUsage, err
	}
	if *out == "" {
		*out = f.Arg(0)
		if filepath.Ext(*out) == ".json" {
			*out = filepath.Dir(*out)
		}
	}
	if err := write(*out, res); err != nil {
		return exitFailed, err
	}
	fmt.Fprintln(stdout, filepath.Join(*out, pageFile))
	return exitOK, nil
}
