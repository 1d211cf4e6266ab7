package monitor

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/host"
	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
)

// probeWait is how long a guest may take to boot with KVM, where it takes some
// tenths of a second: a /dev/kvm that is there but does not run a guest is
// worse than none.
const probeWait = 4 * time.Second

// chooseAccel takes KVM where a guest was seen to boot with it since the host
// was started, else QEMU's translator.
func (m *monitor) chooseAccel() error {
	x := &m.machine
	if x.hypervisor != nameQEMU { // openAPI has looked
		x.accel = hypervisor.KVM
		return nil
	}
	switch m.cfg.VM.Accel {
	case "kvm":
		x.accel = hypervisor.KVM
		return kvmUsable()
	case "", "auto", "tcg":
	default:
		return fmt.Errorf("accelerator %q: want auto, kvm or tcg", m.cfg.VM.Accel)
	}
	facts, err := host.Load(x.dir, x.program, m.probeKVM)
	if err != nil {
		return err
	}
	x.tsc = facts.TSCKHz
	x.accel = hypervisor.TCG
	if facts.KVM && m.cfg.VM.Accel != "tcg" {
		x.accel = hypervisor.KVM
	}
	m.debugf("accelerator %s %s", x.accel, facts.Why)
	return nil
}

// kvmDevice is a variable for tests.
var kvmDevice = "/dev/kvm"

// kvmUsable says why KVM cannot even be tried.
func kvmUsable() error {
	switch err := unix.Access(kvmDevice, unix.R_OK|unix.W_OK); {
	case errors.Is(err, unix.ENOENT):
		return errors.New("there is no /dev/kvm (load the module kvm_intel or kvm_amd, or let the hypervisor below nest)")
	case err != nil:
		return fmt.Errorf("/dev/kvm: %w (join the group kvm)", err)
	}
	return nil
}

// probeKVM boots a small machine to its agent's first word.
func (m *monitor) probeKVM(uint64) error {
	if err := kvmUsable(); err != nil {
		return fmt.Errorf("%w: %w", host.ErrNoKVM, err)
	}
	x := m.machine
	x.accel, x.cpus = hypervisor.KVM, 1
	cfg := x.config(leastMemory, filepath.Join(m.scratch, "probe"))
	if err := makeRAM(cfg.Memory); err != nil {
		return err
	}
	defer unix.Unlink(cfg.Memory.Path)
	ours, theirs, err := channel()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cfg.Channel = theirs
	vm, err := x.driver.Start(cfg)
	if err != nil {
		ours.Close()
		if strings.Contains(err.Error(), "kvm") { // QEMU's own words on it
			err = fmt.Errorf("%w: %w", host.ErrNoKVM, err)
		}
		return err
	}
	defer func() {
		vm.Kill()
		<-vm.Done()
	}()
	conn, err := greet(vm, ours, probeWait, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", host.ErrNoKVM, err)
	}
	conn.Close()
	return nil
}
