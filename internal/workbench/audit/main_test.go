package audit

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/confine"
	"bulkhead.dev/bulkhead/internal/seccomp"
	"bulkhead.dev/bulkhead/internal/workbench/audit/probe"
)

var update = flag.Bool("update", false, "write the golden files again")

// TestMain is the probe when it is told to: alone, or under a filter that
// refuses keyctl, kills for mount and lets the rest pass.
func TestMain(m *testing.M) {
	switch os.Getenv("AUDIT_TEST") {
	case "probe":
		os.Exit(probe.Main(nil, probeCases()))
	case "probe-filtered":
		f := &seccomp.Filter{Default: seccomp.Allow, Rules: []seccomp.Rule{
			{Nr: unix.SYS_KEYCTL, Name: "keyctl", Reason: "test", Action: seccomp.Errno(unix.EPERM)},
			{Nr: unix.SYS_MOUNT, Name: "mount", Reason: "test", Action: seccomp.KillProcess},
			{Nr: unix.SYS_PERSONALITY, Name: "personality", Reason: "test", Action: seccomp.Errno(unix.ENOSYS), When: []seccomp.Cond{seccomp.Arg(0, 0x0040000)}},
		}}
		if err := confine.NoNewPrivs(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := f.Install(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(probe.Main(nil, probeCases()))
	}
	flag.Parse()
	os.Exit(m.Run())
}

// probed runs the probe as a process of its own and gives results by ID.
func probed(t *testing.T, how string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "AUDIT_TEST="+how)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the probe: %v", err)
	}
	a := &auditor{rec: &Record{}}
	for _, c := range allCases() {
		a.rec.Cases = append(a.rec.Cases, &CaseResults{ID: c.ID, Results: map[string]string{}})
	}
	if err := a.take(&Column{Name: "x"}, string(out)); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range a.rec.Cases {
		got[c.ID] = c.Results["x"]
	}
	return got
}

// TestProbe: the host's own kernel, with and without a filter: a call that the
// filter leaves open is told from one that it refuses or kills for.
func TestProbe(t *testing.T) {
	open, held := probed(t, "probe"), probed(t, "probe-filtered")
	for id, want := range map[string][2]string{
		"calls/39":                            {"ok", "ok"},           // getpid
		"calls/0":                             {"EBADF", "EBADF"},     // read
		"calls/34":                            {"blocked", "blocked"}, // pause
		"calls/60":                            {"ended", "ended"},     // exit
		"calls/57":                            {"ok", "ok"},           // fork
		"calls/15":                            {"SIGSEGV", "SIGSEGV"}, // rt_sigreturn
		"calls/165":                           {"EFAULT", "SIGSYS"},   // mount
		"calls/479":                           {"ENOSYS", "ENOSYS"},
		"calls/512":                           {"ENOSYS", "ENOSYS"},
		"wide/personality(ADDR_NO_RANDOMIZE)": {"ok", "ENOSYS"},
		"wide/personality(query)":             {"ok", "ok"},
		"wide/socket(AF_UNIX)":                {"ok", "ok"},
		"stub/0":                              {"-", "-"},
	} {
		if open[id] != want[0] && !(os.Geteuid() != 0 && open[id] == "EPERM") {
			t.Errorf("%s: %s, want %s", id, open[id], want[0])
		}
		if held[id] != want[1] {
			t.Errorf("%s under the filter: %s, want %s", id, held[id], want[1])
		}
	}
	if k := "wide/keyctl(KEYCTL_READ)"; open[k] == "EPERM" || held[k] != "EPERM" {
		t.Errorf("keyctl: %s open, %s refused", open[k], held[k])
	}
}

// TestCases: what is called does no harm, and every name is one.
func TestCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range allCases() {
		if seen[c.ID] {
			t.Errorf("%s is there twice", c.ID)
		}
		seen[c.ID] = true
		nr := c.Nr
		if c.Family == familyI386 {
			continue
		}
		switch nr &^ x32Bit {
		case unix.SYS_REBOOT:
			if c.Args[0] == unix.LINUX_REBOOT_MAGIC1 {
				t.Errorf("%s would reboot", c.ID)
			}
		case unix.SYS_KEXEC_LOAD:
			if c.Args[3] != none && c.Family != familyStub {
				t.Errorf("%s has valid flags: it would unload a kernel", c.ID)
			}
		case unix.SYS_KILL:
			if pid := int32(c.Args[0]); pid <= 0 && c.Family != familyStub {
				t.Errorf("%s signals %d", c.ID, pid)
			}
		case unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_ACCT, unix.SYS_SETTIMEOFDAY, unix.SYS_SWAPOFF:
			if c.Args[0] == 0 && c.Family != familyStub {
				t.Errorf("%s is called with nothing, which is something", c.ID)
			}
		}
	}
	for name := range gentle {
		if _, ok := callNames().byName[name]; !ok {
			t.Errorf("no call %s", name)
		}
	}
	if len(seen) < 1600 {
		t.Errorf("only %d cases", len(seen))
	}
}

