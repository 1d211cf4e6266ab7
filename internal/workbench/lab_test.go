//go:build lab

package workbench

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/results"
)

// These tests need root, the real runtimes (make lab installs them) and
// bin/bulkhead-bench (make build).

func repo(t *testing.T) string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Fatal("the lab's tests need root")
	}
	return dir
}

func benchCommand(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(repo(t), "bin/bulkhead-bench"), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// TestLab measures for a short while with the real runtimes.
func TestLab(t *testing.T) {
	out := t.TempDir()
	cmd := benchCommand(t, "--quick", "--rounds", "1", "--time-limit", "10m", "--runtimes", "runc,crun,runsc",
		"--workloads", "start,run-true,exec-true,rate,idle,many,calls,find,small-files,redis,git", "--out", out)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	r, err := results.Load(filepath.Join(out, resultsFile))
	if err != nil {
		t.Fatal(err)
	}
	if r.RuntimeNamed("runc").Status != results.RuntimeMeasured {
		t.Fatalf("runc: %+v", r.RuntimeNamed("runc"))
	}
	for _, c := range r.Cells {
		if c.Status != results.CellOK && !strings.Contains(c.Why, "the root file system has no") {
			t.Errorf("%s on %s: %s %s", c.Workload, c.Runtime, c.Status, c.Why)
		}
	}
	nothingLeft(t)
}

// However and whenever it ends, no process, mount or cgroup is left.
func TestEndsCleanLab(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		for _, after := range []time.Duration{50 * time.Millisecond, 700 * time.Millisecond, 3 * time.Second} {
			out := t.TempDir()
			cmd := benchCommand(t, "--quick", "--workloads", "many,rate,find,idle", "--runtimes", "runc,crun,runsc", "--out", out)
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after) // the moment is the test's subject, not a synchronisation
			if sig == syscall.SIGINT {
				syscall.Kill(-cmd.Process.Pid, sig) // as a terminal does
			} else {
				cmd.Process.Signal(sig)
			}
			cmd.Wait()
			if sig != syscall.SIGKILL && cmd.ProcessState.ExitCode() != exitInterrupted {
				t.Errorf("%v after %v: %v\n%s", sig, after, cmd.ProcessState, said.String())
			}
			nothingLeft(t)
		}
	}
}

// nothingLeft waits a moment for the kernel to finish with a killed namespace.
func nothingLeft(t *testing.T) {
	t.Helper()
	var left []string
	for range 100 {
		if left = leftovers(); len(left) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("left: %q", left)
}

func leftovers() []string {
	var out []string
	cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, c := range cmdlines {
		b, _ := os.ReadFile(c)
		if bytes.Contains(b, []byte(sitePrefix)) {
			out = append(out, c+": "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for _, line := range strings.Split(string(mounts), "\n") {
		if strings.Contains(line, "bulkhead-bench") {
			out = append(out, line)
		}
	}
	return out
}

// TestLabContainerd runs the commands of the README as they stand there.
func TestLabContainerd(t *testing.T) {
	dir := repo(t)
	readme, err := os.ReadFile(filepath.Join(dir, "lab/sandbox-bench/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(readme), "## By hand: containerd")
	if !ok {
		t.Fatal("the README has no section \"By hand: containerd\"")
	}
	var script strings.Builder
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		script.WriteString(m[1])
	}
	for _, s := range []string{"install.sh containerd", "rootfs.sh", "runsc.sh", "containerd-build.sh"} {
		if out, err := exec.Command("/bin/sh", "-c", filepath.Join(dir, "lab/sandbox-bench", s)).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", s, err, out)
		}
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"bash", "-euc", script.String())
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := os.Create(filepath.Join(t.TempDir(), "out")) // a file: daemons may outlive the shell that is waited for
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	runErr := cmd.Run()
	b, _ := os.ReadFile(out.Name())
	said := string(b)
	t.Log(said)
	if runErr != nil {
		t.Fatal(runErr)
	}
	for _, want := range []string{"hello from runc by ctr", "hello from crun by ctr", "hello from runsc by ctr", "hello from bulkhead by ctr",
		"hello from runc by nerdctl", "hello from crun by nerdctl", "hello from bulkhead by nerdctl", "grpc_server_handled_total", `"job":"containerd"`} {
		if !strings.Contains(said, want) {
			t.Errorf("the output has no %q", want)
		}
	}
	left, _ := filepath.Glob("/var/tmp/bulkhead-hand.*")
	for _, l := range left {
		os.RemoveAll(l) // its mounts went with their namespace
	}
}
