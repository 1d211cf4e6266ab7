package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"bulkhead.dev/bulkhead/internal/container"
)

// Exit codes that are not a container's.
const (
	exitFailure = 1
	exitUsage   = 1 // as runc, whose callers know no other
	exitCommand = 3 // there is no such command; as runc
	exitExec    = 255
)

var (
	errHelp     = flag.ErrHelp
	errInterval = errors.New("--interval must be greater than 0")
	errNegative = errors.New("--pids and --timeout cannot be negative")
)

// context is what a command works with: the streams, the global flags and the
// log.
type context struct {
	stdin, stdout, stderr *os.File
	flags                 *flag.FlagSet

	root          string
	logPath       string
	logFormat     string
	debug         bool
	wall          container.Wall
	systemdCgroup bool
	rootless      string

	log *os.File
	// inherited is how many descriptors from 3 on came from the caller.
	inherited int
}

// checkPreserve refuses a --preserve-fds that counts more than the caller has
// passed: what follows are this program's own.
func (c *context) checkPreserve(n int) error {
	switch {
	case n < 0:
		return fmt.Errorf("--preserve-fds=%d is negative", n)
	case n > c.inherited:
		return fmt.Errorf("--preserve-fds=%d: descriptor %d was not passed to this program", n, 3+c.inherited)
	}
	return nil
}

func newFlags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs
}

// globals parses the flags before the command. It returns what follows, or the
// exit code if the program is done.
func (c *context) globals(args []string) (rest []string, code int) {
	fs := newFlags("bulkhead")
	fs.StringVar(&c.root, "root", "", "")
	fs.StringVar(&c.logPath, "log", "", "")
	fs.StringVar(&c.logFormat, "log-format", "text", "")
	fs.BoolVar(&c.debug, "debug", false, "")
	fs.BoolVar(&c.systemdCgroup, "systemd-cgroup", false, "")
	fs.StringVar(&c.rootless, "rootless", "auto", "")
	fs.String("criu", "", "")
	wall := fs.String("wall", string(c.wall), "")
	showVersion := fs.Bool("version", false, "")
	fs.BoolVar(showVersion, "v", false, "")
	fail := func(format string, a ...any) ([]string, int) {
		fmt.Fprintf(c.stderr, "bulkhead: "+format+"; see bulkhead --help\n", a...)
		return nil, exitUsage
	}
	switch err := fs.Parse(args); {
	case err == errHelp:
		help(c.stdout)
		return nil, 0
	case err != nil:
		return fail("%v", err)
	}
	if *showVersion {
		printVersion(c.stdout)
		return nil, 0
	}
	c.wall = container.Wall(*wall)
	switch {
	case c.wall != container.WallSentry && c.wall != container.WallVM:
		return fail("--wall=%s: want sentry or vm", *wall)
	case c.logFormat != "text" && c.logFormat != "json":
		return fail("--log-format=%s: want text or json", c.logFormat)
	case c.rootless != "auto" && c.rootless != "true" && c.rootless != "false":
		return fail("--rootless=%s: want true, false or auto", c.rootless)
	}
	return fs.Args(), -1
}

// runtime is the container package's view of the global flags.
func (c *context) runtime() (*container.Runtime, error) {
	rt := &container.Runtime{
		Root:          c.root,
		Wall:          c.wall,
		SystemdCgroup: c.systemdCgroup,
		Rootless:      c.rootless,
		Warn:          func(format string, a ...any) { c.logf("warning", format, a...) },
	}
	if c.debug {
		rt.Debug = func(format string, a ...any) { c.logf("debug", format, a...) }
	}
	return rt, rt.Init()
}

// fail reports an error of a command: to the log, where engines look for it,
// and to stderr.
func (c *context) fail(err error) int {
	return c.failWith(exitFailure, err)
}

func (c *context) failWith(code int, err error) int {
	if err == nil {
		return code
	}
	c.logf("error", "%v", err)
	if c.log != nil {
		fmt.Fprintf(c.stderr, "bulkhead: %v\n", err)
	}
	return code
}

// exactly checks how many arguments follow the flags.
func exactly(args []string, n int, what string) error {
	if len(args) == n {
		return nil
	}
	return fmt.Errorf("want %s, got %d argument(s)", what, len(args))
}

// withContainer runs f on the container named by the only argument.
func (c *context) withContainer(args []string, f func(rt *container.Runtime, id string) error) int {
	if err := exactly(args, 1, "one container id"); err != nil {
		return c.fail(err)
	}
	rt, err := c.runtime()
	if err != nil {
		return c.fail(err)
	}
	if err := f(rt, args[0]); err != nil {
		return c.fail(err)
	}
	return 0
}

// stringList is a flag that may be given several times.
type stringList []string

func (l *stringList) String() string     { return strings.Join(*l, ",") }
func (l *stringList) Set(v string) error { *l = append(*l, v); return nil }

// size is a flag in bytes, with K, M, G or T for powers of 1024.
type size int64

func (s *size) String() string { return fmt.Sprint(int64(*s)) }

func (s *size) Set(v string) error {
	n, err := parseSize(v)
	if err == nil {
		*s = size(n)
	}
	return err
}

func parseSize(v string) (int64, error) {
	digits := strings.TrimRight(strings.ToLower(v), "kmgtib")
	unit := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(v[len(digits):]), "b"), "i")
	shift, ok := map[string]uint{"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[unit]
	var n int64
	for _, r := range digits {
		if r < '0' || r > '9' || n > 1<<50 {
			ok = false
			break
		}
		n = n*10 + int64(r-'0')
	}
	if !ok || digits == "" || n<<shift>>shift != n {
		return 0, errors.New("want a size such as 67108864, 64M or 1G")
	}
	return n << shift, nil
}

// usage prints what --help of one command shows.
func (c *context) usage(w io.Writer, cmd *command) {
	fmt.Fprintf(w, "bulkhead %s: %s\n\nUsage:\n  bulkhead [global flags] %s [flags] %s\n", cmd.name, cmd.short, cmd.name, cmd.args)
	first := true
	c.flags.VisitAll(func(f *flag.Flag) {
		if f.Usage == "" {
			return
		}
		if first {
			fmt.Fprint(w, "\nFlags:\n")
			first = false
		}
		_, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  %-28s %s\n", flagNames(c.flags, f), text)
	})
	if cmd.examples != "" {
		fmt.Fprint(w, "\nExamples:\n")
		for _, line := range strings.Split(strings.Trim(cmd.examples, "\n"), "\n") {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
}

// flagNames shows a flag with its short form and the kind of its value.
func flagNames(fs *flag.FlagSet, f *flag.Flag) string {
	name := "--" + f.Name
	fs.VisitAll(func(g *flag.Flag) {
		if len(g.Name) == 1 && g.Value == f.Value {
			name = "-" + g.Name + ", " + name
		}
	})
	if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
		return name
	}
	kind, _ := flag.UnquoteUsage(f)
	return name + " " + strings.ToUpper(kind)
}

// alias gives a flag a one-letter form.
func alias(fs *flag.FlagSet, short, long string) {
	fs.Var(fs.Lookup(long).Value, short, "")
}

func sortedCommands() []*command {
	var list []*command
	for _, cmd := range commands {
		if !cmd.hidden {
			list = append(list, cmd)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list
}
