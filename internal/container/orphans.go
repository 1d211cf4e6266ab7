package container

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// adoptOrphans makes processes that a Sentry leaves behind children of this
// one, so that reapOrphans finds them.
func adoptOrphans() { unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// reapOrphans kills and reaps every child of this process. It is for a command
// whose only children were a sandbox's.
func reapOrphans() {
	for round := 0; round < 100; round++ {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", unix.Getpid()))
		if err != nil {
			return
		}
		for _, field := range bytes.Fields(raw) {
			if pid, err := strconv.Atoi(string(field)); err == nil {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
		for {
			_, err := unix.Wait4(-1, nil, 0, nil)
			if err == unix.ECHILD {
				return
			}
			if err != nil && err != unix.EINTR {
				return
			}
		}
	}
}
