package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// world is a state directory and a bundle; everything made in it is gone after
// the test.
type world struct {
	t      *testing.T
	rt     *Runtime
	bundle string
	spec   *specs.Spec
	logged []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes cgroups")
	}
	w := &world{t: t, bundle: t.TempDir()}
	w.rt = &Runtime{Root: filepath.Join(t.TempDir(), "state"), Wall: WallSentry}
	w.rt.Warn = func(format string, a ...any) { w.logged = append(w.logged, fmt.Sprintf(format, a...)) }
	if err := w.rt.Init(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(w.bundle, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.spec = SpecTemplate(false)
	w.spec.Process.Terminal = false
	w.spec.Process.Args = []string{"sleep", "1000"}
	w.spec.Linux.CgroupsPath = fmt.Sprintf("/bulkhead-test-%d-%s", os.Getpid(), strings.ToLower(strings.NewReplacer("/", "-").Replace(t.Name())))
	t.Cleanup(w.clean)
	return w
}

// clean removes every container and checks that nothing is left.
func (w *world) clean() {
	list, _ := w.rt.List()
	for _, s := range list {
		if err := w.rt.Delete(s.ID, true); err != nil {
			w.t.Errorf("delete %s: %v", s.ID, err)
		}
	}
	if entries, _ := os.ReadDir(w.rt.Root); len(entries) > 0 {
		w.t.Errorf("left in the state directory: %v", entries)
	}
	for _, dir := range w.cgroupDirs() {
		w.t.Errorf("left: cgroup %s", dir)
		os.Remove(dir)
	}
}

func (w *world) cgroupDirs() []string {
	name := w.spec.Linux.CgroupsPath
	if name == "" {
		return nil
	}
	one, _ := filepath.Glob("/sys/fs/cgroup" + name)
	all, _ := filepath.Glob("/sys/fs/cgroup/*" + name)
	return append(one, all...)
}

func (w *world) write() {
	w.t.Helper()
	raw, err := json.Marshal(w.spec)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.bundle, "config.json"), raw, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) options(id string) CreateOptions {
	null := devNull(w.t)
	return CreateOptions{ID: id, Bundle: w.bundle, Stdin: null, Stdout: null, Stderr: os.Stderr}
}

func (w *world) create(id string) {
	w.t.Helper()
	w.write()
	if err := w.rt.Create(w.options(id)); err != nil {
		w.t.Fatalf("create: %v", err)
	}
}

func (w *world) start(id string) {
	w.t.Helper()
	if err := w.rt.Start(id); err != nil {
		w.t.Fatalf("start: %v", err)
	}
}

func (w *world) status(id string) string {
	w.t.Helper()
	s, err := w.rt.State(id)
	if err != nil {
		w.t.Fatalf("state: %v", err)
	}
	return s.Status
}

// stopped waits until the container's Sentry has ended.
func (w *world) stopped(id string) {
	w.t.Helper()
	c, err := w.rt.open(id)
	if err != nil {
		w.t.Fatal(err)
	}
	if !c.rec.Sentry.wait(10 * time.Second) {
		w.t.Fatal("the container does not stop")
	}
}

