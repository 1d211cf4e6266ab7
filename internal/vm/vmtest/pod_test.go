package vmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// podSandbox makes a box a pod's sandbox container, as an engine of Kubernetes's says
// it, and starts it.
func podSandbox(t *testing.T) *box {
	b := newBox(t)
	b.edit(func(c map[string]any) {
		c["hostname"] = "pod-name"
		c["annotations"] = map[string]any{
			"dev.bulkhead.wall": "vm", "io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": b.id,
			"io.kubernetes.cri.sandbox-memory": fmt.Sprint(512 << 20),
		}
	})
	b.shm(t.TempDir())
	b.must("create", "--bundle", b.bundle, b.id)
	b.must("start", b.id)
	b.await("running")
	return b
}

// shm binds a directory of the host's at /dev/shm, as an engine does for a pod.
func (b *box) shm(dir string) {
	b.edit(func(c map[string]any) {
		for _, m := range c["mounts"].([]any) {
			if m := m.(map[string]any); m["destination"] == "/dev/shm" {
				m["type"], m["source"], m["options"] = "bind", dir, []string{"rbind", "rw"}
			}
		}
	})
}

// join makes a new container of the pod; namespaces are joined by path, but those of
// own.
func (b *box) join(own ...string) *box {
	m := newBox(b.t)
	m.state = b.state
	_, pid := b.status()
	m.edit(func(c map[string]any) {
		c["annotations"] = map[string]any{
			"dev.bulkhead.wall": "vm", "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": b.id,
		}
		ns := []any{map[string]any{"type": "mount"}}
		for kind, file := range map[string]string{"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"} {
			n := map[string]any{"type": kind}
			if !strings.Contains(strings.Join(own, " "), kind) {
				n["path"] = fmt.Sprintf("/proc/%d/ns/%s", pid, file)
			}
			ns = append(ns, n)
		}
		c["linux"].(map[string]any)["namespaces"] = ns
	})
	m.shm(b.t.TempDir())
	return m
}

// Containers of a pod are in one VM: kernel, name, loopback and shared memory are
// common, root, volumes, processes and end are each one's own.
func TestPod(t *testing.T) {
	s := podSandbox(t)
	a := s.join("pid")
	a.args("sh", "-c", "echo shared >/dev/shm/note; while :; do echo from-a | nc -l -p 7000; done")
	a.must("create", "--bundle", a.bundle, a.id)
	if got, pid := a.status(); got != "created" || pid == 0 {
		t.Fatalf("%s, pid %d", got, pid)
	}
	a.must("start", a.id)
	a.await("running")

	b := s.join("pid")
	dir := t.TempDir()
	for _, name := range []string{"data/in", "file"} {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("of the host\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.volume(filepath.Join(dir, "data"), "/data")
	b.edit(func(c map[string]any) {
		c["mounts"] = append(c["mounts"].([]any), map[string]any{"destination": "/etc/given", "source": filepath.Join(dir, "file"), "type": "bind", "options": []string{"bind", "ro"}})
	})
	b.args("sh", "-c", `busybox hostname; cat /proc/sys/kernel/random/boot_id /data/in /etc/given /dev/shm/note
		n=0; until nc 127.0.0.1 7000 </dev/null; do n=$((n+1)); [ $n -gt 200 ] && break; sleep 0.1; done
		echo of the guest >/data/out; echo x >/etc/given && echo writable; echo own >/tmp/own; cat; exit 7`)
	out, code := b.run("typed\n", "run", "--bundle", b.bundle, b.id)
	boot := strings.TrimSpace(s.must("exec", s.id, "cat", "/proc/sys/kernel/random/boot_id"))
	if code != 7 {
		t.Errorf("exit status %d", code)
	}
	for _, want := range []string{"pod-name\n", boot, "of the host\nof the host\n", "shared\n", "from-a\n", "typed\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "writable") {
		t.Error("a volume that is read-only was written to")
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "data/out")); err != nil || string(raw) != "of the guest\n" {
		t.Errorf("the volume: %q %v", raw, err)
	}
	if _, err := os.Stat(filepath.Join(b.bundle, "rootfs/tmp/own")); err == nil {
		t.Error("what a container wrote to its root is on the host")
	}

	if out, code := a.run("in\n", "exec", a.id, "sh", "-c", "cat; ls /tmp; ps; exit 9"); code != 9 || !strings.Contains(out, "in\n") || strings.Contains(out, "own") || strings.Contains(out, "sleep 10000") {
		t.Errorf("exec: exit status %d\n%s", code, out)
	}
	if out := a.must("ps", a.id); !strings.Contains(out, "nc -l") || strings.Contains(out, "sleep 10000") {
		t.Errorf("ps:\n%s", out)
	}
	_, pid := a.status()
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, want := range []string{"Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("what stands for the container has no %q in its status:\n%s", want, status)
		}
	}
	a.must("pause", a.id)
	if out := s.must("exec", s.id, "echo", "goes on"); out != "goes on\n" {
		t.Errorf("beside one that is paused: %q", out)
	}
	a.must("resume", a.id)
	a.must("update", "--pids-limit", "20", a.id)
	a.must("events", "--stats", a.id)
	a.must("kill", a.id, "TERM")
	a.must("kill", a.id, "KILL")
	a.await("stopped")
	a.must("delete", a.id)
	// The names are free again, and what was there is not remembered.
	a.args("sh", "-c", "exit 3")
	if out, code := a.run("", "run", "--bundle", a.bundle, a.id); code != 3 {
		t.Errorf("a container of the same name: exit status %d\n%s", code, out)
	}

	p := s.join()
	p.args("ps")
	if out, code := p.run("", "run", "--bundle", p.bundle, p.id); code != 0 || !strings.Contains(out, "sleep 10000") {
		t.Errorf("the pod's processes: exit status %d\n%s", code, out)
	}
	if out, code := p.run("", "run", "--bundle", t.TempDir(), p.id); code == 0 {
		t.Errorf("an empty bundle: %s", out)
	}
	// Of all of them nothing is mounted where the pod's daemons serve it.
	_, pid = s.status()
	daemons := children(pid, "virtiofsd")
	if len(daemons) != 2 {
		t.Errorf("the pod has %d virtiofsd's; want one for roots and one for volumes", len(daemons))
	}
	for _, d := range daemons {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", d))
		for _, m := range []*box{a, b, p} {
			if err != nil || strings.Contains(string(raw), m.id) {
				t.Errorf("of %s mounts are left: %v\n%s", m.id, err, raw)
			}
		}
	}
	s.must("kill", s.id, "KILL")
	s.await("stopped")
	s.must("delete", s.id)
}

