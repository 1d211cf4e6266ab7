package drive

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// BecomeSubreaper makes orphans of the runtimes come back to this process
// (PR_SET_CHILD_SUBREAPER, prctl(2)), so that none can be lost sight of.
func BecomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of orphans: %w", err)
	}
	return nil
}

// descendants lists the live processes below root, and zombies separately.
func descendants(root int) (live, zombies []int) {
	parent, dead := map[int]int{}, map[int]bool{}
	for _, pid := range pids() {
		if ppid, state, ok := stat(pid); ok {
			parent[pid], dead[pid] = ppid, state == 'Z'
		}
	}
	for pid := range parent {
		for p, hops := parent[pid], 0; p != 0 && hops < 1000; p, hops = parent[p], hops+1 {
			if p != root {
				continue
			}
			if dead[pid] {
				zombies = append(zombies, pid)
			} else {
				live = append(live, pid)
			}
			break
		}
	}
	return live, zombies
}

func pids() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var out []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// stat reads parent and state of /proc/pid/stat (proc_pid_stat(5)); the name in
// parentheses is the process's own to choose.
func stat(pid int) (ppid int, state byte, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	i := bytes.LastIndexByte(b, ')')
	if err != nil || i < 0 || i+4 > len(b) {
		return 0, 0, false
	}
	f := strings.Fields(string(b[i+1:]))
	if len(f) < 2 {
		return 0, 0, false
	}
	ppid, err = strconv.Atoi(f[1])
	return ppid, f[0][0], err == nil
}

// Sweep kills every process below this one and reaps it, and says how many
// there were. Only what hangs in the kernel survives it; it is then named.
func Sweep() (killed int, err error) {
	self := os.Getpid()
	seen := map[int]bool{}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		live, _ := descendants(self)
		for _, pid := range live {
			seen[pid] = true
			syscall.Kill(pid, syscall.SIGKILL)
		}
		reapOrphans()
		if len(live) == 0 {
			return len(seen), nil
		}
		if time.Now().After(end) {
			return len(seen), fmt.Errorf("processes %v do not die", live)
		}
	}
}

// Memory sums the proportional set sizes of these processes
// (/proc/pid/smaps_rollup).
func Memory(pids []int) (bytes int64) {
	for _, pid := range pids {
		bytes += pss(pid)
	}
	return bytes
}

func pss(pid int) int64 {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "Pss:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// RemoveCgroups removes what runtimes that were killed left below the
// workbench's cgroup, in every hierarchy. Non-empty ones stay: the kernel says.
func RemoveCgroups() {
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*/" + CgroupParent)
	for _, d := range append(dirs, "/sys/fs/cgroup/"+CgroupParent) {
		var all []string
		filepath.WalkDir(d, func(p string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				all = append(all, p)
			}
			return nil
		})
		for i := len(all) - 1; i >= 0; i-- {
			syscall.Rmdir(all[i])
		}
	}
}
