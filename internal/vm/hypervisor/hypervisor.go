// Package hypervisor is the one interface behind which QEMU, Cloud Hypervisor
// and Firecracker stand. It says what a micro-VM is made of and what may be
// asked of a running one; package qemu and the like carry it out. It owns no
// state and starts nothing.
//
// Everything a VM uses is opened by whoever describes it and passed as a
// descriptor, or as a file that the jail binds into the hypervisor's empty
// root: the hypervisor itself resolves no name of the host.
package hypervisor

import (
	"errors"
	"os"
	"time"
)

// Config describes a VM to be started.
type Config struct {
	ID string // for messages and process names

	Kernel string // uncompressed vmlinux with a PVH note
	Initrd string // "" if there is none
	Append string // the kernel's command line

	Accel  Accel
	CPUs   int
	Memory RAM

	Disks  []Disk
	Nets   []Net
	Shares []Share

	// Channel is the connected socket behind the guest's agent port.
	Channel *os.File
	// Vsock, if not nil, is there in place of that port: the agent is reached by
	// the VM's Dial.
	Vsock *Vsock
	// Console gets what the guest's kernel prints, if not nil. It is open for
	// writing alone.
	Console *os.File
	// Balloon lets the guest give free memory back (free page reporting).
	Balloon bool
	// Incoming says that the VM is restored: it is made stopped, its memory
	// and devices come by VM.Restore.
	Incoming bool
}

// Accel is what runs the guest's instructions.
type Accel string

// Accelerators.
const (
	KVM Accel = "kvm"
	TCG Accel = "tcg" // QEMU's own translator: some 15 to 20 times slower
)

// RAM is the guest's memory: a file, mapped shared.
type RAM struct {
	Path  string // on the host
	Bytes int64
	// Template, if not nil, is mapped instead, privately: the guest reads it,
	// and gets a copy of each page that it writes to. It is open for reading
	// alone.
	Template *os.File
}

// Disk is a block device from a raw image.
type Disk struct {
	ID       string // the serial number that the guest finds it by, at most 20 bytes
	File     *os.File
	ReadOnly bool
}

// Vsock is a VM's address for vsock(7): CID, which FD (of /dev/vhost-vsock) has.
type Vsock struct {
	CID uint32
	FD  *os.File
}

// Net is a network device behind a tap; without one it leads nowhere.
type Net struct {
	ID  string
	Tap *os.File
	MAC string
}

// Share is a directory of the host, served by a virtiofsd at the other end of
// Socket.
type Share struct {
	Tag    string
	Socket *os.File
}

// Stats is what the hypervisor's own process uses.
type Stats struct {
	RSS int64         // bytes of memory, guest's included
	CPU time.Duration // of all its threads
}

// Driver starts VMs.
type Driver interface {
	// Name is the program's, for messages.
	Name() string
	// Start makes a VM; it runs unless cfg.Incoming is set. The descriptors in
	// cfg stay the caller's.
	Start(cfg *Config) (VM, error)
}

// VM is a running virtual machine. Its methods may be called concurrently.
type VM interface {
	// Pid is the hypervisor's process.
	Pid() int
	// Pause stops every vCPU; Resume lets them go on.
	Pause() error
	Resume() error
	// Save stops the VM and writes the state of its devices. Its memory stays
	// in the RAM file.
	Save(state *os.File) error
	// Restore takes over a state that Save has written, over a copy of the
	// RAM file. The VM stays stopped.
	Restore(state *os.File) error
	// Update changes the number of running vCPUs and the memory that the
	// guest may have of what it was started with; 0 leaves either.
	Update(cpus int, memory int64) error
	Stats() (Stats, error)
	// Kill ends the hypervisor at once.
	Kill()
	// Done is closed when the hypervisor has ended; Err says how, then.
	Done() <-chan struct{}
	Err() error
}

// Resetter is a VM that can begin anew. Its disks, network and memory stay, and
// what of the channel its guest has not read; Reset returns when whatever is
// written to the channel is for the new guest.
type Resetter interface{ Reset() error }

// ErrUnsupported is a request that a hypervisor has no means for.
var ErrUnsupported = errors.New("not offered by this hypervisor")
