package container

import (
	"maps"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"golang.org/x/sys/unix"
)

// TestV1Paths: the paths chosen here are those that package cgroups chooses.
func TestV1Paths(t *testing.T) {
	trees := v1Trees()
	if cgroups.IsCgroup2UnifiedMode() {
		t.Skip("this host has cgroup v2 alone: the paths are v1's")
	}
	if trees == nil {
		t.Skip("this host mounts cgroup v1 in another way than /sys/fs/cgroup/NAME")
	}
	for _, conf := range []*cgroups.Cgroup{
		{Name: "a"}, {Path: "/a/b"}, {Path: "a/b"}, {Path: "/../../a"}, {Path: "../../a"}, {Path: "/a/../../b/"}, {Name: "../a"},
	} {
		conf.Resources = &cgroups.Resources{SkipDevices: true}
		m, err := fs.NewManager(conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := v1Paths(conf, trees), m.GetPaths(); !maps.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", conf, got, want)
		}
	}
	for _, conf := range []*cgroups.Cgroup{{}, {Path: "/"}, {Path: "/.."}, {Name: "a", Path: "b"}, {Name: "a", Parent: "b"}, {Systemd: true, Name: "a"}} {
		if got := v1Paths(conf, trees); got != nil {
			t.Errorf("%+v: %v, want it left to package cgroups", conf, got)
		}
	}
}

func TestParseV1(t *testing.T) {
	const own = "2:cpu,cpuacct:/x\n1:name=systemd:/\n0::/u\n"
	line := func(root, at, opts string) string {
		return "31 23 0:28 " + root + " " + at + " rw,relatime - cgroup cgroup rw," + opts + "\n"
	}
	got := parseV1("1 1 0:1 / / rw - ext4 /dev/a rw\n"+line("/", "/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct")+line("/", "/sys/fs/cgroup/systemd", "xattr,name=systemd"), own, true)
	want := map[string]v1Tree{
		"cpu":     {"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/x"},
		"cpuacct": {"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/x"}, "name=systemd": {"/sys/fs/cgroup/systemd", "/sys/fs/cgroup/systemd"},
		"": {"/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/u"},
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, mounts := range map[string]string{
		"none": "", "a part of a hierarchy": line("/docker", "/sys/fs/cgroup/cpu", "cpu"), "elsewhere": line("/", "/cg/cpu", "cpu"),
		"one where this process is not seen": line("/", "/sys/fs/cgroup/pids", "pids"), "cut short": "31 23 - cgroup cgroup rw,cpu",
	} {
		if got := parseV1(mounts, own, false); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestNursery: a thread visits the cgroups of v1 and is back afterwards; what it
// starts meanwhile is theirs.
func TestNursery(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes cgroups")
	}
	conf := &cgroups.Cgroup{Path: "/bulkhead-test-nursery-" + strconv.Itoa(os.Getpid()), Resources: &cgroups.Resources{SkipDevices: true}}
	cg, err := chooseCgroup(conf, v1Trees())
	if err != nil || cg.trees == nil {
		t.Skipf("this host has no cgroup v1 in the usual places (%v)", err)
	}
	if err := cg.make(conf.Resources); err != nil {
		t.Fatal(err)
	}
	defer cg.remove()
	n := openNursery(cg.mgr.GetPaths(), cg.trees)
	if n == nil {
		t.Fatal("no nursery")
	}
	defer n.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := "/proc/self/task/" + strconv.Itoa(unix.Gettid()) + "/cgroup"
	before, _ := slurp(thread)
	if err := n.enter(); err != nil {
		t.Fatal(err)
	}
	inside, _ := slurp(thread)
	l := &launch{nursery: n}
	null := devNull(t)
	c, err := l.bear("/bin/sleep", []string{"sleep", "100"}, []*os.File{null, null, null}, new(unix.SysProcAttr))
	if err := n.leave(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	child, _ := slurp("/proc/" + strconv.Itoa(c.pid) + "/cgroup")
	c.kill()
	c.wait()
	after, _ := slurp(thread)
	if before != after {
		t.Errorf("left in:\n%s", after)
	}
	for name := range cg.trees {
		if name == "devices" || (name == "" && n.late) {
			continue
		}
		want := ":" + name + ":" + conf.Path + "\n"
		if name != "" && !strings.Contains(inside, want) {
			t.Errorf("the thread was not in %s: %s", name, inside)
		}
		if !strings.Contains(child, want) {
			t.Errorf("the child was not born in %q: %s", name, child)
		}
	}
}
