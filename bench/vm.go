package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/guest"
	"bulkhead.dev/bulkhead/internal/vm/host"
	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/qemu"
	"bulkhead.dev/bulkhead/internal/vm/virtiofs"
	"bulkhead.dev/bulkhead/internal/wire/agentconn"
)

// The VM wall against a bare guest: the same kernel under the same QEMU with
// the same command line, accelerator and devices, by turns.

// Limits of the VM wall's rows. Times of a start are against seconds, as a
// bare guest has nothing like it.
const (
	vmRatio      = 1.1
	vmHelloCold  = 2.0
	vmHelloClone = 0.6
	vmIdleMB     = 100
	// vmTime bounds all of it: no round begins that would go beyond.
	vmTime = 4 * time.Minute
	// vmWait is for one machine or container on a busy host.
	vmWait = 90 * time.Second
	// vmTrees is how many equal trees the guest's program walks.
	vmTrees = 6
	// vmMemory is the wall's default.
	vmMemory = 512 << 20
)

// vmBench is what the rounds have in common.
type vmBench struct {
	dir, bin string
	parts    *regexp.Regexp // what is measured
	driver   *qemu.Driver
	config   hypervisor.Config // of a bare machine, without files
	agent    string            // initramfs
	initBare string            // the smallest init's
	bench    string            // the program's, beside our modules
	image    *guest.Image
	volume   string
	n        int
}

// vmWall adds the VM wall's rows; why it cannot is said, and no error.
func (t *table) vmWall(parent, bin string, parts *regexp.Regexp, rounds int) error {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "the VM wall's rows need root")
		return nil
	}
	program, err := qemu.Find()
	if err != nil {
		fmt.Fprintln(os.Stderr, "no rows for the VM wall:", err)
		return nil
	}
	dir, err := os.MkdirTemp(parent, "vm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // plain files alone
	b := &vmBench{dir: dir, bin: bin, parts: parts, driver: &qemu.Driver{Program: program}}
	if err := b.prepare(); err != nil {
		return fmt.Errorf("the VM wall: %w", err)
	}
	defer b.image.Close()
	begin, longest := time.Now(), time.Duration(0)
	for r := range rounds {
		if r > 0 && time.Since(begin)+longest > vmTime {
			break
		}
		fmt.Fprintf(os.Stderr, "\rVM wall, round %d of %d ", r+1, rounds)
		start := time.Now()
		if err := b.round(t); err != nil {
			return fmt.Errorf("the VM wall: %w", err)
		}
		longest = max(longest, time.Since(start))
	}
	if !parts.MatchString("memory") {
		return nil
	}
	return b.memory(t)
}

// prepare makes the bundle, the images and the template.
func (b *vmBench) prepare() error {
	for name, trees := range map[string]int{"root": vmTrees, "small": 1} {
		if err := makeRoot(filepath.Join(b.dir, name), trees); err != nil {
			return err
		}
	}
	root := filepath.Join(b.dir, "root")
	prog := filepath.Join(root, "vmbench")
	b.volume = filepath.Join(b.dir, "volume")
	if err := os.Mkdir(b.volume, 0o755); err != nil {
		return err
	}
	// The first start chooses the accelerator and makes the template, the second
	// the one in which the container is prepared.
	for range 2 {
		if _, err := b.container(vmHello, ""); err != nil {
			return err
		}
	}
	return b.machines(root, prog)
}

// makeRoot makes a root directory with the program.
func makeRoot(root string, trees int) error {
	for _, d := range []string{"proc", "sys", "dev", "data", "etc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	for i := range trees {
		if err := makeTree(filepath.Join(root, fmt.Sprint("tree", i))); err != nil {
			return err
		}
	}
	if out, err := exec.Command("gcc", "-O2", "-static", fmt.Sprintf("-DTREES=%d", vmTrees), "-o", filepath.Join(root, "vmbench"), "bench/guest/vm.c").CombinedOutput(); err != nil {
		return fmt.Errorf("gcc bench/guest/vm.c: %w\n%s", err, out)
	}
	return nil
}

