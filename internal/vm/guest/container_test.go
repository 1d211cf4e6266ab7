//go:build vm

package guest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// busybox makes a root of Debian's busybox-static.
func busybox(t *testing.T) string {
	t.Helper()
	bin, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("missing: busybox; apt-get install busybox-static")
	}
	raw, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{"bin", "proc", "sys", "dev", "etc", "tmp", "root"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), raw, 0o755); err != nil {
		t.Fatal(err)
	}
	list, err := exec.Command(bin, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(list)) {
		_ = os.Symlink("busybox", filepath.Join(root, "bin", name))
	}
	return root
}

// bootWithRoot boots a VM that has a disk with an image of root.
func bootWithRoot(t *testing.T, root string, format Format, extra ...string) *vm {
	t.Helper()
	return boot(t, append(extra, rootDisk(t, root, format)...)...)
}

// rootDisk makes an image of root, and QEMU's options for it.
func rootDisk(t *testing.T, root string, format Format) []string {
	t.Helper()
	cache, _, _ := artifacts(t)
	k, err := FindKernel(os.Getenv("BULKHEAD_VM_KERNEL"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := cache.RootImage(k, root, RootOptions{Format: format})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return []string{
		"-drive", "if=none,id=root,format=raw,readonly=on,file=" + img.Path,
		"-device", "virtio-blk-device,drive=root,serial=root",
	}
}

// config is a container as Docker would make it.
func config(format Format, args ...string) *agentpb.Container {
	caps := uint64(0xa80425fb) // Docker's default
	return &agentpb.Container{
		Process: &agentpb.Process{
			Args: args, Env: []string{"PATH=/bin"}, Cwd: "/",
			Capabilities: &agentpb.Capabilities{Bounding: caps, Effective: caps, Permitted: caps},
			Rlimits:      []*agentpb.Rlimit{{Resource: unix.RLIMIT_NOFILE, Soft: 2048, Hard: 4096}},
		},
		Root: &agentpb.Root{
			Storage: &agentpb.Storage{Source: &agentpb.Storage_BlockSerial{BlockSerial: "root"}, FsType: string(format), Readonly: true},
			Overlay: agentpb.Root_MEMORY,
		},
		Mounts: []*agentpb.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_STRICTATIME, Data: "mode=755,size=65536k"},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: "newinstance,ptmxmode=0666,mode=0620,gid=5"},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Flags: unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV, Data: "mode=1777,size=65536k"},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Flags: unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Flags: unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV | unix.MS_RDONLY},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Flags: unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV | unix.MS_RDONLY},
			{Destination: "/etc/resolv.conf", Type: "file", File: &agentpb.File{Content: []byte("nameserver 192.0.2.1\n"), Mode: 0o644}},
		},
		Hostname:      "box",
		MaskedPaths:   []string{"/proc/kcore", "/proc/acpi", "/proc/keys", "/proc/timer_list", "/sys/firmware"},
		ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		Namespaces:    &agentpb.Namespaces{},
		Sysctl:        map[string]string{"kernel.shmmni": "77", "net.ipv4.ip_forward": "1"},
	}
}

// result is what a process has said and how it ended.
type result struct {
	out, err string
	status   unix.WaitStatus
}

// run creates a container, starts it, and waits for its end.
func (v *vm) run(t *testing.T, id string, c *agentpb.Container, stdin string) result {
	t.Helper()
	var streams agentpb.Streams
	_, inConn := v.stream(t, &streams.Stdin)
	_, outConn := v.stream(t, &streams.Stdout)
	_, errConn := v.stream(t, &streams.Stderr)
	st := call(t, v.Agent().Create, &agentpb.CreateRequest{ContainerId: id, Container: c, Streams: &streams, Start: true})
	if st.Errno != 0 {
		t.Fatalf("%s: %s (%v)", id, st.Error, unix.Errno(st.Errno))
	}
	go func() {
		io.WriteString(inConn, stdin)
		inConn.Close()
	}()
	return v.collect(t, &agentpb.WaitRequest{ContainerId: id}, outConn, errConn)
}

