package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// edit changes the bundle's config.json.
func (v *victim) edit(f func(*specs.Spec)) {
	v.t.Helper()
	path := filepath.Join(v.bundle, "config.json")
	raw, err := os.ReadFile(path)
	spec := new(specs.Spec)
	if err == nil {
		err = json.Unmarshal(raw, spec)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	f(spec)
	if raw, err = json.Marshal(spec); err == nil {
		err = os.WriteFile(path, raw, 0o644)
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

// run runs the bundle and gives the exit code and all that was said.
func (v *victim) run() (int, string) {
	v.t.Helper()
	cmd := v.begin("run", "--bundle", v.bundle, "k")
	code := v.end(cmd)
	said, _ := os.ReadFile(cmd.Stdout.(*os.File).Name())
	return code, strings.TrimSpace(string(said))
}

// TestReadonlyRoot: what a read-only root lacks for mounts and for the working
// directory is made, as runc makes it; the guest itself can make nothing.
func TestReadonlyRoot(t *testing.T) {
	v := newVictim(t, false)
	hosts := filepath.Join(v.bundle, "hosts")
	if err := os.WriteFile(hosts, []byte("10.0.0.1 here"), 0o644); err != nil {
		t.Fatal(err)
	}
	v.edit(func(s *specs.Spec) {
		s.Root.Readonly = true
		s.Process.Cwd = "/no/such/directory"
		s.Process.Args = []string{"busybox", "sh", "-c", "busybox cat /etc/hosts; echo; busybox pwd; busybox touch /new"}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/etc/hosts", Type: "bind", Source: hosts, Options: []string{"bind", "ro"}})
	})
	code, said := v.run()
	if code != 1 || !strings.HasPrefix(said, "10.0.0.1 here\n/no/such/directory\n") || !strings.Contains(said, "Read-only file system") {
		t.Errorf("exit code %d, %q", code, said)
	}
}

// TestPidsLimitIsReached: the guest has as many tasks as the limit says, not one
// more, and none of the sandbox's own count, whatever the host's cgroup has.
func TestPidsLimitIsReached(t *testing.T) {
	for name, behind := range map[string][]string{"as the host has it": nil, "v2 only": cgroup2Only()} {
		t.Run(name, func(t *testing.T) {
			for _, tc := range []struct{ limit, sleepers int64 }{{6, 4}, {6, 5}, {150, 148}, {150, 149}} {
				v := newVictim(t, false)
				if v.behind = behind; behind != nil {
					v.needCgroup2(t)
				}
				v.edit(func(s *specs.Spec) {
					s.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &tc.limit}}
					s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup"})
					s.Process.Args = []string{"busybox", "sh", "-c", "read m < /sys/fs/cgroup/pids.max; echo max $m; for i in $(busybox seq $0); do busybox sleep 1000 & done; busybox true; exit 0", fmt.Sprint(tc.sleepers)}
				})
				code, said := v.run()
				if behind != nil && strings.Contains(said, "pids.max: no such file") {
					t.Skipf("this host's pids controller is bound to cgroup v1 (a host with v2 alone has it there): %s", said)
				}
				want := 0
				if tc.sleepers > tc.limit-2 { // beside the shell, and true
					want = 2
				}
				if code != want || (code != 0) != strings.Contains(said, "can't fork") || !strings.HasPrefix(said, fmt.Sprint("max ", tc.limit)) {
					t.Errorf("%d sleepers: exit code %d, %q; want %d", tc.sleepers, code, said, want)
				}
				v.nothingLeft()
			}
		})
	}
}

// TestPidsLimitOfDo: the same without a bundle, for root and, where there is no
// cgroup at all, for an ordinary user.
func TestPidsLimitOfDo(t *testing.T) {
	for _, who := range [][]string{nil, {"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"}} {
		if who != nil && os.Getuid() != 0 {
			continue
		}
		for _, tc := range []struct {
			sleepers string
			code     int
		}{{"1 2 3 4", 0}, {"1 2 3 4 5", 2}} {
			v := newVictim(t, false)
			args := append(who, v.program, "do", "--pids", "6", "--", "busybox", "sh", "-c", "for i in "+tc.sleepers+"; do busybox sleep 1000 & done; busybox true; exit 0")
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Dir = "/"
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != tc.code || (code != 0) != strings.Contains(string(out), "can't fork") {
				t.Errorf("%v, sleepers %s: exit code %d, %q; want %d", who, tc.sleepers, code, out, tc.code)
			}
		}
	}
}

// TestMountPropagationOfRoot: an unbindable root cannot be bound elsewhere.
func TestMountPropagationOfRoot(t *testing.T) {
	for kind, want := range map[string]int{"unbindable": 1, "private": 0} {
		v := newVictim(t, false)
		v.edit(func(s *specs.Spec) {
			s.Linux.RootfsPropagation = kind
			caps := []string{"CAP_SYS_ADMIN"}
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
			s.Process.Args = []string{"busybox", "sh", "-c", "busybox mkdir -p /m && busybox mount -o bind / /m"}
		})
		if code, said := v.run(); (code != 0) != (want != 0) {
			t.Errorf("%s: exit code %d, %q", kind, code, said)
		}
		v.nothingLeft()
	}
}
