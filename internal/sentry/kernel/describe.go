package kernel

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// describePatience is for the locks of a sandbox that does go on: each is held for
// moments.
const describePatience = 200 * time.Millisecond

// Describe writes what each task waits for: for a report on a sandbox that does
// not go on. It waits for no lock longer than describePatience, since the reason may
// be one that is never let go.
func (k *Kernel) Describe(w io.Writer) {
	end := time.Now().Add(describePatience)
	if !tryUntil(end, k.mu.TryRLock) {
		fmt.Fprintln(w, "The table of processes is locked; the stacks show by whom.")
		return
	}
	defer k.mu.RUnlock()
	fmt.Fprintf(w, "%d tasks in %d processes, ending: %v\n", k.taskCount, k.groups.n, k.dying)
	for tg := k.groups.head; tg != nil; tg = tg.allNext {
		for _, t := range tg.tasks {
			fmt.Fprintf(w, "%d of process %d (%s): %s\n", t.tid, tg.pid, t.nameUntil(end), t.state())
		}
	}
}

// tryUntil tries a lock at least once.
func tryUntil(end time.Time, try func() bool) bool {
	for !try() {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

func (t *Task) nameUntil(end time.Time) string {
	if !tryUntil(end, t.mu.TryLock) {
		return "locked"
	}
	defer t.mu.Unlock()
	return t.name
}

// state is one line. The caller holds k.mu.
func (t *Task) state() string {
	s := fmt.Sprintf("exit state %d, in user mode %v, signals to handle %d, bed %d", t.exitState, t.plat.user.Load(), t.sig.work.Load(), atomic.LoadUint32(&t.park.word))
	if th := t.plat.th.Load(); th != nil {
		return s + ", " + th.Describe()
	}
	return s + ", no host thread"
}
