package monitor

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
)

// Each of what a host may lack is named, with what mends it.
func TestWhatIsMissing(t *testing.T) {
	empty := t.TempDir()
	some := t.TempDir()
	for _, name := range []string{nameCloudHypervisor, nameFirecracker} {
		if err := os.WriteFile(filepath.Join(some, name), []byte("#!/bin/false\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	defer func(old string) { kvmDevice = old }(kvmDevice)
	kvmDevice = filepath.Join(empty, "kvm")
	for _, c := range []struct {
		name, path, hypervisor, accel string
		want                          []string
	}{
		{"Cloud Hypervisor", empty, nameCloudHypervisor, "", []string{"no cloud-hypervisor on the PATH", "/usr/local/bin", "qemu-system-x86"}},
		{"Firecracker", empty, nameFirecracker, "", []string{"no firecracker on the PATH", "/usr/local/bin", "qemu-system-x86"}},
		{"KVM for Firecracker", some, nameFirecracker, "", []string{"firecracker runs on KVM alone", "kvm_intel", "qemu"}},
		{"KVM, the translator asked for", some, nameCloudHypervisor, "tcg", []string{"cloud-hypervisor runs on KVM alone", "tcg", "qemu"}},
		{"KVM for QEMU", some, nameQEMU, "kvm", []string{"no /dev/kvm", "kvm_intel or kvm_amd"}},
		{"a driver", some, "xen", "", []string{"\"xen\"", "want qemu, cloud-hypervisor or firecracker"}},
	} {
		t.Setenv("PATH", c.path)
		t.Setenv("BULKHEAD_QEMU", "/nowhere")
		m := testMonitor()
		m.scratch = t.TempDir()
		m.cfg.VM.Hypervisor, m.cfg.VM.Accel = c.hypervisor, c.accel
		err := m.openDriver()
		if err == nil {
			err = m.chooseAccel()
		}
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: no %q in %q", c.name, want, err)
			}
		}
	}
}

func TestTooLittleMemory(t *testing.T) {
	m := testMonitor()
	m.cfg.VM.Memory = 1 << 50
	_, err := m.memorySize()
	if err == nil {
		t.Fatal("a machine larger than the host's memory was not refused")
	}
	for _, want := range []string{"too little memory", "1073741824 MiB", "--memory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %q", want, err)
		}
	}
}

// A hypervisor with an API has no templates, and tells its guest where to
// listen.
func TestAPIDriver(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, nameFirecracker), []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	defer func(old string) { kvmDevice = old }(kvmDevice)
	kvmDevice = "/dev/null"
	m := testMonitor()
	m.scratch = t.TempDir()
	m.cfg.VM.Hypervisor = nameFirecracker
	if err := m.openDriver(); err != nil {
		t.Fatal(err)
	}
	if err := m.chooseAccel(); err != nil {
		t.Fatal(err)
	}
	if m.machine.accel != hypervisor.KVM || !m.cfg.VM.NoTemplate || m.machine.driver.Name() != nameFirecracker {
		t.Errorf("%+v", m.machine)
	}
	if line := m.machine.commandLine(); !strings.Contains(line, "bulkhead.channel=vsock") || strings.Contains(line, "tsc_early_khz") {
		t.Error(line)
	}
}

// fakeVM is one whose agent listens late, or never.
type fakeVM struct {
	hypervisor.VM
	done     chan struct{}
	refusals int
}

func (f *fakeVM) Done() <-chan struct{}            { return f.done }
func (f *fakeVM) Err() error                       { return errors.New("killed") }
func (f *fakeVM) Stats() (hypervisor.Stats, error) { return hypervisor.Stats{}, nil }
func (f *fakeVM) Dial(uint32) (net.Conn, error) {
	if f.refusals--; f.refusals >= 0 {
		return nil, unix.ECONNREFUSED
	}
	a, _ := net.Pipe()
	return a, nil
}

func TestDialWaitsForTheAgent(t *testing.T) {
	f := &fakeVM{done: make(chan struct{}), refusals: 3}
	conn, err := dial(f, f)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	f.refusals = 1 << 30
	time.AfterFunc(10*time.Millisecond, func() { close(f.done) })
	if _, err := dial(f, f); !errors.Is(err, errDead) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("a dead VM: %v", err)
	}
}
