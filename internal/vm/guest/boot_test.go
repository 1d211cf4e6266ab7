//go:build vm

package guest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/wire/agentconn"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// The tests of this file boot a VM with QEMU (`make test-vm`): TCG, or the
// accelerator of BULKHEAD_VM_ACCEL. They need no root.

// vm is a booted guest.
type vm struct {
	*agentconn.Conn
	cmd     *exec.Cmd
	console string
	sock    string
	exited  chan error
	started time.Time
	hello   time.Duration
	bootCPU float64
}

// artifacts are made once for all tests.
func artifacts(t *testing.T) (cache *Cache, vmlinux, initramfs string) {
	t.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("bulkhead-vm-test-%d", os.Getuid()))
	cache, err := OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	k, err := FindKernel(os.Getenv("BULKHEAD_VM_KERNEL"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := cache.Vmlinux(k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	agent := os.Getenv("BULKHEAD_VM_AGENT")
	if agent == "" {
		agent = filepath.Join(t.TempDir(), AgentName)
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", agent, "bulkhead.dev/bulkhead/cmd/bulkhead-agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("the agent: %v\n%s", err, out)
		}
	}
	i, err := cache.Initramfs(k, agent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return cache, v.Path, i.Path
}

// boot starts QEMU and waits for the agent's first word.
func boot(t *testing.T, extra ...string) *vm {
	t.Helper()
	_, _, initramfs := artifacts(t)
	v := start(t, initramfs, extra...)
	v.connect(t)
	v.hello = time.Since(v.started)
	v.bootCPU = v.cpu()
	return v
}

// start starts QEMU with an initramfs and the agent's port.
func start(t *testing.T, initramfs string, extra ...string) *vm {
	t.Helper()
	sock := filepath.Join(t.TempDir(), "agent.sock")
	v := launch(t, initramfs, "", append([]string{
		"-device", "virtio-serial-device", "-chardev", "socket,id=agent,server=on,wait=off,path=" + sock,
		"-device", "virtserialport,chardev=agent,name=" + agentpb.PortName,
	}, extra...)...)
	v.sock = sock
	return v
}

// launch starts QEMU with an initramfs, words for the kernel, and devices.
func launch(t *testing.T, initramfs, words string, devices ...string) *vm {
	t.Helper()
	_, vmlinux, _ := artifacts(t)
	dir := t.TempDir()
	accel := os.Getenv("BULKHEAD_VM_ACCEL")
	if accel == "" {
		accel = "tcg"
	}
	v := &vm{console: filepath.Join(dir, "console"), exited: make(chan error, 1)}
	cmdline := "console=ttyS0 quiet rdinit=/init cryptomgr.notests lsm=capability audit=0 random.trust_cpu=on" +
		" 8250.nr_uarts=1 no_timer_check noreplace-smp rcupdate.rcu_expedited=1 panic=-1 " + tscArgs(accel) + words + os.Getenv("BULKHEAD_VM_CMDLINE")
	args := []string{
		"-M", "microvm", "-accel", accel, "-cpu", "max", "-m", "256", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-global", "virtio-mmio.force-legacy=false",
		"-kernel", vmlinux, "-initrd", initramfs, "-append", cmdline,
		"-serial", "file:" + v.console,
	}
	v.cmd = exec.Command("qemu-system-x86_64", append(args, devices...)...)
	v.cmd.Stderr = os.Stderr
	v.started = time.Now()
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { v.exited <- v.cmd.Wait() }()
	t.Cleanup(func() {
		v.cmd.Process.Kill()
		if t.Failed() {
			raw, _ := os.ReadFile(v.console)
			t.Logf("console:\n%s", raw)
		}
	})
	return v
}

// connect says hello to the agent.
func (v *vm) connect(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	conn, err := net.Dial("unix", v.sock)
	for err != nil && time.Now().Before(deadline) { // QEMU has not made it yet
		time.Sleep(time.Millisecond)
		conn, err = net.Dial("unix", v.sock)
	}
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Until(deadline), func() { conn.Close() })
	defer timer.Stop()
	if v.Conn, err = agentconn.Connect(conn); err != nil {
		t.Fatalf("the agent did not answer: %v", err)
	}
}

// wantEnd waits for the VM's own end.
func (v *vm) wantEnd(t *testing.T, why string) {
	t.Helper()
	select {
	case err := <-v.exited:
		if err != nil {
			t.Fatalf("QEMU: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("the VM goes on %s", why)
	}
}

// tscArgs tells the kernel the host's TSC rate, which TCG cannot measure.
func tscArgs(accel string) string {
	if accel != "tcg" {
		return ""
	}
	raw, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "cpu MHz" {
			mhz, _, _ := strings.Cut(strings.TrimSpace(value), ".")
			return "tsc_early_khz=" + mhz + "000 tsc=reliable "
		}
	}
	return ""
}

func call[T, R any](t *testing.T, f func(context.Context, T) (R, error), arg T) R {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	out, err := f(ctx, arg)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBoot(t *testing.T) {
	v := boot(t)
	info := call(t, v.Agent().Info, &agentpb.InfoRequest{})
	ms := func(ns uint64) float64 { return float64(ns) / 1e6 }
	t.Logf("hello after %v (%.2f s CPU); in the guest: init %.1f ms, channel %.1f ms, hello %.1f ms; kernel %s, %d CPUs, %d MiB, modules %v",
		v.hello, v.bootCPU, ms(info.InitNanos), ms(info.ChannelNanos), ms(info.HelloNanos), info.KernelRelease, info.Cpus, info.MemoryBytes>>20, info.Modules)
	if info.Version != agentpb.Version || info.Cpus != 1 {
		t.Fatalf("Info: %v", info)
	}
	v.Conn.Close() // the end of the channel is the end of the VM
	v.wantEnd(t, "without its channel")
}

// TestSessions ends a connection as a snapshot does, and goes on with another.
func TestSessions(t *testing.T) {
	root := busybox(t)
	v := bootWithRoot(t, root, Erofs)
	for i := range 2 {
		call(t, v.Agent().PrepareSnapshot, &agentpb.SnapshotRequest{ModuleGroups: []string{agentpb.GroupOverlay, agentpb.GroupErofs}})
		v.Conn.Close()
		v.connect(t)
		call(t, v.Agent().Restored, &agentpb.RestoredRequest{Time: &agentpb.Time{UnixNanos: int64(2e18) + int64(i)}, Random: make([]byte, 32)})
	}
	if r := v.run(t, "after", config(Erofs, "date", "-u", "+%Y"), ""); r.out != "2033\n" {
		t.Fatalf("%+v", r)
	}
}
