package container

import (
	"github.com/opencontainers/cgroups"

	"bulkhead.dev/bulkhead/internal/wire"
)

// Event is one line of `events`, in runc's form.
type Event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

// Stats are the data of an event of the type stats.
type Stats struct {
	CPU     cpuStats            `json:"cpu"`
	CPUSet  any                 `json:"cpuset"`
	Memory  memoryStats         `json:"memory"`
	Pids    pidsStats           `json:"pids"`
	Blkio   blkioStats          `json:"blkio"`
	Hugetlb map[string]hugetlb  `json:"hugetlb"`
	RDT     struct{}            `json:"intel_rdt"`
	Network []*networkInterface `json:"network_interfaces"`
	Calls   map[string]uint64   `json:"syscalls,omitempty"`
	VM      *vmStats            `json:"vm,omitempty"`
}

// vmStats are of a container behind the VM wall: the hypervisor's process as
// the host sees it, with the guest's memory and CPUs, and the container as the
// guest's kernel counts it.
type vmStats struct {
	HypervisorMemory uint64 `json:"hypervisorMemory"` // bytes resident
	HypervisorCPU    uint64 `json:"hypervisorCPU"`    // nanoseconds
	GuestMemory      uint64 `json:"guestMemory"`
	GuestCPU         uint64 `json:"guestCPU"`
	Overhead         uint64 `json:"overhead"` // added to the limit of memory
}

type pidsStats struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

type cpuStats struct {
	Usage      cpuUsage   `json:"usage,omitempty"`
	Throttling throttling `json:"throttling,omitempty"`
}

// cpuUsage is in nanoseconds.
type cpuUsage struct {
	Total        uint64   `json:"total,omitempty"`
	Percpu       []uint64 `json:"percpu,omitempty"`
	PercpuKernel []uint64 `json:"percpu_kernel,omitempty"`
	PercpuUser   []uint64 `json:"percpu_user,omitempty"`
	Kernel       uint64   `json:"kernel"`
	User         uint64   `json:"user"`
}

type throttling struct {
	Periods          uint64 `json:"periods,omitempty"`
	ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
	ThrottledTime    uint64 `json:"throttledTime,omitempty"`
}

type memoryStats struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     memoryEntry       `json:"usage,omitempty"`
	Swap      memoryEntry       `json:"swap,omitempty"`
	Kernel    memoryEntry       `json:"kernel,omitempty"`
	KernelTCP memoryEntry       `json:"kernelTCP,omitempty"`
	Raw       map[string]uint64 `json:"raw,omitempty"`
}

type memoryEntry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type blkioStats struct {
	Bytes    []blkioEntry `json:"ioServiceBytesRecursive,omitempty"`
	Serviced []blkioEntry `json:"ioServicedRecursive,omitempty"`
	Queued   []blkioEntry `json:"ioQueueRecursive,omitempty"`
	Time     []blkioEntry `json:"ioServiceTimeRecursive,omitempty"`
	WaitTime []blkioEntry `json:"ioWaitTimeRecursive,omitempty"`
	Merged   []blkioEntry `json:"ioMergedRecursive,omitempty"`
	IOTime   []blkioEntry `json:"ioTimeRecursive,omitempty"`
	Sectors  []blkioEntry `json:"sectorsRecursive,omitempty"`
}

type blkioEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

type hugetlb struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type networkInterface struct {
	Name      string `json:"Name"`
	RxBytes   uint64 `json:"RxBytes"`
	RxPackets uint64 `json:"RxPackets"`
	RxErrors  uint64 `json:"RxErrors"`
	RxDropped uint64 `json:"RxDropped"`
	TxBytes   uint64 `json:"TxBytes"`
	TxPackets uint64 `json:"TxPackets"`
	TxErrors  uint64 `json:"TxErrors"`
	TxDropped uint64 `json:"TxDropped"`
}

// StatsEvent counts what a running container uses: by its cgroups where it has
// any, else as its Sentry knows it.
func (rt *Runtime) StatsEvent(id string) (*Event, error) {
	c, err := rt.open(id)
	if err != nil {
		return nil, err
	}
	if c.status() == StatusStopped {
		return nil, errStopped
	}
	var s Stats
	if cg := c.openCgroup(); cg != nil {
		host, err := cg.mgr.GetStats()
		if err != nil {
			rt.Warn("cgroup statistics: %v", err)
		} else {
			s.fromCgroup(host)
		}
	}
	if inner, err := c.sandbox().Stats(); err == nil {
		s.fromSentry(inner)
		s.Pids = pidsStats{Current: inner.Pids, Limit: uint64(c.rec.Limits.Pids)}
	} else {
		rt.Debug("statistics of the Sentry: %v", err)
	}
	return &Event{Type: "stats", ID: id, Data: &s}, nil
}

