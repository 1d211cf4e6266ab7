package qemu

import (
	"fmt"
	"strconv"
	"strings"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/jail"
)

// Names inside QEMU's root.
const (
	jailKernel = "/vm/vmlinux"
	jailInitrd = "/vm/initrd"
	jailRAM    = "/vm/ram"
	jailEmpty  = "/vm/empty" // the root after start-up
)

// Descriptors of QEMU: 0 to 2, then these and what the devices need.
const (
	fdMonitor = 3
	fdChannel = 4
	fdFirst   = 5
)

// machine chooses the machine: microvm has at most 8 virtio-mmio slots with
// interrupts of its own under its first I/O APIC; what needs more gets q35.
func machine(cfg *hypervisor.Config) (name, bus string) {
	const always = 2 // serial, rng
	n := always + len(cfg.Disks) + len(cfg.Nets) + len(cfg.Shares)
	if cfg.Balloon {
		n++
	}
	if n <= 8 {
		return "microvm", "device"
	}
	return "q35", "pci"
}

// argv is QEMU's command line. fd numbers the descriptors of disks, taps and
// shares in the order of files.
func argv(cfg *hypervisor.Config, program string, runas string) []string {
	mach, bus := machine(cfg)
	dev := func(kind, rest string) string {
		s := "virtio-" + kind + "-" + bus
		if kind == "fs" {
			s = "vhost-user-fs-" + bus
		}
		return s + rest
	}
	// No merging of equal pages: who shares memory with whom is for templates
	// to say.
	mopts := mach + ",memory-backend=ram,mem-merge=off"
	if mach != "microvm" {
		mopts += ",usb=off,smm=off,vmport=off"
	}
	a := []string{
		program,
		"-name", "bulkhead,debug-threads=off",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", mopts, "-accel", accel(cfg.Accel),
		"-cpu", cpu(cfg.Accel),
		"-smp", smp(cfg),
		"-m", fmt.Sprintf("%dM", cfg.Memory.Bytes>>20),
		"-object", fmt.Sprintf("memory-backend-file,id=ram,size=%dM,mem-path=%s,share=%s", cfg.Memory.Bytes>>20, jailRAM, onOff(cfg.Memory.Template == nil)),
		"-global", "virtio-mmio.force-legacy=false",
	}
	a = append(a, kernel(cfg)...)
	a = append(a,
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", fdMonitor), "-mon", "chardev=qmp,mode=control",
		"-object", "rng-random,id=entropy,filename=/dev/urandom",
		"-device", dev("rng", ",rng=entropy"),
		"-sandbox", sandbox(runas != ""),
	)
	if runas != "" {
		a = append(a, "-chroot", jailEmpty, "-runas", runas)
	}
	if cfg.Vsock == nil {
		a = append(a,
			"-device", dev("serial", ",max_ports=2"), // two queues for each that there may be; port 0 is the console's
			"-chardev", fmt.Sprintf("socket,id=agent,fd=%d", fdChannel),
			"-device", "virtserialport,chardev=agent,name=dev.bulkhead.agent")
	}
	fd := fdFirst
	if cfg.Console != nil {
		a = append(a, "-add-fd", fmt.Sprintf("fd=%d,set=%d", fd, fd),
			"-chardev", fmt.Sprintf("file,id=console,append=on,path=/dev/fdset/%d", fd), "-serial", "chardev:console")
		fd++
	} else {
		a = append(a, "-serial", "null")
	}
	if cfg.Balloon {
		a = append(a, "-device", dev("balloon", ",id=balloon,free-page-reporting=on,deflate-on-oom=on"))
	}
	for _, d := range cfg.Disks {
		ro := onOff(d.ReadOnly)
		a = append(a,
			"-add-fd", fmt.Sprintf("fd=%d,set=%d", fd, fd),
			"-blockdev", fmt.Sprintf("driver=file,node-name=f-%s,filename=/dev/fdset/%d,read-only=%s,auto-read-only=off,locking=off", d.ID, fd, ro),
			"-blockdev", fmt.Sprintf("driver=raw,node-name=%s,file=f-%s,read-only=%s", d.ID, d.ID, ro),
			"-device", dev("blk", fmt.Sprintf(",drive=%s,serial=%s", d.ID, d.ID)))
		fd++
	}
	for _, n := range cfg.Nets {
		if n.Tap == nil {
			a = append(a, "-netdev", "hubport,id="+n.ID+",hubid=0",
				"-device", dev("net", fmt.Sprintf(",netdev=%s,mac=%s", n.ID, n.MAC)))
			continue
		}
		a = append(a,
			"-netdev", fmt.Sprintf("tap,id=%s,fd=%d", n.ID, fd),
			"-device", dev("net", fmt.Sprintf(",netdev=%s,mac=%s", n.ID, n.MAC)))
		fd++
	}
	for _, s := range cfg.Shares {
		a = append(a,
			"-chardev", fmt.Sprintf("socket,id=fs-%s,fd=%d", s.Tag, fd),
			"-device", dev("fs", fmt.Sprintf(",chardev=fs-%s,tag=%s,queue-size=512", s.Tag, s.Tag)))
		fd++
	}
	if v := cfg.Vsock; v != nil {
		a = append(a, "-device", fmt.Sprintf("vhost-vsock-%s,guest-cid=%d,vhostfd=%d", bus, v.CID, fd))
	}
	if cfg.Incoming {
		a = append(a, "-incoming", "defer")
	}
	return a
}

