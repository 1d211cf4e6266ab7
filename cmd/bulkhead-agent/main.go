// Command bulkhead-agent is PID 1 of a micro-VM: see internal/agent. It takes
// no arguments; the kernel's command line is its configuration.
package main

import (
	"fmt"
	"os"

	"bulkhead.dev/bulkhead/internal/agent"
)

// version is set by the linker: -X main.version=….
var version = "0.1.0-dev"

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "bulkhead-agent: this is PID 1 of a virtual machine; bulkhead --wall=vm starts one")
		os.Exit(1)
	}
	// A panic ends PID 1, which makes the kernel panic: the console has both
	// messages, and the VM ends.
	err := agent.Main(version)
	fmt.Fprintf(os.Stderr, "bulkhead-agent: %v\n", err)
	agent.PowerOff()
}
