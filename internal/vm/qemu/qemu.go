// Package qemu drives QEMU 7.2 or later: the command line of a microvm (or q35
// where there are more devices than that has room for), and its monitor
// protocol for pause, snapshot and balloon.
//
// QEMU's root holds its libraries, the kernel, the initramfs and the file that
// is the guest's memory; once it has opened them it changes to an empty one
// and to an unprivileged uid (-chroot, -runas, when root starts it), and its
// seccomp filter forbids it to start anything. It reaches the network only by
// the taps that it inherits.
//
// Lock order: none; qmp.Client has its own.
package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/filters"
	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/jail"
	"bulkhead.dev/bulkhead/internal/vm/qmp"
	"bulkhead.dev/bulkhead/internal/vm/vsock"
)

// greetWait is how long QEMU may take to open its monitor.
const greetWait = time.Minute

// Driver starts QEMU.
type Driver struct {
	Program string // path; see Find
	// UID and GID are who QEMU runs as, when root starts it; 0 leaves it as
	// the caller.
	UID, GID int
	// Flags are the namespaces of its jail; 0 runs it in the host's root.
	Flags uintptr
}

// places are where distributions have QEMU; a variable for tests.
var places = []string{"/usr/bin/qemu-system-x86_64", "/usr/local/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm"}

// Find looks for QEMU.
func Find() (string, error) {
	if p := os.Getenv("BULKHEAD_QEMU"); p != "" {
		return p, nil
	}
	for _, p := range places {
		if unix.Access(p, unix.X_OK) == nil {
			return p, nil
		}
	}
	if p, err := exec.LookPath("qemu-system-x86_64"); err == nil {
		return p, nil
	}
	return "", errors.New("there is no qemu-system-x86_64: install it (Debian: apt-get install --no-install-recommends qemu-system-x86)")
}

// Name is QEMU's.
func (d *Driver) Name() string { return "qemu" }

