package container

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// What a sandbox's end waits for, and what bounds it.

// init keeps the first goroutine on the first thread, for headless.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "headless" {
		runtime.LockOSThread()
	}
}

// headless is a process whose first thread ends before the others.
func headless() {
	go func() {
		fmt.Println("here")
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	time.Sleep(time.Millisecond) // the goroutine needs a thread of its own
	unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
}

// TestFirstThreadEnds: a process whose first thread is a zombie while others live
// has not ended.
func TestFirstThreadEnds(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "headless")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	p, err := processByPid(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", p.Pid, p.Pid))
		if strings.Contains(string(raw), ") Z ") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the first thread does not end: %s", raw)
		}
	}
	if !p.alive() || p.wait(0) {
		t.Error("taken for ended while a thread of it lives")
	}
	stdin.Close()
	if !p.wait(20 * time.Second) {
		t.Error("does not end")
	}
	if p.alive() {
		t.Error("taken for alive when all its threads have ended")
	}
	cmd.Wait()
}

// leaveOrphans starts a shell whose children outlive it, and reaps all of them.
func leaveOrphans() {
	adoptOrphans()
	sh := exec.Command("/bin/sh", "-c", "for i in 1 2 3; do (sleep 1000 & sleep 1000 & exec sleep 1000) & done; exit 0")
	if err := sh.Run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	reapOrphans()
	if left := childrenOf(os.Getpid()); len(left) > 0 {
		fmt.Println("left:", left)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestReapOrphans: who comes while others are waited for is killed as well.
func TestReapOrphans(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "orphans")
	limit := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() })
	defer limit.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestHooksKeepOutputOpen: what a hook has started may keep the hook's output
// open; nothing waits for that.
func TestHooksKeepOutputOpen(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	script := fmt.Sprintf("sleep 1000 & echo $! >>%s; echo because; exit %%d", pids)
	hook := func(code int) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", fmt.Sprintf(script, code)}, Env: []string{"PATH=/bin:/usr/bin"}}}
	}
	t.Cleanup(func() {
		raw, _ := os.ReadFile(pids)
		for _, f := range strings.Fields(string(raw)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
	})
	for _, tc := range []struct {
		name  string
		hooks specs.Hooks
		want  string
	}{
		{"succeeds", specs.Hooks{CreateRuntime: hook(0)}, ""},
		{"fails", specs.Hooks{CreateRuntime: hook(3)}, "exit status 3: because"},
		{"fails inside", specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/sh", Env: []string{"PATH=/bin:/usr/bin"},
			Args: []string{"sh", "-c", "sleep 1000 & echo because; exit 3"}}}}, "exit status 3: because"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.spec.Hooks = &tc.hooks
			w.write()
			done := make(chan error, 1)
			go func() {
				err := w.rt.Create(w.options("o"))
				if err == nil {
					err = w.rt.Start("o")
				}
				done <- err
			}()
			select {
			case err := <-done:
				if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("error %v, want %q", err, tc.want)
				}
			case <-time.After(60 * time.Second):
				t.Fatal("waits for what the hook has started")
			}
		})
	}
}
