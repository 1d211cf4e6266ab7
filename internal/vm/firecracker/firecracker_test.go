package firecracker

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/rest/resttest"
)

func start(t *testing.T, s *resttest.Server, cfg *hypervisor.Config) (hypervisor.VM, string, error) {
	t.Helper()
	dir := t.TempDir()
	d := &Driver{Program: "/bin/fc", Dir: dir, Spawn: func(argv []string, files []*os.File) (hypervisor.Process, int, error) {
		s.Listen(t, filepath.Join(dir, "api"))
		return s, os.Getpid(), nil
	}}
	vm, err := d.Start(cfg)
	return vm, dir, err
}

func config(t *testing.T) *hypervisor.Config {
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	ram := filepath.Join(t.TempDir(), "ram")
	if err := os.WriteFile(ram, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(ram, 256<<20); err != nil {
		t.Fatal(err)
	}
	return &hypervisor.Config{
		Kernel: "/k", Initrd: "/i", Append: "quiet", Accel: hypervisor.KVM, CPUs: 2, Balloon: true,
		Memory: hypervisor.RAM{Path: ram, Bytes: 256 << 20},
		Disks:  []hypervisor.Disk{{ID: "root", File: f, ReadOnly: true}},
		Nets:   []hypervisor.Net{{ID: "net0", Tap: f, MAC: "02:00:00:00:00:01"}},
	}
}

func TestRequests(t *testing.T) {
	s := resttest.New()
	cfg := config(t)
	vm, dir, err := start(t, s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{vm.Pause(), vm.Resume(), vm.Update(0, 128<<20)} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := vm.Update(2, 0); !errors.Is(err, hypervisor.ErrUnsupported) {
		t.Errorf("more vCPUs: %v", err)
	}
	state, err := os.Create(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	if err := vm.Save(state); err != nil {
		t.Error(err)
	}
	if err := vm.Restore(state); err != nil {
		t.Error(err)
	}
	s.Expect(t,
		`PUT /machine-config {"mem_size_mib":256,"smt":false,"vcpu_count":2}`,
		`PUT /boot-source {"boot_args":"quiet","initrd_path":"/i","kernel_image_path":"/k"}`,
		`PUT /drives/root {"drive_id":"root","is_read_only":true,"is_root_device":false,"path_on_host":"/proc/self/fd/3"}`,
		`PUT /network-interfaces/net0 {"guest_mac":"02:00:00:00:00:01","host_dev_name":"/dev/null","iface_id":"net0"}`,
		`PUT /vsock {"guest_cid":3,"uds_path":"`+dir+`/vsock"}`,
		`PUT /entropy {}`,
		`PUT /balloon {"amount_mib":0,"deflate_on_oom":true}`,
		`PUT /actions {"action_type":"InstanceStart"}`,
		`PATCH /vm {"state":"Paused"}`, `PATCH /vm {"state":"Resumed"}`,
		`PATCH /balloon {"amount_mib":128}`,
		`PATCH /vm {"state":"Paused"}`,
		`PUT /snapshot/create {"mem_file_path":"`+cfg.Memory.Path+`","snapshot_path":"`+dir+`/state","snapshot_type":"Full"}`,
		`PUT /snapshot/load {"mem_backend":{"backend_path":"`+cfg.Memory.Path+`","backend_type":"File"},"resume_vm":false,"snapshot_path":"`+dir+`/state"}`,
	)
}

func TestRefusals(t *testing.T) {
	cfg := config(t)
	cfg.Shares = []hypervisor.Share{{Tag: "volumes"}}
	if _, err := (&Driver{}).Start(cfg); !errors.Is(err, hypervisor.ErrUnsupported) {
		t.Errorf("volumes: %v", err)
	}
	s := resttest.New()
	s.Fail = "/actions"
	if _, _, err := start(t, s, config(t)); err == nil {
		t.Error("a refused start was not told")
	}
	select {
	case <-s.Done():
	default:
		t.Error("a hypervisor whose start failed still runs")
	}
}
