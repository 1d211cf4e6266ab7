// Command bulkhead runs Linux programs in a sandbox: one command (`do`), or
// containers by the OCI runtime's verbs. It is its own Sentry and Gofer, which
// the hidden commands of those names start.
//
// Each command is one file and one value of type command; a test calls run.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/container"
)

// version is set by the linker: -X main.version=….
var version = "0.1.0-dev"

// vmName as the program's name chooses the VM wall, so that an engine that
// can only name a program can choose it.
const vmName = "bulkhead-vm"

func main() {
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// command is one verb of the command line.
type command struct {
	name     string
	args     string // what follows the flags, for the usage line
	short    string // one line for `help`
	examples string // shown by --help
	hidden   bool
	// workbench says that another program, bulkhead-bench, is the command: its
	// flags and its help are its own.
	workbench bool
	// setup defines the command's flags and returns what runs it: the result
	// is the exit code.
	setup func(c *context) func(args []string) int
}

// commands is filled by the files of the commands.
var commands = map[string]*command{}

func register(c *command) { commands[c.name] = c }

// run is the whole program: it reads the global flags, finds the command and
// runs it.
func run(argv []string, stdin, stdout, stderr *os.File) int {
	c := &context{stdin: stdin, stdout: stdout, stderr: stderr, wall: container.WallSentry}
	if len(argv) > 0 && filepath.Base(argv[0]) == vmName {
		c.wall = container.WallVM
	}
	// What starts often and must start fast has no global flags to parse.
	if len(argv) > 1 && internalCommand(argv[1]) {
		return commands[argv[1]].setup(c)(argv[2:])
	}
	c.inherited = inheritedFDs()
	// What a careless caller left open is passed on to nothing.
	_ = unix.CloseRange(3, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC)
	rest, code := c.globals(argv[min(1, len(argv)):])
	if code >= 0 {
		return code
	}
	if len(rest) == 0 {
		help(c.stdout)
		return 0
	}
	cmd, ok := commands[rest[0]]
	if !ok {
		fmt.Fprintf(stderr, "bulkhead: no command %q%s; bulkhead help lists them\n", rest[0], suggest(rest[0]))
		return exitCommand
	}
	return c.runCommand(cmd, rest[1:])
}

// inheritedFDs counts the descriptors from 3 on that the caller has passed. One
// that this program itself has opened is closed on exec.
func inheritedFDs() int {
	for n := 0; ; n++ {
		flags, err := unix.FcntlInt(uintptr(3+n), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return n
		}
	}
}

func internalCommand(name string) bool {
	switch name {
	case "sentry", "exec-proxy":
		return commands[name] != nil
	}
	return commands[name] != nil && commands[name].workbench
}

// runCommand parses a command's own flags and runs it.
func (c *context) runCommand(cmd *command, args []string) int {
	fs := newFlags("bulkhead " + cmd.name)
	c.flags = fs
	main := cmd.setup(c)
	switch err := fs.Parse(args); {
	case err == errHelp:
		c.usage(c.stdout, cmd)
		return 0
	case err != nil:
		fmt.Fprintf(c.stderr, "bulkhead %s: %v; see bulkhead %s --help\n", cmd.name, err, cmd.name)
		return exitUsage
	}
	if err := c.openLog(); err != nil {
		fmt.Fprintf(c.stderr, "bulkhead: %v\n", err)
		return exitUsage
	}
	defer c.closeLog()
	return main(fs.Args())
}

// suggest names the command that was probably meant.
func suggest(name string) string {
	var near []string
	for n, cmd := range commands {
		if !cmd.hidden && len(name) > 1 && (strings.HasPrefix(n, name) || strings.HasPrefix(name, n)) {
			near = append(near, n)
		}
	}
	if len(near) == 0 {
		return ""
	}
	sort.Strings(near)
	return " (" + strings.Join(near, ", ") + "?)"
}
