package vmtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limit is for one command: a boot under the translator on a busy machine.
const limit = 5 * time.Minute

// program finds bulkhead, or says why the test cannot run here.
func program(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes cgroups and namespaces of containers")
	}
	dir := os.Getenv("BULKHEAD_BIN")
	if dir == "" {
		dir, _ = filepath.Abs("../../../bin")
	}
	for _, name := range []string{"bulkhead", "bulkhead-vmm", "bulkhead-agent"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Skipf("missing: %s; make build", filepath.Join(dir, name))
		}
	}
	for _, name := range []string{"qemu-system-x86_64", "mkfs.erofs", "busybox"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("missing: %s; scripts/setup-test.sh", name)
		}
	}
	if list, _ := filepath.Glob("/boot/vmlinuz-*"); len(list) == 0 {
		t.Skip("missing: a kernel in /boot; apt-get install linux-image-cloud-amd64")
	}
	return filepath.Join(dir, "bulkhead")
}

func full(t *testing.T) {
	t.Helper()
	if os.Getenv("BULKHEAD_VM_FULL") == "" {
		t.Skip("on demand: make test-vm runs it (BULKHEAD_VM_FULL=1)")
	}
}

// box is a state directory and a bundle.
type box struct {
	t      *testing.T
	prog   string
	state  string
	bundle string
	id     string
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{t: t, prog: program(t), state: t.TempDir(), bundle: t.TempDir(), id: fmt.Sprint("vmtest-", os.Getpid(), "-", time.Now().UnixNano())}
	bin := filepath.Join(b.bundle, "rootfs", "bin")
	for _, d := range []string{bin, "proc", "sys", "dev", "tmp", "etc"} {
		if !filepath.IsAbs(d) {
			d = filepath.Join(b.bundle, "rootfs", d)
		}
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "busybox"), raw, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "cat", "echo", "sleep", "id", "ps", "ip", "nc", "tty", "stty", "true", "ls", "kill", "date"} {
		if err := os.Symlink("busybox", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, code := b.run("", "spec", "--bundle", b.bundle); code != 0 {
		t.Fatalf("spec: %s", out)
	}
	b.edit(func(c map[string]any) {
		c["annotations"] = map[string]any{"dev.bulkhead.wall": "vm"}
		c["process"].(map[string]any)["terminal"] = false
		c["root"].(map[string]any)["readonly"] = false
	})
	b.args("sh", "-c", "echo started; sleep 10000")
	t.Cleanup(b.check)
	return b
}

// edit changes config.json.
func (b *box) edit(f func(c map[string]any)) {
	b.t.Helper()
	path := filepath.Join(b.bundle, "config.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(raw, &c); err != nil {
		b.t.Fatal(err)
	}
	f(c)
	if raw, err = json.Marshal(c); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) args(args ...string) {
	b.edit(func(c map[string]any) { c["process"].(map[string]any)["args"] = args })
}

// run runs one command of bulkhead's and gives its output, stdout and stderr
// apart from each other only in their order.
func (b *box) run(stdin string, args ...string) (string, int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.prog, append([]string{"--root", b.state}, args...)...)
	// A file, not a pipe: a container that is left behind would hold it open.
	out, err := os.CreateTemp(b.t.TempDir(), "out")
	if err != nil {
		b.t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	err = cmd.Run()
	raw, _ := os.ReadFile(out.Name())
	if ctx.Err() != nil {
		b.t.Fatalf("%v did not end within %v:\n%s", args, limit, raw)
	}
	if err != nil && cmd.ProcessState == nil {
		b.t.Fatal(err)
	}
	return string(raw), cmd.ProcessState.ExitCode()
}

func (b *box) must(args ...string) string {
	b.t.Helper()
	out, code := b.run("", args...)
	if code != 0 {
		b.t.Fatalf("%v: exit status %d\n%s", args, code, out)
	}
	return out
}

// status gives the status and the pid.
func (b *box) status() (string, int) {
	b.t.Helper()
	var s struct {
		Status string
		Pid    int
	}
	if err := json.Unmarshal([]byte(b.must("state", b.id)), &s); err != nil {
		b.t.Fatal(err)
	}
	return s.Status, s.Pid
}

// await waits until the container has a status.
func (b *box) await(want string) {
	b.t.Helper()
	var got string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got, _ = b.status(); got == want {
			return
		}
	}
	b.t.Fatalf("the container is %s, not %s", got, want)
}