// makeTree makes what find walks over.
func makeTree(dir string) error {
	for i := range 60 {
		sub := filepath.Join(dir, fmt.Sprint("d", i))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		for j := range 50 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint("file", j)), []byte("x\n"), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// machines makes what bare machines boot.
func (b *vmBench) machines(root, prog string) error {
	cache, err := guest.OpenCache("")
	if err != nil {
		return err
	}
	dir, err := guest.CacheDir()
	if err != nil {
		return err
	}
	kernel, err := guest.FindKernel("")
	if err != nil {
		return err
	}
	vmlinux, err := cache.Vmlinux(kernel)
	if err != nil {
		return err
	}
	initrd, err := cache.Initramfs(kernel, filepath.Join(filepath.Dir(b.bin), "bulkhead-agent"))
	if err != nil {
		return err
	}
	if b.image, err = cache.RootImage(kernel, root, guest.RootOptions{}); err != nil {
		return err
	}
	facts, err := host.Load(dir, b.driver.Program, func(uint64) error { return errors.New("not tried") })
	if err != nil {
		return err
	}
	b.config = hypervisor.Config{Kernel: vmlinux.Path, Accel: hypervisor.TCG, CPUs: min(runtime.NumCPU(), 8), Balloon: true}
	tsc := facts.TSCKHz
	if facts.KVM {
		b.config.Accel, tsc = hypervisor.KVM, 0
	}
	b.config.Append = kernel.CommandLine(tsc)
	b.agent, b.initBare, b.bench = initrd.Path, filepath.Join(b.dir, "init.cpio"), filepath.Join(b.dir, "bench.cpio")
	fmt.Printf("VM wall: kernel %s, accelerator %s, %d CPUs\n", kernel.Release, b.config.Accel, b.config.CPUs)
	if err := archive(b.initBare, "init", guest.BareInit(), nil); err != nil {
		return err
	}
	program, err := os.ReadFile(prog)
	if err != nil {
		return err
	}
	ours, err := os.ReadFile(initrd.Path)
	if err != nil {
		return err
	}
	return archive(b.bench, "vmbench", program, ours)
}

func archive(file, name string, program, before []byte) error {
	var buf bytes.Buffer
	buf.Write(before)
	if err := guest.BareInitramfs(&buf, name, program); err != nil {
		return err
	}
	return os.WriteFile(file, buf.Bytes(), 0o600)
}

// round measures each thing once, ours and bare in turn.
func (b *vmBench) round(t *table) error {
	for i := range vmBoots {
		if !b.parts.MatchString("boot") {
			break
		}
		if err := b.boots(t, i%2 == 0); err != nil {
			return err
		}
	}
	for _, h := range []struct {
		name, template string
		limit          float64
	}{{"VM: run of hello from a template", "on", vmHelloClone}, {"VM: run of hello, cold", "off", vmHelloCold}} {
		if !b.parts.MatchString("hello") {
			break
		}
		start := time.Now()
		if out, err := b.container(vmHello, h.template); err != nil || out != "hello\n" {
			return fmt.Errorf("%s: %q %w", h.name, out, err)
		}
		t.add(h.name, "limit", "s", 1, time.Since(start).Seconds(), h.limit)
	}
	for i := range vmPairs {
		if !b.parts.MatchString("programs") {
			break
		}
		if err := b.programs(t, i%2 == 0); err != nil {
			return err
		}
	}
	return nil
}

// programs runs the program in a bare guest and in a container, in this order or
// the other, and compares answers and times.
func (b *vmBench) programs(t *table, bareFirst bool) (err error) {
	var theirs, mine []figure
	if bareFirst {
		if theirs, err = b.runBare(); err != nil {
			return err
		}
	}
	out, err := b.container(vmProgram, "")
	if err != nil {
		return err
	}
	if mine, err = figures(out); err != nil {
		return err
	}
	if !bareFirst {
		if theirs, err = b.runBare(); err != nil {
			return err
		}
	}
	for i, f := range theirs {
		if i >= len(mine) || mine[i].name != f.name || mine[i].answer != f.answer {
			return fmt.Errorf("%s: another answer than the bare guest's: %+v, %+v", f.name, mine, theirs)
		}
		t.add("VM: "+f.name, "bare guest", "s", vmRatio, mine[i].seconds, f.seconds)
	}
	return nil
}

type figure struct {
	name    string
	seconds float64
	answer  string
}

// figures reads the program's lines.
func figures(out string) (list []figure, err error) {
	for line := range strings.Lines(strings.ReplaceAll(out, "\r", "")) {
		line = strings.TrimSpace(line)
		if line == "DONE" {
			return list, nil
		}
		f := strings.Fields(line)
		if len(f) < 3 || strings.HasPrefix(line, "[") { // the kernel's
			continue
		}
		n := len(f)
		s, err := strconv.ParseFloat(f[n-2], 64)
		if err != nil {
			continue
		}
		list = append(list, figure{strings.Join(f[:n-2], " "), s, f[n-1]})
	}
	return nil, fmt.Errorf("the program has not come to its end: %q", out)
}

// What a container runs.
var (
	vmHello   = []string{"/vmbench", "hello"}
	vmSleep   = []string{"/vmbench", "sleep"}
	vmProgram = []string{"/vmbench"}
)

// container runs a container behind the VM wall and gives its output.
func (b *vmBench) container(args []string, template string) (string, error) {
	bundle, id, err := b.bundle(args, template)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), vmWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.bin, "--wall=vm", "run", "--bundle", bundle, id)
	cmd.WaitDelay = time.Second // its monitor holds the pipes too
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		exec.Command(b.bin, "delete", "--force", id).Run()
		return "", fmt.Errorf("bulkhead run %v: %w\n%s%s", args, err, out, errs.String())
	}
	return string(out), nil
}

