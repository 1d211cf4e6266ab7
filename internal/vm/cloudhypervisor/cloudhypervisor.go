// Package cloudhypervisor drives Cloud Hypervisor by its API socket
// (docs/api.md of its project). The requests and their order are held by tests
// against a server that records them; the real program has not been run with
// it yet.
//
// The agent is reached by hybrid vsock, not by a serial port: the kernel's
// command line says so (bulkhead.channel=vsock). It is KVM's alone.
//
// Lock order: none.
package cloudhypervisor

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/rest"
)

// Driver starts Cloud Hypervisor.
type Driver struct {
	Program string
	// Dir is a directory of the caller's own, for the sockets and snapshots.
	Dir string
	// Spawn starts the program with these arguments; files become its
	// descriptors from 3 on.
	Spawn func(argv []string, files []*os.File) (p hypervisor.Process, pid int, err error)
}

// Name is the program's.
func (d *Driver) Name() string { return "cloud-hypervisor" }

// The bodies of vm.create; names as in its OpenAPI description.
type vmConfig struct {
	CPUs    cpus          `json:"cpus"`
	Memory  memory        `json:"memory"`
	Payload payload       `json:"payload"`
	Disks   []disk        `json:"disks,omitempty"`
	Nets    []netDevice   `json:"net,omitempty"`
	FS      []fsDevice    `json:"fs,omitempty"`
	RNG     source        `json:"rng"`
	Balloon *balloon      `json:"balloon,omitempty"`
	Vsock   vsock         `json:"vsock"`
	Serial  consoleConfig `json:"serial"`
	Console consoleConfig `json:"console"`
}

type cpus struct {
	Boot int `json:"boot_vcpus"`
	Max  int `json:"max_vcpus"`
}

type memory struct {
	Size   int64 `json:"size"`
	Shared bool  `json:"shared"`
}

type payload struct {
	Kernel  string `json:"kernel"`
	Initrd  string `json:"initramfs"`
	Cmdline string `json:"cmdline"`
}

type disk struct {
	Path     string `json:"path"`
	Readonly bool   `json:"readonly"`
	Serial   string `json:"serial"`
}

type netDevice struct {
	ID  string `json:"id"`
	MAC string `json:"mac"`
	FDs []int  `json:"fds"`
}

type fsDevice struct {
	Tag       string `json:"tag"`
	Socket    string `json:"socket"`
	Queues    int    `json:"num_queues"`
	QueueSize int    `json:"queue_size"`
}

type source struct {
	Src string `json:"src"`
}

type balloon struct {
	Size         int64 `json:"size"`
	DeflateOnOOM bool  `json:"deflate_on_oom"`
	Reporting    bool  `json:"free_page_reporting"`
}

type vsock struct {
	CID    uint32 `json:"cid"`
	Socket string `json:"socket"`
}

type consoleConfig struct {
	Mode string `json:"mode"`
	File string `json:"file,omitempty"`
}

// config turns a description into vm.create's body. Descriptors are inherited,
// and named by /proc/self/fd.
func (d *Driver) config(cfg *hypervisor.Config) (vmConfig, []*os.File) {
	n := max(1, cfg.CPUs)
	c := vmConfig{
		CPUs:    cpus{n, n},
		Memory:  memory{cfg.Memory.Bytes, true},
		Payload: payload{cfg.Kernel, cfg.Initrd, cfg.Append},
		RNG:     source{"/dev/urandom"},
		Vsock:   vsock{hypervisor.VsockCID, filepath.Join(d.Dir, "vsock")},
		Serial:  consoleConfig{Mode: "Null"},
		Console: consoleConfig{Mode: "Off"},
	}
	var files []*os.File
	inherit := func(f *os.File) int {
		files = append(files, f)
		return 2 + len(files)
	}
	if cfg.Console != nil {
		c.Serial = consoleConfig{"File", fmt.Sprint("/proc/self/fd/", inherit(cfg.Console))}
	}
	if cfg.Balloon {
		c.Balloon = &balloon{0, true, true}
	}
	for _, x := range cfg.Disks {
		c.Disks = append(c.Disks, disk{fmt.Sprint("/proc/self/fd/", inherit(x.File)), x.ReadOnly, x.ID})
	}
	for _, x := range cfg.Nets {
		c.Nets = append(c.Nets, netDevice{x.ID, x.MAC, []int{inherit(x.Tap)}})
	}
	for _, x := range cfg.Shares {
		c.FS = append(c.FS, fsDevice{x.Tag, fmt.Sprint("/proc/self/fd/", inherit(x.Socket)), 1, 512})
	}
	return c, files
}

