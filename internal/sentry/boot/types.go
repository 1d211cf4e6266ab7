package boot

import (
	"fmt"
	"strings"

	"bulkhead.dev/bulkhead/internal/sentry/fs/proc"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/wire"
)

// registerTypes makes the file systems known that need the kernel's view.
func (s *sandbox) registerTypes() {
	n := s.cfg.Namespaces
	s.proc = proc.New(s.k.View(), proc.Config{
		CPUInfo: hostCPUInfo, CPUs: s.cpus(), CgroupPath: s.cfg.CgroupPath, CmdLine: "bulkhead",
		Release: kernel.UTSRelease, Version: kernel.UTSVersion, UIDMap: idMap(n.UIDMap), GIDMap: idMap(n.GIDMap),
	})
	vfs.RegisterFilesystem(s.proc.Type())
	s.registerViews()
}

// hostCPUInfo reads the host's cpuinfo below the held /proc.
func hostCPUInfo() []byte {
	held := kernel.HostPaths()
	if len(held) == 0 {
		return nil
	}
	return proc.HostCPUInfo(held[0].FD)
}

func idMap(m []wire.IDMap) []proc.IDMap {
	var out []proc.IDMap
	for _, l := range m {
		out = append(out, proc.IDMap{Inside: l.Container, Outside: l.Host, Count: l.Size})
	}
	return out
}

// applySysctls sets linux.sysctl.
func (s *sandbox) applySysctls() error {
	for k, v := range s.cfg.Sysctl {
		if e := s.proc.SetSysctl(strings.ReplaceAll(k, ".", "/"), v); e != 0 {
			return fmt.Errorf("linux.sysctl: %s=%s: %w", k, v, e)
		}
	}
	return nil
}
