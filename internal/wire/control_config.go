package wire

// GoferConfig is what a Gofer reads from its --config-fd: the host trees it
// serves, by index. Mounts[0] is the container's root.
type GoferConfig struct {
	Mounts []GoferMount `json:"mounts"`
	// Privileges are what the launch could arrange for the Gofer's process.
	Privileges Privileges `json:"privileges"`
	// DebugLogFD is an inherited descriptor to log to, or 0.
	DebugLogFD int `json:"debugLogFD,omitempty"`
}

// GoferMount is one host tree.
type GoferMount struct {
	// Root is an absolute host path, symbolic links already resolved. A file
	// that is not a directory is served as a tree of one file.
	Root string `json:"root"`
	// Readonly refuses every change on the host, whatever the Sentry asks.
	Readonly bool `json:"readonly,omitempty"`
	// Dest is where the guest sees it, for messages only.
	Dest string `json:"dest"`
	// Shared says that others may change the tree while the sandbox runs
	// (volumes): what was looked up must be looked up again.
	Shared bool `json:"shared,omitempty"`
	// MountPoints are made where they are missing, before the tree is served:
	// what the guest's mounts need of a tree that is Readonly, in the order of
	// the mounts. A path below an earlier one is another mount's.
	MountPoints []MountPoint `json:"mountPoints,omitempty"`
}

// MountPoint is a path in the guest that something is to be mounted on: a
// directory, or a file.
type MountPoint struct {
	Path string `json:"path"`
	File bool   `json:"file,omitempty"`
}

// SentryConfig is what a Sentry reads from its --config-fd. It was made from a
// config.json (or by `do`) whose every field has been checked; names are
// resolved to numbers, so that nothing is parsed twice.
type SentryConfig struct {
	ID       string  `json:"id"`
	Bundle   string  `json:"bundle,omitempty"` // for messages only
	Process  Process `json:"process"`
	Root     Root    `json:"root"`
	Mounts   []Mount `json:"mounts,omitempty"` // in the order to be mounted
	Hostname string  `json:"hostname,omitempty"`
	// Domainname is the NIS domain name (uname's domainname).
	Domainname string `json:"domainname,omitempty"`

	Devices       []Device          `json:"devices,omitempty"` // beside those devtmpfs always has
	MaskedPaths   []string          `json:"maskedPaths,omitempty"`
	ReadonlyPaths []string          `json:"readonlyPaths,omitempty"`
	Sysctl        map[string]string `json:"sysctl,omitempty"` // "net.core.somaxconn": "1024"
	Seccomp       *Seccomp          `json:"seccomp,omitempty"`
	Namespaces    Namespaces        `json:"namespaces"`
	Personality   uint32            `json:"personality,omitempty"` // as personality(2)

	// InitKillable: init is an ordinary process where signals are concerned.
	// A signal whose action is the default ends it, as it would not end the
	// first process of a PID namespace (pid_namespaces(7)). Set by `do`.
	InitKillable bool `json:"initKillable,omitempty"`

	Network     Network           `json:"network"`
	Limits      Limits            `json:"limits"`
	DeviceRules []DeviceRule      `json:"deviceRules,omitempty"` // of a VM: the Sentry has no device of the host's kind
	CgroupPath  string            `json:"cgroupPath,omitempty"`  // what /proc/self/cgroup shows; "/" in a cgroup namespace
	Annotations map[string]string `json:"annotations,omitempty"`

	// PreserveFDs is how many descriptors from 3 on the init process gets:
	// guest descriptor 3+i is the Sentry's inherited PreserveFDBase+i.
	PreserveFDs    int `json:"preserveFDs,omitempty"`
	PreserveFDBase int `json:"preserveFDBase,omitempty"`

	Privileges Privileges `json:"privileges"`
	Strace     bool       `json:"strace,omitempty"`
	// CountCalls has the calls counted, and the counts logged at the end.
	CountCalls bool `json:"countCalls,omitempty"`
	// DebugLogFD is an inherited descriptor that --strace and debug messages
	// go to; 2 if only --strace was asked for, 0 if none.
	DebugLogFD int `json:"debugLogFD,omitempty"`
}

// Privileges says what the launch has arranged for a process of the sandbox,
// so that it knows which protections to make for itself.
type Privileges struct {
	// PIDNamespace: the process is the first of a new PID namespace; the
	// kernel ends everything in it when it ends. Without it, guest processes
	// need PR_SET_PDEATHSIG.
	PIDNamespace bool `json:"pidNamespace,omitempty"`
	// UserNamespace: a new one, in which the process has every capability
	// until it drops them, and none outside.
	UserNamespace  bool `json:"userNamespace,omitempty"`
	MountNamespace bool `json:"mountNamespace,omitempty"`
	NetNamespace   bool `json:"netNamespace,omitempty"`
	IPCNamespace   bool `json:"ipcNamespace,omitempty"`
	UTSNamespace   bool `json:"utsNamespace,omitempty"`
	// Cgroup: the sandbox has cgroups of its own that count and limit it.
	Cgroup bool `json:"cgroup,omitempty"`
	// HostRoot: the lifecycle ran with the capabilities of the initial root.
	HostRoot bool `json:"hostRoot,omitempty"`
}

