package guest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

func TestFirstELFRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), First)
	if err := os.WriteFile(path, FirstELF(), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path).CombinedOutput()
	if err != nil || string(out) != Ready {
		t.Fatalf("got %q, %v", out, err)
	}
}

// The probe's figures are the host's own here; that each is there and positive
// is what the workloads' patterns rely on.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	if err := Install(context.Background(), dir); err != nil {
		if errors.Is(err, ErrNoCompiler) {
			t.Skipf("missing: %v", err)
		}
		t.Fatal(err)
	}
	for set, names := range map[string][]string{
		"calls":     {"getpid", "getppid", "syscall", "clock_gettime", "read", "fstat", "stat", "open_close", "mmap_munmap"},
		"processes": {"fork_exit_wait", "spawn_exec_wait", "thread_create_join"},
		"pipes":     {"pipe_round_trip", "pipe_stream"},
		"faults":    {"faults_64MB"},
	} {
		out, err := exec.Command(filepath.Join(dir, Probe), set, "2").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", set, err, out)
		}
		for _, n := range append(names, "done") {
			if !regexp.MustCompile(`(?m)^` + n + `( [0-9.]*[1-9][0-9.]*)?$`).Match(out) {
				t.Errorf("%s: no figure for %s in\n%s", set, n, out)
			}
		}
	}
	if out, err := exec.Command(filepath.Join(dir, Probe), "nonsense", "2").CombinedOutput(); err == nil {
		t.Errorf("an unknown set succeeds: %s", out)
	}
}