func TestLifecycle(t *testing.T) {
	w := newWorld(t)
	w.create("c1")
	o := w.options("c1")
	if err := w.rt.Create(o); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("second create: %v", err)
	}
	if got := w.status("c1"); got != StatusCreated {
		t.Errorf("status %q after create", got)
	}
	if err := w.rt.Pause("c1"); err == nil {
		t.Error("a created container was paused")
	}
	w.start("c1")
	if err := w.rt.Start("c1"); err == nil {
		t.Error("started twice")
	}
	s, err := w.rt.State("c1")
	if err != nil || s.Status != StatusRunning || s.Pid <= 0 || s.Bundle != w.bundle {
		t.Errorf("state %+v, %v", s, err)
	}
	if err := w.rt.Delete("c1", false); err == nil || !strings.Contains(err.Error(), "not stopped") {
		t.Errorf("delete of a running container: %v", err)
	}
	if err := w.rt.Pause("c1"); err != nil {
		t.Fatal(err)
	}
	if got := w.status("c1"); got != StatusPaused {
		t.Errorf("status %q after pause", got)
	}
	if err := w.rt.Resume("c1"); err != nil {
		t.Fatal(err)
	}
	if err := w.rt.Resume("c1"); err == nil {
		t.Error("resumed twice")
	}
	pids, err := w.rt.HostPids("c1")
	if err != nil || len(pids) != 2 {
		t.Errorf("host pids %v, %v: want the Sentry and the program", pids, err)
	}
	if err := w.rt.Kill("c1", unix.SIGTERM, false); err != nil {
		t.Fatal(err)
	}
	w.stopped("c1")
	if got := w.status("c1"); got != StatusStopped {
		t.Errorf("status %q at the end", got)
	}
	if err := w.rt.Kill("c1", unix.SIGTERM, false); err == nil || err.Error() != "container not running" {
		t.Errorf("kill of a stopped container: %v", err)
	}
	if err := w.rt.Start("c1"); err == nil {
		t.Error("a stopped container was started")
	}
	if err := w.rt.Delete("c1", false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.rt.State("c1"); !errors.Is(err, ErrNotExist) {
		t.Errorf("state after delete: %v", err)
	}
	if err := w.rt.Delete("c1", false); !errors.Is(err, ErrNotExist) {
		t.Errorf("second delete: %v", err)
	}
	if err := w.rt.Delete("c1", true); err != nil {
		t.Errorf("second delete --force: %v", err)
	}
}

func TestRunExitCodes(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
	}{
		{[]string{"true"}, 0},
		{[]string{"sh", "-c", "exit 9"}, 9},
		{[]string{"sh", "-c", "kill -TERM $$"}, 143},
	} {
		w := newWorld(t)
		w.spec.Process.Args = tc.args
		w.write()
		code, err := w.rt.Run(w.options("r"), false, false)
		if code != tc.code || err != nil {
			t.Errorf("%q: exit code %d, %v; want %d", tc.args, code, err, tc.code)
		}
	}
}

// TestBootFailure: a sandbox that cannot be loaded leaves nothing behind.
func TestBootFailure(t *testing.T) {
	for _, how := range []string{"die", "refuse"} {
		w := newWorld(t)
		w.spec.Process.Env = append(w.spec.Process.Env, "FAKE_BOOT="+how)
		w.write()
		if err := w.rt.Create(w.options("b")); err == nil {
			t.Errorf("%s: create succeeded", how)
		}
		if _, err := w.rt.State("b"); !errors.Is(err, ErrNotExist) {
			t.Errorf("%s: state: %v", how, err)
		}
	}
}

// TestHalfMade: a create that was killed leaves something that delete removes.
func TestHalfMade(t *testing.T) {
	w := newWorld(t)
	c, err := w.rt.makeDir("half")
	if err != nil {
		t.Fatal(err)
	}
	c.unlock()
	if _, err := w.rt.State("half"); !errors.Is(err, ErrNotExist) {
		t.Errorf("state: %v", err)
	}
	if err := w.rt.Delete("half", false); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func TestHooksOrder(t *testing.T) {
	w := newWorld(t)
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	os.Chmod(log, 0o666)
	os.Chmod(filepath.Dir(log), 0o777)
	os.Chmod(filepath.Dir(filepath.Dir(log)), 0o777)
	hook := func(name string) []specs.Hook {
		script := fmt.Sprintf(`(cat; echo) | sed 's/.*"status":"\([a-z]*\)".*/%s \1/' >>%s; echo "$V" >>%s`, name, log, log)
		one := 10
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"V=" + name, "PATH=/bin:/usr/bin"}, Timeout: &one}}
	}
	w.spec.Hooks = &specs.Hooks{
		Prestart: hook("prestart"), CreateRuntime: hook("createRuntime"), CreateContainer: hook("createContainer"),
		StartContainer: hook("startContainer"), Poststart: hook("poststart"), Poststop: hook("poststop"),
	}
	w.create("h")
	w.start("h")
	if err := w.rt.Delete("h", true); err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(log)
	want := "prestart created\nprestart\ncreateRuntime creating\ncreateRuntime\ncreateContainer creating\ncreateContainer\n" +
		"startContainer created\nstartContainer\npoststart running\npoststart\npoststop stopped\npoststop\n"
	if string(raw) != want {
		t.Errorf("hooks ran as\n%swant\n%s", raw, want)
	}
}