// OverlayMode is where writes to a tree go.
type OverlayMode string

// Overlay modes.
const (
	OverlayNone   OverlayMode = "none"   // through the Gofer to the host
	OverlayMemory OverlayMode = "memory" // into memory, gone with the sandbox
)

// Root is the guest's root directory: the Gofer's mount 0.
type Root struct {
	Readonly bool        `json:"readonly,omitempty"`
	Overlay  OverlayMode `json:"overlay"`
	// Propagation is MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with
	// MS_REC; 0 if not given.
	Propagation uint64 `json:"propagation,omitempty"`
}

// Mount is one mount of the guest, made in order below Root.
type Mount struct {
	Destination string `json:"destination"` // absolute and clean
	// Type is "gofer" for a bind mount of the host, else the file system's
	// name: proc, sysfs, tmpfs, devtmpfs, devpts, mqueue, cgroup, cgroup2.
	Type string `json:"type"`
	// Source is what mountinfo shows.
	Source string `json:"source,omitempty"`
	// Gofer is the index in GoferConfig.Mounts when Type is "gofer".
	Gofer int `json:"gofer,omitempty"`
	// File: a gofer mount of something that is not a directory.
	File bool `json:"file,omitempty"`
	// Recursive: rbind. The host's own mounts below the source are seen.
	Recursive bool `json:"recursive,omitempty"`
	// Shared: others may change the tree while the sandbox runs.
	Shared bool `json:"shared,omitempty"`
	// Overlay for a gofer mount; "" is none.
	Overlay OverlayMode `json:"overlay,omitempty"`
	// Flags are MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME …, as
	// in mount(2).
	Flags uint64 `json:"flags,omitempty"`
	// RecursiveSet and RecursiveClear are MOUNT_ATTR_* that options such as
	// rro or rnosuid set or clear on the whole tree, as in mount_setattr(2).
	RecursiveSet   uint64 `json:"recursiveSet,omitempty"`
	RecursiveClear uint64 `json:"recursiveClear,omitempty"`
	// Propagation is MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with
	// MS_REC; 0 if not given.
	Propagation uint64 `json:"propagation,omitempty"`
	// Data are the file system's own options: "size=65536k,mode=755".
	Data string `json:"data,omitempty"`
	// CopyUp: a tmpfs that begins with what it covers (option tmpcopyup).
	CopyUp bool `json:"copyUp,omitempty"`
}

// Process is one process to execute.
type Process struct {
	// Args: a first one without a slash is looked up in the PATH of Env.
	Args []string `json:"args"`
	// Program, if not empty, is the file to execute in place of Args[0].
	Program string   `json:"program,omitempty"`
	Env     []string `json:"env,omitempty"`
	Cwd     string   `json:"cwd"`

	UID   uint32   `json:"uid"`
	GID   uint32   `json:"gid"`
	GIDs  []uint32 `json:"gids,omitempty"`
	Umask *uint32  `json:"umask,omitempty"` // 0022 if not given

	Caps       Capabilities `json:"caps"`
	NoNewPrivs bool         `json:"noNewPrivs,omitempty"`
	Rlimits    []Rlimit     `json:"rlimits,omitempty"`
	OOMScore   *int         `json:"oomScoreAdj,omitempty"`
	Scheduler  *Scheduler   `json:"scheduler,omitempty"`
	IOPriority *int         `json:"ioPriority,omitempty"` // as ioprio_set(2)
	CPUs       []int        `json:"cpus,omitempty"`       // affinity of an exec'ed process

	// Terminal: stdin and stdout are a host terminal in raw mode (as are
	// stderr's, if TerminalStderr). The Sentry makes a pty of its own, the
	// controlling terminal of the process, and copies between the two.
	Terminal       bool   `json:"terminal,omitempty"`
	TerminalStderr bool   `json:"terminalStderr,omitempty"`
	Rows           uint16 `json:"rows,omitempty"` // 0: take the host terminal's
	Cols           uint16 `json:"cols,omitempty"`

	// NoSeccomp: run without the container's filter (SentryConfig.Seccomp),
	// which every other process gets, an exec'ed one too.
	NoSeccomp bool `json:"noSeccomp,omitempty"`
}

// Capabilities are sets as bit masks, bit n being capability n.
type Capabilities struct {
	Bounding    uint64 `json:"bounding"`
	Effective   uint64 `json:"effective"`
	Inheritable uint64 `json:"inheritable"`
	Permitted   uint64 `json:"permitted"`
	Ambient     uint64 `json:"ambient"`
}

// Rlimit is one resource limit; Resource is RLIMIT_*.
type Rlimit struct {
	Resource int    `json:"resource"`
	Soft     uint64 `json:"soft"`
	Hard     uint64 `json:"hard"`
}

