// Command bulkhead-bench is `bulkhead bench`: a program of its own, so that what
// it imports (statistics, YAML, the report) weighs on no other command.
package main

import (
	"os"

	"bulkhead.dev/bulkhead/internal/workbench"
)

func main() { os.Exit(workbench.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
