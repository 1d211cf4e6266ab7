package qemu

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
)

func testConfig() *hypervisor.Config {
	return &hypervisor.Config{
		Kernel: "/cache/vmlinux", Initrd: "/cache/initrd", Append: "quiet", Accel: hypervisor.TCG, CPUs: 2, Balloon: true,
		Memory: hypervisor.RAM{Path: "/scratch/ram", Bytes: 256 << 20},
		Disks:  []hypervisor.Disk{{ID: "root", File: os.Stdin, ReadOnly: true}},
		Nets:   []hypervisor.Net{{ID: "net0", Tap: os.Stdin, MAC: "02:00:00:00:00:01"}},
		Shares: []hypervisor.Share{{Tag: "volumes", Socket: os.Stdin}},
	}
}

func TestArgv(t *testing.T) {
	line := strings.Join(argv(testConfig(), "/usr/bin/qemu", "5:6"), " ")
	for _, want := range []string{
		"-machine microvm,memory-backend=ram,mem-merge=off -accel tcg,tb-size=64 -cpu max,erms=off,",
		"-object memory-backend-file,id=ram,size=256M,mem-path=/vm/ram,share=on",
		"-kernel /vm/vmlinux -initrd /vm/initrd -append quiet",
		"-chardev socket,id=qmp,fd=3", "-chardev socket,id=agent,fd=4",
		"-sandbox on,obsolete=deny,elevateprivileges=allow,spawn=deny,resourcecontrol=deny -chroot /vm/empty -runas 5:6",
		"-add-fd fd=5,set=5", "filename=/dev/fdset/5,read-only=on",
		"-device virtio-blk-device,drive=root,serial=root",
		"-netdev tap,id=net0,fd=6 -device virtio-net-device,netdev=net0,mac=02:00:00:00:00:01",
		"-chardev socket,id=fs-volumes,fd=7 -device vhost-user-fs-device,chardev=fs-volumes,tag=volumes",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in\n%s", want, line)
		}
	}
	if line := strings.Join(argv(testConfig(), "q", ""), " "); !strings.Contains(line, "elevateprivileges=deny") {
		t.Errorf("an ordinary user's QEMU may raise its rights: %s", line)
	}
}

// The base devices come first, in one order: a template has no others, and a
// clone's must be in the same places.
func TestTemplateDevicesFirst(t *testing.T) {
	devices := func(cfg *hypervisor.Config) (out []string) {
		args := argv(cfg, "q", "")
		for i, a := range args {
			if a == "-device" {
				out = append(out, args[i+1])
			}
		}
		return out
	}
	base := testConfig()
	base.Disks, base.Nets, base.Shares = nil, nil, nil
	few, all := devices(base), devices(testConfig())
	for i := range few {
		if few[i] != all[i] {
			t.Errorf("device %d is %q in a template and %q in a clone", i, few[i], all[i])
		}
	}
}

func TestManyDevicesGetQ35(t *testing.T) {
	cfg := testConfig()
	for i := range 8 {
		cfg.Nets = append(cfg.Nets, hypervisor.Net{ID: fmt.Sprint("n", i), Tap: os.Stdin, MAC: "02:00:00:00:00:02"})
	}
	line := strings.Join(argv(cfg, "q", ""), " ")
	if !strings.Contains(line, "-machine q35,memory-backend=ram") || !strings.Contains(line, "virtio-net-pci") || strings.Contains(line, "-device virtio-serial-device") {
		t.Error(line)
	}
}

// Every file of the jail is read-only but the guest's memory and devices.
func TestBinds(t *testing.T) {
	for _, b := range binds(testConfig(), "/usr/bin/qemu") {
		if b.Writable && b.Dest != jailRAM && !b.Device {
			t.Errorf("%s is writable", b.Dest)
		}
	}
}

// A clone maps the template, boots nothing and binds no file to be written to.
func TestArgvOfClone(t *testing.T) {
	cfg := testConfig()
	cfg.Initrd, cfg.Incoming, cfg.Memory.Template, cfg.Console = "", true, os.Stdin, os.Stdout
	line := strings.Join(argv(cfg, "q", ""), " ")
	for _, want := range []string{
		"mem-path=/vm/ram,share=off", "-incoming defer",
		"-add-fd fd=5,set=5 -chardev file,id=console,append=on,path=/dev/fdset/5 -serial chardev:console", "-add-fd fd=6,set=6",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in\n%s", want, line)
		}
	}
	if strings.Contains(line, "-initrd") || strings.Contains(line, "-append") {
		t.Errorf("a clone boots: %s", line)
	}
	for _, b := range binds(cfg, "q") {
		if b.Writable && !b.Device {
			t.Errorf("%s may be written to", b.Dest)
		}
	}
}

// A guest that is reached by vsock has no serial port, and the address that the
// descriptor has.
func TestArgvVsock(t *testing.T) {
	cfg := testConfig()
	cfg.Vsock = &hypervisor.Vsock{CID: 77, FD: os.Stdin}
	line := strings.Join(argv(cfg, "q", ""), " ")
	if !strings.Contains(line, "-device vhost-vsock-device,guest-cid=77,vhostfd=8") || strings.Contains(line, "serial-device") || strings.Contains(line, "virtserialport") {
		t.Error(line)
	}
}
