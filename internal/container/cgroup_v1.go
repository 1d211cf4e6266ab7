package container

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// On cgroup v1 every start makes a dozen cgroups. What package cgroups does for
// that right in every case, and with some four hundred system calls, is done
// here for the usual case with a hundred; any other is left to it.

// v1Root is where the hierarchies are mounted, hybridRoot a v2 one beside them.
const (
	v1Root     = "/sys/fs/cgroup"
	hybridRoot = v1Root + "/unified"
)

// v1Names are the hierarchies that a container has a cgroup in, where they are
// mounted. The last is the v2 one.
var v1Names = []string{"cpuset", "devices", "memory", "cpu", "cpuacct", "pids", "blkio", "hugetlb", "net_cls", "net_prio",
	"perf_event", "freezer", "rdma", "name=systemd", "misc", ""}

// v1Tree is a hierarchy, and where in it this process is.
type v1Tree struct{ mount, own string }

// v1Trees finds the hierarchies by name; nil where they are mounted in another
// way than usual.
func v1Trees() map[string]v1Tree {
	if cgroups.IsCgroup2UnifiedMode() {
		return nil
	}
	mounts, err1 := slurp("/proc/self/mountinfo")
	own, err2 := slurp("/proc/self/cgroup")
	if err1 != nil || err2 != nil {
		return nil
	}
	return parseV1(mounts, own, cgroups.IsCgroup2HybridMode())
}

func parseV1(mounts, own string, hybrid bool) map[string]v1Tree {
	at := make(map[string]string, len(v1Names)) // of each hierarchy: where this process is
	for line := range strings.SplitSeq(own, "\n") {
		_, rest, _ := strings.Cut(line, ":")
		names, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(names, ",") {
			at[name] = path
		}
	}
	trees := make(map[string]v1Tree, len(v1Names))
	for line := range strings.SplitSeq(mounts, "\n") {
		head, tail, ok := strings.Cut(line, " - cgroup ")
		if !ok {
			continue
		}
		f := strings.Fields(head) // proc_pid_mountinfo(5): 4 is the root, 5 the mount point
		opts := tail[strings.LastIndexByte(tail, ' ')+1:]
		if len(f) < 5 || filepath.Dir(f[4]) != v1Root || f[3] != "/" {
			return nil
		}
		for opt := range strings.SplitSeq(opts, ",") {
			if _, twice := trees[opt]; twice || !slices.Contains(v1Names, opt) {
				continue
			}
			path, ok := at[opt]
			if !ok || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/..") {
				return nil
			}
			trees[opt] = v1Tree{mount: f[4], own: filepath.Join(f[4], path)}
		}
	}
	if hybrid {
		trees[""] = v1Tree{mount: hybridRoot, own: filepath.Join(hybridRoot, at[""])}
	}
	if len(trees) == 0 {
		return nil
	}
	return trees
}

// v1Paths are the paths that package cgroups chooses for conf; nil leaves that
// to it.
func v1Paths(conf *cgroups.Cgroup, trees map[string]v1Tree) map[string]string {
	if trees == nil || conf.Systemd || conf.Parent != "" || (conf.Name != "" && conf.Path != "") {
		return nil
	}
	inner, absolute := conf.Name, strings.HasPrefix(conf.Path, "/")
	if conf.Path != "" {
		inner = conf.Path
	}
	inner = filepath.Clean("/" + inner)
	if inner == "/" {
		return nil
	}
	paths := make(map[string]string, len(trees))
	for name, t := range trees {
		parent := t.own
		if absolute || name == "" {
			parent = t.mount
		}
		paths[name] = filepath.Join(parent, inner)
	}
	return paths
}

// makeV1 makes the directories. An error means that package cgroups is to do it:
// what is there already is no hindrance to it.
func makeV1(paths map[string]string, r *cgroups.Resources) error {
	if r.CpusetCpus != "" || r.CpusetMems != "" || r.CpuRtPeriod != 0 || r.CpuRtRuntime != 0 {
		return errors.New("is set before a process joins")
	}
	for _, name := range v1Names {
		path := paths[name]
		if path == "" || name == "devices" { // which has no limits: all nodes are the guest kernel's
			continue
		}
		if err := unix.Mkdir(path, 0o755); err != nil && err != unix.EEXIST && name != "" {
			return err
		}
		if name == "cpuset" {
			if err := inheritCPUSet(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// inheritCPUSet gives a cpuset its parent's CPUs and nodes: without, nobody may
// join it.
func inheritCPUSet(path string) error {
	for _, file := range []string{"/cpuset.cpus", "/cpuset.mems"} {
		value, err := slurp(filepath.Dir(path) + file)
		if err != nil {
			return err
		}
		if strings.TrimSpace(value) == "" {
			return errors.New("the parent has none")
		}
		if has, err := slurp(path + file); err != nil || strings.TrimSpace(has) != "" {
			if err != nil {
				return err
			}
			continue
		}
		if err := spill(path+file, value, 0); err != nil {
			return err
		}
	}
	return nil
}

// slurp reads a small file. Package os would look at each
// whether it can be polled, by five calls.
func slurp(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, 0, 8192)
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, cap(buf))
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "", &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return string(buf), nil
		default:
			buf = buf[:len(buf)+n]
		}
	}
}

// spill writes a small file at once.
func spill(path, value string, flags int) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|flags, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	n, err := unix.Write(fd, []byte(value))
	if err == nil && n < len(value) {
		err = unix.ENOSPC
	}
	if e := unix.Close(fd); err == nil {
		err = e
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}
