package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// benchProgram measures runtimes. It is a program of its own because what it
// imports (statistics, YAML, the report) would weigh on every start of a
// container; its flags are its own too.
const benchProgram = "bulkhead-bench"

func init() {
	register(&command{
		name:  "bench",
		args:  "[--quick | --full | compare OLD NEW | list]",
		short: "measure the container runtimes of this machine side by side",
		examples: "bulkhead bench --quick\n" +
			"bulkhead bench --full --out report\n" +
			"bulkhead bench compare old/results.json report/results.json",
		workbench: true,
		setup:     workbench("bench"),
	})
}

// workbench becomes the bench program, beside this one or else on the PATH, for
// one of its verbs; bench itself is what it does without a verb.
func workbench(verb string) func(c *context) func(args []string) int {
	return func(c *context) func(args []string) int {
		return func(args []string) int {
			path, err := findBench()
			if err != nil {
				fmt.Fprintf(c.stderr, "bulkhead %s: %s is neither beside this program nor on the PATH: make build makes both\n", verb, benchProgram)
				return exitFailure
			}
			argv := []string{benchProgram}
			if verb != "bench" {
				argv = append(argv, verb)
			}
			err = syscall.Exec(path, append(argv, args...), os.Environ())
			fmt.Fprintf(c.stderr, "bulkhead %s: %s: %v\n", verb, path, err)
			return exitFailure
		}
	}
}

func findBench() (string, error) {
	if self, err := os.Executable(); err == nil {
		if p, err := exec.LookPath(filepath.Join(filepath.Dir(self), benchProgram)); err == nil {
			return p, nil
		}
	}
	return exec.LookPath(benchProgram)
}