func (s *Stats) fromCgroup(h *cgroups.Stats) {
	s.Pids = pidsStats{Current: h.PidsStats.Current, Limit: h.PidsStats.Limit}
	u := h.CpuStats.CpuUsage
	s.CPU.Usage = cpuUsage{
		Total: u.TotalUsage, Percpu: u.PercpuUsage, Kernel: u.UsageInKernelmode, User: u.UsageInUsermode,
		PercpuKernel: u.PercpuUsageInKernelmode, PercpuUser: u.PercpuUsageInUsermode,
	}
	t := h.CpuStats.ThrottlingData
	s.CPU.Throttling = throttling{Periods: t.Periods, ThrottledPeriods: t.ThrottledPeriods, ThrottledTime: t.ThrottledTime}
	s.CPUSet = h.CPUSetStats
	m := h.MemoryStats
	s.Memory = memoryStats{
		Cache: m.Cache, Raw: m.Stats, Usage: entryOf(m.Usage), Swap: entryOf(m.SwapUsage),
		Kernel: entryOf(m.KernelUsage), KernelTCP: entryOf(m.KernelTCPUsage),
	}
	b := h.BlkioStats
	s.Blkio = blkioStats{
		Bytes: blkioOf(b.IoServiceBytesRecursive), Serviced: blkioOf(b.IoServicedRecursive), Queued: blkioOf(b.IoQueuedRecursive),
		Time: blkioOf(b.IoServiceTimeRecursive), WaitTime: blkioOf(b.IoWaitTimeRecursive), Merged: blkioOf(b.IoMergedRecursive),
		IOTime: blkioOf(b.IoTimeRecursive), Sectors: blkioOf(b.SectorsRecursive),
	}
	for size, v := range h.HugetlbStats {
		if s.Hugetlb == nil {
			s.Hugetlb = make(map[string]hugetlb)
		}
		s.Hugetlb[size] = hugetlb{Usage: v.Usage, Max: v.MaxUsage, Failcnt: v.Failcnt}
	}
}

func entryOf(m cgroups.MemoryData) memoryEntry {
	return memoryEntry{Limit: m.Limit, Usage: m.Usage, Max: m.MaxUsage, Failcnt: m.Failcnt}
}

func blkioOf(list []cgroups.BlkioStatEntry) (out []blkioEntry) {
	for _, e := range list {
		out = append(out, blkioEntry{Major: e.Major, Minor: e.Minor, Op: e.Op, Value: e.Value})
	}
	return out
}

// fromSentry adds what only the Sentry knows, and what no cgroup has counted.
func (s *Stats) fromSentry(in wire.StatsResult) {
	for _, i := range in.Interfaces {
		n := networkInterface(i)
		s.Network = append(s.Network, &n)
	}
	s.Calls = in.Syscalls
	if in.HypervisorBytes > 0 {
		s.VM = &vmStats{
			HypervisorMemory: in.HypervisorBytes, HypervisorCPU: in.HypervisorNanos,
			GuestMemory: in.MemoryBytes, GuestCPU: in.CPUNanos, Overhead: wire.VMOverhead,
		}
	}
	if s.Pids.Current == 0 {
		s.Pids.Current = in.Pids
	}
	if s.CPU.Usage.Total == 0 {
		s.CPU.Usage.Total = in.CPUNanos
	}
	if s.Memory.Usage.Usage == 0 {
		s.Memory.Usage.Usage = in.MemoryBytes
	}
}

// OOMKills counts how often the host's kernel has killed a process of the
// container for want of memory; 0 where nothing counts that.
func (rt *Runtime) OOMKills(id string) (uint64, error) {
	c, err := rt.open(id)
	if err != nil {
		return 0, err
	}
	if c.status() == StatusStopped {
		return 0, errStopped
	}
	cg := c.openCgroup()
	if cg == nil {
		return 0, nil
	}
	n, err := cg.mgr.OOMKillCount()
	if err != nil {
		rt.Debug("count of OOM kills: %v", err)
		return 0, nil
	}
	return n, nil
}
