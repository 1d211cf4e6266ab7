// Package first is the Gofer's way into the program. Go initialises packages in
// the order of what they import, then of their paths, and so this one before
// most: a Gofer runs from here, and what the Sentry and the lifecycle link,
// a TCP/IP stack and more, is never initialised in it. That is a third of its
// start.
package first

import (
	"fmt"
	"os"

	"bulkhead.dev/bulkhead/internal/gofer"
)

func init() {
	if len(os.Args) < 2 || os.Args[1] != "gofer" {
		return
	}
	if err := gofer.Main(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
