package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/container"
)

// These tests kill what a container is made of by SIGKILL, at every moment of
// its life, with the real program, Sentry and Gofer. They need root, for
// cgroups, and a static busybox as the guest's program.

// realProgram builds the program once; BULKHEAD names one that is built.
var realProgram = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("BULKHEAD"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "bulkhead-kill")
	if err != nil {
		return "", err
	}
	cleanups = append(cleanups, func() { os.RemoveAll(dir) })
	cmd := exec.Command("go", "build", "-o", dir, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return filepath.Join(dir, "bulkhead"), nil
})

// cleanups run when all tests have ended.
var cleanups []func()

// victim is one container that is about to suffer.
type victim struct {
	t       *testing.T
	program string
	behind  []string // what the program is started by, if by anything
	root    string   // state directory
	bundle  string
	fifo    string // the hook's: it says "here" and waits for a word
	cgroup  string
	before  map[string]bool // mounts
	pids    map[int]uint64  // every process seen, with its start time
	pending []*exec.Cmd
}

func newVictim(t *testing.T, hook bool) *victim {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes cgroups")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("busybox-static is needed: %v", err)
	}
	program, err := realProgram()
	if err != nil {
		t.Fatal(err)
	}
	// Orphans become ours, where they are seen.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, program: program, root: t.TempDir(), bundle: t.TempDir(), before: hostMounts(), pids: map[int]uint64{}}
	bin := filepath.Join(v.bundle, "rootfs", "bin")
	raw, err := os.ReadFile(busybox)
	if err == nil {
		err = os.MkdirAll(bin, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(bin, "busybox"), raw, 0o755)
	}
	if err == nil {
		err = os.Symlink("busybox", filepath.Join(bin, "sh"))
	}
	if err != nil {
		t.Fatal(err)
	}
	spec := container.SpecTemplate(false)
	spec.Process.Terminal, spec.Root.Readonly = false, false
	spec.Process.Args = []string{"busybox", "sh", "-c", "busybox sleep 1000 & while :; do busybox sleep 0.01; done"}
	v.cgroup = fmt.Sprintf("/bulkhead-kill-%d-%s", os.Getpid(), strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()))
	spec.Linux.CgroupsPath = v.cgroup
	if hook {
		v.fifo = filepath.Join(v.bundle, "fifo")
		for _, name := range []string{v.fifo, v.fifo + ".go"} {
			if err := unix.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		script := fmt.Sprintf("echo here >%s; read x <%s.go", v.fifo, v.fifo)
		spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}}}}
	}
	raw, err = json.Marshal(spec)
	if err == nil {
		err = os.WriteFile(filepath.Join(v.bundle, "config.json"), raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.nothingLeft)
	return v
}

func hostMounts() map[string]bool {
	raw, _ := os.ReadFile("/proc/self/mountinfo")
	set := map[string]bool{}
	for _, line := range strings.Split(string(raw), "\n") {
		set[line] = true
	}
	return set
}

// begin starts a command of the runtime.
func (v *victim) begin(args ...string) *exec.Cmd {
	v.t.Helper()
	argv := append(append([]string(nil), v.behind...), append([]string{v.program, "--root", v.root}, args...)...)
	cmd := exec.Command(argv[0], argv[1:]...)
	out, err := os.CreateTemp(v.bundle, "out")
	if err != nil {
		v.t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out // files: whoever outlives the command may hold them
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.pending = append(v.pending, cmd)
	return cmd
}

// end waits for a command and gives its exit code.
func (v *victim) end(cmd *exec.Cmd) int {
	v.t.Helper()
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		<-done
		v.t.Errorf("%q does not end", cmd.Args)
	}
	return cmd.ProcessState.ExitCode()
}

// must runs a command that has to succeed.
func (v *victim) must(args ...string) {
	v.t.Helper()
	cmd := v.begin(args...)
	if code := v.end(cmd); code != 0 {
		said, _ := os.ReadFile(cmd.Stdout.(*os.File).Name())
		v.t.Fatalf("%q: exit code %d: %s", args, code, said)
	}
}

// members are the Sentry and the Gofer, by state.json.
type members struct {
	Sentry, Gofer struct {
		Pid   int
		Start uint64
	}
}