// children lists the processes below pid, by the start of their names.
func children(pid int, name string) (out []int) {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		more, _ := os.ReadFile(task)
		raw = append(append(raw, ' '), more...)
	}
	seen := make(map[int]bool)
	for _, f := range bytes.Fields(raw) {
		child, _ := strconv.Atoi(string(f))
		if seen[child] {
			continue
		}
		seen[child] = true
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
		if strings.HasPrefix(string(comm), name) {
			out = append(out, child)
		}
	}
	return out
}

// check looks for what a container may have left: its processes, cgroups and
// files.
func (b *box) check() {
	if b.t.Failed() || b.t.Skipped() {
		out, _ := b.run("", "delete", "--force", b.id)
		b.t.Log(out)
		return
	}
	if list, _ := os.ReadDir(b.state); len(list) > 0 {
		b.t.Errorf("the state directory has %v", list)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/" + b.id, "/sys/fs/cgroup/*/" + b.id} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			b.t.Errorf("cgroups are left: %v", left)
		}
	}
	procs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range procs {
		cmd, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
		if bytes.Contains(cmd, []byte(b.bundle)) || bytes.Contains(cmd, []byte(b.state)) {
			b.t.Errorf("a process is left: %s %q", filepath.Dir(p), cmd)
		}
	}
	if raw, _ := os.ReadFile("/proc/self/mountinfo"); bytes.Contains(raw, []byte(b.bundle)) {
		b.t.Error("a mount is left")
	}
	if left, _ := filepath.Glob("/dev/shm/bulkhead-vm-*"); len(left) > 0 {
		b.t.Errorf("files are left: %v", left)
	}
}

// One life: created, started, exec'ed into, paused, updated, killed, deleted.
func TestLifecycle(t *testing.T) {
	b := newBox(t)
	b.must("create", "--bundle", b.bundle, b.id)
	if got, pid := b.status(); got != "created" || pid == 0 {
		t.Fatalf("%s, pid %d", got, pid)
	}
	b.must("start", b.id)
	b.await("running")
	if out, code := b.run("words\n", "exec", b.id, "sh", "-c", "cat; echo more >&2; exit 9"); code != 9 || !strings.Contains(out, "words\n") || !strings.Contains(out, "more\n") {
		t.Errorf("exec: exit status %d\n%s", code, out)
	}
	if out, code := b.run("", "exec", b.id, "/nowhere"); code == 0 || !strings.Contains(out, "/nowhere") {
		t.Errorf("a program that is not there: exit status %d\n%s", code, out)
	}
	if out := b.must("ps", b.id); !strings.Contains(out, "sleep 10000") {
		t.Errorf("ps:\n%s", out)
	}
	b.must("pause", b.id)
	if got, _ := b.status(); got != "paused" {
		t.Errorf("paused: %s", got)
	}
	b.must("resume", b.id)
	if out := b.must("events", "--stats", b.id); !strings.Contains(out, `"hypervisorMemory"`) {
		t.Errorf("events:\n%s", out)
	}
	b.must("update", "--pids-limit", "50", b.id)
	if out := b.must("list"); !strings.Contains(out, b.id) {
		t.Errorf("list:\n%s", out)
	}
	b.must("kill", b.id, "KILL")
	b.await("stopped")
	b.must("delete", b.id)
}

// The command's status is bulkhead's, and its streams are the caller's.
func TestRun(t *testing.T) {
	b := newBox(t)
	b.args("sh", "-c", "cat; echo err >&2; echo written >/etc/file; cat /etc/file; exit 7")
	out, code := b.run("in\n", "run", "--bundle", b.bundle, b.id)
	if code != 7 {
		t.Errorf("exit status %d", code)
	}
	for _, want := range []string{"in\n", "err\n", "written\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	if _, err := os.Stat(filepath.Join(b.bundle, "rootfs/etc/file")); err == nil {
		t.Error("what the guest wrote to its root is on the host")
	}
}

// The host's root, read-only below an overlay in the guest.
func TestDo(t *testing.T) {
	b := newBox(t)
	marker := filepath.Join(t.TempDir(), "marker")
	out, code := b.run("", "do", "--wall=vm", "--", "/bin/sh", "-c", "echo hello; echo x >"+marker+"; exit 5")
	if code != 5 || !strings.Contains(out, "hello\n") {
		t.Errorf("exit status %d\n%s", code, out)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("what the guest wrote is on the host")
	}
	if out := strings.TrimSpace(b.must("do", "--wall=vm", "--", "nproc")); out != strconv.Itoa(min(runtime.NumCPU(), 8)) {
		t.Errorf("a machine of %s CPUs on a host of %d", out, runtime.NumCPU())
	}
	if out, code := b.run("", "do", "--wall=vm", "--", "/nowhere"); code != 127 {
		t.Errorf("a command that is not there: exit status %d\n%s", code, out)
	}
}

// Whichever process dies, and whenever, the container ends and leaves nothing.
func TestKillEach(t *testing.T) {
	full(t)
	victims := map[string]func(pid int) []int{
		"monitor":   func(pid int) []int { return []int{pid} },
		"QEMU":      func(pid int) []int { return children(pid, "qemu-system") },
		"virtiofsd": func(pid int) []int { return children(pid, "virtiofsd") },
	}
	stages := map[string]func(b *box){
		"created": func(b *box) {},
		"running": func(b *box) { b.must("start", b.id); b.await("running") },
		"paused":  func(b *box) { b.must("start", b.id); b.await("running"); b.must("pause", b.id) },
	}
	for who, find := range victims {
		for stage, reach := range stages {
			t.Run(who+" "+stage, func(t *testing.T) {
				b := newBox(t)
				if who == "virtiofsd" {
					b.volume(t.TempDir(), "/data")
				}
				b.must("create", "--bundle", b.bundle, b.id)
				reach(b)
				_, pid := b.status()
				pids := find(pid)
				if len(pids) == 0 {
					t.Fatalf("there is no %s", who)
				}
				for _, p := range pids {
					if err := unix.Kill(p, unix.SIGKILL); err != nil {
						t.Fatal(err)
					}
				}
				b.await("stopped")
				b.must("delete", b.id)
			})
		}
	}
}

// volume adds a bind mount.
func (b *box) volume(src, dst string) {
	b.edit(func(c map[string]any) {
		c["mounts"] = append(c["mounts"].([]any), map[string]any{"destination": dst, "source": src, "type": "bind", "options": []string{"rbind", "rw"}})
	})
}

// What either side writes to a volume, the other sees.
func TestVolume(t *testing.T) {
	full(t)
	b := newBox(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "from-host"), []byte("host"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.volume(dir, "/data")
	b.args("sh", "-c", "cat /data/from-host; echo guest >/data/from-guest")
	out, code := b.run("", "run", "--bundle", b.bundle, b.id)
	if code != 0 || !strings.Contains(out, "host") {
		t.Errorf("exit status %d\n%s", code, out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "from-guest")); err != nil || string(got) != "guest\n" {
		t.Errorf("%q %v", got, err)
	}
}

// A walk over more names of a volume than virtiofsd may have files open comes to
// its end, be the files read or not; as many of the image's are none of its business.
func TestManyNames(t *testing.T) {
	full(t)
	b := newBox(t)
	fill := func(dir string, dirs int) {
		for i := range dirs {
			sub := filepath.Join(dir, fmt.Sprint("d", i))
			if err := os.MkdirAll(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			for j := range 99 {
				if err := os.WriteFile(filepath.Join(sub, fmt.Sprint("f", j)), []byte("x"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	dir := t.TempDir()
	fill(dir, 100)
	fill(filepath.Join(b.bundle, "rootfs", "tree"), 50)
	b.volume(dir, "/data")
	few := filepath.Join(t.TempDir(), "few")
	if err := os.WriteFile(few, []byte("#!/bin/sh\nulimit -n 8192\nexec "+b.prog+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.prog = few
	b.args("sh", "-c", `walk() { busybox find $1 -type f -links 1 2>&1 | busybox wc -l; }
		objects() { busybox awk -v c=$1 '$1 == c { print c, $2 }' /proc/slabinfo; }
		walk /tree; sleep 1; objects erofs_inode
		walk /data; walk /data; busybox grep -rl x /data | busybox wc -l; sleep 1; objects fuse_inode`)
	out, code := b.run("", "run", "--bundle", b.bundle, b.id)
	var image, volume int
	if _, err := fmt.Sscanf(out, "4950\nerofs_inode %d\n9900\n9900\n9900\nfuse_inode %d\n", &image, &volume); err != nil || code != 0 {
		t.Fatalf("exit status %d: %v\n%s", code, err, out)
	}
	if image < 4950 || volume > 8192 {
		t.Errorf("%d names of the image and %d of a volume are known at the end", image, volume)
	}
}

// The guest has the namespace's interface, address and route, and reaches the
// other end.
func TestNetwork(t *testing.T) {
	full(t)
	b := newBox(t)
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("missing: ip; apt-get install iproute2")
	}
	ns := fmt.Sprint("vmtest", os.Getpid())
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	ip("netns", "add", ns)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	ip("link", "add", ns+"h", "type", "veth", "peer", "name", "eth0", "netns", ns)
	ip("addr", "add", "10.231.77.1/24", "dev", ns+"h")
	ip("link", "set", ns+"h", "up")
	ip("-n", ns, "addr", "add", "10.231.77.2/24", "dev", "eth0")
	ip("-n", ns, "link", "set", "eth0", "up")
	ip("-n", ns, "route", "add", "default", "via", "10.231.77.1")
	b.edit(func(c map[string]any) {
		for _, n := range c["linux"].(map[string]any)["namespaces"].([]any) {
			if n := n.(map[string]any); n["type"] == "network" {
				n["path"] = "/var/run/netns/" + ns
			}
		}
	})
	l, err := net.Listen("tcp", "10.231.77.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "from the host\n")
			c.Close()
		}
	}()
	host, port, _ := net.SplitHostPort(l.Addr().String())
	b.args("sh", "-c", "ip addr show eth0; ip route; nc -w 30 "+host+" "+port+" </dev/null")
	out, code := b.run("", "run", "--bundle", b.bundle, b.id)
	if code != 0 || !strings.Contains(out, "10.231.77.2/24") || !strings.Contains(out, "default via 10.231.77.1") || !strings.Contains(out, "from the host") {
		t.Errorf("exit status %d\n%s", code, out)
	}
}

// A program that the guest's kernel kills for memory ends with 137 and a reason,
// with a limit and without; init, which holds its namespace, is not killed first.
func TestOutOfMemory(t *testing.T) {
	full(t)
	b := newBox(t)
	const hog = `BEGIN { x = "0123456789"; while (length(x) < 1e9) x = x x; print "survived" }`
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "the VM has 512 MiB"},
		{[]string{"--memory", "100M"}, "they may have 100 MiB"},
	} {
		args := append([]string{"do", "--wall=vm", "--root-dir", filepath.Join(b.bundle, "rootfs")}, c.args...)
		out, code := b.run("", append(args, "--", "/bin/busybox", "awk", hog)...)
		if code != 137 || !strings.Contains(out, c.want) || strings.Contains(out, "survived") {
			t.Errorf("%v: exit status %d, want 137 and %q\n%s", c.args, code, c.want, out)
		}
	}
}

// A machine that boots gives back what its programs no longer need.
func TestMemoryGivenBack(t *testing.T) {
	full(t)
	b := newBox(t)
	b.edit(func(c map[string]any) { c["annotations"].(map[string]any)["dev.bulkhead.vm.template"] = "off" })
	b.args("sh", "-c", "busybox head -c 200000000 /dev/urandom >/tmp/file; echo full >/tmp/full; while [ ! -e /tmp/go ]; do sleep 0.1; done; rm /tmp/file; sleep 10000")
	b.must("run", "--detach", "--bundle", b.bundle, b.id)
	used := func() int64 {
		t.Helper()
		var e struct {
			Data struct {
				VM struct {
					Memory int64 `json:"hypervisorMemory"`
				} `json:"vm"`
			} `json:"data"`
		}
		out := b.must("events", "--stats", b.id)
		if err := json.Unmarshal([]byte(out), &e); err != nil || e.Data.VM.Memory == 0 {
			t.Fatalf("events: %v\n%s", err, out)
		}
		return e.Data.VM.Memory
	}
	b.must("exec", b.id, "sh", "-c", "while [ ! -e /tmp/full ]; do sleep 0.1; done")
	before := used()
	b.must("exec", b.id, "sh", "-c", "echo >/tmp/go")
	const want = 100 << 20
	after := used()
	for deadline := time.Now().Add(time.Minute); after > before-want && time.Now().Before(deadline); after = used() {
		time.Sleep(500 * time.Millisecond)
	}
	if after > before-want {
		t.Errorf("%d MiB with a file of 190 MiB, and %d MiB a minute after it is gone", before>>20, after>>20)
	}
	b.must("delete", "--force", b.id)
}
