package container

import (
	"fmt"

	"github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// resources checks what can be wrong with limits before the kernel is asked.
func (c *checker) resources(path string, r *specs.LinuxResources) {
	for i, d := range r.Devices {
		at := fmt.Sprintf("%s.devices[%d]", path, i)
		switch d.Type {
		case "", "a", "b", "c":
		default:
			c.errorf(at+".type", "%q is not a, b or c", d.Type)
		}
		for _, r := range d.Access {
			if r != 'r' && r != 'w' && r != 'm' {
				c.errorf(at+".access", "%q has more than r, w and m", d.Access)
				break
			}
		}
	}
	if m := r.Memory; m != nil {
		c.treat(m.Kernel != nil, "linux.resources.memory.kernel", path+".memory.kernel")
		c.treat(m.KernelTCP != nil, "linux.resources.memory.kernelTCP", path+".memory.kernelTCP")
		c.treat(m.UseHierarchy != nil, "linux.resources.memory.useHierarchy", path+".memory.useHierarchy")
		if m.Swappiness != nil && *m.Swappiness > 100 {
			c.errorf(path+".memory.swappiness", "%d is greater than 100", *m.Swappiness)
		}
		if m.Limit != nil && m.Swap != nil && *m.Limit > 0 && *m.Swap > 0 && *m.Swap < *m.Limit {
			c.errorf(path+".memory.swap", "%d is less than the limit %d, which it includes", *m.Swap, *m.Limit)
		}
	}
	if cpu := r.CPU; cpu != nil {
		if _, err := parseCPUList(cpu.Cpus); err != nil {
			c.errorf(path+".cpu.cpus", "%v", err)
		}
		if _, err := parseCPUList(cpu.Mems); err != nil {
			c.errorf(path+".cpu.mems", "%q is not a list of nodes such as 0-1", cpu.Mems)
		}
	}
	if b := r.BlockIO; b != nil && b.Weight != nil && *b.Weight != 0 && (*b.Weight < 10 || *b.Weight > 1000) {
		c.errorf(path+".blockIO.weight", "%d is not between 10 and 1000", *b.Weight)
	}
	for key := range r.Unified {
		c.text(path+".unified", key)
		if key == "" || containsSlash(key) {
			c.errorf(path+".unified", "%q is not the name of a file of a cgroup", key)
		}
	}
}

func containsSlash(s string) bool {
	for i := range len(s) {
		if s[i] == '/' {
			return true
		}
	}
	return false
}

// resourcesOf turns linux.resources into what package cgroups takes.
func resourcesOf(r *specs.LinuxResources) *cgroups.Resources {
	out := &cgroups.Resources{SkipDevices: true}
	if r == nil {
		return out
	}
	if m := r.Memory; m != nil {
		setIf(&out.Memory, m.Limit)
		setIf(&out.MemoryReservation, m.Reservation)
		setIf(&out.MemorySwap, m.Swap)
		setIf(&out.OomKillDisable, m.DisableOOMKiller)
		setIf(&out.MemoryCheckBeforeUpdate, m.CheckBeforeUpdate)
		out.MemorySwappiness = m.Swappiness
	}
	if cpu := r.CPU; cpu != nil {
		setIf(&out.CpuShares, cpu.Shares)
		setIf(&out.CpuQuota, cpu.Quota)
		setIf(&out.CpuPeriod, cpu.Period)
		setIf(&out.CpuRtRuntime, cpu.RealtimeRuntime)
		setIf(&out.CpuRtPeriod, cpu.RealtimePeriod)
		out.CpuBurst, out.CPUIdle = cpu.Burst, cpu.Idle
		out.CpusetCpus, out.CpusetMems = cpu.Cpus, cpu.Mems
		if cpu.Shares != nil && cgroups.IsCgroup2UnifiedMode() {
			out.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(*cpu.Shares)
		}
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		limit := hostTasks(*r.Pids.Limit)
		out.PidsLimit = &limit
	}
	blockIO(out, r.BlockIO)
	for _, l := range r.HugepageLimits {
		out.HugetlbLimit = append(out.HugetlbLimit, &cgroups.HugepageLimit{Pagesize: l.Pagesize, Limit: l.Limit})
	}
	if n := r.Network; n != nil {
		setIf(&out.NetClsClassid, n.ClassID)
		for _, p := range n.Priorities {
			out.NetPrioIfpriomap = append(out.NetPrioIfpriomap, &cgroups.IfPrioMap{Interface: p.Name, Priority: int64(p.Priority)})
		}
	}
	for name, l := range r.Rdma {
		if out.Rdma == nil {
			out.Rdma = make(map[string]cgroups.LinuxRdma)
		}
		out.Rdma[name] = cgroups.LinuxRdma{HcaHandles: l.HcaHandles, HcaObjects: l.HcaObjects}
	}
	if len(r.Unified) > 0 {
		out.Unified = r.Unified
	}
	return out
}

func blockIO(out *cgroups.Resources, b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	setIf(&out.BlkioWeight, b.Weight)
	setIf(&out.BlkioLeafWeight, b.LeafWeight)
	for _, d := range b.WeightDevice {
		var weight, leaf uint16
		setIf(&weight, d.Weight)
		setIf(&leaf, d.LeafWeight)
		out.BlkioWeightDevice = append(out.BlkioWeightDevice, cgroups.NewWeightDevice(d.Major, d.Minor, weight, leaf))
	}
	throttle := func(list []specs.LinuxThrottleDevice) (out []*cgroups.ThrottleDevice) {
		for _, d := range list {
			out = append(out, cgroups.NewThrottleDevice(d.Major, d.Minor, d.Rate))
		}
		return out
	}
	out.BlkioThrottleReadBpsDevice = throttle(b.ThrottleReadBpsDevice)
	out.BlkioThrottleWriteBpsDevice = throttle(b.ThrottleWriteBpsDevice)
	out.BlkioThrottleReadIOPSDevice = throttle(b.ThrottleReadIOPSDevice)
	out.BlkioThrottleWriteIOPSDevice = throttle(b.ThrottleWriteIOPSDevice)
}

func setIf[T any](dst *T, src *T) {
	if src != nil {
		*dst = *src
	}
}

// hasLimits says whether there is anything in linux.resources that only a
// cgroup can hold.
func hasLimits(r *specs.LinuxResources) bool {
	if r == nil {
		return false
	}
	return r.Memory != nil || r.CPU != nil || r.Pids != nil || r.BlockIO != nil || r.Network != nil ||
		len(r.HugepageLimits) > 0 || len(r.Rdma) > 0 || len(r.Unified) > 0
}
