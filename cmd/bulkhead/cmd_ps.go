package main

import (
	"fmt"
	"time"

	"bulkhead.dev/bulkhead/internal/container"
)

func init() {
	register(&command{
		name: "ps", args: "ID", short: "list the processes of a container",
		examples: "bulkhead ps web1\nbulkhead ps --format json web1    # host pids, as engines ask",
		setup: func(c *context) func([]string) int {
			format := c.flags.String("format", "table", "`form`: table (the guest's pids) or json (the host's pids)")
			alias(c.flags, "f", "format")
			return func(args []string) int {
				if len(args) > 1 {
					return c.fail(fmt.Errorf("options of ps(1) are not taken: the table is the guest kernel's"))
				}
				return c.withContainer(args, func(rt *container.Runtime, id string) error { return c.ps(rt, id, *format) })
			}
		},
	})
}

func (c *context) ps(rt *container.Runtime, id, format string) error {
	switch format {
	case "json":
		pids, err := rt.HostPids(id)
		if err != nil {
			return err
		}
		return c.printJSONLine(pids)
	case "table":
		list, err := rt.Processes(id)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(c.stdout, container.ProcessTable(list, time.Now()))
		return err
	}
	return fmt.Errorf("invalid format option %q: want table or json", format)
}
