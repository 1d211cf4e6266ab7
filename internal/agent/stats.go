package agent

import (
	"os"
	"strconv"
	"strings"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// stats reads a container's cgroup, or the VM's root one.
func (a *Agent) stats(id string) (*agentpb.StatsResponse, error) {
	cg := &cgroup{dir: cgroupRoot}
	if id != "" {
		c, err := a.find(id)
		if err != nil {
			return nil, err
		}
		cg = c.cgroup
	} else if err := a.prepare(); err != nil {
		return nil, err
	}
	mem, cpu := cg.keyed("memory.stat"), cg.keyed("cpu.stat")
	const micro = 1000
	out := &agentpb.StatsResponse{
		MemoryCurrent: cg.single("memory.current"), MemoryMax: cg.single("memory.max"), MemoryPeak: cg.single("memory.peak"),
		MemoryAnon: mem["anon"], MemoryFile: mem["file"], MemoryKernel: mem["kernel"], MemorySwap: cg.single("memory.swap.current"),
		OomKills: cg.oomKills(), PageFaults: mem["pgfault"], MajorPageFaults: mem["pgmajfault"],
		CpuNanos: cpu["usage_usec"] * micro, CpuUserNanos: cpu["user_usec"] * micro, CpuSystemNanos: cpu["system_usec"] * micro,
		CpuPeriods: cpu["nr_periods"], CpuThrottledPeriods: cpu["nr_throttled"], CpuThrottledNanos: cpu["throttled_usec"] * micro,
		Pids: cg.single("pids.current"), PidsMax: cg.single("pids.max"),
		Io: ioStats(cg.dir + "/io.stat"), Interfaces: interfaceStats(),
	}
	out.VmMemoryTotal, out.VmMemoryAvailable = memInfo()
	return out, nil
}

// ioStats reads lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …".
func ioStats(file string) (out []*agentpb.IOStats) {
	raw, _ := os.ReadFile(file)
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		major, minor, _ := strings.Cut(f[0], ":")
		io := &agentpb.IOStats{Major: uint32(number(major)), Minor: uint32(number(minor))}
		for _, kv := range f[1:] {
			key, value, _ := strings.Cut(kv, "=")
			switch key {
			case "rbytes":
				io.ReadBytes = number(value)
			case "wbytes":
				io.WriteBytes = number(value)
			case "rios":
				io.Reads = number(value)
			case "wios":
				io.Writes = number(value)
			}
		}
		out = append(out, io)
	}
	return out
}

func number(s string) uint64 { n, _ := strconv.ParseUint(s, 10, 64); return n }

// interfaceStats reads /proc/net/dev: sixteen numbers after each name.
func interfaceStats() (out []*agentpb.InterfaceStats) {
	raw, _ := os.ReadFile("/proc/net/dev")
	for line := range strings.Lines(string(raw)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 16 {
			continue
		}
		out = append(out, &agentpb.InterfaceStats{
			Name:    strings.TrimSpace(name),
			RxBytes: number(f[0]), RxPackets: number(f[1]), RxErrors: number(f[2]), RxDropped: number(f[3]),
			TxBytes: number(f[8]), TxPackets: number(f[9]), TxErrors: number(f[10]), TxDropped: number(f[11]),
		})
	}
	return out
}

func memInfo() (total, available uint64) {
	raw, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(raw)) {
		name, rest, _ := strings.Cut(line, ":")
		kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		switch name {
		case "MemTotal":
			total = number(kib) << 10
		case "MemAvailable":
			available = number(kib) << 10
		}
	}
	return total, available
}
