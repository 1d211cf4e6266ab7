// Command bulkhead-bench is `bulkhead bench`, and `bulkhead audit`, `advise` or
// `policy` when its first argument is that verb: a program of its own, so that
// what it imports (statistics, YAML, the report) weighs on no other command.
package main

import (
	"os"

	"bulkhead.dev/bulkhead/internal/workbench"
	"bulkhead.dev/bulkhead/internal/workbench/advise"
	"bulkhead.dev/bulkhead/internal/workbench/audit"
	"bulkhead.dev/bulkhead/internal/workbench/audit/probe"
	"bulkhead.dev/bulkhead/internal/workbench/policy"
)

// verbs are the commands of `bulkhead` beside bench that live here.
var verbs = map[string]func(args []string) int{
	"advise":      func(args []string) int { return advise.Main(args, os.Stdout, os.Stderr) },
	"audit":       func(args []string) int { return audit.Main(args, os.Stdout, os.Stderr) },
	probe.Command: audit.ProbeMain,
	"policy":      func(args []string) int { return policy.Main(args, os.Stdin, os.Stdout, os.Stderr) },
}

func main() {
	args := os.Args[1:]
	if len(args) > 0 {
		if verb, ok := verbs[args[0]]; ok {
			os.Exit(verb(args[1:]))
		}
	}
	os.Exit(workbench.Main(args, os.Stdin, os.Stdout, os.Stderr))
}
