package sys

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

const superMagic = 0x62656572 // SYSFS_MAGIC

// Config is what sysfs shows.
type Config struct {
	// CPUs is the number of processors.
	CPUs int
	// Interfaces lists the network's; nil: none.
	Interfaces func() []Interface
}

// Interface is a network interface.
type Interface struct {
	Name    string
	Index   int
	MTU     int
	Flags   uint32 // IFF_*
	Type    int    // ARPHRD_*
	Address string // "02:42:ac:11:00:02"
	Stats   func() map[string]uint64
}

// Type gives the kind of file system for mount(2).
func Type(conf Config) *vfs.FSType {
	return &vfs.FSType{Name: "sysfs", NoDev: true, New: func(vfs.Caller, string, uint64, string) (*vfs.Filesystem, abi.Errno) {
		return New(conf), 0
	}}
}

// New makes a sysfs.
func New(conf Config) *vfs.Filesystem {
	root := kernfs.NewDir()
	root.Fill = func(root *kernfs.Dir) { fill(root, conf) }
	fs := vfs.NewFilesystem("sysfs", superMagic, root, vfs.FilesystemDefaults{})
	fs.Volatile = true
	return fs
}

func fill(root *kernfs.Dir, conf Config) {
	cpus := max(conf.CPUs, 1)
	root.Sub("devices", "system", "cpu").Fill = func(d *kernfs.Dir) { addCPUs(d, cpus) }
	root.Sub("devices", "system", "node").Fill = func(d *kernfs.Dir) { addNode(d, cpus) }
	addNet(root, conf)
	root.Sub("block")
	root.Sub("bus")
	root.Sub("class", "block")
	root.Sub("class", "tty")
	root.Sub("dev", "block")
	root.Sub("dev", "char")
	root.Sub("firmware")
	root.Sub("fs", "cgroup")
	root.Sub("hypervisor")
	root.Sub("module")
	root.Sub("power")
	root.Sub("kernel").Fill = addKernel
}

func addKernel(d *kernfs.Dir) {
	thp := d.Sub("mm", "transparent_hugepage")
	thp.Add("enabled", kernfs.Text("always [madvise] never\n"))
	thp.Add("defrag", kernfs.Text("always defer defer+madvise [madvise] never\n"))
	thp.Add("shmem_enabled", kernfs.Text("always within_size advise [never] deny force\n"))
	thp.Add("hpage_pmd_size", kernfs.Text("2097152\n"))
	thp.Add("use_zero_page", kernfs.Text("1\n"))
	d.Sub("mm", "hugepages")
	d.Sub("security")
	d.Sub("debug")
	d.Sub("tracing")
	d.Add("uevent_seqnum", kernfs.Text("0\n"))
	d.Add("kexec_loaded", kernfs.Text("0\n"))
}

// rangeOf writes the list of n processors: "0-3".
func rangeOf(n int) string {
	if n == 1 {
		return "0\n"
	}
	return "0-" + strconv.Itoa(n-1) + "\n"
}

// maskOf writes the mask of n processors from one on, in groups of 32.
func maskOf(from, n int) string {
	words := make([]uint32, (from+n-1)/32+1)
	for i := from; i < from+n; i++ {
		words[i/32] |= 1 << (i % 32)
	}
	s := fmt.Sprintf("%x", words[len(words)-1])
	for i := len(words) - 2; i >= 0; i-- {
		s += fmt.Sprintf(",%08x", words[i])
	}
	return s + "\n"
}

// addCPUs fills /sys/devices/system/cpu: one package of single-threaded cores.
func addCPUs(d *kernfs.Dir, n int) {
	for _, name := range []string{"online", "possible", "present"} {
		d.Add(name, kernfs.Text(rangeOf(n)))
	}
	d.Add("offline", kernfs.Text("\n"))
	d.Add("isolated", kernfs.Text("\n"))
	d.Add("kernel_max", kernfs.Text("1023\n"))
	d.Sub("vulnerabilities")
	d.Sub("smt").Add("active", kernfs.Text("0\n"))
	d.Sub("smt").Add("control", kernfs.Text("notsupported\n"))
	for i := range n {
		cpu := d.Sub("cpu" + strconv.Itoa(i))
		if i > 0 {
			cpu.Add("online", kernfs.Text("1\n"))
		}
		topology := cpu.Sub("topology")
		for name, text := range map[string]string{
			"core_id":              strconv.Itoa(i) + "\n",
			"physical_package_id":  "0\n",
			"die_id":               "0\n",
			"cluster_id":           strconv.Itoa(i) + "\n",
			"core_cpus":            maskOf(i, 1),
			"core_cpus_list":       strconv.Itoa(i) + "\n",
			"thread_siblings":      maskOf(i, 1),
			"thread_siblings_list": strconv.Itoa(i) + "\n",
			"core_siblings":        maskOf(0, n),
			"core_siblings_list":   rangeOf(n),
			"package_cpus":         maskOf(0, n),
			"package_cpus_list":    rangeOf(n),
			"die_cpus":             maskOf(0, n),
			"die_cpus_list":        rangeOf(n),
		} {
			topology.Add(name, kernfs.Text(text))
		}
		addCaches(cpu.Sub("cache"), i, n)
	}
}