// TestHookFailure: what a failing hook stops, and that poststop still runs.
func TestHookFailure(t *testing.T) {
	one := 1
	fail := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo because >&2; exit 3"}}}
	slow := []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "100"}, Timeout: &one}}
	for _, tc := range []struct {
		name  string
		hooks specs.Hooks
		start bool // fails at start, not at create
		want  string
	}{
		{"createRuntime", specs.Hooks{CreateRuntime: fail}, false, "because"},
		{"createContainer", specs.Hooks{CreateContainer: fail}, false, "hooks.createContainer[0]"},
		{"timeout", specs.Hooks{Prestart: slow}, false, "did not end within 1 s"},
		{"startContainer", specs.Hooks{StartContainer: fail}, true, "because"},
		{"poststart", specs.Hooks{Poststart: fail}, true, "hooks.poststart[0]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			marker := filepath.Join(t.TempDir(), "poststop")
			tc.hooks.Poststop = []specs.Hook{{Path: "/usr/bin/touch", Args: []string{"touch", marker}}}
			w.spec.Hooks = &tc.hooks
			w.write()
			err := w.rt.Create(w.options("f"))
			if tc.start {
				if err != nil {
					t.Fatal(err)
				}
				err = w.rt.Start("f")
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if tc.start {
				if got := w.status("f"); got != StatusStopped {
					t.Errorf("status %q", got)
				}
				w.rt.Delete("f", false)
			}
			if _, err := os.Stat(marker); err != nil {
				t.Errorf("poststop did not run: %v", err)
			}
		})
	}
}

func TestCgroupLimits(t *testing.T) {
	w := newWorld(t)
	memory, pids := int64(64<<20), int64(50)
	w.spec.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &memory}, Pids: &specs.LinuxPids{Limit: &pids}}
	w.create("l")
	w.start("l")
	e, err := w.rt.StatsEvent("l")
	if err != nil {
		t.Fatal(err)
	}
	s := e.Data.(*Stats)
	if s.Pids.Limit != 50 || s.Memory.Usage.Limit != 64<<20 || s.Pids.Current != 1 {
		t.Errorf("statistics: pids %+v, memory %+v", s.Pids, s.Memory.Usage)
	}
	more := int64(70)
	if err := w.rt.Update("l", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &more}}); err != nil {
		t.Fatal(err)
	}
	e, _ = w.rt.StatsEvent("l")
	if got := e.Data.(*Stats); got.Pids.Limit != 70 || got.Memory.Usage.Limit != 64<<20 {
		t.Errorf("after update: pids %+v, memory %+v", got.Pids, got.Memory.Usage)
	}
	c, _ := w.rt.open("l")
	if c.rec.Limits.Pids != 70 || c.rec.Limits.MemoryBytes != memory {
		t.Errorf("limits kept: %+v", c.rec.Limits)
	}
}