func (v *vm) collect(t *testing.T, w *agentpb.WaitRequest, out, errs io.Reader) (r result) {
	t.Helper()
	errText := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(errs)
		errText <- string(b)
	}()
	b, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	r.out, r.err = string(b), <-errText
	r.status = unix.WaitStatus(call(t, v.Agent().Wait, w).Status)
	return r
}

func (v *vm) stream(t *testing.T, number *uint32) (uint32, io.ReadWriteCloser) {
	t.Helper()
	n, conn, err := v.Stream()
	if err != nil {
		t.Fatal(err)
	}
	*number = n
	return n, conn
}

// exec runs a shell command in a container.
func (v *vm) exec(t *testing.T, id, execID string, p *agentpb.Process) result {
	t.Helper()
	var streams agentpb.Streams
	_, out := v.stream(t, &streams.Stdout)
	_, errs := v.stream(t, &streams.Stderr)
	st := call(t, v.Agent().Exec, &agentpb.ExecRequest{ContainerId: id, ExecId: execID, Process: p, Streams: &streams})
	if st.Errno != 0 {
		return result{err: st.Error, status: unix.WaitStatus(127 << 8)}
	}
	return v.collect(t, &agentpb.WaitRequest{ContainerId: id, ExecId: execID}, out, errs)
}

func TestHello(t *testing.T) {
	root := busybox(t)
	v := bootWithRoot(t, root, Erofs)
	begin := time.Now()
	r := v.run(t, "hello", config(Erofs, "echo", "hello"), "")
	t.Logf("hello after %v, echo ended after %v more (%.2f s of QEMU's CPU)", v.hello, time.Since(begin), v.cpu())
	if r.out != "hello\n" || r.err != "" || r.status != 0 {
		t.Fatalf("echo hello: %+v", r)
	}
	begin = time.Now()
	cpu := v.cpu()
	r = v.run(t, "again", config(Erofs, "echo", "again"), "")
	t.Logf("a second container took %v (%.2f s CPU)", time.Since(begin), v.cpu()-cpu)
	if r.out != "again\n" {
		t.Fatalf("echo again: %+v", r)
	}
}

// cpu is QEMU's CPU time so far, in seconds: what does not depend on the load.
func (v *vm) cpu() float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	var user, sys int
	fmt.Sscan(string(f[11]), &user)
	fmt.Sscan(string(f[12]), &sys)
	return float64(user+sys) / 100
}

// TestSquashfs mounts the other format.
func TestSquashfs(t *testing.T) {
	v := bootWithRoot(t, busybox(t), Squashfs)
	if r := v.run(t, "squash", config(Squashfs, "sh", "-c", "grep -c squashfs /proc/filesystems; echo written >/file && cat /file"), ""); r.out != "1\nwritten\n" {
		t.Fatalf("%+v", r)
	}
}

// TestHostileContainer lets a container use up what it can get, and asks the
// agent to go on meanwhile.
func TestHostileContainer(t *testing.T) {
	v := bootWithRoot(t, busybox(t), Erofs)
	run := func(name, script string) {
		call(t, v.Agent().Create, &agentpb.CreateRequest{ContainerId: name, Container: config(Erofs, "sh", "-c", script), Start: true})
	}
	run("forks", "f() { f | f & f; }; f")
	run("memory", "while :; do cat /dev/zero >/dev/shm/a; cat /dev/zero >/file; x=$x$(head -c 1000000 /dev/zero | tr '\\0' x); done")
	for i := range 5 {
		time.Sleep(time.Second)
		call(t, v.Agent().Info, &agentpb.InfoRequest{})
		st := call(t, v.Agent().Stats, &agentpb.ContainerRequest{ContainerId: "forks"})
		t.Logf("%d: %d processes, of %d MiB %d are free", i, st.Pids, st.VmMemoryTotal>>20, st.VmMemoryAvailable>>20)
	}
	for _, name := range []string{"forks", "memory"} {
		call(t, v.Agent().Remove, &agentpb.ContainerRequest{ContainerId: name})
	}
	if r := v.run(t, "after", config(Erofs, "echo", "well"), ""); r.out != "well\n" {
		t.Fatalf("%+v", r)
	}
}
