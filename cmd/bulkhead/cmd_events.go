package main

import (
	"time"

	"bulkhead.dev/bulkhead/internal/container"
)

func init() {
	register(&command{
		name: "events", args: "ID", short: "show what a container uses, and when memory ran out",
		examples: "bulkhead events --stats web1\nbulkhead events --interval 1s web1",
		setup: func(c *context) func([]string) int {
			stats := c.flags.Bool("stats", false, "show it once")
			interval := c.flags.Duration("interval", 5*time.Second, "`time` between two looks")
			return func(args []string) int {
				if *interval <= 0 {
					return c.fail(errInterval)
				}
				return c.withContainer(args, func(rt *container.Runtime, id string) error {
					if *stats {
						e, err := rt.StatsEvent(id)
						if err != nil {
							return err
						}
						return c.printJSONLine(e)
					}
					return c.follow(rt, id, *interval)
				})
			}
		},
	})
}

// follow prints an event at every interval, and one for each time the host
// killed a process for want of memory, until the container has ended.
func (c *context) follow(rt *container.Runtime, id string, interval time.Duration) error {
	kills, err := rt.OOMKills(id)
	if err != nil {
		return err
	}
	next := time.Now().Add(interval)
	for {
		time.Sleep(min(interval, 500*time.Millisecond))
		s, err := rt.State(id)
		if err != nil || s.Status == container.StatusStopped {
			return nil
		}
		if n, err := rt.OOMKills(id); err == nil && n > kills {
			kills = n
			if err := c.printJSONLine(container.Event{Type: "oom", ID: id}); err != nil {
				return err
			}
		}
		if time.Now().Before(next) {
			continue
		}
		next = next.Add(interval)
		e, err := rt.StatsEvent(id)
		if err != nil {
			continue // it ends just now; the state will say so
		}
		if err := c.printJSONLine(e); err != nil {
			return err
		}
	}
}
