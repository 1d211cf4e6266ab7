package monitor

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// Names of what the machine has, by which the agent finds it.
const (
	rootSerial = "root"
	rootTag    = "root"
	volumesTag = "volumes"
)

// createRequest turns the container into the agent's terms.
func (m *guestContainer) createRequest(start bool) *agentpb.CreateRequest {
	c := m.conf
	req := &agentpb.CreateRequest{
		ContainerId: m.id,
		Start:       start,
		Container: &agentpb.Container{
			Process: processOf(&c.Process), Root: m.rootOf(), Mounts: m.mountsOf(),
			Hostname: c.Hostname, Domainname: c.Domainname,
			Devices: devicesOf(c.Devices), MaskedPaths: c.MaskedPaths, ReadonlyPaths: c.ReadonlyPaths,
			Sysctl: c.Sysctl, Seccomp: seccompOf(c.Seccomp), Namespaces: m.podNamespaces(namespacesOf(&c.Namespaces)),
			Personality: c.Personality, Resources: m.resources(), InitKillable: c.InitKillable,
		},
	}
	if !m.isMember() {
		req.Sandbox = &agentpb.Sandbox{Time: &agentpb.Time{UnixNanos: time.Now().UnixNano()}, Random: entropy()}
	}
	if req.Container.Namespaces.Uts == agentpb.Namespaces_VM {
		if !m.isMember() {
			req.Sandbox.Hostname, req.Sandbox.Domainname = nonEmpty(c.Hostname), nonEmpty(c.Domainname)
		}
		req.Container.Hostname, req.Container.Domainname = "", ""
	}
	return req
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// entropy is 64 bytes of the host's random pool.
func entropy() []byte {
	b := make([]byte, 64)
	if _, err := unix.Getrandom(b, 0); err != nil {
		return nil
	}
	return b
}

func (m *guestContainer) rootOf() *agentpb.Root {
	r := &agentpb.Root{Readonly: m.conf.Root.Readonly, Propagation: m.conf.Root.Propagation, Overlay: agentpb.Root_MEMORY}
	if m.isMember() {
		return m.podRoot(r)
	}
	if m.cfg.VM.LiveRoot {
		r.Storage = &agentpb.Storage{Source: &agentpb.Storage_VirtiofsTag{VirtiofsTag: rootTag}}
		if m.writableRoot() {
			r.Overlay = agentpb.Root_NONE
		}
		return r
	}
	r.Storage = &agentpb.Storage{Source: &agentpb.Storage_BlockSerial{BlockSerial: rootSerial}, FsType: m.rootType, Readonly: true}
	return r
}

// writableRoot says whether the container writes to its root on the host.
func (m *guestContainer) writableRoot() bool {
	return m.conf.Root.Overlay == wire.OverlayNone && !m.trees.Mounts[0].Readonly
}

func (m *guestContainer) mountsOf() []*agentpb.Mount {
	var out []*agentpb.Mount
	for i := range m.conf.Mounts {
		w := &m.conf.Mounts[i]
		a := &agentpb.Mount{
			Destination: w.Destination, Type: w.Type, Source: w.Source, Flags: w.Flags, Data: w.Data, CopyUp: w.CopyUp,
			RecursiveSet: w.RecursiveSet, RecursiveClear: w.RecursiveClear, Propagation: w.Propagation,
		}
		if w.Type == "gofer" {
			a.Type = "bind"
			a.Bind = m.bindOf(w)
		}
		out = append(out, a)
	}
	return out
}

// bindOf says where a bind mount's tree is.
func (m *guestContainer) bindOf(w *wire.Mount) *agentpb.Bind {
	tag, path := volumesTag, volumePath(w.Gofer)
	switch {
	case (m.isMember() || m.opts.Pod) && w.Destination == podShmAt:
		// Memory that the containers of a pod have in common.
		return &agentpb.Bind{SharedDir: podShm}
	case m.isMember():
		tag, path = podVolumesTag, wire.PodTree(m.opts.Member, w.Gofer)
	}
	return &agentpb.Bind{
		Storage: &agentpb.Storage{Source: &agentpb.Storage_VirtiofsTag{VirtiofsTag: tag}}, Path: path, Recursive: w.Recursive,
	}
}

// volumePath is where tree n is in the share of volumes.
func volumePath(n int) string { return fmt.Sprint(n) }

func processOf(p *wire.Process) *agentpb.Process {
	out := &agentpb.Process{
		Args: p.Args, Program: p.Program, Env: p.Env, Cwd: p.Cwd, Uid: p.UID, Gid: p.GID, Gids: p.GIDs, Umask: p.Umask,
		Capabilities: &agentpb.Capabilities{
			Bounding: p.Caps.Bounding, Effective: p.Caps.Effective, Inheritable: p.Caps.Inheritable,
			Permitted: p.Caps.Permitted, Ambient: p.Caps.Ambient,
		},
		NoNewPrivs: p.NoNewPrivs, Terminal: p.Terminal, Rows: uint32(p.Rows), Cols: uint32(p.Cols), NoSeccomp: p.NoSeccomp,
	}
	for _, r := range p.Rlimits {
		out.Rlimits = append(out.Rlimits, &agentpb.Rlimit{Resource: uint32(r.Resource), Soft: r.Soft, Hard: r.Hard})
	}
	if p.OOMScore != nil {
		n := int32(*p.OOMScore)
		out.OomScoreAdj = &n
	}
	if p.IOPriority != nil {
		n := int32(*p.IOPriority)
		out.IoPriority = &n
	}
	if s := p.Scheduler; s != nil {
		out.Scheduler = &agentpb.Scheduler{
			Policy: s.Policy, Flags: s.Flags, Nice: s.Nice, Priority: s.Priority, Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
		}
	}
	for _, n := range p.CPUs {
		out.Cpus = append(out.Cpus, uint32(n))
	}
	return out
}

func devicesOf(list []wire.Device) (out []*agentpb.Device) {
	for _, d := range list {
		out = append(out, &agentpb.Device{Path: d.Path, Mode: d.Mode, Major: d.Major, Minor: d.Minor, Uid: d.UID, Gid: d.GID})
	}
	return out
}

// seccompOf writes the filter as struct sock_filter[].
func seccompOf(s *wire.Seccomp) *agentpb.Seccomp {
	if s == nil {
		return nil
	}
	out := &agentpb.Seccomp{Flags: s.Flags}
	for _, i := range s.Filter {
		out.Filter = append(out.Filter, byte(i[0]), byte(i[0]>>8), byte(i[1]), byte(i[2]),
			byte(i[3]), byte(i[3]>>8), byte(i[3]>>16), byte(i[3]>>24))
	}
	return out
}

func namespacesOf(n *wire.Namespaces) *agentpb.Namespaces {
	kind := func(own bool) agentpb.Namespaces_Kind {
		if own {
			return agentpb.Namespaces_NEW
		}
		return agentpb.Namespaces_VM
	}
	out := &agentpb.Namespaces{Ipc: kind(n.IPC), Uts: kind(n.UTS), Cgroup: kind(n.Cgroup), User: n.User && len(n.UIDMap) > 0}
	// Without one of its own the container has the VM's UTS namespace, whose
	// name must then be the container's.
	if !n.UTS {
		out.Uts = agentpb.Namespaces_NEW
	}
	for _, e := range n.UIDMap {
		out.UidMap = append(out.UidMap, &agentpb.IDMap{Container: e.Container, Host: e.Host, Size: e.Size})
	}
	for _, e := range n.GIDMap {
		out.GidMap = append(out.GidMap, &agentpb.IDMap{Container: e.Container, Host: e.Host, Size: e.Size})
	}
	return out
}

// resources are those that the container begins with.
func (m *guestContainer) resources() *agentpb.Resources {
	out := m.resourcesFrom(wire.Limits{CPUs: m.machine.cpus}, m.conf.Limits)
	for _, d := range m.conf.DeviceRules {
		out.Devices = append(out.Devices, &agentpb.DeviceRule{Allow: d.Allow, Type: d.Type, Major: d.Major, Minor: d.Minor, Access: d.Access})
	}
	return out
}

// resourcesFrom says what is to change between limits and later ones.
func (m *guestContainer) resourcesFrom(old, now wire.Limits) *agentpb.Resources {
	out := &agentpb.Resources{}
	none := func(n int64) *int64 { // 0 is no limit
		if n == 0 {
			n = -1
		}
		return &n
	}
	if now.Pids != old.Pids {
		out.PidsLimit = none(now.Pids)
	}
	if now.MemoryBytes != old.MemoryBytes {
		out.MemoryLimit = none(now.MemoryBytes)
	}
	if now.MemoryReservation != old.MemoryReservation {
		out.MemoryReservation = &now.MemoryReservation
	}
	if now.MemorySwap != 0 && (now.MemorySwap != old.MemorySwap || out.MemoryLimit != nil) {
		out.MemorySwap, out.MemoryLimit = &now.MemorySwap, none(now.MemoryBytes)
	}
	if now.CPUIdle != old.CPUIdle {
		out.CpuIdle = &now.CPUIdle
	}
	// A cgroup that is no longer idle has forgotten its weight, and one that
	// is has none.
	if now.CPUIdle == 0 && now.CPUWeight != 0 && (now.CPUWeight != old.CPUWeight || out.CpuIdle != nil) {
		out.CpuWeight = &now.CPUWeight
	}
	if now.CPUQuota != old.CPUQuota || now.CPUPeriod != old.CPUPeriod {
		out.CpuQuota, out.CpuPeriod = none(now.CPUQuota), &now.CPUPeriod
	}
	if now.CPUBurst != old.CPUBurst {
		out.CpuBurst = &now.CPUBurst
	}
	// The guest's CPUs have numbers of their own.
	if n := min(now.CPUs, m.machine.cpus); n > 0 && now.CPUs != old.CPUs {
		out.Unified = map[string]string{"cpuset.cpus": fmt.Sprintf("0-%d", n-1)}
	}
	return out
}

func closeFiles(list ...*os.File) {
	for _, f := range list {
		if f != nil && rawFD(f) > 2 {
			f.Close()
		}
	}
}
