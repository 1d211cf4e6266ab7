package container

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"bulkhead.dev/bulkhead/internal/wire"
)

// TestLimitsAfter: what is not given stays, and a negative limit is none.
func TestLimitsAfter(t *testing.T) {
	n := func(v int64) *int64 { return &v }
	u := func(v uint64) *uint64 { return &v }
	old := wire.Limits{Pids: 9, MemoryBytes: 100, MemorySwap: 200, CPUs: 3, CPUWeight: 50, CPUQuota: 1000, CPUPeriod: 5000}
	for _, c := range []struct {
		name string
		r    *specs.LinuxResources
		want func(l *wire.Limits)
	}{
		{"nothing", nil, func(l *wire.Limits) {}},
		{"empty", &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: &specs.LinuxMemory{}, Pids: &specs.LinuxPids{}}, func(l *wire.Limits) {}},
		{"pids lifted", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: n(-1)}}, func(l *wire.Limits) { l.Pids = 0 }},
		{"memory", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: n(-1), Swap: n(-1), Reservation: n(7)}},
			func(l *wire.Limits) { l.MemoryBytes, l.MemorySwap, l.MemoryReservation = 0, -1, 7 }},
		{"CPU", &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: n(-1), Period: u(7000), Shares: u(1024), Burst: u(5), Idle: n(1), Cpus: "0-1"}},
			func(l *wire.Limits) {
				l.CPUQuota, l.CPUPeriod, l.CPUWeight, l.CPUBurst, l.CPUIdle, l.CPUs = 0, 7000, 100, 5, 1, 2
			}},
	} {
		want := old
		c.want(&want)
		if got := limitsAfter(old, c.r); got != want {
			t.Errorf("%s: %+v, want %+v", c.name, got, want)
		}
	}
}
