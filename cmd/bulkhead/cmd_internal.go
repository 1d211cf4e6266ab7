package main

import (
	"fmt"
)

// sentryMain is the program behind the hidden command, set where it is linked
// in. The result is the exit code. (The Gofer's runs from package first.)
var sentryMain func(args []string) int

func init() {
	registerInternal("sentry", func(args []string) (int, bool) {
		if sentryMain == nil {
			return 0, false
		}
		return sentryMain(args), true
	})
}

// registerInternal adds a command that only this program itself starts.
func registerInternal(name string, main func(args []string) (code int, linked bool)) {
	register(&command{name: name, hidden: true, setup: func(c *context) func([]string) int {
		return func(args []string) int {
			code, linked := main(args)
			if !linked {
				fmt.Fprintf(c.stderr, "bulkhead: this build has no %s\n", name)
				return exitFailure
			}
			return code
		}
	}})
}
