package conformance

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const prSetChildSubreaper = 36

// Every process that a test starts is known here, so that whatever else becomes our child is an orphan of a sandbox.
var (
	childrenMu sync.Mutex
	children   = map[int]bool{}
)

// becomeSubreaper makes orphans of sandboxes our children, where they can be seen and reaped.
func becomeSubreaper() error {
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); e != 0 {
		return fmt.Errorf("becoming a subreaper: %w", e)
	}
	return nil
}

func start(cmd *exec.Cmd) error {
	childrenMu.Lock()
	defer childrenMu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	children[cmd.Process.Pid] = true
	return nil
}

func wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	childrenMu.Lock()
	defer childrenMu.Unlock()
	delete(children, cmd.Process.Pid)
	return err
}

// leftover tells what a sandbox that has ended left: processes that carry its mark or became ours, mounts, files.
func leftover(mark, root, tmp string, mountsBefore map[string]bool) []string {
	var left []string
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left = strays(mark)
		if len(left) == 0 || time.Now().After(end) {
			break
		}
	}
	// Other tests of the machine mount things as well: only what lies below our own directories is the sandbox's.
	for m := range mounts() {
		if !mountsBefore[m] && strings.Contains(m, base) {
			left = append(left, "mount "+m)
		}
	}
	for _, dir := range []string{root, tmp} {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			// Empty directories that a state root keeps for itself do no harm.
			if err == nil && !d.IsDir() {
				left = append(left, "file "+path)
			}
			return nil
		})
	}
	return left
}

// strays lists the processes of a sandbox that still live, and reaps those that are dead.
func strays(mark string) []string {
	childrenMu.Lock()
	defer childrenMu.Unlock()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []string{err.Error()}
	}
	var left []string
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || children[pid] {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		ours := len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid())
		if ours && fields[0] == "Z" {
			syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
			continue
		}
		environ, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		marked := false
		for _, v := range bytes.Split(environ, []byte{0}) {
			marked = marked || string(v) == mark
		}
		if ours || marked {
			cmdline, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
			left = append(left, fmt.Sprintf("process %d %q in state %s", pid, strings.TrimRight(string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})), " "), fields[0]))
		}
	}
	return left
}

func mounts() map[string]bool {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	set := map[string]bool{}
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Fields(line); len(f) > 4 {
			set[f[0]+" "+f[4]] = true
		}
	}
	return set
}