// note remembers the container's processes, those of its cgroups too.
func (v *victim) note() (m members) {
	raw, _ := os.ReadFile(filepath.Join(v.root, "k", "state.json"))
	_ = json.Unmarshal(raw, &m)
	v.pids[m.Sentry.Pid], v.pids[m.Gofer.Pid] = m.Sentry.Start, m.Gofer.Start
	for _, dir := range v.cgroups() {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Name() == "cgroup.procs" {
				text, _ := os.ReadFile(path)
				for _, f := range strings.Fields(string(text)) {
					pid, _ := strconv.Atoi(f)
					if _, start := processState(pid); start != 0 {
						v.pids[pid] = start
					}
				}
			}
			return nil
		})
	}
	return m
}

func (v *victim) cgroups() []string {
	one, _ := filepath.Glob("/sys/fs/cgroup" + v.cgroup)
	all, _ := filepath.Glob("/sys/fs/cgroup/*" + v.cgroup)
	return append(one, all...)
}

// processState gives the state and start time of a process, 0 if it is gone.
func processState(pid int) (state byte, start uint64) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	f := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	start, _ = strconv.ParseUint(string(f[19]), 10, 64)
	return f[0][0], start
}

// strike kills the Sentry, the Gofer or both.
func (v *victim) strike(who string) {
	v.t.Helper()
	m := v.note()
	for name, pid := range map[string]int{"sentry": m.Sentry.Pid, "gofer": m.Gofer.Pid} {
		if who == name || who == "both" {
			if pid <= 0 {
				v.t.Fatalf("no %s in state.json", name)
			}
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// stopped waits until `state` says so. A container may be gone as well, if its
// create has failed.
func (v *victim) stopped() {
	v.t.Helper()
	var out []byte
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var err error
		if out, err = exec.Command(v.program, "--root", v.root, "state", "k").CombinedOutput(); err != nil {
			if strings.Contains(string(out), "does not exist") {
				return
			}
			v.t.Fatalf("state: %v: %s", err, out)
		}
		if strings.Contains(string(out), `"status": "stopped"`) {
			return
		}
	}
	v.t.Errorf("the state is not stopped: %s", out)
}

// awaitHook waits until create has reached its hook.
func (v *victim) awaitHook() {
	v.t.Helper()
	f, err := os.OpenFile(v.fifo, os.O_RDWR, 0) // does not block, whoever comes first
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	f.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := f.Read(make([]byte, 16)); err != nil {
		v.t.Fatalf("create does not reach its hook: %v", err)
	}
}

// releaseHook lets the hook end.
func (v *victim) releaseHook() {
	if f, err := os.OpenFile(v.fifo+".go", os.O_RDWR, 0); err == nil {
		f.WriteString("go\n")
		v.t.Cleanup(func() { f.Close() })
	}
}

// nothingLeft is the end of each test: after delete there is no process, mount,
// cgroup, file or socket.
func (v *victim) nothingLeft() {
	for _, cmd := range v.pending {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			v.end(cmd)
		}
	}
	v.note()
	if code := v.end(v.begin("delete", "--force", "k")); code != 0 {
		v.t.Errorf("delete --force: exit code %d", code)
	}
	var left []string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if left = v.leftovers(); len(left) == 0 {
			return
		}
	}
	v.t.Errorf("left: %s", strings.Join(left, ", "))
	for _, what := range left {
		var pid int
		if n, _ := fmt.Sscanf(what, "process %d", &pid); n == 1 {
			v.t.Log(whereabouts(pid))
		}
	}
}