// Start starts QEMU.
func (d *Driver) Start(cfg *hypervisor.Config) (hypervisor.VM, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("QEMU's monitor: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "qmp"), os.NewFile(uintptr(pair[1]), "qmp")
	defer theirs.Close()
	defer ours.Close()
	proc, log, err := d.spawn(cfg, theirs)
	if err != nil {
		return nil, err
	}
	theirs.Close()
	vm := &machineVM{proc: proc, log: log, ended: make(chan struct{})}
	go vm.watch()
	conn, err := net.FileConn(ours)
	if err != nil {
		vm.Kill()
		return nil, fmt.Errorf("QEMU's monitor: %w", err)
	}
	vm.qmp, err = qmp.New(conn.(*net.UnixConn), greetWait, vm.event)
	if err != nil {
		conn.Close()
		vm.Kill()
		<-vm.ended
		return nil, errors.Join(err, vm.Err())
	}
	if cfg.Vsock != nil {
		return &vsockVM{vm, cfg.Vsock.CID}, nil
	}
	return vm, nil
}

// vsockVM is one whose agent listens.
type vsockVM struct {
	*machineVM
	cid uint32
}

// Dial connects to a port of the guest's.
func (v *vsockVM) Dial(port uint32) (net.Conn, error) { return vsock.Dial(v.cid, port) }

// spawn starts the process. What it says on stderr is kept for messages.
func (d *Driver) spawn(cfg *hypervisor.Config, monitor *os.File) (*jail.Process, *tail, error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer errW.Close()
	files := []*os.File{null, null, errW, monitor, cfg.Channel}
	if cfg.Memory.Template != nil {
		files[0] = cfg.Memory.Template
	}
	if cfg.Console != nil {
		files = append(files, cfg.Console)
	}
	for _, disk := range cfg.Disks {
		files = append(files, disk.File)
	}
	for _, n := range cfg.Nets {
		if n.Tap != nil {
			files = append(files, n.Tap)
		}
	}
	for _, s := range cfg.Shares {
		files = append(files, s.Socket)
	}
	if cfg.Vsock != nil {
		files = append(files, cfg.Vsock.FD)
	}
	o := jail.Options{Files: files, Flags: d.Flags}
	o.Memory = cfg.Memory.Template != nil
	runas := ""
	if d.Flags != 0 {
		o.Binds = binds(cfg, d.Program)
		o.Dirs = []string{jailEmpty}
		if d.UID != 0 {
			runas = fmt.Sprintf("%d:%d", d.UID, d.GID)
			// For -chroot and -runas; the change of uid takes them away.
			o.Caps = 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
		}
	}
	uid, gid := d.runsAs()
	if o.Filter, err = jail.Compile(filters.QEMU(uid, gid, cfg.Vsock != nil)); err != nil {
		return nil, nil, err
	}
	o.Argv = argv(cfg, d.Program, runas)
	if d.Flags == 0 {
		o.Argv = unjailed(cfg, o.Argv)
	}
	proc, err := jail.Start(o)
	if err != nil {
		errR.Close()
		return nil, nil, err
	}
	log := newTail(errR)
	return proc, log, nil
}

// runsAs is who QEMU becomes by -runas; 0 if it stays who it is.
func (d *Driver) runsAs() (uid, gid int) {
	if d.Flags == 0 {
		return 0, 0
	}
	return d.UID, d.GID
}

// machineVM is a running QEMU.
type machineVM struct {
	proc  *jail.Process
	log   *tail
	qmp   *qmp.Client
	ended chan struct{}

	mu       sync.Mutex
	shutdown string // why the guest stopped, by the SHUTDOWN event
	panicked bool
	reset    chan struct{} // of the Reset that waits, or nil
}

func (v *machineVM) watch() {
	<-v.proc.Done()
	v.log.wait()
	close(v.ended)
}

func (v *machineVM) event(e qmp.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e.Name {
	case "SHUTDOWN":
		var data struct {
			Reason string `json:"reason"`
		}
		if json.Unmarshal(e.Data, &data) == nil {
			v.shutdown = data.Reason
		}
	case "GUEST_PANICKED":
		v.panicked = true
	case "RESET":
		if v.reset != nil {
			close(v.reset)
			v.reset = nil
		}
	}
}

func (v *machineVM) Pid() int              { return v.proc.Pid }
func (v *machineVM) Pause() error          { return v.qmp.Do("stop", nil, nil) }
func (v *machineVM) Resume() error         { return v.qmp.Do("cont", nil, nil) }
func (v *machineVM) Kill()                 { v.proc.Kill() }
func (v *machineVM) Done() <-chan struct{} { return v.ended }

// Err says how QEMU has ended.
func (v *machineVM) Err() error {
	v.mu.Lock()
	shutdown, panicked := v.shutdown, v.panicked
	v.mu.Unlock()
	err := v.proc.Err()
	switch {
	case panicked:
		return errors.New("the guest's kernel has panicked")
	case err == nil && (shutdown == "guest-shutdown" || shutdown == "guest-reset"):
		return errors.New("the guest has switched itself off")
	case err == nil:
		err = errors.New("ended")
	}
	if said := v.log.String(); said != "" {
		return fmt.Errorf("QEMU: %w: %s", err, said)
	}
	return fmt.Errorf("QEMU: %w", err)
}

// Update sets the balloon. vCPUs are limited by the cgroup and by the guest's
// own cpuset: microvm cannot unplug any.
func (v *machineVM) Update(cpus int, memory int64) error {
	if memory <= 0 {
		return nil
	}
	if err := v.qmp.Do("balloon", map[string]int64{"value": memory}, nil); err != nil {
		return fmt.Errorf("balloon: %w", err)
	}
	return nil
}

func (v *machineVM) Stats() (hypervisor.Stats, error) { return hypervisor.ProcStats(v.proc.Pid) }
