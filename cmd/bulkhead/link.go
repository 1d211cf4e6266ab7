package main

import (
	_ "bulkhead.dev/bulkhead/cmd/bulkhead/first" // the Gofer
	"bulkhead.dev/bulkhead/internal/sentry/boot"
	"bulkhead.dev/bulkhead/internal/sentry/syscalls"
)

func init() {
	sentryMain = boot.Main
	syscallsHelp = syscalls.Print
}
