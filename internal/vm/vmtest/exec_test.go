package vmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// background starts a command whose output goes to a file.
func (b *box) background(args ...string) (*exec.Cmd, string) {
	b.t.Helper()
	out, err := os.CreateTemp(b.t.TempDir(), "out")
	if err != nil {
		b.t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(b.prog, append([]string{"--root", b.state}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	return cmd, out.Name()
}

// shows waits until a file has a text.
func (b *box) shows(file, want string) {
	b.t.Helper()
	var raw []byte
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if raw, _ = os.ReadFile(file); strings.Contains(string(raw), want) {
			return
		}
	}
	b.t.Fatalf("no %q in %q", want, raw)
}

// TestExecKilled: what SIGKILL does to the client of an exec, and a client to
// its process by signals; the container goes on, and the VM's death ends all.
func TestExecKilled(t *testing.T) {
	b := newBox(t)
	b.must("run", "--detach", "--bundle", b.bundle, b.id)

	// A client that is killed: its process lives on, as any whose parent dies,
	// and can be signalled by its number.
	cmd, out := b.background("exec", b.id, "sh", "-c", "echo running; exec sleep 4321")
	b.shows(out, "running")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.ends(cmd, -1)
	if ps := b.must("ps", b.id); !strings.Contains(ps, "sleep 4321") {
		t.Errorf("the process of a client that was killed is gone:\n%s", ps)
	}
	if got, _ := b.status(); got != "running" {
		t.Errorf("the container is %s", got)
	}

	// A signal to the client is one to the process.
	for sig, code := range map[unix.Signal]int{unix.SIGTERM: 143, unix.SIGUSR1: 138} {
		cmd, out := b.background("exec", b.id, "sh", "-c", "echo running; exec sleep 4322")
		b.shows(out, "running")
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		b.ends(cmd, code)
	}

	// A detached one has a pid on the host that stands for it.
	pidFile := filepath.Join(t.TempDir(), "pid")
	if said, code := b.run("", "exec", "--detach", "--pid-file", pidFile, b.id, "sleep", "4323"); code != 0 {
		t.Fatalf("exec --detach: %s", said)
	}
	raw, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatalf("pid %d: %v", pid, err)
	}
	b.absent("sleep 4323")

	// The monitor's death ends the container and whoever waits.
	cmd, out = b.background("exec", b.id, "sh", "-c", "echo running; exec sleep 4324")
	b.shows(out, "running")
	_, monitor := b.status()
	if err := unix.Kill(monitor, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.ends(cmd, 137)
	b.await("stopped")
	b.must("delete", b.id)
}

// absent waits until no process of the container has a text in its command.
func (b *box) absent(command string) {
	b.t.Helper()
	var ps string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ps = b.must("ps", b.id); !strings.Contains(ps, command) {
			return
		}
	}
	b.t.Errorf("%s lives on:\n%s", command, ps)
}

// TestKillCreate: a create that is killed at any moment leaves something that
// delete takes away, and nothing else.
func TestKillCreate(t *testing.T) {
	full(t)
	for _, after := range []time.Duration{0, 20, 100, 300, 1000, 3000} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			b := newBox(t)
			cmd, _ := b.background("create", "--bundle", b.bundle, b.id)
			time.Sleep(after * time.Millisecond) // the moment is the test's subject
			cmd.Process.Kill()
			_ = cmd.Wait()
			b.must("delete", "--force", b.id)
			b.settle()
		})
	}
}

// settle waits until no process has the box's paths on its command line.
func (b *box) settle() {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		found := false
		procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, p := range procs {
			raw, _ := os.ReadFile(p)
			found = found || strings.Contains(string(raw), b.bundle) || strings.Contains(string(raw), b.state)
		}
		if !found {
			return
		}
	}
}