// TestForeignCgroup: a cgroup with others' processes is refused; delete would
// end them.
func TestForeignCgroup(t *testing.T) {
	w := newWorld(t)
	path := w.spec.Linux.CgroupsPath
	w.spec.Linux.CgroupsPath = "/"
	w.write()
	err := w.rt.Create(w.options("x"))
	w.spec.Linux.CgroupsPath = path
	if err == nil || !strings.Contains(err.Error(), "linux.cgroupsPath") {
		t.Fatalf("create in the root cgroup: %v", err)
	}
	if cgroups.IsCgroup2UnifiedMode() {
		return
	}
}

func TestExec(t *testing.T) {
	w := newWorld(t)
	w.create("e")
	exec := func(o ExecOptions) (int, string, error) {
		stdout, out := pipeOut(t)
		o.ID, o.Stdin, o.Stdout, o.Stderr = "e", devNull(t), stdout, os.Stderr
		code, err := w.rt.Exec(o)
		return code, out(), err
	}
	if code, _, err := exec(ExecOptions{Args: []string{"sh", "-c", "exit 7"}}); code != 7 || err != nil {
		t.Errorf("before start: exit code %d, %v", code, err)
	}
	w.start("e")
	if code, out, err := exec(ExecOptions{Args: []string{"sh", "-c", "echo $X; exit 5"}, Env: []string{"X=y"}}); code != 5 || out != "y" || err != nil {
		t.Errorf("exit code %d, output %q, %v", code, out, err)
	}
	if _, _, err := exec(ExecOptions{Args: []string{"no-such-program"}}); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("error %v", err)
	}
	file := filepath.Join(t.TempDir(), "process.json")
	os.WriteFile(file, []byte(`{"args":["sh","-c","exit 6"],"cwd":"/","user":{"uid":0,"gid":0},"env":["PATH=/bin"]}`), 0o644)
	if code, _, err := exec(ExecOptions{ProcessFile: file}); code != 6 || err != nil {
		t.Errorf("--process: exit code %d, %v", code, err)
	}
	os.WriteFile(file, []byte(`{"args":[],"cwd":"x"}`), 0o644)
	if _, _, err := exec(ExecOptions{ProcessFile: file}); err == nil || !strings.Contains(err.Error(), "process.cwd") {
		t.Errorf("--process with a bad one: %v", err)
	}
}

// TestExecDetached: the pid written stands for the process, its signals and its
// end.
func TestExecDetached(t *testing.T) {
	w := newWorld(t)
	w.create("d")
	w.start("d")
	// The proxy becomes ours, as it would a shim's.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	pidFile := filepath.Join(t.TempDir(), "pid")
	stdout, out := pipeOut(t)
	_, err := w.rt.Exec(ExecOptions{
		ID: "d", Args: []string{"sh", "-c", "trap 'echo term; exit 4' TERM; echo up; while :; do sleep 0.01; done"},
		Detach: true, PidFile: pidFile, Stdin: devNull(t), Stdout: stdout, Stderr: os.Stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(pidFile)
	var pid int
	if _, err := fmt.Sscan(string(raw), &pid); err != nil || pid == 0 {
		t.Fatalf("pid file %q", raw)
	}
	time.Sleep(50 * time.Millisecond) // the trap may be set a moment after "up"
	unix.Kill(pid, unix.SIGTERM)
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if got := out(); ws.ExitStatus() != 4 || got != "up\nterm" {
		t.Errorf("exit status %d, output %q", ws.ExitStatus(), got)
	}
}

func TestPidFileAndList(t *testing.T) {
	w := newWorld(t)
	w.write()
	o := w.options("p")
	o.PidFile = filepath.Join(t.TempDir(), "pid")
	if err := w.rt.Create(o); err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(o.PidFile)
	list, err := w.rt.List()
	if err != nil || len(list) != 1 || string(raw) != fmt.Sprint(list[0].Pid) {
		t.Errorf("pid file %q, list %v, %v", raw, list, err)
	}
	if err := w.rt.Kill("p", unix.SIGKILL, true); err != nil {
		t.Fatal(err)
	}
	w.stopped("p")
}
