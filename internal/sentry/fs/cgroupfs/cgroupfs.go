package cgroupfs

import (
	"bytes"
	"fmt"
	"strconv"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

const superMagic = 0x63677270 // CGROUP2_SUPER_MAGIC

// Limits are those of the sandbox; 0: none.
type Limits struct {
	Memory int64 // bytes
	Pids   int64
	// CPUQuota is microseconds of CPU time in each CPUPeriod.
	CPUQuota, CPUPeriod int64
	CPUs                int // how many there are
}

// Type gives the kind of file system for mount(2). limits is asked on each
// read: an update changes them.
func Type(view inspect.View, limits func() Limits) *vfs.FSType {
	return &vfs.FSType{Name: "cgroup2", NoDev: true, New: func(vfs.Caller, string, uint64, string) (*vfs.Filesystem, abi.Errno) {
		return New(view, limits), 0
	}}
}

// New makes the view.
func New(view inspect.View, limits func() Limits) *vfs.Filesystem {
	g := &group{view, limits}
	root := kernfs.NewDir()
	root.Fill = g.fill
	fs := vfs.NewFilesystem("cgroup2", superMagic, root, options{})
	fs.ReadOnly.Store(true)
	return fs
}

func (g *group) fill(root *kernfs.Dir) {
	for _, f := range []struct {
		name  string
		write func(b *bytes.Buffer)
	}{
		{"cgroup.procs", g.procs}, {"cgroup.threads", g.threads}, {"memory.current", g.memoryCurrent},
		{"memory.peak", g.memoryCurrent}, {"memory.max", g.memoryMax}, {"memory.stat", g.memoryStat},
		{"pids.current", g.pidsCurrent}, {"pids.peak", g.pidsCurrent}, {"pids.max", g.pidsMax},
		{"cpu.max", g.cpuMax}, {"cpu.stat", g.cpuStat},
		{"cpuset.cpus.effective", g.cpus}, {"cpuset.cpus", g.cpus},
	} {
		root.Add(f.name, kernfs.Func(f.write))
	}
	for _, f := range []struct{ name, text string }{
		{"cgroup.controllers", "cpuset cpu memory pids\n"},
		{"cgroup.subtree_control", "\n"},
		{"cgroup.type", "domain\n"},
		{"cgroup.events", "populated 1\nfrozen 0\n"},
		{"cgroup.freeze", "0\n"},
		{"cgroup.max.depth", "max\n"},
		{"cgroup.max.descendants", "max\n"},
		{"cgroup.stat", "nr_descendants 0\nnr_dying_descendants 0\n"},
		{"memory.min", "0\n"},
		{"memory.low", "0\n"},
		{"memory.high", "max\n"},
		{"memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"},
		{"memory.oom.group", "0\n"},
		{"memory.swap.current", "0\n"},
		{"memory.swap.max", "0\n"},
		{"memory.swap.events", "high 0\nmax 0\nfail 0\n"},
		{"pids.events", "max 0\n"},
		{"cpu.weight", "100\n"},
		{"cpu.weight.nice", "0\n"},
		{"cpu.max.burst", "0\n"},
		{"cpuset.mems", "0\n"},
		{"cpuset.mems.effective", "0\n"},
		{"cpuset.cpus.partition", "member\n"},
		{"cpu.pressure", pressure}, {"memory.pressure", pressure}, {"io.pressure", pressure},
	} {
		root.Add(f.name, kernfs.Text(f.text))
	}
}

const pressure = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"

// options are what mountinfo shows.
type options struct{ vfs.FilesystemDefaults }

func (options) Options() string { return "nsdelegate,memory_recursiveprot" }

// group makes the contents.
type group struct {
	view   inspect.View
	limits func() Limits
}

func orMax(v int64) string {
	if v <= 0 {
		return "max"
	}
	return strconv.FormatInt(v, 10)
}

func (g *group) procs(b *bytes.Buffer) {
	for _, pid := range g.view.PIDs(0) {
		fmt.Fprintf(b, "%d\n", pid)
	}
}

func (g *group) threads(b *bytes.Buffer) {
	for _, pid := range g.view.PIDs(0) {
		t := g.view.Task(pid)
		if t == nil {
			continue
		}
		for _, tid := range t.Threads() {
			fmt.Fprintf(b, "%d\n", tid)
		}
	}
}

func (g *group) memoryCurrent(b *bytes.Buffer) {
	used, _ := g.view.MemUse()
	fmt.Fprintf(b, "%d\n", used)
}

func (g *group) memoryMax(b *bytes.Buffer) {
	const page = 4096
	fmt.Fprintf(b, "%s\n", orMax(g.limits().Memory/page*page))
}

func (g *group) memoryStat(b *bytes.Buffer) {
	used, shmem := g.view.MemUse()
	for _, l := range []struct {
		name string
		v    uint64
	}{
		{"anon", used - min(used, shmem)}, {"file", shmem}, {"kernel", 0}, {"kernel_stack", 0}, {"pagetables", 0},
		{"sock", 0}, {"shmem", shmem}, {"file_mapped", 0}, {"file_dirty", 0}, {"file_writeback", 0}, {"swapcached", 0},
		{"anon_thp", 0}, {"inactive_anon", 0}, {"active_anon", used}, {"inactive_file", 0}, {"active_file", 0},
		{"unevictable", 0}, {"slab_reclaimable", 0}, {"slab_unreclaimable", 0}, {"slab", 0}, {"pgfault", 0}, {"pgmajfault", 0},
	} {
		fmt.Fprintf(b, "%s %d\n", l.name, l.v)
	}
}

func (g *group) pidsCurrent(b *bytes.Buffer) { fmt.Fprintf(b, "%d\n", g.view.System().Tasks) }
func (g *group) pidsMax(b *bytes.Buffer)     { fmt.Fprintf(b, "%s\n", orMax(g.limits().Pids)) }

func (g *group) cpuMax(b *bytes.Buffer) {
	l := g.limits()
	period := l.CPUPeriod
	if period <= 0 {
		period = 100000
	}
	fmt.Fprintf(b, "%s %d\n", orMax(l.CPUQuota), period)
}

func (g *group) cpuStat(b *bytes.Buffer) {
	s := g.view.System()
	fmt.Fprintf(b, "usage_usec %d\nuser_usec %d\nsystem_usec %d\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\nnr_bursts 0\nburst_usec 0\n",
		(s.UserNS+s.SystemNS)/1000, s.UserNS/1000, s.SystemNS/1000)
}

func (g *group) cpus(b *bytes.Buffer) {
	if n := max(g.limits().CPUs, 1); n > 1 {
		fmt.Fprintf(b, "0-%d\n", n-1)
		return
	}
	b.WriteString("0\n")
}
