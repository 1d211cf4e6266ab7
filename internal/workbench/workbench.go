// Package workbench owns the command `bulkhead bench`: it measures container
// runtimes side by side on the user's machine and writes the matrix.
//
//	spec     workloads and runtimes, as data        guest   programs taken into containers
//	drive    containers, time limits, cleaning up   rounds  what runs when
//	results  the record                             stats   medians, intervals, paired ratios
//	report   matrix.md and index.html               machine what the figures were taken on
//
// It is a program of its own, bulkhead-bench, because what it imports must not
// weigh on the commands that start containers. It holds no locks.
package workbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes of the command.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

const usage = `usage: bulkhead bench [--quick | --full] [flags]
       bulkhead bench compare [--threshold PERCENT] [--runtimes A,B] [--all] [--json] OLD NEW
       bulkhead bench report [--out DIR] RESULTS.json
       bulkhead bench list

Measures the container runtimes of this machine side by side, and writes
results.json, matrix.md and index.html into the directory report.

  --quick               at most three minutes (the default)
  --full                every workload and every runtime: at most 35 minutes
  --runtimes A,B        only these
  --runtimes-file FILE  runtimes of your own (YAML); they come after the built-in ones
  --workloads A,B       only these
  --workloads-file FILE workloads of your own (YAML); they come after the built-in ones
  --only-files          with the two above: leave the built-in ones out
  --baseline NAME       what ratios are against (default runc)
  --rounds N            rounds at most
  --time-limit TIME     another limit, such as 10m or 3h, over all sessions of one measurement;
                        slow workloads and runtimes then have fewer rounds than others
  --rootfs DIR          the root file system that is run; "host" is the host's own, read-only
                        (default: what make lab has made, else host)
  --image NAME          the image that clients such as ctr run, made from that file system
  --out DIR             where the report goes (default report)
  --work DIR            where containers' writable directories are (default /var/tmp)
  --resume              go on with the results in --out
  --try-limit TIME      how long a runtime's first run may take, three times as long for one
                        with a time-share (default 10s, or what the runtime's file says)

^C ends the measurement and keeps what was measured. Exit status: 0 measured, 1
not, or compare found a regression (a figure that is significantly worse by more
than the threshold of 5 %, or that there was and now fails), 2 wrong usage or
nothing to compare, 130 interrupted.
`

// Main runs the command with these arguments, the name of the program left out.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return run(ctx, args, stdout, stderr, true)
}

// run is Main for tests, which do not want namespaces of their own.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, isolate bool) int {
	code, err := dispatch(untilTold(ctx), args, stdout, stderr, isolate)
	if err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintf(stderr, "bulkhead bench: %v\n", err)
	}
	return code
}

// errSaid is an error that has been printed already.
var errSaid = errors.New("")

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer, isolate bool) (int, error) {
	if len(args) > 0 {
		switch args[0] {
		case "compare":
			return compare(args[1:], stdout, stderr)
		case "report":
			return rerender(args[1:], stdout, stderr)
		case "list":
			return list(args[1:], stdout, stderr)
		case "help":
			fmt.Fprint(stdout, usage)
			return exitOK, nil
		}
	}
	o, err := parse(args, stdout, stderr)
	if err != nil {
		if errors.Is(err, errHelp) {
			return exitOK, nil
		}
		return exitUsage, err
	}
	p, err := o.plan()
	if err != nil {
		return exitUsage, err
	}
	if isolate && wantsIsolation(p) {
		return outer(ctx, stderr)
	}
	return measure(ctx, o, p, stdout, stderr)
}
