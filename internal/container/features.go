package container

import (
	"sort"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"bulkhead.dev/bulkhead/internal/wire"
)

// Features describes this runtime by the specification's features.md.
func Features(version string) *features.Features {
	yes, no := true, false
	f := &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: SpecVersion,
		MountOptions:  mountOptionNames(),
		Annotations: map[string]string{
			"dev.bulkhead.version": version,
			"dev.bulkhead.walls":   string(WallSentry) + "," + string(WallVM),
			// What the VM wall adds to a limit of memory: a RuntimeClass's
			// overhead.podFixed.
			"dev.bulkhead.vm.overhead.memory": strconv.Itoa(wire.VMOverhead),
		},
		Linux: &features.Linux{
			Namespaces:   []string{"cgroup", "ipc", "mount", "network", "pid", "user", "uts"},
			Capabilities: capNames,
			Cgroup:       &features.Cgroup{V1: &yes, V2: &yes, Systemd: &yes, SystemdUser: &yes, Rdma: &yes},
			Seccomp: &features.Seccomp{
				Enabled:        &yes,
				Actions:        seccompActionNames(),
				Operators:      seccompOpNames(),
				Archs:          []string{string(specs.ArchX86_64)},
				KnownFlags:     []string{string(specs.LinuxSeccompFlagLog), string(specs.LinuxSeccompFlagSpecAllow), string(specs.LinuxSeccompFlagWaitKillableRecv), "SECCOMP_FILTER_FLAG_TSYNC"},
				SupportedFlags: []string{string(specs.LinuxSeccompFlagLog), string(specs.LinuxSeccompFlagSpecAllow)},
			},
			Apparmor:        &features.Apparmor{Enabled: &no},
			Selinux:         &features.Selinux{Enabled: &no},
			IntelRdt:        &features.IntelRdt{Enabled: &no, Schemata: &no, Monitoring: &no},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &no}},
			NetDevices:      &features.NetDevices{Enabled: &no},
		},
		PotentiallyUnsafeConfigAnnotations: []string{annotationPrefix},
	}
	for _, kind := range hookKinds {
		f.Hooks = append(f.Hooks, kind.name)
	}
	return f
}

func mountOptionNames() []string {
	names := []string{"bind", "rbind", "tmpcopyup"}
	for name := range mountFlags() {
		names = append(names, name)
	}
	for name := range recursiveFlags() {
		names = append(names, name)
	}
	for name := range propagation() {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func seccompActionNames() []string {
	var names []string
	for _, a := range []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActErrno, specs.ActKill, specs.ActKillProcess, specs.ActKillThread, specs.ActLog, specs.ActTrace, specs.ActTrap,
	} {
		names = append(names, string(a))
	}
	return names
}

func seccompOpNames() []string {
	var names []string
	for op := range seccompOps {
		names = append(names, string(op))
	}
	sort.Strings(names)
	return names
}