// TestHostile: the probe's output comes from behind a wall.
func TestHostile(t *testing.T) {
	a := &auditor{rec: &Record{}}
	for _, c := range allCases() {
		a.rec.Cases = append(a.rec.Cases, &CaseResults{ID: c.ID, Results: map[string]string{}})
	}
	for _, out := range []string{"", "done\n", "0 1 0\n", "99999 1 0\n", "-1 1 0\n", "0 99 0\n", "x\n", strings.Repeat("9", 1<<20)} {
		if err := a.take(&Column{Name: "x"}, out); err == nil {
			t.Errorf("%.20q is taken", out)
		}
	}
}

func TestClassify(t *testing.T) {
	shared, wall := &Column{Kernel: onShared}, &Column{Kernel: onUserspace}
	for _, c := range []struct {
		col             *Column
		got, host, open string
		want            class
	}{
		{shared, "EBADF", "EBADF", "EBADF", classAnswered},
		{shared, "EPERM", "EFAULT", "EFAULT", classRefused},
		{shared, "EPERM", "EFAULT", "EPERM", classCaps},
		{shared, "SIGSYS", "EFAULT", "EFAULT", classKilled},
		{shared, "SIGSEGV", "SIGSEGV", "SIGSEGV", classAnswered},
		{wall, "ENOSYS", "EINVAL", "EINVAL", classRefused},
		{wall, "ENOSYS", "ENOSYS", "ENOSYS", classLacking},
		{wall, "EPERM", "ENOSYS", "ENOSYS", classLacking},
		{wall, "EINVAL", "ENOSYS", "ENOSYS", classAnswered},
		{wall, "-", "EINVAL", "EINVAL", classNone},
		{wall, "blocked", "blocked", "blocked", classAnswered},
	} {
		if k := classify(c.col, c.got, c.host, c.open); k != c.want {
			t.Errorf("%s (host %s, open %s): %s, want %s", c.got, c.host, c.open, k, c.want)
		}
	}
}

// compile gives a filter as the kernel would hand it back.
func compile(t *testing.T, f *seccomp.Filter) program {
	t.Helper()
	p, err := f.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return program(p)
}

func TestAllowedBy(t *testing.T) {
	f := compile(t, &seccomp.Filter{Default: seccomp.KillProcess, Rules: []seccomp.Rule{
		{Nr: unix.SYS_READ, Name: "read", Reason: "test"},
		{Nr: unix.SYS_CLONE, Name: "clone", Reason: "test", When: []seccomp.Cond{seccomp.Arg(0, 17)}},
		{Nr: unix.SYS_MOUNT, Name: "mount", Reason: "test", Action: seccomp.Errno(unix.EPERM)},
		{Nr: unix.SYS_OPENAT, Name: "openat", Reason: "test", When: []seccomp.Cond{seccomp.Range(0, 0, 9), seccomp.Bits(2, 3, 0)}},
	}})
	free, checked := allowedBy([]program{f}, archX8664, 0)
	if got := fmt.Sprint(callsNamed(free), callsNamed(checked)); got != "[read] [clone openat]" {
		t.Errorf("one filter: %s", got)
	}
	g := compile(t, &seccomp.Filter{Default: seccomp.Allow, Rules: []seccomp.Rule{{Nr: unix.SYS_READ, Name: "read", Reason: "test", Action: seccomp.Errno(unix.EPERM)}}})
	free, checked = allowedBy([]program{f, g}, archX8664, 0)
	if got := fmt.Sprint(callsNamed(free), callsNamed(checked)); got != "[] [clone openat]" {
		t.Errorf("two filters: %s", got)
	}
	if free, checked = allowedBy([]program{f}, archI386, 0); len(free)+len(checked) != 0 {
		t.Errorf("another architecture: %v %v", free, checked)
	}
	if free, _ = allowedBy(nil, archX8664, 0); len(free) < 350 {
		t.Errorf("no filter lets %d calls pass", len(free))
	}
	placed := compile(t, &seccomp.Filter{Default: seccomp.KillProcess, Guard: []seccomp.Cond{{Arg: seccomp.IP, Test: seccomp.Between, Value: 0x7ff000000000, High: 0x7ff000001000}},
		Else: seccomp.Trap, Rules: []seccomp.Rule{{Nr: unix.SYS_READ, Name: "read", Reason: "test"}}})
	if free, checked = allowedBy([]program{placed}, archX8664, 0); len(free) != 0 || len(checked) != 1 {
		t.Errorf("from anywhere: %v %v", free, checked)
	}
	if free, checked = allowedBy([]program{placed}, archX8664, stubCall); len(free) != 1 || len(checked) != 0 {
		t.Errorf("from the stub: %v %v", free, checked)
	}
	if free, checked = allowedBy([]program{placed}, archX8664, 0x400000); len(free)+len(checked) != 0 {
		t.Errorf("from elsewhere: %v %v", free, checked)
	}
}

