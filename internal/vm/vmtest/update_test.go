package vmtest

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

// inside reads files of the container's cgroup, as the guest's kernel has it.
func (b *box) inside(files ...string) string {
	b.t.Helper()
	script := ""
	for _, f := range files {
		script += "cat /sys/fs/cgroup/" + f + "; "
	}
	return strings.TrimSpace(b.must("exec", b.id, "sh", "-c", script))
}

// TestUpdate: every limit that the guest's kernel can hold is there, from
// config.json and from update, and is lifted again.
func TestUpdate(t *testing.T) {
	b := newBox(t)
	b.edit(func(c map[string]any) {
		c["linux"].(map[string]any)["resources"] = map[string]any{
			"pids":   map[string]any{"limit": 77},
			"memory": map[string]any{"limit": 100 << 20, "reservation": 50 << 20, "swap": 100 << 20},
			"cpu":    map[string]any{"quota": 50000, "period": 100000, "shares": 512, "cpus": "0"},
		}
	})
	files := []string{"pids.max", "memory.max", "memory.low", "memory.swap.max", "cpu.max", "cpu.weight", "cpu.idle"}
	want := func(when string, values ...string) {
		t.Helper()
		if got := b.inside(files...); got != strings.Join(values, "\n") {
			t.Errorf("%s: %q, want %q", when, got, values)
		}
	}
	b.must("run", "--detach", "--bundle", b.bundle, b.id)
	quota := func(when, want string) {
		t.Helper()
		got := ""
		for _, file := range []string{"/sys/fs/cgroup/cpu/" + b.id + "/cpu.cfs_quota_us", "/sys/fs/cgroup/" + b.id + "/cpu.max"} {
			if raw, err := os.ReadFile(file); err == nil {
				got, _, _ = strings.Cut(strings.TrimSpace(string(raw)), " ")
			}
		}
		if got != want {
			t.Errorf("%s: the host's quota is %q, want %s", when, got, want)
		}
	}
	quota("config.json", "50000")
	want("config.json", "77", "104857600", "52428800", "0", "50000 100000", "59", "0")
	cpus := func(when, list, count string) {
		t.Helper()
		if got := b.inside("cpuset.cpus.effective"); got != list {
			t.Errorf("%s: CPUs %s, want %s", when, got, list)
		}
		if got := strings.TrimSpace(b.must("exec", b.id, "busybox", "nproc")); got != count {
			t.Errorf("%s: a process may use %s CPUs, want %s", when, got, count)
		}
	}
	cpus("config.json", "0", "1")
	if runtime.NumCPU() > 1 {
		b.must("update", "--cpuset-cpus", "0-1", b.id)
		cpus("wider", "0-1", "2")
	}
	b.must("update", "--pids-limit", "50", "--memory", "90M", "--memory-swap", "90M", "--memory-reservation", "40M",
		"--cpu-quota", "20000", "--cpu-period", "50000", "--cpu-share", "1024", "--cpuset-cpus", "0", b.id)
	quota("update", "20000")
	want("update", "50", "94371840", "41943040", "0", "20000 50000", "100", "0")
	cpus("narrower", "0", "1")
	b.must("update", "--pids-limit", "-1", "--cpu-quota", "-1", b.id)
	want("lifted", "max", "94371840", "41943040", "0", "max 50000", "100", "0")
	if out, code := b.run("", "update", "--memory", "8G", "--memory-swap", "8G", b.id); code == 0 || !strings.Contains(out, "dev.bulkhead.vm.memory") {
		t.Errorf("more memory than the machine has: exit status %d\n%s", code, out)
	}
	// The guest's kernel holds the limit of tasks by itself.
	b.must("update", "--pids-limit", "10", b.id)
	out, _ := b.run("", "exec", b.id, "sh", "-c", "i=0; while [ $i -lt 20 ]; do sleep 100 & i=$((i+1)); done; echo all of them")
	if strings.Contains(out, "all of them") || !strings.Contains(out, "fork") {
		t.Errorf("more tasks than the limit: %s", out)
	}
	b.must("delete", "--force", b.id)
}
