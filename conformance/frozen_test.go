package conformance

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStoppedInATimedWait: a process that is stopped and continued from outside, as by pause, a freezer or a suspended machine,
// goes on with its timed futex wait. The host's kernel then calls restart_syscall, which is not among a guest's host calls.
func TestStoppedInATimedWait(t *testing.T) {
	if nativeOnly() {
		t.Skip("on demand: without CONFORM_NATIVE_ONLY")
	}
	prog := hostile(t, "wait")
	cmd, done, err := wall(t).command([]string{prog}, filepath.Dir(prog), nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }).Stop()
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "waiting" {
		t.Fatalf("got %q %s", lines.Text(), said.String())
	}
	for range 4 {
		time.Sleep(100 * time.Millisecond) // into the wait: when exactly does not matter
		pids := below(cmd.Process.Pid)
		for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
			for _, pid := range pids {
				syscall.Kill(pid, sig)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	if err := cmd.Wait(); err != nil || last != "waited" {
		t.Errorf("it ended with %v, and wrote %q %s", err, last, said.String())
	}
	if left := done(); len(left) > 0 {
		t.Errorf("left over: %s", strings.Join(left, ", "))
	}
}

// below lists the live processes below pid, by /proc.
func below(pid int) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*/stat")
	parent := map[int]int{}
	for _, d := range dirs {
		b, err := os.ReadFile(d)
		i := strings.LastIndexByte(string(b), ')')
		var p, parentOf int
		var state string
		if err != nil || i < 0 {
			continue
		}
		fmt.Sscan(filepath.Base(filepath.Dir(d)), &p)
		fmt.Sscan(string(b[i+1:]), &state, &parentOf)
		parent[p] = parentOf
	}
	var out []int
	for p := range parent {
		for at := parent[p]; at > 1; at = parent[at] {
			if at == pid {
				out = append(out, p)
				break
			}
		}
	}
	return out
}
