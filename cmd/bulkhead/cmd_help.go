package main

import (
	"fmt"
	"io"
	"runtime"

	"bulkhead.dev/bulkhead/internal/container"
)

// syscallsHelp prints the table of system calls; set where the table is linked
// in. args are those after `help syscalls`.
var syscallsHelp func(w io.Writer, args []string) error

func init() {
	register(&command{
		name: "help", args: "[COMMAND | syscalls [-o json] | filters [-o json]]", short: "show the commands, one of them, the table of system calls, or the seccomp filters",
		examples: "bulkhead help do\nbulkhead help syscalls -o json\nbulkhead help filters",
		setup:    func(c *context) func([]string) int { return c.help },
	})
	register(&command{
		name: "version", short: "show the version",
		setup: func(c *context) func([]string) int {
			return func([]string) int { printVersion(c.stdout); return 0 }
		},
	})
}

func printVersion(w io.Writer) {
	fmt.Fprintf(w, "bulkhead version %s\nspec: %s\ngo: %s\n", version, container.SpecVersion, runtime.Version())
}

func (c *context) help(args []string) int {
	if len(args) == 0 {
		help(c.stdout)
		return 0
	}
	if args[0] == "syscalls" {
		if syscallsHelp == nil {
			return c.fail(fmt.Errorf("this build has no table of system calls"))
		}
		if err := syscallsHelp(c.stdout, args[1:]); err != nil {
			return c.fail(fmt.Errorf("help syscalls: %w", err))
		}
		return 0
	}
	if args[0] == "filters" {
		if err := printFilters(c.stdout, args[1:]); err != nil {
			return c.fail(fmt.Errorf("help filters: %w", err))
		}
		return 0
	}
	cmd, ok := commands[args[0]]
	if !ok || cmd.hidden {
		return c.fail(fmt.Errorf("help: no command %q%s", args[0], suggest(args[0])))
	}
	c.flags = newFlags(cmd.name)
	cmd.setup(c)
	c.usage(c.stdout, cmd)
	return 0
}

func help(w io.Writer) {
	fmt.Fprint(w, `bulkhead runs untrusted Linux programs behind a kernel of its own.

Usage:
  bulkhead do [flags] -- COMMAND…               one command in a new sandbox
  bulkhead [global flags] COMMAND [flags] ID    containers, as an OCI runtime

Commands:
`)
	for _, cmd := range sortedCommands() {
		fmt.Fprintf(w, "  %-9s %s\n", cmd.name, cmd.short)
	}
	fmt.Fprint(w, `
Global flags:
  --root DIR           where the state of containers is kept (default: /run/bulkhead,
                       or $XDG_RUNTIME_DIR/bulkhead for an ordinary user)
  --wall sentry|vm     what stands between container and host (default: sentry;
                       vm when the program is called bulkhead-vm; the annotation
                       dev.bulkhead.wall of a container goes first)
  --log FILE           where errors and warnings go (default: stderr)
  --log-format F       text or json (default: text)
  --debug              log more
  --systemd-cgroup     let systemd make the cgroups (cgroupsPath is slice:prefix:name)
  --rootless B         true, false or auto: go on where cgroups are not permitted
  --version            show the version

bulkhead COMMAND --help shows the flags of a command, with examples.
`)
}
