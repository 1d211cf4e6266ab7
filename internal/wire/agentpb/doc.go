// Package agentpb is the API of the agent in a micro-VM: ttrpc, generated from
// agent.proto, whose comments are its reference. It owns the messages and what
// a connection looks like before the first of them; package agentconn has both
// ends of it.
//
// # How a connection begins
//
// The channel is a byte stream: a virtio-serial port named PortName, or a
// connection to VsockPort. The kernel's command line says which:
//
//	bulkhead.channel=virtio     (the default)
//	bulkhead.channel=vsock      the agent listens, the host connects
//
// The host speaks first, so that nobody polls: its bytes wait in the
// hypervisor until the agent has opened the port.
//
//	host  → agent   Hello   "BULKHEAD" version(u16 LE) flags(u16 LE) nonce(u32 LE)
//	agent → host    Hello   the same magic and nonce, its own version and flags
//	both            yamux, the host as client
//
// Of the flags one is in use: 1 in the agent's Hello says that the kernel has
// measured its timers wrong (APICRate). The host may then begin the machine anew,
// and says Hello again.
//
// An agent that gets anything else but a Hello drops bytes until it finds the
// magic. A version that is not its own it answers with its own, and closes. The
// host drops what comes before the answer with its nonce: bytes of an earlier
// session (a restored snapshot) may still be in the channel.
//
// "The agent's first word" is its Hello: a boot's time is measured to it.
//
// # Streams
//
// Every stream is opened by the host and begins with eight bytes:
//
//	"BHS" 0 number(u32 LE)
//
// Number 0 is the control stream, which speaks ttrpc, the agent as server;
// there is one, opened first. Any other number is the host's choice, and names
// the stream in Streams. A standard descriptor's stream carries its bytes as
// they are: the host closes stdin's for end of file, the agent closes those of
// stdout and stderr once every writer has. A terminal has one stream for both
// directions, which ends when its last process has closed it. The agent reads
// a stream only as fast as its process does, and a process that nobody reads
// from blocks when the pipe and the stream's window (256 KiB) are full.
//
// # How it ends
//
// When the channel ends (the monitor is dead, or closed it) the agent kills
// everything and powers off, unless PrepareSnapshot came before: then it waits
// for the next Hello. A panic of the agent goes to the console, and powers off
// too. Shutdown is the clean way.
//
// # What a container gets
//
// Its own PID and mount namespaces always; IPC, UTS, cgroup and user namespaces
// as Namespaces says; the VM's network. A cgroup below one that all containers
// share, which leaves the agent 24 MiB and 128 threads. The devices and links
// of the runtime specification, unless /dev is a bind mount. Every other device
// is denied but for its rules. A descriptor limit of 1024, hard 1048576, if it
// has none of its own. Its working directory is made if it can be.
//
// # The kernel's command line
//
//	bulkhead.channel=…   above
//	BULKHEAD_APIC_HZ=N   see APICRate
//	bulkhead.port=NAME   of the virtio-serial port, if not PortName
//	bulkhead.files=N     files that a virtiofsd may have open
//	bulkhead.debug=1     the agent says on the console what it does
//
// # A typical start
//
//	Create{container, streams, sandbox{hostname, network, time, random}, start: true}
//	Wait{container}
//	Shutdown
//
// From a template: boot, PrepareSnapshot, close, save; then per sandbox:
// restore, Hello, Create with the time and random bytes. A second snapshot may
// be taken of such a clone, with PrepareSnapshot{container}: what it restores to
// is a machine whose container waits for its program, and Create{prepared} says
// which.
package agentpb

//go:generate ./generate.sh

// Version is that of the API. It changes when an older agent could not do what
// a newer host asks; agent and host come from one build, so that it guards
// against a stale cache alone.
const Version = 1

// Names and numbers of the channel.
const (
	PortName  = "dev.bulkhead.agent" // virtio-serial: -device virtserialport,name=…
	VsockPort = 1024
)

// APICRate names the variable, on the kernel's command line and so in the agent's
// environment, that gives the rate in Hz of the local APIC's timer where the kernel
// has to measure it: the agent's Hello says whether the kernel has it wrong.
const APICRate = "BULKHEAD_APIC_HZ"

// FirstContainer is the name of a VM's only container: a template has a cgroup
// for it.
const FirstContainer = "c"

// Names of files, not paths, that the initramfs has beside the agent.
const (
	ModulesDir   = "modules"       // the modules, and
	ModulesIndex = "modules/index" // which of them, in which order, for what
)

// Groups of modules in the initramfs, loaded when they are first needed.
// Those up to GroupBoot are loaded before the channel is opened; a kernel that
// has neither of GroupErofs and GroupSquashfs mounts ext4 images alone.
const (
	GroupMMIO     = "mmio"     // virtio over MMIO, where devices are there
	GroupPCI      = "pci"      // virtio over PCI, where devices are there
	GroupBoot     = "boot"     // the channel's port
	GroupBlock    = "block"    // virtio_blk
	GroupNet      = "net"      // virtio_net
	GroupVsock    = "vsock"    // the virtio vsock transport
	GroupErofs    = "erofs"    // read-only images
	GroupSquashfs = "squashfs" //
	GroupOverlay  = "overlay"  // overlay file system
	GroupVirtiofs = "virtiofs" // shared volumes
	GroupBalloon  = "balloon"  // giving memory back
	GroupRNG      = "rng"      // the host's random numbers
)
