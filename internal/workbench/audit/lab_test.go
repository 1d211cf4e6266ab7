//go:build audit

package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These tests need root, the real runtimes that are to be had (runc at least)
// and the programs of `make build`; AUDIT_BIN names another directory of them.

func bin(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the audit's tests with real runtimes need root")
	}
	dir := os.Getenv("AUDIT_BIN")
	if dir == "" {
		dir = "../../../bin"
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "bulkhead")
}

// bulkhead runs the program and gives its status, output and messages.
func bulkhead(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, bin(t), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// TestRealRuntimes audits runc, crun and our Sentry, and looks at what it said.
func TestRealRuntimes(t *testing.T) {
	dir := t.TempDir()
	code, _, errs := bulkhead(t, "audit", "--runtime", "runc,crun,bulkhead", "--out", dir, "--fail-on", "missing,weaker,leak,guest>14,sentry>55,gofer>45,unfiltered")
	if code != exitOK {
		t.Fatalf("status %d: %s", code, errs)
	}
	for name := range files {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() < 1000 {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := Load(filepath.Join(dir, "audit.json"))
	if err != nil {
		t.Fatal(err)
	}
	result := map[string]map[string]string{}
	for _, c := range r.Cases {
		result[c.ID] = c.Results
	}
	// The deliberately opened one: runc without a profile has what the profile takes.
	for _, id := range []string{"wide/keyctl(KEYCTL_READ)", "wide/userfaultfd(UFFD_USER_MODE_ONLY)", "wide/unshare(CLONE_NEWUSER)", "wide/add_key(no type)"} {
		c := result[id]
		if c["runc"] == "EPERM" || c["runc+profile"] != "EPERM" || c["crun+profile"] != "EPERM" {
			t.Errorf("%s: runc %s, with the profile %s, crun with it %s", id, c["runc"], c["runc+profile"], c["crun+profile"])
		}
	}
	for id, want := range map[string]string{"calls/39": "ok", "calls/101": "EPERM", "wide/io_uring_setup(no parameters)": "ENOSYS", "wide/bpf(BPF_PROG_LOAD)": "ENOSYS", "i386/20": "SIGSEGV", "x32/39": "ENOSYS"} {
		if got := result[id]["bulkhead"]; got != want {
			t.Errorf("%s behind the Sentry: %s, want %s", id, got, want)
		}
	}
	w := r.wall("bulkhead")
	if w == nil {
		t.Fatal("the Sentry's wall was not looked at")
	}
	for role, least := range map[string]int{roleSentry: 35, roleGofer: 25} {
		p := w.process(role)
		if p == nil || !p.Traced || len(p.Made) < least {
			t.Errorf("the %s: %+v", role, p)
			continue
		}
		allowed := strings.Join(append(append([]string{}, p.Allowed...), p.Checked...), " ") + " "
		for _, m := range p.Made {
			if !strings.Contains(allowed, m.Call+" ") {
				t.Errorf("the %s made %s, which its filter does not allow", role, m.Call)
			}
		}
	}
	if p := r.wall("runc").process(roleGuest); p == nil || p.Filters != 0 {
		t.Errorf("runc without a profile: %+v", p)
	}
	if p := r.wall("runc+profile").process(roleGuest); p == nil || p.Filters != 1 || p.Reach() < 250 || p.Reach() > 330 {
		t.Errorf("runc with the profile: %+v", p)
	}
}

// TestVMWall: every process of the VM wall has a filter, and none is wider than
// its table; volumes need virtiofsd, which the held container has.
func TestVMWall(t *testing.T) {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("missing: qemu-system-x86_64; apt-get install --no-install-recommends qemu-system-x86")
	}
	dir := t.TempDir()
	code, _, errs := bulkhead(t, "audit", "--runtime", "bulkhead-vm", "--no-trace", "--quiet", "--try-limit", "2m", "--out", dir, "--fail-on", "missing,weaker,unfiltered,hypervisor>82,virtiofsd>103,monitor>41")
	if code != exitOK {
		t.Fatalf("status %d: %s", code, errs)
	}
	r, err := Load(filepath.Join(dir, "audit.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{roleHypervisor, roleVirtiofsd, roleMonitor} {
		if w := r.wall(vmColumn); w == nil || w.process(role) == nil || w.process(role).Filters == 0 {
			t.Errorf("the %s was not seen, or has no filter", role)
		}
	}
}

// TestFailOn: a condition that holds is a status of its own.
func TestFailOn(t *testing.T) {
	code, out, errs := bulkhead(t, "audit", "--runtime", "bulkhead", "--no-trace", "--quiet", "-o", "json", "--fail-on", "sentry>3")
	if code != exitFinding || !strings.Contains(errs, "at most 3 wanted") {
		t.Errorf("status %d: %s", code, errs)
	}
	r := &Record{}
	if err := json.Unmarshal([]byte(out), r); err != nil || len(r.Cases) < 1600 {
		t.Errorf("%d cases, %v", len(r.Cases), err)
	}
}

// TestOrdinaryUser: without root there is the host and our Sentry.
func TestOrdinaryUser(t *testing.T) {
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("missing: setpriv; apt-get install util-linux")
	}
	dir, err := os.MkdirTemp("/var/tmp", "audit-user") // an ordinary user comes there
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"bulkhead", "bulkhead-bench"} {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(bin(t)), p))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, p), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", filepath.Join(dir, "bulkhead"), "audit", "--runtime", "bulkhead", "--rootfs", "/", "--quiet")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Audited without root") || !strings.Contains(string(out), "its own, in user space") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestAdvise: a program that the Sentry serves, and one that needs what it has not.
func TestAdvise(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"sum(range(1000))", "bulkhead"},
		{"import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(206, 1, ctypes.byref(ctypes.c_ulong())) and 5)", "bulkhead-vm"}, // io_setup
	} {
		code, out, errs := bulkhead(t, "advise", "--quiet", "--runs", "1", "--max-cost", "100", "-o", "json", "--", "/usr/bin/python3", "-c", c.script)
		var a struct {
			Recommend string
			Calls     uint64 `json:"calls_total"`
		}
		if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 {
			t.Fatalf("status %d, %v: %s%s", code, err, out, errs)
		}
		if a.Recommend != c.want || a.Calls < 50 {
			t.Errorf("%s: %s", c.script, out)
		}
	}
}
