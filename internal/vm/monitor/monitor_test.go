package monitor

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/guest"
	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/qemu"
	"bulkhead.dev/bulkhead/internal/wire"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

func testMonitor() *monitor {
	m := &monitor{end: make(chan verdict, 8), members: make(map[string]*guestContainer), memory: 512 << 20}
	m.first = newContainer(m, agentpb.FirstContainer, &m.cfg)
	m.machine = machine{image: &guest.Kernel{}, hypervisor: nameQEMU, driver: &qemu.Driver{Program: "/nowhere"}, program: "/nowhere", kernel: "k", initrd: "i", accel: hypervisor.TCG, cpus: 1, tsc: 1000}
	return m
}

func TestNICs(t *testing.T) {
	m := testMonitor()
	m.nics = []nic{{mac: slotMAC(0)}, {mac: slotMAC(1)}}
	for want := range 2 {
		if got := m.freeNIC(); got != want {
			t.Errorf("device %d, want %d", got, want)
		}
	}
	if got := m.freeNIC(); got != -1 {
		t.Errorf("a device was found where none is left: %d", got)
	}
	if slotMAC(1) != "02:b0:00:00:00:01" {
		t.Error(slotMAC(1))
	}
}

func TestMemorySize(t *testing.T) {
	for _, c := range []struct{ asked, limit, want int64 }{
		{0, 0, defaultMemory},
		{0, 64 << 20, 192 << 20}, // the least is rounded up too
		{0, 300 << 20, 448 << 20},
		{256 << 20, 300 << 20, 256 << 20},
	} {
		m := testMonitor()
		m.cfg.VM.Memory, m.cfg.Container.Limits.MemoryBytes = c.asked, c.limit
		got, err := m.memorySize()
		if err != nil || got != c.want {
			t.Errorf("asked %d, limit %d: %d MiB (%v), want %d", c.asked>>20, c.limit>>20, got>>20, err, c.want>>20)
		}
	}
	m := testMonitor()
	m.cfg.VM.Memory = 1 << 50
	if _, err := m.memorySize(); err == nil {
		t.Error("a machine larger than the host's memory was not refused")
	}
}

// The kernel's own memory is counted where a limit of memory is set, and only there.
func TestKernelMemory(t *testing.T) {
	m := testMonitor()
	for _, c := range []struct {
		limits wire.Limits
		none   bool
	}{
		{wire.Limits{Pids: 5, CPUs: 1, MemorySwap: -1}, true},
		{wire.Limits{MemoryBytes: 1 << 20}, false},
		{wire.Limits{MemoryReservation: 1 << 20}, false},
		{wire.Limits{MemorySwap: 1 << 20}, false},
	} {
		m.machine.unlimited = noMemoryLimit(&c.limits)
		if got := strings.Contains(m.machine.commandLine(), " cgroup.memory=nokmem"); got != c.none {
			t.Errorf("%+v: %v: %s", c.limits, got, m.machine.commandLine())
		}
	}
}

func TestConvert(t *testing.T) {
	m := testMonitor()
	mask := uint32(0o77)
	m.cfg.Container = wire.SentryConfig{
		Process: wire.Process{Args: []string{"a"}, Umask: &mask, Rlimits: []wire.Rlimit{{Resource: 7, Soft: 1, Hard: 2}}},
		Mounts: []wire.Mount{
			{Destination: "/proc", Type: "proc"},
			{Destination: "/data", Type: "gofer", Gofer: 1, Recursive: true, Flags: unix.MS_RDONLY},
		},
		Seccomp: &wire.Seccomp{Filter: []wire.BPF{{0x06, 1, 2, 0x7fff0000}}, Flags: 2},
		Limits:  wire.Limits{Pids: 5, MemoryBytes: 1 << 20},
	}
	m.cfg.Trees.Mounts = []wire.GoferMount{{Root: "/r", Readonly: true}, {Root: "/d"}}
	m.rootType = "erofs"
	req := m.first.createRequest(true)
	c := req.Container
	if !req.Start || c.Process.GetUmask() != mask || c.Process.Rlimits[0].Hard != 2 {
		t.Errorf("process %v", c.Process)
	}
	if s := c.Root.Storage; s.GetBlockSerial() != rootSerial || !s.Readonly || c.Root.Overlay != agentpb.Root_MEMORY {
		t.Errorf("root %v", c.Root)
	}
	if b := c.Mounts[1]; b.Type != "bind" || b.Bind.Storage.GetVirtiofsTag() != volumesTag || b.Bind.Path != "1" || b.Flags != unix.MS_RDONLY {
		t.Errorf("volume %v", b)
	}
	if got := c.Seccomp.Filter; string(got) != "\x06\x00\x01\x02\x00\x00\xff\x7f" {
		t.Errorf("filter % x", got)
	}
	if c.Resources.GetPidsLimit() != 5 || c.Resources.GetMemoryLimit() != 1<<20 {
		t.Errorf("resources %v", c.Resources)
	}
	if len(req.Sandbox.Random) < 32 {
		t.Error("no random bytes for the guest")
	}
	m.cfg.VM.LiveRoot = true
	if r := m.first.rootOf(); r.Storage.GetVirtiofsTag() != rootTag || r.Overlay != agentpb.Root_MEMORY {
		t.Errorf("a live root that is read-only: %v", r)
	}
	m.cfg.Trees.Mounts[0].Readonly, m.cfg.Container.Root.Overlay = false, wire.OverlayNone
	if r := m.first.rootOf(); r.Overlay != agentpb.Root_NONE {
		t.Errorf("a live root that is written to: %v", r)
	}
}

