package workbench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The test binary is also a fake OCI runtime: it runs a container's process
// straight on the host. FAKE_RUNTIME says how it misbehaves:
//
//	ok      not at all
//	slow    every command takes a little longer
//	hang    run never ends, and ignores SIGTERM
//	fail    run ends with status 1
//	wrong   the process runs, but "right" in its output becomes "wrong"
//	flaky   the first run that is not the trial fails
func TestMain(m *testing.M) {
	if mode := os.Getenv("FAKE_RUNTIME"); mode != "" {
		os.Exit(fakeRuntime(mode, os.Args[1:]))
	}
	if fifo := os.Getenv("FAKE_INIT"); fifo != "" {
		os.Exit(fakeInit(fifo, os.Args[1:]))
	}
	if os.Getenv("FAKE_BENCH") == "interrupted" && os.Getenv(innerEnv) == "" { // before it has begun
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, true))
	}
	if os.Getenv("FAKE_BENCH") != "" { // the command itself, with all its namespaces
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func fakeRuntime(mode string, args []string) int {
	if args[0] == "--version" {
		fmt.Println("fake version 1.0")
		return 0
	}
	root := ""
	for strings.HasPrefix(args[0], "--") {
		if args[0] == "--root" {
			root = args[1]
		}
		args = args[2:]
	}
	verb, args := args[0], args[1:]
	bundle := ""
	for len(args) > 0 && strings.HasPrefix(args[0], "--") {
		if args[0] == "--bundle" {
			bundle, args = args[1], args[1:]
		}
		args = args[1:]
	}
	dir := filepath.Join(root, args[0])
	switch verb {
	case "run":
		return fakeRun(mode, root, bundle, args[0])
	case "create":
		return fakeCreate(dir, bundle)
	case "start":
		return exitOf(os.WriteFile(filepath.Join(dir, "fifo"), []byte("x"), 0))
	case "state":
		fmt.Println(`{"status": "stopped"}`)
		return 0
	case "exec":
		cmd := exec.Command(args[1], args[2:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return exitOf(cmd.Run())
	case "delete":
		if pid, err := os.ReadFile(filepath.Join(dir, "pid")); err == nil {
			var n int
			fmt.Sscan(string(pid), &n)
			syscall.Kill(n, syscall.SIGKILL)
		}
		return exitOf(os.RemoveAll(dir))
	}
	return 2
}

func exitOf(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// fakeArgs are the process's arguments with container paths made the host's.
func fakeArgs(bundle string) []string {
	var s specs.Spec
	b, _ := os.ReadFile(filepath.Join(bundle, "config.json"))
	json.Unmarshal(b, &s)
	for i, a := range s.Process.Args {
		for _, m := range s.Mounts {
			if m.Type == "bind" {
				a = strings.ReplaceAll(a, m.Destination, m.Source)
			}
		}
		s.Process.Args[i] = a
	}
	return s.Process.Args
}

func fakeRun(mode, root, bundle, id string) int {
	trial := strings.HasPrefix(id, "bench-try-")
	if mode == "hang" && !trial || mode == "hangtrial" {
		exec.Command("/bin/sh", "-c", "trap '' TERM; sleep 1000").Run() // with a child, to be killed too
	}
	if mode == "fail" && !trial {
		fmt.Fprintln(os.Stderr, `{"level":"error","msg":"fake trouble"}`)
		return 1
	}
	if mode == "flaky" && !trial {
		mark := filepath.Join(root, "failed-once")
		if _, err := os.Stat(mark); err != nil {
			os.WriteFile(mark, nil, 0o600)
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	args := fakeArgs(bundle)
	out, err := exec.Command(args[0], args[1:]...).Output()
	if mode == "wrong" {
		out = []byte(strings.ReplaceAll(string(out), "right", "wrong"))
	}
	os.Stdout.Write(out)
	return exitOf(err)
}

func fakeCreate(dir, bundle string) int {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return exitOf(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		return exitOf(err)
	}
	cmd := exec.Command("/proc/self/exe", fakeArgs(bundle)...)
	cmd.Env = append(os.Environ(), "FAKE_RUNTIME=", "FAKE_INIT="+fifo)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return exitOf(err)
	}
	return exitOf(os.WriteFile(filepath.Join(dir, "pid"), []byte(fmt.Sprint(cmd.Process.Pid)), 0o600))
}

func fakeInit(fifo string, args []string) int {
	if _, err := os.ReadFile(fifo); err != nil {
		return exitOf(err)
	}
	return exitOf(syscall.Exec(args[0], args, os.Environ()))
}

// lab is a directory with fake runtimes and workloads of the test's own.
type lab struct {
	t             *testing.T
	dir, out      string
	runtimes      string
	workloads     string
	self          string // the program that is the command; see command
	stdout, stder strings.Builder
}

func newLab(t *testing.T, modes ...string) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir()}
	l.out = filepath.Join(l.dir, "report")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("runtimes:\n")
	for _, m := range modes {
		path := filepath.Join(l.dir, "fake-"+m)
		if m != "absent" {
			script := fmt.Sprintf("#!/bin/sh\nGORACE=atexit_sleep_ms=0 FAKE_BENCH= FAKE_RUNTIME=%s exec %s \"$@\"\n", m, self)
			if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintf(&b, "  - {name: %s, command: [%s], version: [--version], rootless: true}\n", m, path)
	}
	l.runtimes = l.write("runtimes.yaml", b.String())
	l.workloads = l.write("workloads.yaml", testWorkloads)
	return l
}

func (l *lab) write(name, text string) string {
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return path
}

const testWorkloads = `workloads:
  - name: echo
    group: tests
    command: [/bin/sh, -c, "echo right; echo 'took 5 s'"]
    timeout: 10s
    check: {output: right}
    metrics:
      - {name: wall, source: wall}
      - {name: took, match: 'took (\d+) s', unit: s}
  - name: life
    kind: lifecycle
    command: [/mnt/bench/first]
    timeout: 60s
    check: {output: ready}
    metrics: [{name: create, source: create}, {name: first, source: first}, {name: total, source: total}]
  - name: exec
    kind: exec
    command: [/bin/true]
    timeout: 60s
    metrics: [{name: wall, source: wall}]
  - name: idle
    kind: idle
    count: 2
    command: [/bin/sh, -c, "echo ready; exec sleep 600"]
    timeout: 60s
    check: {output: ready}
    metrics: [{name: memory, source: memory}, {name: processes, source: processes}]
  - name: rate
    kind: rate
    seconds: 0.2
    parallel: 2
    timeout: 60s
    command: [/bin/true]
    metrics: [{name: rate, source: rate}]
`
