package monitor

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/guest"
	"bulkhead.dev/bulkhead/internal/vm/host"
	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/vsock"
	"bulkhead.dev/bulkhead/internal/wire"
	"bulkhead.dev/bulkhead/internal/wire/agentconn"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// Sizes of a machine.
const (
	defaultMemory = 512 << 20
	leastMemory   = 160 << 20
	stepMemory    = 64 << 20 // templates are made per size: fewer sizes, fewer templates
	// guestKernel is what the guest's kernel and agent need of the memory.
	guestKernel = 96 << 20
	maxCPUs     = 8
)

// machine is everything that the machines of this monitor have in common.
type machine struct {
	hypervisor string // its name
	driver     hypervisor.Driver
	program    string // the driver's
	vsock      bool   // the agent listens there, and has no serial port
	cache      *guest.Cache
	dir        string // the cache's directory
	entries    []*guest.Entry
	image      *guest.Kernel // where the kernel comes from
	kernel     string
	initrd     string
	accel      hypervisor.Accel
	tsc        uint64
	cpus       int
	// unlimited: one container whose only limit of memory is the machine's own.
	// What its kernel keeps for it is not counted: counting makes each new name
	// or file a quarter slower.
	unlimited bool
	debugf    func(format string, a ...any)
}

// scratchParent is where the monitor's directory is without a mount namespace.
const scratchParent = "/dev/shm"

// prepareRoot gives the monitor a /proc of its own PID namespace and a place
// for its files, which go with it.
func (m *monitor) prepareRoot() error {
	p := &m.cfg.Container.Privileges
	if !p.MountNamespace {
		dir, err := os.MkdirTemp(scratchParent, "bulkhead-vm-")
		if err != nil {
			return fmt.Errorf("the monitor's directory: %w", err)
		}
		m.scratch = dir
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making / private: %w", err)
	}
	if p.PIDNamespace {
		// Where a part of /proc is hidden no new one may be mounted; the old
		// one serves, with other numbers.
		_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	// Over a directory that no volume comes from.
	m.scratch = "/sys/kernel"
	if err := unix.Mount("bulkhead", m.scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=700,size=100%"); err != nil {
		return fmt.Errorf("the monitor's directory: %w", err)
	}
	return nil
}

// memorySize chooses the guest's memory.
func (m *monitor) memorySize() (int64, error) {
	size := m.cfg.VM.Memory
	limit := m.cfg.Container.Limits.MemoryBytes
	if m.cfg.VM.PodMemory > 0 { // the first container's is none of the others'
		limit = m.cfg.VM.PodMemory + limit
	}
	if size == 0 && limit > 0 {
		size = limit + guestKernel
	}
	if size == 0 {
		size = defaultMemory
	}
	if size < leastMemory {
		size = leastMemory
	}
	size = (size + stepMemory - 1) &^ (stepMemory - 1)
	if free := host.MemAvailable(); free > 0 && free < size/2 {
		return 0, fmt.Errorf("too little memory: the VM is to have %d MiB, and the host has %d MiB left; give it less (--memory, linux.resources.memory.limit) or end something", size>>20, free>>20)
	}
	return size, nil
}

// boot makes the machine and speaks to its agent.
func (m *monitor) boot() error {
	var err error
	if m.memory, err = m.memorySize(); err != nil {
		return err
	}
	if err := m.openMachine(); err != nil {
		return err
	}
	cfg, err := m.describe()
	if err != nil {
		return err
	}
	// QEMU (7.2) takes over no state while a vhost-user-fs device is there.
	if len(cfg.Shares) == 0 {
		if t := m.template(cfg.Disks, len(cfg.Nets)); t != nil {
			return m.restore(cfg, m.preparedFrom(cfg, t))
		}
	}
	if err := makeRAM(cfg.Memory); err != nil {
		return err
	}
	m.vm, m.conn, err = m.machine.up(cfg, m.confine)
	if err != nil {
		return err
	}
	if m.conn.TimersWrong {
		fmt.Fprintf(os.Stderr, "bulkhead: %v; what sleeps in it may sleep longer\n", errTimers)
	}
	m.agent = m.conn.Agent()
	m.watch()
	return nil
}

// openMachine finds the programs and files, and the accelerator.
func (m *monitor) openMachine() error {
	x := &m.machine
	x.debugf = m.debugf
	err := m.openDriver()
	if err != nil {
		return err
	}
	if x.cache, err = guest.OpenCache(m.cfg.VM.Cache); err != nil {
		return err
	}
	if x.dir = m.cfg.VM.Cache; x.dir == "" {
		if x.dir, err = guest.CacheDir(); err != nil {
			return err
		}
	}
	kernel, err := guest.FindKernel(m.cfg.VM.Kernel)
	if err != nil {
		return err
	}
	vmlinux, err := x.cache.Vmlinux(kernel)
	if err != nil {
		return err
	}
	agent, err := findAgent()
	if err != nil {
		return err
	}
	initrd, err := x.cache.Initramfs(kernel, agent)
	if err != nil {
		return err
	}
	x.image = kernel
	x.entries = append(x.entries, vmlinux, initrd)
	x.kernel, x.initrd = vmlinux.Path, initrd.Path
	x.cpus = max(1, min(m.cfg.VM.CPUs, maxCPUs))
	x.unlimited = !m.cfg.VM.Pod && noMemoryLimit(&m.cfg.Container.Limits)
	return m.chooseAccel()
}

// noMemoryLimit tells whether a container's cgroup bounds no memory.
func noMemoryLimit(l *wire.Limits) bool {
	return l.MemoryBytes <= 0 && l.MemoryReservation <= 0 && l.MemorySwap <= 0
}

// findAgent looks for the guest's PID 1 beside this program.
func findAgent() (string, error) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("finding bulkhead-agent: %w", err)
	}
	for _, p := range []string{filepath.Join(filepath.Dir(self), "bulkhead-agent"), "/usr/local/lib/bulkhead/bulkhead-agent", "/usr/lib/bulkhead/bulkhead-agent"} {
		if unix.Access(p, unix.R_OK) == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("there is no bulkhead-agent beside %s: make build makes both", self)
}

