package container

import (
	"github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"bulkhead.dev/bulkhead/internal/wire"
)

// limitsAfter changes limits that the guest kernel holds too; what r does not
// give stays.
func limitsAfter(l wire.Limits, r *specs.LinuxResources) wire.Limits {
	if r == nil {
		return l
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		l.Pids = max(0, *r.Pids.Limit)
	}
	if m := r.Memory; m != nil {
		given(&l.MemoryBytes, m.Limit)
		given(&l.MemoryReservation, m.Reservation)
		if m.Swap != nil {
			l.MemorySwap = max(-1, *m.Swap)
		}
	}
	if c := r.CPU; c != nil {
		given(&l.CPUQuota, c.Quota)
		given(&l.CPUIdle, c.Idle)
		if c.Shares != nil {
			l.CPUWeight = cgroups.ConvertCPUSharesToCgroupV2Value(*c.Shares)
		}
		if c.Period != nil {
			l.CPUPeriod = *c.Period
		}
		if c.Burst != nil {
			l.CPUBurst = *c.Burst
		}
		if c.Cpus != "" {
			if list, err := parseCPUList(c.Cpus); err == nil {
				l.CPUs = len(list)
			}
		}
	}
	return l
}

// given takes a limit over; a negative one is none.
func given(to *int64, limit *int64) {
	if limit != nil {
		*to = max(0, *limit)
	}
}

// deviceRulesOf are linux.resources.devices, for a guest with devices.
func deviceRulesOf(r *specs.LinuxResources) (out []wire.DeviceRule) {
	if r == nil {
		return nil
	}
	number := func(n *int64) int64 {
		if n == nil {
			return -1
		}
		return *n
	}
	for _, d := range r.Devices {
		out = append(out, wire.DeviceRule{Allow: d.Allow, Type: d.Type, Major: number(d.Major), Minor: number(d.Minor), Access: d.Access})
	}
	return out
}
