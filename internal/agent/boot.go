package agent

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/agent/word"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// options are what the kernel's command line says to the agent.
type options struct {
	channel string // virtio or vsock
	port    string
	debug   bool
	files   uint64 // that each virtiofsd may have open
	modules string // groups that are wanted soon, with commas
	later   string // those that are wanted once there is a container
}

func parseOptions(cmdline string) options {
	o := options{channel: "virtio", port: agentpb.PortName}
	for _, word := range strings.Fields(cmdline) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "bulkhead.channel":
			o.channel = value
		case "bulkhead.port":
			o.port = value
		case "bulkhead.files":
			o.files = number(value)
		case "bulkhead.modules":
			o.modules = value
		case "bulkhead.later":
			o.later = value
		case "bulkhead.debug":
			o.debug = value == "1"
		}
	}
	return o
}

// kernelMount is one of the file systems that every guest has.
type kernelMount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

// early are mounted before anything else; a cgroup hierarchy can wait until
// the host has been answered.
var early = []kernelMount{
	{"proc", "/proc", "proc", word.ProcFlags, ""},
	{"sysfs", "/sys", "sysfs", word.SysFlags, ""},
	{"devtmpfs", "/dev", "devtmpfs", word.DeviceFlags, "mode=755"},
}

// rootDir is where the agent's own root is made: the first root of a kernel,
// in which the initramfs lies, is one that pivot_root(2) cannot leave.
const rootDir = "/run"

// enterRoot makes a tmpfs the root, with the file systems of the kernel in it.
// modules is a descriptor of the initramfs's modules.
func enterRoot() (modules int, err error) {
	modules, err = unix.Open("/"+agentpb.ModulesDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("modules of the initramfs: %w", err)
	}
	if err := unix.Mount("tmpfs", rootDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=1m"); err != nil {
		return -1, fmt.Errorf("mounting the agent's root: %w", err)
	}
	for _, dir := range []string{"/proc", "/sys", "/dev", workDir[4:]} {
		if err := os.MkdirAll(rootDir+dir, 0o755); err != nil {
			return -1, fmt.Errorf("the agent's root: %w", err)
		}
	}
	for _, m := range early {
		g := &word.First
		if m.target == "/dev" && g.Devices || m.target == "/sys" && g.Sys || m.target == "/proc" && g.Proc { // it is mounted
			m.flags = unix.MS_MOVE
			m.source, m.fstype, m.data = m.target, "", ""
		}
		if err := unix.Mount(m.source, rootDir+m.target, m.fstype, m.flags, m.data); err != nil {
			return -1, fmt.Errorf("mounting %s on %s: %w", m.source, m.target, err)
		}
	}
	if err := unix.Chdir(rootDir); err != nil {
		return -1, fmt.Errorf("the agent's root: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return -1, fmt.Errorf("moving the agent's root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return -1, fmt.Errorf("the agent's root: %w", err)
	}
	return modules, nil
}

// cgroupRoot is the agent's own view of the hierarchy. The agent stays in the
// root; all containers are in podCgroup, which leaves the agent memory to work
// with and threads to start, whatever they do.
const (
	cgroupRoot = "/sys/fs/cgroup"
	podCgroup  = cgroupRoot + "/pod"

	keepMemory  = 24 << 20
	keepThreads = 128
)

// lateMounts makes what only containers need.
func lateMounts() error {
	if err := unix.Mount("cgroup2", cgroupRoot, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "nsdelegate"); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mounting cgroup2: %w", err)
	}
	if err := os.Mkdir(podCgroup, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("cgroups: %w", err)
	}
	for _, dir := range []string{cgroupRoot, podCgroup} {
		if err := delegate(dir); err != nil {
			return err
		}
	}
	threads, err := readFile("/proc/sys/kernel/threads-max")
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	pod := &cgroup{dir: podCgroup}
	for _, v := range [][2]string{
		{"pids.max", strconv.FormatUint(max(number(threads), 2*keepThreads)-keepThreads, 10)},
		// A container that may make cgroups of its own must not make the
		// agent's walks over them endless.
		{"cgroup.max.depth", "32"}, {"cgroup.max.descendants", "8192"},
	} {
		if err := pod.write(v[0], v[1]); err != nil {
			return err
		}
	}
	return limitPod()
}

// delegate gives a cgroup's controllers to those below it.
func delegate(dir string) error {
	have, err := readFile(dir + "/cgroup.controllers")
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	names := strings.Fields(have)
	for i, c := range names {
		names[i] = "+" + c
	}
	file := dir + "/cgroup.subtree_control"
	if os.WriteFile(file, []byte(strings.Join(names, " ")), 0) == nil {
		return nil
	}
	for _, c := range names { // one that does not let itself be must not keep the rest
		if err := os.WriteFile(file, []byte(c), 0); err != nil {
			say("cgroup controller %s is not to be had: %v", c, err)
		}
	}
	return nil
}

// limitPod sets the memory of all containers together, by what the VM has.
func limitPod() error {
	total, _ := memInfo()
	pod := &cgroup{dir: podCgroup}
	return pod.write("memory.max", strconv.FormatUint(max(total, 2*keepMemory)-keepMemory, 10))
}
