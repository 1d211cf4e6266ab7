// Package machine owns the description of the machine a measurement ran on:
// enough for a reader to judge whether figures carry over to another one.
//
// It holds no state.
package machine

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Machine is the description; every field is best effort and may be empty.
type Machine struct {
	CPU            string  `json:"cpu"`
	CPUs           int     `json:"cpus"`
	MHz            string  `json:"mhz,omitempty"`
	Governor       string  `json:"governor,omitempty"`
	MemoryBytes    uint64  `json:"memory_bytes"`
	Kernel         string  `json:"kernel"`
	OS             string  `json:"os,omitempty"`
	Cgroups        string  `json:"cgroups"`
	Virtualisation string  `json:"virtualisation"`
	KVM            string  `json:"kvm"`
	Filesystem     string  `json:"filesystem,omitempty"`
	Load           float64 `json:"load"`
	Root           bool    `json:"root"`
}

// Describe looks at the machine; dir is where containers will have their files.
func Describe(dir string) Machine {
	m := Machine{CPUs: runtime.NumCPU(), Root: os.Geteuid() == 0}
	info := fields("/proc/cpuinfo")
	m.CPU, m.MHz = info["model name"], info["cpu MHz"]
	m.Virtualisation = virtualisation(info)
	m.Governor = readLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
	m.MemoryBytes = memTotal()
	m.Kernel = readLine("/proc/sys/kernel/osrelease")
	m.OS = osName()
	m.Cgroups = Cgroups("/sys/fs/cgroup")
	m.KVM = kvm()
	m.Filesystem = filesystem(dir)
	m.Load = Load()
	return m
}

// Load is the one-minute load average (proc_loadavg(5)).
func Load() float64 {
	first, _, _ := strings.Cut(readLine("/proc/loadavg"), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}

// Cgroups names the hierarchy mounted at dir: v2, v1, hybrid (v1 controllers
// with a v2 hierarchy beside them) or none (cgroups(7)).
func Cgroups(dir string) string {
	if exists(filepath.Join(dir, "cgroup.controllers")) {
		return "v2"
	}
	v1 := exists(filepath.Join(dir, "memory")) || exists(filepath.Join(dir, "cpu")) || exists(filepath.Join(dir, "pids"))
	unified := exists(filepath.Join(dir, "unified/cgroup.controllers"))
	switch {
	case v1 && unified:
		return "hybrid (v1 controllers, v2 beside them)"
	case v1:
		return "v1"
	}
	return "none"
}

func virtualisation(info map[string]string) string {
	name := readLine("/sys/class/dmi/id/sys_vendor")
	if product := readLine("/sys/class/dmi/id/product_name"); product != "" {
		name = strings.TrimSpace(name + " " + product)
	}
	if !strings.Contains(" "+info["flags"]+" ", " hypervisor ") {
		return "none seen"
	}
	if name == "" {
		return "a virtual machine"
	}
	return "a virtual machine (" + name + ")"
}

func kvm() string {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return "no (" + errText(err) + ")"
	}
	f.Close()
	return "/dev/kvm opens"
}

func errText(err error) string {
	if pe, ok := err.(*os.PathError); ok {
		return pe.Path + ": " + pe.Err.Error()
	}
	return err.Error()
}

var fsNames = map[int64]string{
	0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x01021994: "tmpfs",
	0x794c7630: "overlayfs", 0x2fc12fc1: "zfs", 0x6969: "nfs", 0xf2f52010: "f2fs",
}

func filesystem(dir string) string {
	var st syscall.Statfs_t
	if dir == "" || syscall.Statfs(dir, &st) != nil {
		return ""
	}
	if n, ok := fsNames[int64(st.Type)]; ok {
		return n
	}
	return "type 0x" + strconv.FormatInt(int64(st.Type), 16)
}

func memTotal() uint64 {
	n, _ := strconv.ParseUint(strings.TrimSuffix(fields("/proc/meminfo")["MemTotal"], " kB"), 10, 64)
	return n << 10
}

func osName() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

// fields reads "name : value" lines; the first of a name counts.
func fields(path string) map[string]string {
	out := map[string]string{}
	f, err := os.Open(path)
	if err != nil {
		return out
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		k, v, ok := strings.Cut(s.Text(), ":")
		k = strings.TrimSpace(k)
		if _, seen := out[k]; ok && !seen {
			out[k] = strings.TrimSpace(v)
		}
	}
	return out
}

func readLine(path string) string {
	b, _ := os.ReadFile(path)
	first, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(first)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
