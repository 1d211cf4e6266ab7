package main

import (
	"encoding/json"
	"fmt"
	"os/user"
	"strconv"
	"text/tabwriter"
	"time"

	"bulkhead.dev/bulkhead/internal/container"
)

func init() {
	register(&command{
		name: "state", args: "ID", short: "show the state of a container, as JSON",
		examples: "bulkhead state web1",
		setup: func(c *context) func([]string) int {
			return func(args []string) int {
				return c.withContainer(args, func(rt *container.Runtime, id string) error {
					s, err := rt.State(id)
					if err != nil {
						return err
					}
					return c.printJSON(s)
				})
			}
		},
	})
	register(&command{
		name: "list", short: "list the containers under --root",
		examples: "bulkhead list\nbulkhead list --format json\nbulkhead list --quiet",
		setup:    setupList,
	})
}

// printJSON writes v with two spaces of indent, as runc does.
func (c *context) printJSON(v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if _, err := c.stdout.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("stdout: %w", err)
	}
	return nil
}

// printJSONLine writes v on one line.
func (c *context) printJSONLine(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := c.stdout.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("stdout: %w", err)
	}
	return nil
}

func setupList(c *context) func([]string) int {
	format := c.flags.String("format", "table", "`form`: table or json")
	quiet := c.flags.Bool("quiet", false, "show the ids only")
	alias(c.flags, "f", "format")
	alias(c.flags, "q", "quiet")
	return func(args []string) int {
		if err := exactly(args, 0, "no argument"); err != nil {
			return c.fail(err)
		}
		rt, err := c.runtime()
		if err != nil {
			return c.fail(err)
		}
		list, err := rt.List()
		if err != nil {
			return c.fail(err)
		}
		for _, s := range list {
			s.Owner = userName(s.UID)
		}
		switch {
		case *quiet:
			for _, s := range list {
				fmt.Fprintln(c.stdout, s.ID)
			}
		case *format == "json":
			if list == nil {
				fmt.Fprintln(c.stdout, "null") // as runc
				return 0
			}
			return c.fail0(c.printJSONLine(list))
		case *format == "table":
			w := tabwriter.NewWriter(c.stdout, 12, 1, 3, ' ', 0)
			fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
			for _, s := range list {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
			}
			w.Flush()
		default:
			return c.fail(fmt.Errorf("invalid format option %q: want table or json", *format))
		}
		return 0
	}
}

func userName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "#" + strconv.Itoa(uid)
	}
	return u.Username
}
