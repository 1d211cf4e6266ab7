package drive

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// As the reaper of orphans, this process must reap containers and sandboxes as
// they end, for to some runtimes a zombie still runs; and it must leave to
// os/exec the children that os/exec waits for.
var ours = struct {
	sync.Mutex
	pids map[int]bool // under the mutex: started here and not yet waited for
}{pids: map[int]bool{}}

// startOwn starts a command and remembers it before anybody may reap.
func startOwn(cmd *exec.Cmd) error {
	ours.Lock()
	defer ours.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	ours.pids[cmd.Process.Pid] = true
	return nil
}

// waitOwn waits for a command of startOwn's.
func waitOwn(cmd *exec.Cmd) error {
	err := cmd.Wait()
	ours.Lock()
	defer ours.Unlock()
	delete(ours.pids, cmd.Process.Pid)
	return err
}

// reapOrphans reaps the zombies that nobody else waits for.
func reapOrphans() {
	ours.Lock()
	defer ours.Unlock()
	self := os.Getpid()
	_, zombies := descendants(self)
	for _, pid := range zombies {
		if !ours.pids[pid] {
			syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // of a deeper one: ECHILD
		}
	}
}
