package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCgroup2Only runs a container's life where there is nothing but cgroup v2:
// in a mount namespace of its own, with that hierarchy in place of all others.
// On a host whose controllers are bound to v1 none is left for limits, so that
// those are not what this shows.
func TestCgroup2Only(t *testing.T) {
	v := newVictim(t, false)
	v.behind = cgroup2Only()
	v.needCgroup2(t)
	v.must("create", "--bundle", v.bundle, "k")
	v.must("start", "k")
	v.must("exec", "k", "busybox", "true")
	dirs := v.cgroups()
	if len(dirs) != 1 {
		t.Fatalf("cgroups %q, want one", dirs)
	}
	m := v.note()
	if len(v.pids) < 4 { // Sentry, Gofer, zygote, guest
		t.Errorf("processes in %s: %v", dirs[0], v.pids)
	}
	if m.Sentry.Pid == 0 || m.Gofer.Pid == 0 {
		t.Errorf("state.json has no processes: %+v", m)
	}
	v.must("pause", "k")
	v.must("resume", "k")
	v.must("events", "--stats", "k")
	v.strike("both")
	v.must("delete", "k")
	if _, err := os.Stat(dirs[0]); err == nil {
		t.Errorf("left: %s", dirs[0])
	}
}

// cgroup2Only is what runs a command where there is nothing but cgroup v2.
func cgroup2Only() []string {
	const only = `umount -l /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup && exec "$0" "$@"`
	return []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", only}
}

// needCgroup2 skips the test where that cannot be.
func (v *victim) needCgroup2(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(v.behind[0], append(v.behind[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("this host lets no cgroup2 be mounted in a mount namespace: %v %s", err, out)
	}
}

// TestSystemdCgroup: without systemd the flag is an error that says so, and one
// with a path of another form names the field. (Its cgroups themselves are not
// tested here: that needs a host where systemd runs.)
func TestSystemdCgroup(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Skip("this host runs systemd: the refusal without it is what is tested")
	}
	v := newVictim(t, false)
	for _, tc := range []struct{ path, want string }{
		{v.cgroup, "linux.cgroupsPath"},
		{"system.slice:bulkhead:k", "systemd does not run here"},
	} {
		config := filepath.Join(v.bundle, "config.json")
		raw, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(config, []byte(strings.Replace(string(raw), v.cgroup, tc.path, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(v.program, "--root", v.root, "--systemd-cgroup", "create", "--bundle", v.bundle, "k").CombinedOutput()
		if err == nil || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s: %v, %q, want %q", tc.path, err, out, tc.want)
		}
	}
}
