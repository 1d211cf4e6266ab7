package main

import "bulkhead.dev/bulkhead/internal/container"

func init() {
	register(&command{
		name: "debug", args: "ID", short: "show what every thread of a container waits for",
		examples: `
bulkhead debug web1

For a container that does not go on: its processes on the host (root sees their
stacks in the kernel), then what each task inside waits for, and the stacks of
the wall's own kernel. SIGABRT to a foreground do, run or exec shows the same on
stderr, and ends it.`,
		setup: func(c *context) func([]string) int {
			return func(args []string) int {
				return c.withContainer(args, func(rt *container.Runtime, id string) error { return rt.Report(id, c.stdout) })
			}
		},
	})
}
