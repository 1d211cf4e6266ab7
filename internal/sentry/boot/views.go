package boot

import (
	"bulkhead.dev/bulkhead/internal/sentry/fs/cgroupfs"
	"bulkhead.dev/bulkhead/internal/sentry/fs/sys"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// registerViews makes sysfs and the view of the cgroup known.
func (s *sandbox) registerViews() {
	vfs.RegisterFilesystem(sys.Type(sys.Config{CPUs: s.cpus(), Interfaces: interfaces}))
	vfs.RegisterFilesystem(cgroupfs.Type(s.k.View(), func() cgroupfs.Limits {
		l := s.cfg.Limits
		if now := s.limits.Load(); now != nil {
			l = *now
		}
		out := cgroupfs.Limits{Memory: l.MemoryBytes, Pids: l.Pids, CPUs: s.cpus()}
		if l.CPUs > 0 {
			out.CPUPeriod = 100000
			out.CPUQuota = int64(l.CPUs) * out.CPUPeriod
		}
		return out
	}))
}

// cpus is how many CPUs the guest is told of.
func (s *sandbox) cpus() int {
	_, n := kernel.OnlineCPUs()
	if c := s.cfg.Limits.CPUs; c > 0 {
		n = min(n, c)
	}
	return n
}
