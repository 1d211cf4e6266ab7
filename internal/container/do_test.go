package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// runDo runs a command behind the fake Sentry.
func runDo(t *testing.T, o DoOptions) (code int, stdout string, err error) {
	t.Helper()
	w, out := pipeOut(t)
	o.Stdin, o.Stdout, o.Stderr = devNull(t), w, os.Stderr
	code, err = Do(o)
	return code, out(), err
}

func TestDoExitCodes(t *testing.T) {
	for _, tc := range []struct {
		name    string
		args    []string
		env     []string
		timeout time.Duration
		code    int
		out     string
		err     string
	}{
		{name: "true", args: []string{"true"}, code: 0},
		{name: "status", args: []string{"sh", "-c", "echo hi; exit 7"}, code: 7, out: "hi"},
		{name: "signal", args: []string{"sh", "-c", "kill -9 $$"}, code: 128 + 9},
		{name: "not found", args: []string{"no-such-program"}, code: ExitNotFound, err: "no-such-program"},
		{name: "timeout", args: []string{"sleep", "60"}, timeout: 50 * time.Millisecond, code: ExitTimeout},
		{name: "refused", args: []string{"true"}, env: []string{"FAKE_BOOT=refuse"}, code: ExitFailure, err: "refuses"},
		{name: "died", args: []string{"true"}, env: []string{"FAKE_BOOT=die"}, code: ExitFailure, err: "ended while"},
		{name: "nothing", code: ExitFailure, err: "no command"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, err := runDo(t, DoOptions{Args: tc.args, Env: tc.env, Timeout: tc.timeout})
			if code != tc.code || out != tc.out {
				t.Errorf("exit code %d, output %q; want %d, %q (error %v)", code, out, tc.code, tc.out, err)
			}
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
		})
	}
}

// TestDoPassesStdin shows that the descriptors are the command's own.
func TestDoPassesStdin(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.WriteString("from outside\n")
	w.Close()
	defer r.Close()
	stdout, out := pipeOut(t)
	code, err := Do(DoOptions{Args: []string{"cat"}, Stdin: r, Stdout: stdout, Stderr: os.Stderr})
	if got := out(); code != 0 || err != nil || got != "from outside" {
		t.Fatalf("exit code %d, output %q, error %v", code, got, err)
	}
}

func TestDoForwardsSignals(t *testing.T) {
	script := `trap 'echo got; exit 3' USR1; echo ready; while :; do sleep 0.01; done`
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		defer w.Close()
		code, err := Do(DoOptions{Args: []string{"sh", "-c", script}, Stdin: devNull(t), Stdout: w, Stderr: os.Stderr})
		if code != 3 || err != nil {
			t.Errorf("exit code %d, error %v", code, err)
		}
	}()
	buf := make([]byte, 64)
	if n, _ := r.Read(buf); string(buf[:n]) != "ready\n" {
		t.Fatalf("first line %q", buf[:n])
	}
	unix.Kill(unix.Getpid(), unix.SIGUSR1)
	if n, _ := r.Read(buf); string(buf[:n]) != "got\n" {
		t.Fatalf("second line %q", buf[:n])
	}
	if n, _ := r.Read(buf); n != 0 {
		t.Fatalf("more output %q", buf[:n])
	}
}

// TestDoCatchesBeforeItStarts: nothing of the sandbox runs before signals are
// caught, however slow that is.
func TestDoCatchesBeforeItStarts(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	o := DoOptions{Args: []string{"echo", "ready"}, Stdin: devNull(t), Stdout: w, Stderr: os.Stderr}
	l, err := o.launch()
	if err != nil {
		t.Fatal(err)
	}
	l.catching = make(chan *forwarder)
	caught := make(chan bool, 1)
	go func() {
		defer w.Close()
		run, err := l.run()
		if err != nil {
			t.Error(err)
			return
		}
		defer run.closeFiles()
		defer l.forwarder.stop()
		if status, err := run.sentry.wait(); err != nil || status.ExitStatus() != 0 {
			t.Errorf("status %v, error %v", status, err)
		}
		run.reapGofer()
	}()
	go func() {
		time.Sleep(200 * time.Millisecond) // what must not run has had its time
		caught <- true
		l.catching <- newForwarder()
	}()
	buf := make([]byte, 16)
	if n, _ := r.Read(buf); string(buf[:n]) != "ready\n" {
		t.Fatalf("output %q", buf[:n])
	}
	select {
	case <-caught:
	default:
		t.Error("the command ran before signals were caught")
	}
}

