package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	programLimit = 10 * time.Minute // a busy machine takes so long; on an idle one none takes more than a minute
)

// TestPrograms runs every script of programs/ on the host and behind the wall; each checks its own results and exits 0.
func TestPrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("on demand: without -short, the real programs take minutes")
	}
	var s sandbox
	if !nativeOnly() {
		s = wall(t)
	}
	runPrograms(t, s, jobs(), programLimit, func(string) bool { return true })
}

// quickPrograms are those that a few seconds under a translated processor are enough for.
var quickPrograms = map[string]bool{"perl": true}

// TestProgramsVM is TestPrograms behind the VM wall, a VM for each script: a quick one, all with BULKHEAD_VM_FULL=1 (make test-vm).
func TestProgramsVM(t *testing.T) {
	needMachine(t)
	if testing.Short() {
		t.Skip("on demand: without -short, the real programs take minutes")
	}
	s := wall(t)
	s.flags = []string{"--wall=vm", "--memory", "2G"}
	runPrograms(t, s, make(chan struct{}, 1), 3*programLimit, func(name string) bool { return everythingVM() || quickPrograms[name] })
}

func runPrograms(t *testing.T, s sandbox, room chan struct{}, limit time.Duration, wanted func(name string) bool) {
	scripts, err := filepath.Glob("programs/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts in programs/: %v", err)
	}
	dir, err := scratch(base)
	if err != nil {
		t.Fatal(err)
	}
	re := chosen(t)
	for _, script := range scripts {
		name := strings.TrimSuffix(filepath.Base(script), ".sh")
		if name == "lib" || !re.MatchString(name) || !wanted(name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			room <- struct{}{}
			defer func() { <-room }()
			path := filepath.Join(dir, name+".sh")
			if err := copyFile(script, path); err != nil {
				t.Fatal(err)
			}
			if end, detail, _ := runScript(t, native{}, path, programLimit); end != "exit status 0" {
				t.Fatalf("%s is broken on this host: %s\n%s", name, end, detail)
			}
			if nativeOnly() {
				return
			}
			end, detail, left := runScript(t, s, path, limit)
			if end != "exit status 0" {
				t.Errorf("%s: %s\n%s", name, end, detail)
			}
			for _, l := range left {
				t.Errorf("%s left behind: %s", name, l)
			}
		})
	}
}

// runScript runs one script in an empty directory; it gives how it ended and the last of what it said.
func runScript(t *testing.T, p place, path string, limit time.Duration) (end, detail string, left []string) {
	t.Helper()
	dir, err := scratch(base)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	out := run(p, []string{"/bin/bash", path}, dir, []string{"HOME=" + dir, "LC_ALL=C.UTF-8", "CONFORM_GOCACHE=" + filepath.Join(base, "gocache")}, limit, limit)
	if out.err != nil {
		t.Fatal(out.err)
	}
	lines := append(out.lines, strings.Split(strings.TrimSpace(out.stderr), "\n")...)
	if len(lines) > 25 { // a crash says what it is in its head
		lines = append([]string{lastLine(out.stderr), "…"}, lines[len(lines)-25:]...)
	}
	return out.end, strings.Join(lines, "\n") + waits(out.stderr), out.left
}
