package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead.dev/bulkhead/internal/container"
	"bulkhead.dev/bulkhead/internal/container/fakewall"
)

// TestMain makes the test binary the program itself, with a Sentry and Gofer
// that run the guest's program on the host's kernel.
func TestMain(m *testing.M) {
	container.GoferVerb = "fake-gofer"
	if len(os.Args) > 1 && os.Args[1] == container.GoferVerb {
		os.Exit(fakewall.Gofer(os.Args[2:]))
	}
	if len(os.Args) > 1 && internalCommand(os.Args[1]) {
		sentryMain = fakewall.Sentry
		os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	code := m.Run()
	for _, f := range cleanups {
		f()
	}
	os.Exit(code)
}

// cli runs the program in this process.
func cli(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	in, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() {
		io.WriteString(inW, stdin)
		inW.Close()
	}()
	// Files, not pipes: a container that was created keeps them.
	file := func() *os.File {
		f, err := os.CreateTemp(t.TempDir(), "out")
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	read := func(f *os.File) string {
		defer f.Close()
		raw, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	out, errs := file(), file()
	code = run(append([]string{"bulkhead"}, args...), in, out, errs)
	return code, read(out), read(errs)
}

func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		out  string // in stdout, or in stderr if the code is not 0
	}{
		{nil, 0, "Commands:"},
		{[]string{"--help"}, 0, "Commands:"},
		{[]string{"help"}, 0, "Commands:"},
		{[]string{"--version"}, 0, "bulkhead version"},
		{[]string{"version"}, 0, "spec: 1."},
		{[]string{"strat"}, 3, `no command "strat"`},
		{[]string{"del"}, 3, "delete"},
		{[]string{"--nonsense"}, 1, "nonsense"},
		{[]string{"--wall=brick", "list"}, 1, "--wall=brick"},
		{[]string{"--log-format=xml", "list"}, 1, "--log-format=xml"},
		{[]string{"start"}, 1, "one container id"},
		{[]string{"kill", "x", "NOSIG"}, 1, "unknown signal"},
		{[]string{"do"}, 125, "no command"},
		{[]string{"do", "--memory=much", "--", "true"}, 1, "size"},
		{[]string{"do", "--wall=vm", "--", "true"}, 125, "VM wall"},
		{[]string{"exec", "x"}, 255, "args cannot be empty"},
		{[]string{"exec", "--preserve-fds=1", "x", "true"}, 255, "descriptor 3 was not passed"},
		{[]string{"create", "--preserve-fds=1", "x"}, 1, "descriptor 3 was not passed"},
		{[]string{"create", "--preserve-fds=-1", "x"}, 1, "negative"},
		{[]string{"exec", "--cgroup=/x", "x", "true"}, 255, "--cgroup"},
	} {
		code, out, errs := cli(t, "", tc.args...)
		text := out
		if tc.code != 0 {
			text = errs
		}
		if code != tc.code || !strings.Contains(text, tc.out) {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q; want %d, %q", tc.args, code, out, errs, tc.code, tc.out)
		}
	}
}

// TestEveryCommandHasHelp: --help shows usage, every flag a text, an example.
func TestEveryCommandHasHelp(t *testing.T) {
	for _, cmd := range sortedCommands() {
		if cmd.workbench {
			continue // another program, with help of its own
		}
		code, out, _ := cli(t, "", cmd.name, "--help")
		if code != 0 || !strings.Contains(out, "Usage:") || strings.Contains(out, "`") {
			t.Errorf("%s --help: exit code %d, %q", cmd.name, code, out)
		}
		if cmd.name != "version" && !strings.Contains(out, "Examples:") {
			t.Errorf("%s --help shows no example", cmd.name)
		}
		code, again, _ := cli(t, "", "help", cmd.name)
		if code != 0 || again != out {
			t.Errorf("help %s differs from %s --help", cmd.name, cmd.name)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1024": 1024, "1k": 1 << 10, "64M": 64 << 20, "2GiB": 2 << 30, "1Tb": 1 << 40} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "M", "-1", "1.5G", "1X", "99999999999T", "0x10"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}

func TestSignals(t *testing.T) {
	for text, want := range map[string]int{"9": 9, "KILL": 9, "sigterm": 15, "SIGRTMIN": 34, "RTMIN+3": 37, "RTMAX-1": 63, "0": 0} {
		if got, err := parseSignal(text); err != nil || int(got) != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "65", "-1", "SIGX", "RTMIN+40", "RTMIN-1"} {
		if got, err := parseSignal(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}

// TestLog: engines find the error of a command in the file of --log.
func TestLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log.json")
	code, _, errs := cli(t, "", "--root", t.TempDir(), "--log", log, "--log-format", "json", "state", "nothing")
	raw, _ := os.ReadFile(log)
	var line struct{ Level, Msg, Time string }
	if err := json.Unmarshal(raw, &line); err != nil || code != 1 || line.Level != "error" || !strings.Contains(line.Msg, "does not exist") {
		t.Errorf("exit code %d, log %q, %v", code, raw, err)
	}
	if !strings.Contains(errs, "does not exist") {
		t.Errorf("stderr %q", errs)
	}
}

func TestSpec(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"spec", "--bundle", dir}, {"spec", "--rootless", "-b", t.TempDir()}} {
		if code, _, errs := cli(t, "", args...); code != 0 {
			t.Errorf("%q: %s", args, errs)
		}
	}
	if code, _, errs := cli(t, "", "spec", "-b", dir); code != 1 || !strings.Contains(errs, "exists") {
		t.Errorf("over a file: exit code %d, %s", code, errs)
	}
}

func TestFeatures(t *testing.T) {
	code, out, _ := cli(t, "", "features")
	var f struct {
		OCIVersionMin, OCIVersionMax string
		Hooks, MountOptions          []string
		Linux                        struct{ Namespaces, Capabilities []string }
	}
	if err := json.Unmarshal([]byte(out), &f); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	if len(f.Hooks) != 6 || f.OCIVersionMin == "" || len(f.MountOptions) < 30 || len(f.Linux.Capabilities) != 41 {
		t.Errorf("%+v", f)
	}
}

// TestContainerByCommands walks one container through the commands.
func TestContainerByCommands(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes cgroups")
	}
	root, bundle := t.TempDir(), t.TempDir()
	bh := func(args ...string) (int, string, string) {
		return cli(t, "", append([]string{"--root", root}, args...)...)
	}
	must := func(args ...string) string {
		t.Helper()
		code, out, errs := bh(args...)
		if code != 0 {
			t.Fatalf("%q: exit code %d: %s", args, code, errs)
		}
		return out
	}
	os.Mkdir(filepath.Join(bundle, "rootfs"), 0o755)
	s := container.SpecTemplate(false)
	s.Process.Terminal = false
	s.Process.Args = []string{"sleep", "1000"}
	s.Linux.CgroupsPath = fmt.Sprintf("/bulkhead-test-cli-%d", os.Getpid())
	raw, _ := json.Marshal(s)
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	defer bh("delete", "--force", "c")

	must("create", "--bundle", bundle, "--no-pivot", "--no-new-keyring", "c")
	must("start", "c")
	var state container.State
	if err := json.Unmarshal([]byte(must("state", "c")), &state); err != nil || state.Status != "running" || state.ID != "c" {
		t.Errorf("state %+v, %v", state, err)
	}
	if out := must("list"); !strings.Contains(out, "running") || !strings.HasPrefix(out, "ID ") {
		t.Errorf("list: %q", out)
	}
	if out := must("list", "-q"); out != "c\n" {
		t.Errorf("list -q: %q", out)
	}
	var pids []int
	if err := json.Unmarshal([]byte(must("ps", "--format", "json", "c")), &pids); err != nil || len(pids) != 2 {
		t.Errorf("ps: %v, %v", pids, err)
	}
	if out := must("ps", "c"); !strings.Contains(out, "sleep 1000") {
		t.Errorf("ps: %q", out)
	}
	must("pause", "c")
	must("resume", "c")
	must("update", "--pids-limit", "77", "--memory", "64M", "c")
	var event struct {
		Type string
		Data container.Stats
	}
	if err := json.Unmarshal([]byte(must("events", "--stats", "c")), &event); err != nil || event.Data.Pids.Limit != 77 {
		t.Errorf("events: %+v, %v", event, err)
	}
	if code, out, errs := bh("exec", "c", "sh", "-c", "echo in; exit 3"); code != 3 || out != "in\n" {
		t.Errorf("exec: exit code %d, %q, %q", code, out, errs)
	}
	if code, _, errs := bh("exec", "c", "no-such-program"); code != 255 || !strings.Contains(errs, "no-such-program") {
		t.Errorf("exec of nothing: exit code %d, %q", code, errs)
	}
	must("kill", "c", "KILL")
	must("delete", "--force", "c")
	if code, _, _ := bh("delete", "c"); code != 1 {
		t.Errorf("delete of nothing: exit code %d", code)
	}
}

func TestDoByCommand(t *testing.T) {
	code, out, errs := cli(t, "typed", "do", "--env", "A=b", "--", "sh", "-c", "cat; echo $A; exit 4")
	if code != 4 || out != "typedb\n" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
}
