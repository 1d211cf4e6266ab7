package main

import (
	"bulkhead.dev/bulkhead/internal/gofer"
	"bulkhead.dev/bulkhead/internal/sentry/boot"
)

func init() {
	sentryMain = boot.Main
	goferMain = gofer.Main
}
