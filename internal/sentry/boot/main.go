package boot

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/wire"
)

// options are the descriptors that the lifecycle passes.
type options struct {
	control, gofer, config, ready int
	start                         bool
	enclosed                      bool // executed again, behind Landlock
}

func parse(args []string) (options, error) {
	o := options{}
	f := flag.NewFlagSet("sentry", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&o.control, "control-fd", -1, "")
	f.IntVar(&o.gofer, "gofer-fd", -1, "")
	f.IntVar(&o.config, "config-fd", -1, "")
	f.IntVar(&o.ready, "ready-fd", -1, "")
	f.BoolVar(&o.start, "start", false, "")
	f.BoolVar(&o.enclosed, "enclosed", false, "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.config < 0 || o.gofer < 0 {
		return o, fmt.Errorf("sentry: --config-fd and --gofer-fd are needed; this command is for bulkhead itself")
	}
	return o, nil
}

// exitInternal is the Sentry's exit code when it fails itself.
const exitInternal = 125

// Main is the program of the Sentry. Its result is the exit code: init's exit
// status, or 128 and the signal that ended it.
func Main(args []string) int {
	// Guest processes die with the thread that made the zygote.
	runtime.LockOSThread()
	tuneGC()
	// Set by hand, it is not adjusted by reading the host's files later. Tasks
	// that sleep in the host's kernel hold a P for a moment: have some spare.
	runtime.GOMAXPROCS(runtime.NumCPU() + 2 + platform.SparePs)
	raiseFiles()
	wire.NoCore()
	signals, caught := make(chan os.Signal, 64), make(chan struct{})
	go func() { // each hands over between threads twice, of which this one is none
		notify(signals)
		close(caught)
	}()
	o, err := parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead:", err)
		return exitInternal
	}
	if o.ready >= 0 {
		lastWords(o.ready) // the filters let it not be done later
	}
	s, err := load(o, args, caught)
	if o.ready >= 0 {
		wire.WriteReady(o.ready, err)
	}
	if err != nil {
		if o.ready < 0 {
			fmt.Fprintln(os.Stderr, "bulkhead:", err)
		}
		return exitInternal
	}
	go s.forwardSignals(signals)
	s.serve(o.control)
	if o.start {
		if err := s.Start(wire.StartArgs{}, nil); err != nil {
			fmt.Fprintln(os.Stderr, "bulkhead:", err)
			return exitInternal
		}
	}
	return s.finish()
}

// raiseFiles lifts the soft limit of descriptors: host files are held open for
// the guest's.
func raiseFiles() {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil && l.Cur < l.Max {
		l.Cur = l.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	}
}

// notify has the signals that are meant for init sent to c. SIGPIPE and the
// faults stay the runtime's.
func notify(c chan os.Signal) {
	signal.Ignore(syscall.SIGPIPE)
	for n := syscall.Signal(1); n < 32; n++ {
		switch n {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGPIPE, syscall.SIGCHLD, syscall.SIGURG, syscall.SIGSEGV, syscall.SIGBUS,
			syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGPROF, syscall.SIGABRT, syscall.SIGSTKFLT:
		default:
			signal.Notify(c, n)
		}
	}
}