func TestDoConfiguration(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"root/etc", "root/work", "vol/sub"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	passwd := "root:x:0:0::/root:/bin/sh\nalice:x:1001:1002::/home/alice:/bin/sh\n"
	if err := os.WriteFile(filepath.Join(dir, "root/etc/passwd"), []byte(passwd), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET_TOKEN", "x")
	t.Setenv("GIVEN", "y")
	t.Chdir(filepath.Join(dir, "vol"))
	o := DoOptions{
		RootDir: filepath.Join(dir, "root"),
		Volumes: []string{".:/data:ro"},
		User:    "alice",
		Env:     []string{"A=1", "GIVEN", "MISSING"},
		Args:    []string{"true"},
	}
	l, err := o.launch()
	if err != nil {
		t.Fatal(err)
	}
	p := l.sentry.Process
	if p.UID != 1001 || p.GID != 1002 || p.Caps.Effective != 0 {
		t.Errorf("user %d:%d caps %x", p.UID, p.GID, p.Caps.Effective)
	}
	env := strings.Join(p.Env, "\n")
	for _, want := range []string{"A=1", "GIVEN=y", "HOME=/home/alice", "PATH="} {
		if !strings.Contains(env, want) {
			t.Errorf("environment lacks %s: %q", want, p.Env)
		}
	}
	if strings.Contains(env, "SECRET") || strings.Contains(env, "MISSING") {
		t.Errorf("environment leaks: %q", p.Env)
	}
	if p.Cwd != "/" {
		t.Errorf("cwd %q: the root has no such directory", p.Cwd)
	}
	last := l.sentry.Mounts[len(l.sentry.Mounts)-1]
	if last.Destination != "/data" || last.Gofer != 1 || last.Flags&unix.MS_RDONLY == 0 || !l.gofer.Mounts[1].Readonly {
		t.Errorf("volume %+v, gofer %+v", last, l.gofer.Mounts)
	}

	for _, bad := range []DoOptions{
		{RootDir: filepath.Join(dir, "none"), Args: []string{"true"}},
		{Volumes: []string{"/"}, Args: []string{"true"}},
		{Volumes: []string{"/:rel"}, Args: []string{"true"}},
		{Volumes: []string{"/:/x:rx"}, Args: []string{"true"}},
		{Volumes: []string{"/no/such:/x"}, Args: []string{"true"}},
		{Workdir: "rel", Args: []string{"true"}},
		{User: "no-such-user", Args: []string{"true"}},
		{Env: []string{"=x"}, Args: []string{"true"}},
	} {
		if _, err := bad.launch(); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// TestDoWorkdir: the current directory is taken only where the sandbox has it.
func TestDoWorkdir(t *testing.T) {
	dir := t.TempDir()
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(real)
	o := DoOptions{Args: []string{"true"}}
	if l, err := o.launch(); err != nil || l.sentry.Process.Cwd != real {
		t.Errorf("host root: cwd %q, %v", l.sentry.Process.Cwd, err)
	}
	o = DoOptions{RootDir: real, Volumes: []string{real + ":" + real}, Args: []string{"true"}}
	if l, err := o.launch(); err != nil || l.sentry.Process.Cwd != real {
		t.Errorf("volume: cwd %q, %v", l.sentry.Process.Cwd, err)
	}
}
