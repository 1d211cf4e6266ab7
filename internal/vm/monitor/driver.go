package monitor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/cloudhypervisor"
	"bulkhead.dev/bulkhead/internal/vm/firecracker"
	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/jail"
	"bulkhead.dev/bulkhead/internal/vm/qemu"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// Hypervisors by the names of dev.bulkhead.vm.hypervisor.
const (
	nameQEMU            = "qemu"
	nameCloudHypervisor = "cloud-hypervisor"
	nameFirecracker     = "firecracker"
)

// qemuFlags are the namespaces of QEMU's jail. The other two open their taps
// themselves, and so stay in the container's network namespace.
const (
	qemuFlags = unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWPID
	apiFlags  = qemuFlags &^ unix.CLONE_NEWNET
)

// openDriver finds the hypervisor that was asked for.
func (m *monitor) openDriver() error {
	x := &m.machine
	x.hypervisor = m.cfg.VM.Hypervisor
	switch x.hypervisor {
	case "", nameQEMU:
		x.hypervisor = nameQEMU
		return m.openQEMU()
	case nameCloudHypervisor, nameFirecracker:
		return m.openAPI()
	}
	return fmt.Errorf("hypervisor %q: want %s, %s or %s", x.hypervisor, nameQEMU, nameCloudHypervisor, nameFirecracker)
}

func (m *monitor) openQEMU() error {
	program, err := qemu.Find()
	if err != nil {
		return err
	}
	d := &qemu.Driver{Program: program}
	if p := m.cfg.Container.Privileges; p.MountNamespace {
		d.Flags = qemuFlags
		if !p.UserNamespace && p.HostRoot {
			d.UID = max(m.cfg.VM.UID, 1)
			d.GID = d.UID
		}
	}
	m.machine.driver, m.machine.program = d, program
	switch m.cfg.VM.Channel {
	case "", channelVirtio:
	case channelVsock:
		// A clone would have its template's address.
		m.machine.vsock, m.cfg.VM.NoTemplate = true, true
	default:
		return fmt.Errorf("channel %q: want %s or %s", m.cfg.VM.Channel, channelVirtio, channelVsock)
	}
	return nil
}

// Channels by the names of dev.bulkhead.vm.channel.
const (
	channelVirtio = "virtio"
	channelVsock  = "vsock"
)

// openAPI makes the driver of a hypervisor with an API socket. It has no
// templates: its snapshots are not made of QEMU's two files.
func (m *monitor) openAPI() error {
	x := &m.machine
	program, err := findAPI(x.hypervisor)
	if err != nil {
		return err
	}
	if m.cfg.VM.Accel == string(hypervisor.TCG) {
		return fmt.Errorf("%s runs on KVM alone: leave out the accelerator %s, or take the hypervisor %s", x.hypervisor, m.cfg.VM.Accel, nameQEMU)
	}
	if err := kvmUsable(); err != nil {
		return fmt.Errorf("%s runs on KVM alone: %w; %s runs without it", x.hypervisor, err, nameQEMU)
	}
	dir := filepath.Join(m.scratch, x.hypervisor)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("%s: %w", x.hypervisor, err)
	}
	x.program, x.vsock, m.cfg.VM.NoTemplate = program, true, true
	if x.hypervisor == nameFirecracker {
		x.driver = &firecracker.Driver{Program: program, Dir: dir, Spawn: m.spawnAPI(dir)}
	} else {
		x.driver = &cloudhypervisor.Driver{Program: program, Dir: dir, Spawn: m.spawnAPI(dir)}
	}
	return nil
}

// findAPI looks for a program that no package of Debian 12 has.
func findAPI(name string) (string, error) {
	p, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("there is no %s on the PATH: Debian 12 has no package of it; put its project's static program into /usr/local/bin, or take the hypervisor %s (apt-get install --no-install-recommends qemu-system-x86)", name, nameQEMU)
	}
	return filepath.EvalSymlinks(p)
}

// spawnAPI starts such a program in a jail with its sockets' directory, the
// kernel, the initramfs and KVM.
func (m *monitor) spawnAPI(dir string) func([]string, []*os.File) (hypervisor.Process, int, error) {
	return func(argv []string, files []*os.File) (hypervisor.Process, int, error) {
		null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
		if err != nil {
			return nil, 0, err
		}
		defer null.Close()
		log := null
		if m.log != nil {
			log = m.log
		}
		x := &m.machine
		o := jail.Options{Files: append([]*os.File{null, log, log}, files...)}
		o.Argv = argv
		if m.cfg.Container.Privileges.MountNamespace {
			o.Flags, o.Proc = apiFlags, true
			o.Binds = append(jail.Libraries(),
				jail.Bind{Source: x.program, Dest: x.program},
				jail.Bind{Source: dir, Dest: dir, Writable: true},
				jail.Bind{Source: x.kernel, Dest: x.kernel},
				jail.Bind{Source: x.initrd, Dest: x.initrd},
				jail.Bind{Source: "/dev/null", Dest: "/dev/null", Device: true, Writable: true},
				jail.Bind{Source: "/dev/urandom", Dest: "/dev/urandom", Device: true},
				jail.Bind{Source: "/dev/kvm", Dest: "/dev/kvm", Device: true, Writable: true},
				jail.Bind{Source: "/dev/net/tun", Dest: "/dev/net/tun", Device: true, Writable: true, Optional: true},
			)
			o.Caps = 1 << unix.CAP_NET_ADMIN // its taps
		}
		p, err := jail.Start(o)
		if err != nil {
			return nil, 0, err
		}
		return p, p.Pid, nil
	}
}

// dialer is a machine whose agent is reached by vsock.
type dialer interface {
	Dial(port uint32) (net.Conn, error)
}

// errDead ends the wait for an agent whose machine has.
var errDead = errors.New("the VM has ended before its agent listened")

// dial reaches an agent that listens once its machine has come so far.
func dial(vm hypervisor.VM, d dialer) (net.Conn, error) {
	left := make(chan struct{})
	defer close(left)
	give := spent(vm, bootWait, left)
	for {
		conn, err := d.Dial(agentpb.VsockPort)
		if err == nil {
			return conn, nil
		}
		select {
		case <-vm.Done():
			return nil, errors.Join(errDead, vm.Err())
		case <-give:
			return nil, fmt.Errorf("the agent in the VM does not listen: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