// TestFiltersOf reads the filter of a live child back: root only, as the kernel
// has it.
func TestFiltersOf(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the kernel tells nobody else a process's filters")
	}
	cmd := exec.Command("/bin/sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	f, err := filtersOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(self, []byte("Seccomp_filters:\t0")) != (len(f) == 0) {
		t.Errorf("%d filters", len(f))
	}
	if err := unix.Kill(cmd.Process.Pid, 0); err != nil {
		t.Errorf("it did not survive: %v", err)
	}
}

func TestConditions(t *testing.T) {
	for _, bad := range []string{"nonsense", "guest>", "guest>-1", "qemu>3", "new=", "new", "weaker;leak"} {
		if _, err := parseConditions(bad); err == nil {
			t.Errorf("--fail-on %s is taken", bad)
		}
	}
	r := sample()
	for in, want := range map[string]string{
		"":                   "",
		"guest>14,sentry>55": "",
		"guest>13":           "guest: Ours: 14 host calls, at most 13 wanted",
		"gofer>1":            "gofer: Ours: 2 host calls, at most 1 wanted",
		"weaker":             "weaker: Other is not strictly stronger than the default profile",
		"unfiltered":         "unfiltered: Other: its guest has no seccomp filter; unfiltered: Other: its hypervisor has no seccomp filter",
		"unused":             "unused: Ours, sentry: dup (never)",
		"missing":            "missing: Gone: absent: not installed",
		"leak":               "leak: runc, default profile: keyctl is answered",
	} {
		c, err := parseConditions(in)
		if err != nil {
			t.Fatal(err)
		}
		found, err := r.findings(c)
		if got := strings.Join(found, "; "); err != nil || got != want {
			t.Errorf("--fail-on %s: %q, %v, want %q", in, got, err, want)
		}
	}
}

// TestNews: an older audit is a measure for a new one.
func TestNews(t *testing.T) {
	old := filepath.Join(t.TempDir(), "old.json")
	r := sample()
	if err := os.WriteFile(old, []byte(asJSON(r)), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := parseConditions("new=" + old)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := r.findings(c); err != nil || len(found) > 0 {
		t.Fatalf("against itself: %q, %v", found, err)
	}
	r.Cases[0].Results["bulkhead"] = "EFAULT"
	w := r.wall("bulkhead").process(roleSentry)
	w.Allowed = append(w.Allowed, "execve")
	found, err := r.findings(c)
	if got := strings.Join(found, "; "); err != nil || got != "new: Ours: calls/250: EFAULT, was ENOSYS; new: Ours: its sentry may make 4 host calls, was 3" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"--nonsense"}, {"x"}, {"-o", "pdf"}, {"--fail-on", "x"}, {"--runtime", "none"}, {"show"}, {"show", "-o", "x", "f"}} {
		var out, errs bytes.Buffer
		if code := Main(args, &out, &errs); code != exitUsage || errs.Len() == 0 {
			t.Errorf("%q: status %d, %s", args, code, errs.String())
		}
	}
	var out, errs bytes.Buffer
	if code := Main([]string{"--help"}, &out, &errs); code != exitOK || !strings.Contains(out.String(), "Examples:") {
		t.Errorf("--help: status %d", code)
	}
	if code := Main([]string{"show", "/nonexistent"}, &out, &errs); code != exitFailed {
		t.Errorf("show of nothing: status %d", code)
	}
}