// describe gathers what this sandbox's machine has.
func (m *monitor) describe() (*hypervisor.Config, error) {
	cfg := m.machine.config(m.memory, filepath.Join(m.scratch, "ram"))
	cfg.ID = m.cfg.Container.ID
	if m.cfg.VM.Console {
		cfg.Console = m.log
	}
	if err := m.makeRoot(cfg); err != nil {
		return nil, err
	}
	if err := m.makeVolumes(cfg); err != nil {
		return nil, err
	}
	if err := m.makePod(cfg); err != nil {
		return nil, err
	}
	if err := m.makeNICs(); err != nil {
		return nil, err
	}
	cfg.Nets = m.netDevices()
	cfg.Append += modulesOf(cfg, m.rootType)
	return cfg, nil
}

// modulesOf tells the agent of a machine that boots which modules it will need.
func modulesOf(cfg *hypervisor.Config, rootType string) string {
	var list []string
	if len(cfg.Disks) > 0 {
		list = append(list, agentpb.GroupBlock, rootType)
	}
	if len(cfg.Shares) > 0 {
		list = append(list, agentpb.GroupVirtiofs)
	}
	list = append(list, agentpb.GroupOverlay)
	if len(cfg.Nets) > 0 {
		list = append(list, agentpb.GroupNet)
	}
	return " bulkhead.modules=" + strings.Join(list, ",") + " bulkhead.later=" + agentpb.GroupBalloon + "," + agentpb.GroupRNG
}

// config describes a machine without disks, volumes and networks.
func (x *machine) config(memory int64, ram string) *hypervisor.Config {
	return &hypervisor.Config{
		Kernel: x.kernel, Initrd: x.initrd, Append: x.commandLine(),
		Accel: x.accel, CPUs: x.cpus, Balloon: true,
		Memory: hypervisor.RAM{Path: ram, Bytes: memory},
	}
}

// commandLine is the kernel's.
func (x *machine) commandLine() string {
	tsc := uint64(0)
	if x.accel == hypervisor.TCG {
		tsc = x.tsc
	}
	s := x.image.CommandLine(tsc)
	if x.unlimited {
		s += " cgroup.memory=nokmem"
	}
	if x.vsock {
		s += " bulkhead.channel=vsock"
	}
	return s
}

// makeRAM makes the file that is the guest's memory.
func makeRAM(ram hypervisor.RAM) error {
	f, err := os.OpenFile(ram.Path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("the guest's memory: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(ram.Bytes); err != nil {
		return fmt.Errorf("the guest's memory: %w", err)
	}
	return nil
}

// up starts a machine and waits for its agent's first word; started, if there
// is one, is called between the two.
func (x *machine) up(cfg *hypervisor.Config, started func(hypervisor.VM) error) (hypervisor.VM, *agentconn.Conn, error) {
	ours, theirs, err := channel()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	cfg.Channel = theirs
	if x.vsock && x.hypervisor == nameQEMU {
		v, err := vsock.Open()
		if err != nil {
			ours.Close()
			return nil, nil, err
		}
		defer v.FD.Close()
		cfg.Vsock = &hypervisor.Vsock{CID: v.CID, FD: v.FD}
	}
	vm, err := x.driver.Start(cfg)
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	if started != nil {
		if err := started(vm); err != nil {
			ours.Close()
			vm.Kill()
			<-vm.Done()
			return nil, nil, err
		}
	}
	if d, ok := vm.(dialer); ok {
		ours.Close()
		if ours, err = dial(vm, d); err != nil {
			vm.Kill()
			<-vm.Done()
			return nil, nil, err
		}
	}
	conn, err := greet(vm, ours, bootWait, &restarts{vm: vm, left: maxRestarts, debugf: x.debugf})
	if err != nil {
		vm.Kill()
		<-vm.Done()
		return nil, nil, err
	}
	return vm, conn, nil
}

// channel makes the socket pair behind the agent's port.
func channel() (net.Conn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("the agent's channel: %w", err)
	}
	ours := os.NewFile(uintptr(pair[0]), "channel")
	defer ours.Close()
	theirs := os.NewFile(uintptr(pair[1]), "channel")
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("the agent's channel: %w", err)
	}
	return conn, theirs, nil
}