// kernel is what the machine boots. A clone's is a stub, without a command line.
func kernel(cfg *hypervisor.Config) []string {
	if cfg.Initrd == "" {
		return []string{"-kernel", jailKernel}
	}
	return []string{"-kernel", jailKernel, "-initrd", jailInitrd, "-append", cfg.Append}
}

// accel bounds the translator's buffer, which is 1 GiB by default and never
// given back.
func accel(a hypervisor.Accel) string {
	if a == hypervisor.TCG {
		return "tcg,tb-size=64"
	}
	return string(a)
}

// cpu is the processor that the guest sees. Under the translator it has none of
// what the translator makes slow: strings that are moved byte by byte (erms,
// fsrm: to clear a page would take ten times as long) and five levels of page
// tables.
func cpu(a hypervisor.Accel) string {
	if a == hypervisor.TCG {
		return "max,erms=off,fsrm=off,la57=off"
	}
	return "max"
}

// smp gives the guest its CPUs. All are there from the start: microvm plugs
// none in later.
func smp(cfg *hypervisor.Config) string { return strconv.Itoa(max(1, cfg.CPUs)) }

// sandbox is QEMU's own seccomp filter. Where it has to change its uid (runas)
// the calls for that stay; no_new_privs (set by the jail) and an empty set of
// capabilities
// make them useless.
func sandbox(runas bool) string {
	elevate := "deny"
	if runas {
		elevate = "allow"
	}
	return "on,obsolete=deny,elevateprivileges=" + elevate + ",spawn=deny,resourcecontrol=deny"
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// binds are the files of QEMU's root: the distribution's libraries, its
// firmware, and the three files of this VM.
func binds(cfg *hypervisor.Config, program string) []jail.Bind {
	b := append(jail.Libraries(),
		jail.Bind{Source: program, Dest: program},
		jail.Bind{Source: "/usr/share/qemu", Dest: "/usr/share/qemu"},
		jail.Bind{Source: "/usr/share/seabios", Dest: "/usr/share/seabios", Optional: true},
		jail.Bind{Source: "/dev/null", Dest: "/dev/null", Device: true, Writable: true},
		jail.Bind{Source: "/dev/urandom", Dest: "/dev/urandom", Device: true},
		jail.Bind{Source: cfg.Kernel, Dest: jailKernel},
	)
	if cfg.Initrd != "" {
		b = append(b, jail.Bind{Source: cfg.Initrd, Dest: jailInitrd})
	}
	if cfg.Memory.Template == nil {
		b = append(b, jail.Bind{Source: cfg.Memory.Path, Dest: jailRAM, Writable: true})
	}
	if cfg.Accel == hypervisor.KVM {
		b = append(b, jail.Bind{Source: "/dev/kvm", Dest: "/dev/kvm", Device: true, Writable: true})
	}
	return b
}

// unjailed writes a command line for a host that permits no namespace: the
// names are the host's own.
func unjailed(cfg *hypervisor.Config, args []string) []string {
	r := strings.NewReplacer(jailKernel, cfg.Kernel, jailInitrd, cfg.Initrd, jailRAM, cfg.Memory.Path)
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = r.Replace(a)
	}
	return out
}