// caches are those of a plain processor.
var caches = []struct {
	level  int
	kind   string
	size   string
	ways   int
	sets   int
	shared bool
}{
	{1, "Data", "32K", 8, 64, false}, {1, "Instruction", "32K", 8, 64, false},
	{2, "Unified", "1024K", 16, 1024, false}, {3, "Unified", "16384K", 16, 16384, true},
}

func addCaches(d *kernfs.Dir, cpu, n int) {
	for k, c := range caches {
		from, count, list := cpu, 1, strconv.Itoa(cpu)+"\n"
		if c.shared {
			from, count, list = 0, n, rangeOf(n)
		}
		index := d.Sub("index" + strconv.Itoa(k))
		for name, text := range map[string]string{
			"level": strconv.Itoa(c.level), "type": c.kind, "size": c.size, "coherency_line_size": "64",
			"ways_of_associativity": strconv.Itoa(c.ways), "number_of_sets": strconv.Itoa(c.sets),
			"physical_line_partition": "1", "id": strconv.Itoa(from),
		} {
			index.Add(name, kernfs.Text(text+"\n"))
		}
		index.Add("shared_cpu_map", kernfs.Text(maskOf(from, count)))
		index.Add("shared_cpu_list", kernfs.Text(list))
	}
}

// addNode fills /sys/devices/system/node: one node of memory.
func addNode(d *kernfs.Dir, n int) {
	for _, name := range []string{"online", "possible", "has_cpu", "has_memory", "has_normal_memory"} {
		d.Add(name, kernfs.Text("0\n"))
	}
	node := d.Sub("node0")
	node.Add("cpulist", kernfs.Text(rangeOf(n)))
	node.Add("cpumap", kernfs.Text(maskOf(0, n)))
	node.Add("distance", kernfs.Text("10\n"))
}

// addNet makes a directory for each interface and the links to them.
func addNet(root *kernfs.Dir, conf Config) {
	devices := root.Sub("devices", "virtual", "net")
	class := root.Sub("class", "net")
	if conf.Interfaces == nil {
		return
	}
	devices.Dynamic = &interfaces{conf: conf, dtype: unix.DT_DIR, child: interfaceDir}
	class.Dynamic = &interfaces{conf: conf, dtype: unix.DT_LNK, child: func(i Interface) vfs.Inode {
		return kernfs.NewLink("../../devices/virtual/net/" + i.Name)
	}}
}

// interfaces are the children of class/net and devices/virtual/net.
type interfaces struct {
	conf  Config
	dtype uint8
	child func(Interface) vfs.Inode
}

func (n *interfaces) find(name string) (Interface, bool) {
	for _, i := range n.conf.Interfaces() {
		if i.Name == name {
			return i, true
		}
	}
	return Interface{}, false
}

func (n *interfaces) Lookup(_ vfs.Caller, name string) (vfs.Inode, abi.Errno) {
	i, ok := n.find(name)
	if !ok {
		return nil, unix.ENOENT
	}
	return n.child(i), 0
}

func (n *interfaces) Valid(_ vfs.Caller, name string, child vfs.Inode) bool {
	_, ok := n.find(name)
	return ok == (child != nil)
}

func (n *interfaces) List(_ vfs.Caller, after int64, emit func(kernfs.Entry) bool) abi.Errno {
	for _, i := range n.conf.Interfaces() {
		if int64(i.Index) <= after {
			continue
		}
		if !emit(kernfs.Entry{Name: i.Name, Key: int64(i.Index), Ino: 1<<40 | uint64(i.Index), Type: n.dtype}) {
			break
		}
	}
	return 0
}

// interfaceDir makes an interface's directory.
func interfaceDir(i Interface) vfs.Inode {
	d := kernfs.NewDir()
	up := i.Flags&unix.IFF_UP != 0
	state := "down"
	switch {
	case i.Flags&unix.IFF_LOOPBACK != 0:
		state = "unknown"
	case up:
		state = "up"
	}
	carrier := "0"
	if up {
		carrier = "1"
	}
	address, broadcast := i.Address, "ff:ff:ff:ff:ff:ff"
	if address == "" {
		address = "00:00:00:00:00:00"
	}
	if i.Flags&unix.IFF_LOOPBACK != 0 {
		broadcast = "00:00:00:00:00:00"
	}
	for name, text := range map[string]string{
		"address": address, "broadcast": broadcast, "addr_len": "6", "mtu": strconv.Itoa(i.MTU),
		"ifindex": strconv.Itoa(i.Index), "iflink": strconv.Itoa(i.Index), "flags": fmt.Sprintf("0x%x", i.Flags),
		"type": strconv.Itoa(i.Type), "operstate": state, "carrier": carrier, "tx_queue_len": "1000",
		"dev_id": "0x0", "dormant": "0", "link_mode": "0", "ifalias": "", "speed": "-1", "duplex": "unknown",
	} {
		d.Add(name, kernfs.Text(text+"\n"))
	}
	d.Add("uevent", kernfs.Text(fmt.Sprintf("INTERFACE=%s\nIFINDEX=%d\n", i.Name, i.Index)))
	stats := d.Sub("statistics")
	for _, name := range []string{"rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "collisions", "multicast"} {
		stats.Add(name, kernfs.Func(func(b *bytes.Buffer) {
			var v uint64
			if i.Stats != nil {
				v = i.Stats()[name]
			}
			fmt.Fprintf(b, "%d\n", v)
		}))
	}
	return d
}
