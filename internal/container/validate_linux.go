package container

import (
	"fmt"
	"sort"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func (c *checker) linux(cfg *Config, l *specs.Linux) {
	ns := c.namespaces(cfg, l)
	c.idMappings("linux.uidMappings", l.UIDMappings, ns)
	c.idMappings("linux.gidMappings", l.GIDMappings, ns)
	if ns[specs.UserNamespace] != nil && ns[specs.UserNamespace].Path == "" && (len(l.UIDMappings) == 0 || len(l.GIDMappings) == 0) {
		c.errorf("linux.uidMappings", "a user namespace needs uidMappings and gidMappings")
	}
	c.sysctl(l.Sysctl, ns)
	if l.Resources != nil {
		c.resources("linux.resources", l.Resources)
	}
	c.text("linux.cgroupsPath", l.CgroupsPath)
	c.devices(l.Devices)
	c.treatField(len(l.NetDevices) > 0, "linux.netDevices")
	c.seccomp(l.Seccomp)
	if _, ok := propagation()[l.RootfsPropagation]; l.RootfsPropagation != "" && !ok {
		c.errorf("linux.rootfsPropagation", "%q is not shared, slave, private or unbindable, with or without an r before it", l.RootfsPropagation)
	}
	for i, p := range l.MaskedPaths {
		c.absolute(fmt.Sprintf("linux.maskedPaths[%d]", i), p)
	}
	for i, p := range l.ReadonlyPaths {
		c.absolute(fmt.Sprintf("linux.readonlyPaths[%d]", i), p)
	}
	c.treatField(l.MountLabel != "", "linux.mountLabel")
	c.treatField(l.IntelRdt != nil, "linux.intelRdt")
	c.treatField(l.MemoryPolicy != nil, "linux.memoryPolicy")
	if p := l.Personality; p != nil {
		c.treatField(len(p.Flags) > 0, "linux.personality.flags")
		if _, ok := personalities[p.Domain]; !ok {
			c.errorf("linux.personality.domain", "%q is not LINUX or LINUX32", p.Domain)
		}
	}
	c.treatField(len(l.TimeOffsets) > 0, "linux.timeOffsets")
}

// personalities are the domains by their number in personality(2).
var personalities = map[specs.LinuxPersonalityDomain]uint32{specs.PerLinux: 0, specs.PerLinux32: 8}

// namespaces checks which kinds the container has of its own. The guest kernel
// is one per container, or per pod behind the VM wall, so a kind can be neither
// shared with the host nor, network apart, joined: except where a pod's containers
// would ask for it and only names differ, or are in one VM.
func (c *checker) namespaces(cfg *Config, l *specs.Linux) map[specs.LinuxNamespaceType]*specs.LinuxNamespace {
	have := make(map[specs.LinuxNamespaceType]*specs.LinuxNamespace)
	for i := range l.Namespaces {
		ns := &l.Namespaces[i]
		path := fmt.Sprintf("linux.namespaces[%d]", i)
		if have[ns.Type] != nil {
			c.errorf(path+".type", "%q is given twice", ns.Type)
		}
		have[ns.Type] = ns
		c.text(path+".path", ns.Path)
		if ns.Path != "" && !strings.HasPrefix(ns.Path, "/") {
			c.errorf(path+".path", "%q is not an absolute path", ns.Path)
		}
		switch ns.Type {
		case specs.NetworkNamespace, specs.UTSNamespace:
		case specs.IPCNamespace:
			if ns.Path != "" && !c.joins {
				c.warn("%s.path has no effect: each container has System V IPC and message queues of its own", path)
			}
		case specs.PIDNamespace, specs.MountNamespace, specs.UserNamespace, specs.CgroupNamespace:
			if ns.Path != "" && !(c.joins && ns.Type == specs.PIDNamespace) {
				c.errorf(path+".path", "refused: the %s namespace of another container cannot be joined; each has a kernel of its own", ns.Type)
			}
		case specs.TimeNamespace:
			if ns.Path != "" {
				c.errorf(path+".path", "refused: the guest kernel has no time namespaces")
			}
		default:
			c.errorf(path+".type", "%q is no kind of namespace", ns.Type)
		}
	}
	for _, kind := range []struct {
		ns  specs.LinuxNamespaceType
		why string
	}{
		{specs.PIDNamespace, "the guest cannot be shown the host's processes"},
		{specs.MountNamespace, "the guest has mounts of its own kernel"},
		{specs.IPCNamespace, "the guest cannot reach the host's System V IPC and message queues"},
	} {
		if have[kind.ns] == nil {
			c.errorf("linux.namespaces", "refused without %q: %s", kind.ns, kind.why)
		}
	}
	if have[specs.NetworkNamespace] == nil && cfg.Annotations[networkAnnotation] == "" {
		c.errorf("linux.namespaces", "refused without %q: the guest cannot use the host's network; the annotation %s=loopback runs it without one", specs.NetworkNamespace, networkAnnotation)
	}
	if have[specs.UTSNamespace] == nil && (cfg.Hostname != "" || cfg.Domainname != "") {
		c.errorf("hostname", "needs a uts namespace in linux.namespaces")
	}
	return have
}

func (c *checker) idMappings(path string, maps []specs.LinuxIDMapping, ns map[specs.LinuxNamespaceType]*specs.LinuxNamespace) {
	if len(maps) > 0 && ns[specs.UserNamespace] == nil {
		c.errorf(path, "needs a user namespace in linux.namespaces")
	}
	if len(maps) > 340 {
		c.errorf(path, "%d entries; the kernel takes at most 340", len(maps))
	}
	for i, m := range maps {
		if m.Size == 0 || uint64(m.ContainerID)+uint64(m.Size) > 1<<32-1 || uint64(m.HostID)+uint64(m.Size) > 1<<32-1 {
			c.errorf(fmt.Sprintf("%s[%d]", path, i), "%d ids from %d to %d do not fit", m.Size, m.ContainerID, m.HostID)
		}
	}
}

// ipcSysctls are the variables of an IPC namespace, of ipc_namespaces(7).
var ipcSysctls = []string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"}

// sysctl lets variables of the container's own namespaces be set; the guest
// kernel says whether it has them.
func (c *checker) sysctl(vars map[string]string, ns map[specs.LinuxNamespaceType]*specs.LinuxNamespace) {
	names := make([]string, 0, len(vars))
	for name := range vars {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		path := "linux.sysctl[" + name + "]"
		c.text(path, name+vars[name])
		dotted := strings.ReplaceAll(name, "/", ".")
		switch {
		case contains(ipcSysctls, dotted), strings.HasPrefix(dotted, "fs.mqueue."):
		case strings.HasPrefix(dotted, "net."):
			if ns[specs.NetworkNamespace] == nil {
				c.errorf(path, "needs a network namespace in linux.namespaces")
			}
		case dotted == "kernel.domainname", dotted == "kernel.hostname":
			if ns[specs.UTSNamespace] == nil {
				c.errorf(path, "needs a uts namespace in linux.namespaces")
			}
		default:
			c.errorf(path, "refused: it is no variable of a namespace of the container's own")
		}
	}
}

// guestDevices are the device nodes that the guest kernel has drivers for.
var guestDevices = map[[2]int64]bool{
	{1, 3}: true, {1, 5}: true, {1, 7}: true, {1, 8}: true, {1, 9}: true, // null zero full random urandom
	{5, 0}: true, {5, 1}: true, {5, 2}: true, // tty console ptmx
}

func (c *checker) devices(list []specs.LinuxDevice) {
	for i, d := range list {
		path := fmt.Sprintf("linux.devices[%d]", i)
		c.absolute(path+".path", d.Path)
		switch d.Type {
		case "c", "u":
			if !guestDevices[[2]int64{d.Major, d.Minor}] {
				c.warn("%s: %s (character device %d:%d) has no driver in the guest kernel; the node is made, opening it is ENXIO", path, d.Path, d.Major, d.Minor)
			}
		case "b":
			c.warn("%s: %s is a block device, and the guest kernel has none; the node is made, opening it is ENXIO", path, d.Path)
		case "p":
		default:
			c.errorf(path+".type", "%q is not c, b, u or p", d.Type)
		}
		if d.FileMode != nil && uint32(*d.FileMode)&^0o7777 != 0 {
			c.errorf(path+".fileMode", "%#o has more than permission bits", uint32(*d.FileMode))
		}
	}
}

// deviceMode is st_mode of a device node, 0666 unless it says otherwise.
func deviceMode(d *specs.LinuxDevice) uint32 {
	mode := uint32(0o666)
	if d.FileMode != nil {
		mode = uint32(*d.FileMode)
	}
	switch d.Type {
	case "p":
		return mode | unix.S_IFIFO
	case "b":
		return mode | unix.S_IFBLK
	}
	return mode | unix.S_IFCHR
}
