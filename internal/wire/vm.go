package wire

// The VM wall: a monitor process stands where the Sentry does, and there is no
// Gofer.
//
//	lifecycle ── VMConfig ──▶ bulkhead-vmm monitor --control-fd=C --config-fd=M --ready-fd=R [--start]
//	                            │ jail              │ jail, one per kind of cache
//	                            ▼                   ▼
//	                          QEMU ◀── vhost-user ── virtiofsd
//	                            │ virtio-serial: yamux, ttrpc (package agentpb)
//	                            ▼
//	                          bulkhead-agent, PID 1 of the guest
//
// Its control connection, its Ready and its exit status are those of a Sentry
// (control.go).

// VMConfig is what a monitor reads from its --config-fd. Container and Trees
// are made as for a Sentry and a Gofer.
type VMConfig struct {
	Container SentryConfig `json:"container"`
	Trees     GoferConfig  `json:"trees"` // by index; 0 is the root
	VM        VMOptions    `json:"vm"`
}

// VMOptions describe the machine.
type VMOptions struct {
	// LiveRoot: the root is served by virtiofs as it is, and not packed into an
	// image: for `do`, whose root is the whole host's, and for a container
	// that must write to its root on the host.
	LiveRoot bool `json:"liveRoot,omitempty"`
	// NoTemplate: boot, and restore no snapshot.
	NoTemplate bool `json:"noTemplate,omitempty"`
	// Memory of the machine in bytes, 0 for the default, or what the limit of
	// memory asks for.
	Memory int64 `json:"memory,omitempty"`
	CPUs   int   `json:"cpus,omitempty"` // of the machine, for all of its life
	// Accel is auto (or empty), kvm or tcg.
	Accel string `json:"accel,omitempty"`
	// Hypervisor is qemu (or empty), cloud-hypervisor or firecracker.
	Hypervisor string `json:"hypervisor,omitempty"`
	// Channel to the agent of a QEMU is virtio (or empty): a virtio-serial port; or
	// vsock, through the host's vhost_vsock.
	Channel string `json:"channel,omitempty"`
	// Kernel is a vmlinuz to boot; empty: the newest of the distribution's.
	Kernel string `json:"kernel,omitempty"`
	// Cache is where images and templates are kept; empty: the default.
	Cache string `json:"cache,omitempty"`
	// UID is whom a monitor of root's runs the hypervisor as.
	UID int `json:"uid,omitempty"`
	// Pod: further containers may join. PodMemory is what all of them may use
	// together, if that is known.
	Pod       bool  `json:"pod,omitempty"`
	PodMemory int64 `json:"podMemory,omitempty"`
	// Member is the name of a container that joins a pod's VM; it has that pod's
	// IPC, UTS or PID namespace where it says so.
	Member  string `json:"member,omitempty"`
	PodIPC  bool   `json:"podIPC,omitempty"`
	PodUTS  bool   `json:"podUTS,omitempty"`
	PodPIDs bool   `json:"podPIDs,omitempty"`
	// Console: the kernel's messages go to the debug log.
	Console bool `json:"console,omitempty"`
}

// VMOverhead is how much of a container's memory limit the hypervisor and the
// guest's kernel use, which the lifecycle adds to the limit of the cgroup.
const VMOverhead = 192 << 20