func (b *vmBench) bundle(args []string, template string) (dir, id string, err error) {
	b.n++
	id = fmt.Sprintf("bench-vm-%d-%d", os.Getpid(), b.n)
	dir = filepath.Join(b.dir, id)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", "", err
	}
	mount := func(dst, typ, src string, opts ...string) map[string]any {
		return map[string]any{"destination": dst, "type": typ, "source": src, "options": opts}
	}
	mounts := []any{mount("/proc", "proc", "proc"), mount("/dev", "tmpfs", "tmpfs", "nosuid", "mode=755")}
	root := "small"
	if len(args) == len(vmProgram) {
		root = "root"
		mounts = append(mounts, mount("/data", "bind", b.volume, "rbind", "rw"))
	}
	annotations := map[string]string{}
	if template != "" {
		annotations["dev.bulkhead.vm.template"] = template
	}
	raw, err := json.Marshal(map[string]any{
		"ociVersion": "1.0.2", "annotations": annotations,
		"process": map[string]any{"args": args, "cwd": "/", "user": map[string]int{"uid": 0, "gid": 0}, "env": []string{"PATH=/"}},
		"root":    map[string]any{"path": filepath.Join(b.dir, root)}, "mounts": mounts,
		"linux": map[string]any{"namespaces": []any{map[string]string{"type": "pid"}, map[string]string{"type": "mount"}, map[string]string{"type": "ipc"}, map[string]string{"type": "uts"}, map[string]string{"type": "network"}}},
	})
	if err != nil {
		return "", "", err
	}
	return dir, id, os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o644)
}

// bareVM is a machine of the wall's own kind, with another initramfs.
type bareVM struct {
	hypervisor.VM
	channel net.Conn
	console string
	started time.Time
}

