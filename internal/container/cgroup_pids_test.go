package container

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/opencontainers/cgroups"
)

// TestExactPids: the container's cgroup has the limit of config.json, and that
// of `update`; the sandbox's own tasks are not counted against it.
func TestExactPids(t *testing.T) {
	if cgroups.IsCgroup2UnifiedMode() {
		t.Skip("this host has cgroup v2 alone, whose one hierarchy has no exact limit of tasks: see cgroup_pids.go")
	}
	w := newWorld(t)
	limit := int64(1)
	w.spec.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}
	dir := "/sys/fs/cgroup/pids" + w.spec.Linux.CgroupsPath
	w.create("p")
	w.start("p")
	file := func(dir, name string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(string(raw))
	}
	s, err := w.rt.State("p")
	if err != nil {
		t.Fatal(err)
	}
	if max, tasks := file(dir, "pids.max"), file(dir, "tasks"); max != "1" || tasks != strconv.Itoa(s.Pid) {
		t.Errorf("pids.max %s, tasks %q; want 1 and %d", max, tasks, s.Pid)
	}
	if max := file(dir+sandboxSuffix, "pids.max"); max != strconv.FormatInt(hostTasks(1), 10) {
		t.Errorf("pids.max of the sandbox: %s", max)
	}
	pids, err := w.rt.HostPids("p")
	if err != nil || !slices.Contains(pids, s.Pid) {
		t.Errorf("processes %v, %v: no %d", pids, err, s.Pid)
	}
	limit = 7
	if err := w.rt.Update("p", w.spec.Linux.Resources); err != nil {
		t.Fatal(err)
	}
	if max := file(dir, "pids.max"); max != "7" {
		t.Errorf("pids.max %s after update, want 7", max)
	}
	if err := w.rt.Delete("p", true); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, dir + sandboxSuffix} {
		if _, err := os.Stat(d); err == nil {
			t.Errorf("left: %s", d)
		}
	}
}