// Whoever dies, nothing is left: a member's process ends its container alone, the
// pod's monitor ends all.
func TestPodDeaths(t *testing.T) {
	full(t)
	s := podSandbox(t)
	a, b := s.join("pid"), s.join("pid")
	for _, m := range []*box{a, b} {
		m.must("create", "--bundle", m.bundle, m.id)
		m.must("start", m.id)
		m.await("running")
	}
	_, pid := a.status()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.await("stopped")
	a.must("delete", a.id)
	// The guest's own list: the container's process is gone there.
	for range 100 {
		if out := s.must("exec", s.id, "sh", "-c", "echo"); out != "\n" {
			t.Fatalf("the pod: %q", out)
		}
		if out := b.must("ps", b.id); strings.Contains(out, "sleep 10000") {
			break
		}
	}
	if out, code := b.run("", "delete", b.id); code == 0 {
		t.Errorf("delete of one that runs: %s", out)
	}
	// One whose process ends while the VM stands still is gone when it goes on.
	d := s.join()
	d.args("sleep", "4321")
	d.must("run", "--detach", "--bundle", d.bundle, d.id)
	if out := s.must("ps", s.id) + s.must("exec", s.id, "ps"); !strings.Contains(out, "sleep 4321") {
		t.Errorf("with the pod's processes: no sleep 4321 in\n%s", out)
	}
	s.must("pause", s.id)
	_, pid = d.status()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.await("stopped")
	d.must("delete", d.id)
	s.must("resume", s.id)
	for i := 0; strings.Contains(s.must("exec", s.id, "ps"), "sleep 4321"); i++ {
		if i == 50 {
			t.Error("a container goes on without its process")
			break
		}
	}
	_, pid = s.status()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.await("stopped")
	b.await("stopped")
	c := s.join2()
	if out, code := c.run("", "run", "--bundle", c.bundle, c.id); code == 0 || !strings.Contains(out, "takes no more containers") {
		t.Errorf("into a pod that has ended: exit status %d\n%s", code, out)
	}
	b.must("delete", b.id)
	s.must("delete", s.id)
}

// join2 is join of a pod that has no process any more.
func (b *box) join2() *box {
	m := newBox(b.t)
	m.state = b.state
	m.edit(func(c map[string]any) {
		c["annotations"] = map[string]any{
			"dev.bulkhead.wall": "vm", "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": b.id,
		}
	})
	return m
}