// Start makes a VM: vm.create, vm.boot.
func (d *Driver) Start(cfg *hypervisor.Config) (hypervisor.VM, error) {
	if cfg.Accel == hypervisor.TCG {
		return nil, fmt.Errorf("cloud-hypervisor: accelerator tcg: %w", hypervisor.ErrUnsupported)
	}
	body, files := d.config(cfg)
	sock := filepath.Join(d.Dir, "api")
	p, pid, err := d.Spawn([]string{d.Program, "--api-socket", "path=" + sock, "--seccomp", "true"}, files)
	if err != nil {
		return nil, err
	}
	v := &vm{proc: p, pid: pid, api: rest.New(sock, "/api/v1"), vsock: body.Vsock.Socket, dir: d.Dir}
	if err := v.api.Await(sock, 10*time.Second, p.Done()); err != nil {
		p.Kill()
		return nil, err
	}
	if cfg.Incoming {
		return v, nil
	}
	err = v.api.Do("PUT", "/vm.create", body, nil)
	if err == nil {
		err = v.api.Do("PUT", "/vm.boot", nil, nil)
	}
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("cloud-hypervisor: %w", err)
	}
	return v, nil
}

type vm struct {
	proc  hypervisor.Process
	pid   int
	api   *rest.Client
	vsock string
	dir   string
}

func (v *vm) put(path string, body any) error {
	if err := v.api.Do("PUT", path, body, nil); err != nil {
		return fmt.Errorf("cloud-hypervisor: %w", err)
	}
	return nil
}

// Dial reaches the agent's vsock port.
func (v *vm) Dial(port uint32) (net.Conn, error) { return rest.DialVsock(v.vsock, port) }

func (v *vm) Pid() int      { return v.pid }
func (v *vm) Pause() error  { return v.put("/vm.pause", nil) }
func (v *vm) Resume() error { return v.put("/vm.resume", nil) }

// snapshotDir holds config.json, state.json and memory-ranges; state is only
// the mark that it is complete.
func (v *vm) snapshotDir() string { return filepath.Join(v.dir, "snapshot") }

// Save pauses the VM and writes a snapshot directory beside its sockets.
func (v *vm) Save(state *os.File) error {
	if err := v.Pause(); err != nil {
		return err
	}
	if err := os.MkdirAll(v.snapshotDir(), 0o700); err != nil {
		return fmt.Errorf("cloud-hypervisor: snapshot: %w", err)
	}
	if err := v.put("/vm.snapshot", map[string]string{"destination_url": "file://" + v.snapshotDir()}); err != nil {
		return err
	}
	_, err := state.WriteString(v.snapshotDir())
	return err
}

// Restore reads a snapshot directory that Save has named.
func (v *vm) Restore(state *os.File) error {
	var name [4096]byte
	n, err := state.ReadAt(name[:], 0)
	if n == 0 {
		return fmt.Errorf("cloud-hypervisor: snapshot: %w", err)
	}
	return v.put("/vm.restore", map[string]any{"source_url": "file://" + string(name[:n]), "prefault": false})
}

// Update resizes: vCPUs and memory are plugged in and out.
func (v *vm) Update(cpus int, memory int64) error {
	body := make(map[string]int64)
	if cpus > 0 {
		body["desired_vcpus"] = int64(cpus)
	}
	if memory > 0 {
		body["desired_ram"] = memory
	}
	if len(body) == 0 {
		return nil
	}
	return v.put("/vm.resize", body)
}

func (v *vm) Stats() (hypervisor.Stats, error) { return hypervisor.ProcStats(v.pid) }
func (v *vm) Kill()                            { v.proc.Kill() }
func (v *vm) Done() <-chan struct{}            { return v.proc.Done() }

// Err says how the process has ended.
func (v *vm) Err() error {
	if err := v.proc.Err(); err != nil {
		return fmt.Errorf("cloud-hypervisor: %w", err)
	}
	return fmt.Errorf("cloud-hypervisor: ended")
}
