package main

import (
	"fmt"
	"os"

	"bulkhead.dev/bulkhead/internal/gofer"
	"bulkhead.dev/bulkhead/internal/sentry/boot"
	"bulkhead.dev/bulkhead/internal/sentry/syscalls"
)

func init() {
	sentryMain = boot.Main
	syscallsHelp = syscalls.Print
	goferMain = func(args []string) int {
		if err := gofer.Main(args); err != nil {
			fmt.Fprintln(os.Stderr, "bulkhead:", err)
			return exitFailure
		}
		return 0
	}
}
