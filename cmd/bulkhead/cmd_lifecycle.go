package main

import (
	"fmt"

	"bulkhead.dev/bulkhead/internal/container"
)

func init() {
	simple := func(name, short, example string, f func(rt *container.Runtime, id string) error) {
		register(&command{name: name, args: "ID", short: short, examples: example, setup: func(c *context) func([]string) int {
			return func(args []string) int { return c.withContainer(args, f) }
		}})
	}
	simple("start", "start a created container", "bulkhead start web1", (*container.Runtime).Start)
	simple("pause", "stop every process of a container", "bulkhead pause web1", (*container.Runtime).Pause)
	simple("resume", "let the processes of a paused container go on", "bulkhead resume web1", (*container.Runtime).Resume)
	register(&command{
		name: "kill", args: "ID [SIGNAL]", short: "send a signal to a container's init process (default: TERM)",
		examples: "bulkhead kill web1\nbulkhead kill web1 KILL\nbulkhead kill --all web1 9",
		setup:    setupKill,
	})
	register(&command{
		name: "delete", args: "ID", short: "remove what is left of a container",
		examples: "bulkhead delete web1\nbulkhead delete --force web1",
		setup: func(c *context) func([]string) int {
			force := c.flags.Bool("force", false, "end the container if it still runs, by SIGKILL")
			alias(c.flags, "f", "force")
			return func(args []string) int {
				return c.withContainer(args, func(rt *container.Runtime, id string) error { return rt.Delete(id, *force) })
			}
		},
	})
}

func setupKill(c *context) func([]string) int {
	all := c.flags.Bool("all", false, "send the signal to every process in the container")
	alias(c.flags, "a", "all")
	return func(args []string) int {
		name := "SIGTERM"
		if len(args) == 2 {
			name = args[1]
			args = args[:1]
		}
		if len(args) != 1 {
			return c.fail(fmt.Errorf("want a container id and at most a signal"))
		}
		sig, err := parseSignal(name)
		if err != nil {
			return c.fail(err)
		}
		return c.withContainer(args, func(rt *container.Runtime, id string) error { return rt.Kill(id, sig, *all) })
	}
}

// fail0 is fail, or 0 without an error.
func (c *context) fail0(err error) int {
	if err == nil {
		return 0
	}
	return c.fail(err)
}