// The first reason for the end is the one that counts.
func TestFinish(t *testing.T) {
	m := testMonitor()
	m.finish(3, nil)
	m.finish(statusDead, nil)
	if v := <-m.end; v.code != 3 {
		t.Errorf("verdict %v", v)
	}
}

// TestResources: what an update sends is what changes, and nothing that the
// guest's kernel would refuse beside it.
func TestResources(t *testing.T) {
	m := testMonitor()
	m.machine.cpus = 4
	for _, c := range []struct {
		name     string
		old, now wire.Limits
		want     string
	}{
		{"nothing", wire.Limits{Pids: 3, CPUs: 2}, wire.Limits{Pids: 3, CPUs: 2}, ""},
		{"limits", wire.Limits{}, wire.Limits{Pids: 3, MemoryBytes: 9, MemoryReservation: 4}, "memory_limit:9 memory_reservation:4 pids_limit:3"},
		{"lifted", wire.Limits{Pids: 3, MemoryBytes: 9}, wire.Limits{}, "memory_limit:-1 pids_limit:-1"},
		{"swap goes with memory", wire.Limits{MemoryBytes: 9}, wire.Limits{MemoryBytes: 9, MemorySwap: 12}, "memory_limit:9 memory_swap:12"},
		{"memory goes with swap", wire.Limits{MemoryBytes: 9, MemorySwap: 12}, wire.Limits{MemoryBytes: 10, MemorySwap: 12}, "memory_limit:10 memory_swap:12"},
		{"CPU", wire.Limits{}, wire.Limits{CPUWeight: 7, CPUQuota: 5000, CPUPeriod: 20000, CPUBurst: 1}, "cpu_weight:7 cpu_quota:5000 cpu_period:20000 cpu_burst:1"},
		{"quota lifted", wire.Limits{CPUQuota: 5000, CPUPeriod: 20000}, wire.Limits{CPUPeriod: 20000}, "cpu_quota:-1 cpu_period:20000"},
		{"idle has no weight", wire.Limits{CPUWeight: 7}, wire.Limits{CPUWeight: 7, CPUIdle: 1}, "cpu_idle:1"},
		{"weight again", wire.Limits{CPUWeight: 7, CPUIdle: 1}, wire.Limits{CPUWeight: 7}, "cpu_weight:7 cpu_idle:0"},
		{"fewer CPUs", wire.Limits{CPUs: 4}, wire.Limits{CPUs: 2}, `unified:{key:"cpuset.cpus" value:"0-1"}`},
		{"no more than there are", wire.Limits{CPUs: 2}, wire.Limits{CPUs: 9}, `unified:{key:"cpuset.cpus" value:"0-3"}`},
	} {
		if got := m.first.resourcesFrom(c.old, c.now).String(); strings.Join(strings.Fields(got), " ") != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// A Join that is refused closes the descriptors that came with it.
func TestJoinRefused(t *testing.T) {
	m := testMonitor()
	config := wire.VMConfig{Trees: wire.GoferConfig{Mounts: []wire.GoferMount{{}}}}
	refused := func(what string, args wire.JoinArgs) {
		t.Helper()
		var fds []int
		for range 3 {
			fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, fd)
		}
		if err := m.first.Join(args, fds); err == nil {
			t.Errorf("%s: it may join", what)
		}
		for _, fd := range fds {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				t.Errorf("%s: descriptor %d is open still", what, fd)
				unix.Close(fd)
			}
		}
	}
	refused("a VM of one container", wire.JoinArgs{Name: "a", Config: config})
	m.pod = new(pod)
	refused("no name", wire.JoinArgs{Config: config})
	refused("no root", wire.JoinArgs{Name: "a"})
	m.members["a"] = newContainer(m, "a", &config)
	refused("a name that is there", wire.JoinArgs{Name: "a", Config: config})
	for i := range maxMembers {
		m.members[fmt.Sprint(i)] = m.members["a"]
	}
	refused("too many", wire.JoinArgs{Name: "b", Config: config})
}