// whereabouts says what each thread of a process that should have ended does.
func whereabouts(pid int) string {
	var b strings.Builder
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, task := range tasks {
		fmt.Fprintf(&b, "%s:", task)
		for _, file := range []string{"comm", "stat", "wchan", "syscall", "stack", "children"} {
			raw, _ := os.ReadFile(filepath.Join(task, file))
			fmt.Fprintf(&b, " %s: %s", file, bytes.TrimSpace(raw))
			if file == "children" {
				for _, child := range strings.Fields(string(raw)) {
					n, _ := strconv.Atoi(child)
					b.WriteString("\n" + whereabouts(n))
				}
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (v *victim) leftovers() (left []string) {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid <= 0 || err != nil {
			break
		}
	}
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	for _, pid := range strings.Fields(string(raw)) {
		cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		left = append(left, fmt.Sprintf("process %s %q", pid, cmdline))
	}
	for pid, start := range v.pids {
		if _, now := processState(pid); pid > 0 && now == start && now != 0 {
			left = append(left, fmt.Sprintf("process %d", pid))
		}
	}
	for m := range hostMounts() {
		if !v.before[m] && (strings.Contains(m, v.root) || strings.Contains(m, v.bundle)) {
			left = append(left, "mount "+m)
		}
	}
	left = append(left, v.cgroups()...)
	files, _ := os.ReadDir(v.root)
	for _, f := range files {
		left = append(left, "file "+f.Name())
	}
	sockets, _ := os.ReadFile("/proc/net/unix")
	if strings.Contains(string(sockets), v.root) {
		left = append(left, "a socket in "+v.root)
	}
	return left
}

var killed = []string{"sentry", "gofer", "both"}

// TestKillAtRest kills between the commands.
func TestKillAtRest(t *testing.T) {
	for _, moment := range []string{"created", "running", "paused"} {
		for _, who := range killed {
			t.Run(moment+"/"+who, func(t *testing.T) {
				v := newVictim(t, false)
				v.must("create", "--bundle", v.bundle, "k")
				if moment != "created" {
					v.must("start", "k")
				}
				if moment == "paused" {
					v.must("pause", "k")
				}
				v.strike(who)
				v.stopped()
				v.must("delete", "k")
			})
		}
	}
}

// TestKillInCreate kills while create stands in a hook: processes exist, and
// have no configuration yet.
func TestKillInCreate(t *testing.T) {
	for _, who := range append(killed, "launcher") {
		t.Run(who, func(t *testing.T) {
			v := newVictim(t, true)
			create := v.begin("create", "--bundle", v.bundle, "k")
			v.awaitHook()
			if who == "launcher" {
				v.note()
				create.Process.Kill()
			} else {
				v.strike(who)
			}
			v.releaseHook()
			if code := v.end(create); code == 0 {
				t.Error("create has succeeded")
			}
			v.stopped()
		})
	}
}

// TestKillInExec kills while an exec waits for its process.
func TestKillInExec(t *testing.T) {
	for _, who := range append(killed, "launcher") {
		t.Run(who, func(t *testing.T) {
			v := newVictim(t, false)
			v.must("create", "--bundle", v.bundle, "k")
			v.must("start", "k")
			ready := filepath.Join(v.bundle, "rootfs", "ready")
			ex := v.begin("exec", "k", "busybox", "sh", "-c", "busybox touch /ready; busybox sleep 1000")
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
				if _, err := os.Stat(ready); err == nil {
					break
				}
				if time.Now().After(end) {
					t.Fatal("exec does not run")
				}
			}
			if who == "launcher" {
				ex.Process.Kill()
				v.end(ex)
				v.must("delete", "--force", "k")
				return
			}
			v.strike(who)
			if code := v.end(ex); code != 128+int(unix.SIGKILL) {
				t.Errorf("exec: exit code %d, want 137", code)
			}
			v.stopped()
			v.must("delete", "k")
		})
	}
}

// TestKillLauncher kills a command of the runtime after growing times, so that
// every part of it is met once.
func TestKillLauncher(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare [][]string
		args    []string
	}{
		{"create", nil, []string{"create", "--bundle", "B", "k"}},
		{"run", nil, []string{"run", "--bundle", "B", "k"}},
		{"run detached", nil, []string{"run", "--detach", "--bundle", "B", "k"}},
		{"start", [][]string{{"create", "--bundle", "B", "k"}}, []string{"start", "k"}},
		{"delete", [][]string{{"create", "--bundle", "B", "k"}, {"start", "k"}}, []string{"delete", "--force", "k"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for i := range 10 {
				t.Run(strconv.Itoa(i), func(t *testing.T) {
					v := newVictim(t, false)
					with := func(args []string) []string {
						out := append([]string(nil), args...)
						for i := range out {
							if out[i] == "B" {
								out[i] = v.bundle
							}
						}
						return out
					}
					for _, p := range tc.prepare {
						v.must(with(p)...)
					}
					v.note()
					cmd := v.begin(with(tc.args)...)
					time.Sleep(time.Duration(i) * 3 * time.Millisecond) // the moment is the test's subject
					cmd.Process.Kill()
					v.end(cmd)
				})
			}
		})
	}
}

// TestKillInDelete kills Sentry or Gofer while a delete is at work.
func TestKillInDelete(t *testing.T) {
	for _, who := range killed {
		t.Run(who, func(t *testing.T) {
			v := newVictim(t, false)
			v.must("create", "--bundle", v.bundle, "k")
			v.must("start", "k")
			m := v.note()
			del := v.begin("delete", "--force", "k")
			if who != "gofer" {
				unix.Kill(m.Sentry.Pid, unix.SIGKILL)
			}
			if who != "sentry" {
				unix.Kill(m.Gofer.Pid, unix.SIGKILL)
			}
			if code := v.end(del); code != 0 {
				t.Errorf("delete --force: exit code %d", code)
			}
		})
	}
}
