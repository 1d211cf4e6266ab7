// Command bulkhead-vmm is what bulkhead starts for the VM wall: the monitor of
// one sandbox, what stands for a further container of a pod, and the jails of what the monitor starts. It is a program of
// its own so that the start of the other wall does not pay for what it links.
package main

import (
	"fmt"
	"os"

	"bulkhead.dev/bulkhead/internal/vm/jail"
	"bulkhead.dev/bulkhead/internal/vm/monitor"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "monitor":
			os.Exit(monitor.Main(os.Args[2:]))
		case "member":
			os.Exit(monitor.MemberMain(os.Args[2:]))
		case "jail":
			os.Exit(jail.Main(os.Args[2:]))
		}
	}
	fmt.Fprintln(os.Stderr, "bulkhead-vmm: is started by bulkhead --wall=vm; see bulkhead help")
	os.Exit(1)
}
