//go:build lab

package workbench

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
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

// TestLab measures every workload for a short while with the real runtimes.
func TestLab(t *testing.T) {
	all, err := spec.Defaults()
	if err != nil {
		t.Fatal(err)
	}
	measured(t, "runc,crun,runsc,bulkhead", spec.Names(all))
	// A VM boots for seconds where KVM runs no guests.
	measured(t, "bulkhead-vm", []string{"start", "run-true", "exec-true", "idle", "sysbench-cpu", "calls", "find", "small-files"})
}

// measured wants a figure in every cell.
func measured(t *testing.T, runtimes string, workloads []string) {
	t.Helper()
	out := t.TempDir()
	cmd := benchCommand(t, "--quick", "--rounds", "1", "--time-limit", "10m", "--runtimes", runtimes,
		"--workloads", strings.Join(workloads, ","), "--out", out)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	r, err := results.Load(filepath.Join(out, resultsFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range r.Runtimes {
		if a.Status != results.RuntimeMeasured {
			t.Errorf("%+v", a)
		}
	}
	for _, c := range r.Cells {
		if c.Status != results.CellOK && !strings.Contains(c.Why, "the root file system has no") {
			t.Errorf("%s on %s: %s %s", c.Workload, c.Runtime, c.Status, c.Why)
		}
	}
	nothingLeft(t)
}

// However and whenever it ends, no process or mount is left, and no cgroup
// where it can say farewell.
func TestEndsCleanLab(t *testing.T) {
	for _, runtimes := range []string{"runc,crun,runsc,bulkhead", "bulkhead-vm"} {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
			for _, after := range []time.Duration{50 * time.Millisecond, 700 * time.Millisecond, 3 * time.Second, 9 * time.Second} {
				out := t.TempDir()
				cmd := benchCommand(t, "--quick", "--workloads", "many,rate,find,idle,git,redis", "--runtimes", runtimes, "--out", out)
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
				early := cmd.ProcessState.ExitCode() < 0 && said.Len() == 0 // before it could catch anything
				if sig != syscall.SIGKILL && cmd.ProcessState.ExitCode() != exitInterrupted && !early {
					t.Errorf("%v after %v: %v\n%s", sig, after, cmd.ProcessState, said.String())
				}
				nothingLeft(t)
				if left := cgroups(); sig != syscall.SIGKILL && len(left) > 0 {
					t.Errorf("%v after %v of %s: cgroups %q are left", sig, after, runtimes, left)
				}
			}
		}
	}
}

// cgroups are the workbench's own.
func cgroups() []string {
	v2, _ := filepath.Glob("/sys/fs/cgroup/" + drive.CgroupParent + "/*")
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/" + drive.CgroupParent + "/*")
	return slices.DeleteFunc(append(v2, v1...), func(p string) bool { // a cgroup's own files
		st, err := os.Stat(p)
		return err != nil || !st.IsDir()
	})
}

// An ordinary user measures what needs no root: the Sentry wall, with a figure
// in every cell that does not empty the page cache.
func TestOrdinaryUserLab(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	for _, name := range []string{"bulkhead", "bulkhead-bench"} {
		b, err := os.ReadFile(filepath.Join(repo(t), "bin", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--",
		filepath.Join(dir, "bulkhead"), "bench", "--rounds", "1", "--time-limit", "10m", "--work", dir, "--out", filepath.Join(dir, "report"))
	cmd.Env = append(os.Environ(), "HOME="+dir)
	if b, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(b), "needs root: run the workbench as root") {
		t.Fatalf("%v\n%s", err, b)
	}
	r, err := results.Load(filepath.Join(dir, "report", resultsFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Cells {
		if c.Status != results.CellOK && !strings.Contains(c.Why, "the root file system has no") && !strings.Contains(c.Why, "cannot be emptied here") {
			t.Errorf("%s on %s: %s %s", c.Workload, c.Runtime, c.Status, c.Why)
		}
	}
	nothingLeft(t)
}

// A full disk with the real runtimes, whose own messages about it differ: one
// of the workbench's says what to do.
func TestFullDiskLab(t *testing.T) {
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	script := `mkdir $0 && mount -t tmpfs -o size=24m none $0
		(until ls $0/bulkhead-bench.*/bench-[0-9]* > /dev/null 2>&1; do sleep 0.02; done; while :; do cat /dev/zero >> $0/fill 2> /dev/null; done) & eater=$!
		"$@"; rc=$?; kill $eater; exit $rc`
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, work,
		filepath.Join(repo(t), "bin/bulkhead-bench"), "--quick", "--rounds", "1000", "--runtimes", "runc,crun,runsc,bulkhead", "--workloads", "run-true,start,idle",
		"--work", work, "--out", filepath.Join(dir, "report"))
	b, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(string(b), "--work "+work+": the disk is full") {
		t.Errorf("%v, exit %d\n%s", err, code, b)
	}
	nothingLeft(t)
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

// section is a part of the lab's README.
func section(t *testing.T, title string) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(repo(t), "lab/sandbox-bench/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(readme), "## "+title)
	if !ok {
		t.Fatalf("the README has no section %q", title)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// fences are the blocks of commands in a text.
func fences(text string) (out []string) {
	for _, m := range regexp.MustCompile("(?s)```(?:sh)?\n(.*?)```").FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// follow runs commands of the README from the top of the tree, as they stand there.
func follow(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = repo(t)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// A file, for daemons may outlive the shell that is waited for; appended to, for gVisor writes at an offset of its own.
	out, err := os.OpenFile(filepath.Join(t.TempDir(), "out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	runErr := cmd.Run()
	b, _ := os.ReadFile(out.Name())
	t.Log(string(b))
	if runErr != nil {
		t.Fatal(runErr)
	}
	return string(b)
}

// TestByHandLab follows the README's one runtime by hand: both count the same files.
func TestByHandLab(t *testing.T) {
	said := follow(t, "bash", "-euc", strings.Join(fences(section(t, "By hand: one runtime")), "\n"))
	counts := regexp.MustCompile(`(?m)^\d{3,}$`).FindAllString(said, -1)
	if len(counts) != 2 || counts[0] != counts[1] {
		t.Errorf("runc and runsc count %q files", counts)
	}
}

// TestLabContainerd runs the commands of the README as they stand there: those
// before the shell of its own, then that shell with the rest.
func TestLabContainerd(t *testing.T) {
	blocks := fences(section(t, "By hand: containerd"))
	if len(blocks) < 2 {
		t.Fatalf("the README has %d blocks of commands", len(blocks))
	}
	first := strings.TrimSpace(blocks[0])
	cut := strings.LastIndexByte(first, '\n')
	shell := first[cut+1:]
	if !strings.HasPrefix(shell, "unshare ") || !strings.HasSuffix(shell, " bash") {
		t.Fatalf("the last command of the first block is no shell: %q", shell)
	}
	follow(t, "bash", "-euc", first[:cut])
	before, _ := filepath.Glob("/var/tmp/bulkhead-hand.*")
	said := follow(t, append(strings.Fields(shell), "-euc", strings.Join(blocks[1:], "\n"))...)
	for _, name := range []string{"runc", "crun", "runsc", "bulkhead", "bulkhead-vm"} {
		for _, client := range []string{"ctr", "nerdctl"} {
			if want := "hello from " + name + " by " + client; !strings.Contains(said, want) {
				t.Errorf("the output has no %q", want)
			}
		}
	}
	// What Prometheus has scraped: containerd is up, and has answered calls.
	for _, want := range []string{
		`(?m)^grpc_server_handled_total\{`,
		`"__name__":"up","instance":"[^"]*","job":"containerd"\},"value":\[[0-9.]+,"1"\]`,
		`"grpc_method":"[A-Za-z]+"\},"value":\[[0-9.]+,"[1-9]`,
	} {
		if !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("the output does not match %s", want)
		}
	}
	left, _ := filepath.Glob("/var/tmp/bulkhead-hand.*")
	for _, l := range left {
		if !slices.Contains(before, l) {
			os.RemoveAll(l) // its mounts went with their namespace
		}
	}
}
