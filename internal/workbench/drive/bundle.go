package drive

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Where the workbench's directories are inside a container.
const (
	BenchDir = "/mnt/bench"
	WorkDir  = "/mnt/scratch"
)

// CgroupParent holds every cgroup that the workbench's containers make.
const CgroupParent = "bulkhead-bench"

// Container says what to run. The same container is described to every runtime.
type Container struct {
	ID     string
	Args   []string
	Env    map[string]string
	RootFS string // the root file system, shown read-only
	Bench  string // the guest programs' directory
	Work   string // a writable directory, or "" for none
	Image  string // for clients: the image that holds RootFS
	// Whole leaves the root file system as it is: writable, and with its own
	// /tmp and /mnt. Cwd, and Binds of host paths, come with it.
	Whole bool
	Cwd   string
	Binds []string
	// Seccomp is the container's profile; nil for none. Clients have their own.
	Seccomp *specs.LinuxSeccomp
}

// environ is the container's environment, in a fixed order.
func (c *Container) environ() []string {
	out := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	var names []string
	for k := range c.Env {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		out = append(out, k+"="+c.Env[k])
	}
	return out
}

// defaultCaps are those which container engines grant by default.
var defaultCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// DefaultCapabilities are those of every container here.
func DefaultCapabilities() []string { return slices.Clone(defaultCaps) }

// spec is the container's config.json (OCI runtime-spec, config.md).
func (c *Container) spec() *specs.Spec {
	cwd := "/"
	if c.Cwd != "" {
		cwd = c.Cwd
	}
	return &specs.Spec{
		Version:  "1.0.2", // the oldest runtime measured must accept it
		Hostname: "bench",
		Root:     &specs.Root{Path: c.RootFS, Readonly: !c.Whole},
		Process: &specs.Process{
			Args: c.Args, Env: c.environ(), Cwd: cwd,
			Capabilities: &specs.LinuxCapabilities{Bounding: defaultCaps, Effective: defaultCaps, Permitted: defaultCaps},
		},
		Mounts: c.mounts(),
		Linux: &specs.Linux{
			Seccomp:     c.Seccomp,
			CgroupsPath: c.cgroup(),
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
				{Type: specs.MountNamespace}, {Type: specs.NetworkNamespace},
			},
			MaskedPaths:   []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

// cgroup is the container's; an ordinary user may make none.
func (c *Container) cgroup() string {
	if os.Geteuid() != 0 {
		return ""
	}
	return "/" + CgroupParent + "/" + c.ID
}

func (c *Container) mounts() []specs.Mount {
	tmpfs := func(dst string, options ...string) specs.Mount {
		return specs.Mount{Destination: dst, Type: "tmpfs", Source: "tmpfs", Options: append([]string{"nosuid"}, options...)}
	}
	m := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		tmpfs("/dev", "mode=755", "size=65536k"),
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		tmpfs("/dev/shm", "nodev", "noexec", "mode=1777", "size=65536k"),
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	}
	if c.Whole {
		for _, b := range c.Binds {
			m = append(m, specs.Mount{Destination: b, Type: "bind", Source: b, Options: []string{"rbind", "rw"}})
		}
		return m
	}
	m = append(m,
		tmpfs("/tmp", "nodev", "mode=1777"),
		tmpfs("/mnt", "nodev", "mode=755", "size=1024k"), // the mount points below may not exist in RootFS
		specs.Mount{Destination: BenchDir, Type: "bind", Source: c.Bench, Options: []string{"rbind", "ro"}},
	)
	if c.Work != "" {
		m = append(m, specs.Mount{Destination: WorkDir, Type: "bind", Source: c.Work, Options: []string{"rbind", "rw"}})
	}
	return m
}

// writeBundle makes the container's bundle below dir and returns its path.
func (c *Container) writeBundle(dir string) (string, error) {
	path := filepath.Join(dir, c.ID)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("bundle: %w", err)
	}
	data, err := json.Marshal(c.spec())
	if err != nil {
		return "", fmt.Errorf("bundle of %s: %w", c.ID, err)
	}
	if err := os.WriteFile(filepath.Join(path, "config.json"), data, 0o600); err != nil {
		return "", fmt.Errorf("bundle: %w", err)
	}
	return path, nil
}
