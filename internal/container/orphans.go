package container

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// adoptOrphans makes processes that a Sentry leaves behind children of this
// one, so that reapOrphans finds them.
func adoptOrphans() { unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// reapOrphans kills and reaps every child of this process. It is for a command
// whose only children were a sandbox's. An orphan may come while others are
// waited for, so it looks again and again, but not for longer than endWait: what
// cannot be killed is no reason to hang.
func reapOrphans() {
	for deadline := time.Now().Add(endWait); ; time.Sleep(time.Millisecond) {
		for _, pid := range childrenOf(unix.Getpid()) {
			unix.Kill(pid, unix.SIGKILL)
		}
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if err == unix.ECHILD {
				return
			}
			if pid <= 0 && err != unix.EINTR {
				break
			}
		}
		if time.Now().After(deadline) {
			return
		}
	}
}

// childrenOf lists the children of all threads of a process.
func childrenOf(pid int) (pids []int) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	tasks, _ := os.ReadDir(dir)
	for _, task := range tasks {
		raw, _ := slurp(dir + "/" + task.Name() + "/children")
		for _, field := range strings.Fields(raw) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
