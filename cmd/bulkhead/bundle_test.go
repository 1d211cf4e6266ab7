package main

import (
	"encoding/json"
	"os"
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
// more, and none of the sandbox's own count.
func TestPidsLimitIsReached(t *testing.T) {
	for _, tc := range []struct {
		sleepers string
		code     int
	}{{"1 2 3 4", 0}, {"1 2 3 4 5", 2}} {
		v := newVictim(t, false)
		limit := int64(6)
		v.edit(func(s *specs.Spec) {
			s.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}
			s.Process.Args = []string{"busybox", "sh", "-c", "for i in " + tc.sleepers + "; do busybox sleep 1000 & done; busybox true; exit 0"}
		})
		code, said := v.run()
		if code != tc.code || (code != 0) != strings.Contains(said, "can't fork") {
			t.Errorf("sleepers %s: exit code %d, %q; want %d", tc.sleepers, code, said, tc.code)
		}
		v.nothingLeft()
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
