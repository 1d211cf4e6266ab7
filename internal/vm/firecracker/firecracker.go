// Package firecracker drives Firecracker by its API socket (its project's
// src/firecracker/swagger/firecracker.yaml). The requests and their order are
// held by tests against a server that records them; the real program has not
// been run with it yet.
//
// Firecracker has no virtio-fs: a container with volumes is refused. The agent
// is reached by hybrid vsock (bulkhead.channel=vsock). It is KVM's alone.
//
// Lock order: none.
package firecracker

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/rest"
)

// Driver starts Firecracker.
type Driver struct {
	Program string
	// Dir is a directory of the caller's own, for the sockets.
	Dir string
	// Spawn starts the program with these arguments; files become its
	// descriptors from 3 on.
	Spawn func(argv []string, files []*os.File) (p hypervisor.Process, pid int, err error)
}

// Name is the program's.
func (d *Driver) Name() string { return "firecracker" }

type call struct {
	method, path string
	body         any
}

type machineConfig struct {
	VCPUs int   `json:"vcpu_count"`
	MiB   int64 `json:"mem_size_mib"`
	SMT   bool  `json:"smt"`
}

type bootSource struct {
	Kernel string `json:"kernel_image_path"`
	Initrd string `json:"initrd_path"`
	Args   string `json:"boot_args"`
}

type drive struct {
	ID       string `json:"drive_id"`
	Path     string `json:"path_on_host"`
	Root     bool   `json:"is_root_device"`
	Readonly bool   `json:"is_read_only"`
}

type netInterface struct {
	ID  string `json:"iface_id"`
	MAC string `json:"guest_mac"`
	Dev string `json:"host_dev_name"`
}

type vsock struct {
	CID uint32 `json:"guest_cid"`
	UDS string `json:"uds_path"`
}

type balloon struct {
	MiB          int64 `json:"amount_mib"`
	DeflateOnOOM bool  `json:"deflate_on_oom"`
}

// calls are the requests that make a VM, in order. Disks have no serial number
// here: the guest finds them by their order (vda, vdb).
func (d *Driver) calls(cfg *hypervisor.Config) ([]call, []*os.File) {
	var files []*os.File
	list := []call{
		{"PUT", "/machine-config", machineConfig{max(1, cfg.CPUs), cfg.Memory.Bytes >> 20, false}},
		{"PUT", "/boot-source", bootSource{cfg.Kernel, cfg.Initrd, cfg.Append}},
	}
	for _, x := range cfg.Disks {
		files = append(files, x.File)
		path := fmt.Sprint("/proc/self/fd/", 2+len(files))
		list = append(list, call{"PUT", "/drives/" + x.ID, drive{x.ID, path, false, x.ReadOnly}})
	}
	for _, x := range cfg.Nets {
		list = append(list, call{"PUT", "/network-interfaces/" + x.ID, netInterface{x.ID, x.MAC, x.Tap.Name()}})
	}
	list = append(list, call{"PUT", "/vsock", vsock{hypervisor.VsockCID, filepath.Join(d.Dir, "vsock")}})
	list = append(list, call{"PUT", "/entropy", struct{}{}})
	if cfg.Balloon {
		list = append(list, call{"PUT", "/balloon", balloon{0, true}})
	}
	return append(list, call{"PUT", "/actions", map[string]string{"action_type": "InstanceStart"}}), files
}

// Start makes a VM.
func (d *Driver) Start(cfg *hypervisor.Config) (hypervisor.VM, error) {
	switch {
	case cfg.Accel == hypervisor.TCG:
		return nil, fmt.Errorf("firecracker: accelerator tcg: %w", hypervisor.ErrUnsupported)
	case len(cfg.Shares) > 0:
		return nil, fmt.Errorf("firecracker: volumes (it has no virtio-fs): %w", hypervisor.ErrUnsupported)
	}
	list, files := d.calls(cfg)
	sock := filepath.Join(d.Dir, "api")
	p, pid, err := d.Spawn([]string{d.Program, "--api-sock", sock}, files)
	if err != nil {
		return nil, err
	}
	v := &vm{proc: p, pid: pid, api: rest.New(sock, ""), vsock: filepath.Join(d.Dir, "vsock"), ram: cfg.Memory.Path}
	if err := v.api.Await(sock, 10*time.Second, p.Done()); err != nil {
		p.Kill()
		return nil, err
	}
	if cfg.Incoming {
		return v, nil
	}
	for _, c := range list {
		if err := v.do(c); err != nil {
			p.Kill()
			return nil, err
		}
	}
	return v, nil
}

type vm struct {
	proc  hypervisor.Process
	pid   int
	api   *rest.Client
	vsock string
	ram   string
}

func (v *vm) do(c call) error {
	if err := v.api.Do(c.method, c.path, c.body, nil); err != nil {
		return fmt.Errorf("firecracker: %w", err)
	}
	return nil
}

// Dial reaches the agent's vsock port.
func (v *vm) Dial(port uint32) (net.Conn, error) { return rest.DialVsock(v.vsock, port) }

func (v *vm) Pid() int { return v.pid }

func (v *vm) state(s string) error { return v.do(call{"PATCH", "/vm", map[string]string{"state": s}}) }

func (v *vm) Pause() error  { return v.state("Paused") }
func (v *vm) Resume() error { return v.state("Resumed") }

// Save pauses the VM and writes its state, and its memory to the RAM file.
func (v *vm) Save(state *os.File) error {
	if err := v.Pause(); err != nil {
		return err
	}
	return v.do(call{"PUT", "/snapshot/create", map[string]string{
		"snapshot_type": "Full", "snapshot_path": state.Name(), "mem_file_path": v.ram,
	}})
}

// Restore reads both; the memory is mapped from the RAM file.
func (v *vm) Restore(state *os.File) error {
	return v.do(call{"PUT", "/snapshot/load", map[string]any{
		"snapshot_path": state.Name(),
		"mem_backend":   map[string]string{"backend_type": "File", "backend_path": v.ram},
		"resume_vm":     false,
	}})
}

// Update sets the balloon from a size of the memory that the guest may have;
// vCPUs cannot be changed.
func (v *vm) Update(cpus int, memory int64) error {
	if cpus > 0 {
		return fmt.Errorf("firecracker: vCPUs of a running VM: %w", hypervisor.ErrUnsupported)
	}
	if memory <= 0 {
		return nil
	}
	st, err := os.Stat(v.ram)
	if err != nil {
		return fmt.Errorf("firecracker: the guest's memory: %w", err)
	}
	return v.do(call{"PATCH", "/balloon", map[string]int64{"amount_mib": max(0, st.Size()-memory) >> 20}})
}

func (v *vm) Stats() (hypervisor.Stats, error) { return hypervisor.ProcStats(v.pid) }
func (v *vm) Kill()                            { v.proc.Kill() }
func (v *vm) Done() <-chan struct{}            { return v.proc.Done() }

// Err says how the process has ended.
func (v *vm) Err() error {
	if err := v.proc.Err(); err != nil {
		return fmt.Errorf("firecracker: %w", err)
	}
	return fmt.Errorf("firecracker: ended")
}