// Scheduler is the argument of sched_setattr(2).
type Scheduler struct {
	Policy   uint32 `json:"policy"`
	Flags    uint64 `json:"flags,omitempty"`
	Nice     int32  `json:"nice,omitempty"`
	Priority uint32 `json:"priority,omitempty"`
	Runtime  uint64 `json:"runtime,omitempty"`
	Deadline uint64 `json:"deadline,omitempty"`
	Period   uint64 `json:"period,omitempty"`
}

// Device is a device node to make. The driver is the guest kernel's own.
type Device struct {
	Path  string `json:"path"`
	Mode  uint32 `json:"mode"` // with S_IFCHR, S_IFBLK or S_IFIFO
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
	UID   uint32 `json:"uid,omitempty"`
	GID   uint32 `json:"gid,omitempty"`
}

// DeviceRule is one of linux.resources.devices; numbers of -1 are all.
type DeviceRule struct {
	Allow  bool   `json:"allow,omitempty"`
	Type   string `json:"type,omitempty"`
	Major  int64  `json:"major"`
	Minor  int64  `json:"minor"`
	Access string `json:"access,omitempty"`
}

// Seccomp is linux.seccomp, compiled: a filter that the guest kernel attaches
// to a process just before its program runs, as seccomp(2) would.
type Seccomp struct {
	// Filter is a classic BPF program over struct seccomp_data: for each
	// instruction the fields of struct sock_filter.
	Filter []BPF  `json:"filter"`
	Flags  uint32 `json:"flags,omitempty"` // SECCOMP_FILTER_FLAG_*
}

// BPF is struct sock_filter, as [code, jt, jf, k].
type BPF [4]uint32

// Namespaces says which kinds the guest sees as its own. The guest kernel is
// one per container, so they differ only in what names they show; a kind that
// is absent was shared with the host in config.json.
type Namespaces struct {
	PID     bool `json:"pid,omitempty"`
	Network bool `json:"network,omitempty"`
	Mount   bool `json:"mount,omitempty"`
	IPC     bool `json:"ipc,omitempty"`
	UTS     bool `json:"uts,omitempty"`
	User    bool `json:"user,omitempty"`
	Cgroup  bool `json:"cgroup,omitempty"`
	// UIDMap and GIDMap are what /proc/self/uid_map shows.
	UIDMap []IDMap `json:"uidMap,omitempty"`
	GIDMap []IDMap `json:"gidMap,omitempty"`
}

// IDMap is one line of a uid_map.
type IDMap struct {
	Container uint32 `json:"container"`
	Host      uint32 `json:"host"`
	Size      uint32 `json:"size"`
}

// Limits bound the guest from within, beside the host's cgroups. 0: no limit.
type Limits struct {
	Pids        int64 `json:"pids,omitempty"`
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// CPUs is the number of CPUs to show, 0 for those the host allows.
	CPUs int `json:"cpus,omitempty"`

	// The rest is for a guest that has cgroups of its own, a VM.
	MemoryReservation int64  `json:"memoryReservation,omitempty"`
	MemorySwap        int64  `json:"memorySwap,omitempty"` // memory and swap together, -1 for no limit
	CPUWeight         uint64 `json:"cpuWeight,omitempty"`  // 1 to 10000, as cgroup v2 has it
	CPUQuota          int64  `json:"cpuQuota,omitempty"`   // µs of a period
	CPUPeriod         uint64 `json:"cpuPeriod,omitempty"`  // µs
	CPUBurst          uint64 `json:"cpuBurst,omitempty"`   // µs
	CPUIdle           int64  `json:"cpuIdle,omitempty"`
}

// NetworkMode is what a sandbox is attached to.
type NetworkMode string

// Network modes.
const (
	NetworkLoopback NetworkMode = "loopback" // nothing but lo
	NetworkPacket   NetworkMode = "packet"   // lo and the interfaces below, over AF_PACKET
	NetworkPending  NetworkMode = "pending"  // comes with Start
)

// Network describes the interfaces taken over from a network namespace.
type Network struct {
	Mode       NetworkMode    `json:"mode"`
	Interfaces []NetInterface `json:"interfaces,omitempty"`
	Routes     []NetRoute     `json:"routes,omitempty"`
}

// NetInterface is one interface; FD is a bound AF_PACKET SOCK_RAW socket: the
// Sentry's inherited descriptor in SentryConfig, an index into the descriptors
// beside the request in StartArgs.
type NetInterface struct {
	Name  string   `json:"name"`
	Index int      `json:"index"`
	MTU   int      `json:"mtu"`
	MAC   string   `json:"mac,omitempty"` // "02:42:ac:11:00:02"
	Addrs []string `json:"addrs,omitempty"`
	FD    int      `json:"fd"`
}

// NetRoute is one route of the main table. Dst is a prefix ("0.0.0.0/0" for
// the default), Gateway and Src may be empty.
type NetRoute struct {
	Dst       string `json:"dst"`
	Gateway   string `json:"gateway,omitempty"`
	Src       string `json:"src,omitempty"`
	Interface int    `json:"interface"` // NetInterface.Index
	Metric    int    `json:"metric,omitempty"`
	Scope     uint8  `json:"scope,omitempty"`
}