func (b *vmBench) start(initrd, line string, share *os.File, disk bool) (*bareVM, error) {
	b.n++
	v := &bareVM{console: filepath.Join(b.dir, fmt.Sprint("console", b.n))}
	cfg := b.config
	cfg.Initrd, cfg.Append = initrd, line
	cfg.Memory = hypervisor.RAM{Path: filepath.Join("/dev/shm", fmt.Sprintf("bulkhead-bench-%d-%d", os.Getpid(), b.n)), Bytes: vmMemory}
	ram, err := os.OpenFile(cfg.Memory.Path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer ram.Close()
	defer os.Remove(cfg.Memory.Path)
	if err := ram.Truncate(vmMemory); err != nil {
		return nil, err
	}
	if cfg.Console, err = os.OpenFile(v.console, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	defer cfg.Console.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours := os.NewFile(uintptr(pair[0]), "channel")
	defer ours.Close()
	cfg.Channel = os.NewFile(uintptr(pair[1]), "channel")
	defer cfg.Channel.Close()
	if v.channel, err = net.FileConn(ours); err != nil {
		return nil, err
	}
	if disk {
		cfg.Disks = []hypervisor.Disk{{ID: "root", File: b.image.File, ReadOnly: true}}
	}
	if share != nil {
		cfg.Shares = []hypervisor.Share{{Tag: "volumes", Socket: share}}
	}
	v.started = time.Now()
	v.VM, err = b.driver.Start(&cfg)
	if err != nil {
		v.channel.Close()
	}
	return v, err
}

func (v *bareVM) stop() {
	v.channel.Close()
	v.Kill()
	<-v.Done()
}

// await waits for a word on the console, and gives all that is there.
func (v *bareVM) await(word string) (string, error) {
	for deadline := time.Now().Add(vmWait); ; time.Sleep(time.Millisecond) {
		raw, err := os.ReadFile(v.console)
		if err != nil || bytes.Contains(raw, []byte(word)) {
			return string(raw), err
		}
		select {
		case <-v.Done():
			return "", fmt.Errorf("a bare machine: %w: %q", v.Err(), raw)
		default:
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("a bare machine has not said %s within %v: %q", word, vmWait, raw)
		}
	}
}

// Pairs in a round, who begins by turns: of boots, and of whole programs.
const (
	vmBoots = 3
	vmPairs = 2
)

// boots measures the agent's boot, and a bare one with the kernel as it comes and
// with what is left out of ours left out, in this order or the other.
func (b *vmBench) boots(t *table, bareFirst bool) (err error) {
	var ours float64
	var bare [2]float64
	lines := [2]string{strings.ReplaceAll(b.config.Append, guest.LeftOut, ""), b.config.Append}
	all := func() error {
		for i, line := range lines {
			if bare[i], err = b.bootBare(line); err != nil {
				return err
			}
		}
		return nil
	}
	if bareFirst {
		if err := all(); err != nil {
			return err
		}
	}
	if ours, err = b.bootAgent(); err != nil {
		return err
	}
	if !bareFirst {
		slices.Reverse(lines[:])
		if err := all(); err != nil {
			return err
		}
		slices.Reverse(bare[:])
	}
	t.add("VM: boot to the agent's first word", "bare init", "s", vmRatio, ours, bare[0])
	t.add("VM: the same, to a bare init with the same left out", "bare init", "s", 0, ours, bare[1])
	return nil
}

// bootBare gives the seconds to the smallest init's first word.
func (b *vmBench) bootBare(line string) (float64, error) {
	v, err := b.start(b.initBare, line, nil, false)
	if err != nil {
		return 0, err
	}
	defer v.stop()
	_, err = v.await("BARE")
	return time.Since(v.started).Seconds(), err
}

// bootAgent gives the seconds to the agent's.
func (b *vmBench) bootAgent() (float64, error) {
	v, err := b.start(b.agent, b.config.Append, nil, false)
	if err != nil {
		return 0, err
	}
	defer v.stop()
	timer := time.AfterFunc(vmWait, func() { v.channel.Close() })
	defer timer.Stop()
	conn, err := agentconn.Connect(v.channel)
	if err != nil {
		return 0, err
	}
	took := time.Since(v.started).Seconds()
	conn.Close()
	return took, nil
}

// runBare runs the program as a bare guest's PID 1, on the same image and the
// same volume.
func (b *vmBench) runBare() ([]figure, error) {
	s, err := virtiofs.Start(virtiofs.Options{
		Trees: []virtiofs.Tree{{Source: b.volume, Writable: true}}, Cache: virtiofs.CacheAuto, Dir: b.dir,
		Flags: unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
	})
	if err != nil {
		return nil, err
	}
	defer s.Kill()
	defer s.Socket.Close()
	v, err := b.start(b.bench, b.config.Append+" rdinit=/vmbench -- bare", s.Socket, true)
	if err != nil {
		return nil, err
	}
	defer v.stop()
	out, err := v.await("DONE")
	if err != nil {
		return nil, err
	}
	return figures(out)
}

// memory adds up the proportional set sizes of idle sandboxes from one
// template: what they share counts once among them.
func (b *vmBench) memory(t *table) error {
	const count = 4
	total, ids := 0.0, []string{}
	defer func() {
		for _, id := range ids {
			exec.Command(b.bin, "delete", "--force", id).Run()
		}
	}()
	var pids []int
	for range count {
		bundle, id, err := b.bundle(vmSleep, "on")
		if err != nil {
			return err
		}
		ids = append(ids, id)
		file := filepath.Join(bundle, "pid")
		cmd := exec.Command(b.bin, "--wall=vm", "run", "--detach", "--pid-file", file, "--bundle", bundle, id)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("an idle sandbox: %w", err)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
		if err != nil {
			return err
		}
		pids = append(pids, pid)
	}
	time.Sleep(5 * time.Second) // free pages are reported every two
	for _, pid := range pids {
		for _, p := range tree(pid) {
			total += pss(p)
		}
	}
	t.add("VM: memory of an idle sandbox, of 4 from a template", "limit", "MB", 1, total/1024/count, vmIdleMB)
	return nil
}
