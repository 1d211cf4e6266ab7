package cloudhypervisor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/rest/resttest"
)

func start(t *testing.T, s *resttest.Server, cfg *hypervisor.Config) (hypervisor.VM, string, error) {
	t.Helper()
	dir := t.TempDir()
	d := &Driver{Program: "/bin/ch", Dir: dir, Spawn: func(argv []string, files []*os.File) (hypervisor.Process, int, error) {
		if want := "/bin/ch --api-socket path=" + dir + "/api --seccomp true"; strings.Join(argv, " ") != want {
			t.Errorf("argv %q, want %q", argv, want)
		}
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
	return &hypervisor.Config{
		Kernel: "/k", Initrd: "/i", Append: "quiet", Accel: hypervisor.KVM, CPUs: 2, Balloon: true,
		Memory: hypervisor.RAM{Path: "/ram", Bytes: 256 << 20},
		Disks:  []hypervisor.Disk{{ID: "root", File: f, ReadOnly: true}},
		Nets:   []hypervisor.Net{{ID: "net0", Tap: f, MAC: "02:00:00:00:00:01"}},
		Shares: []hypervisor.Share{{Tag: "volumes", Socket: f}},
	}
}

func TestRequests(t *testing.T) {
	s := resttest.New()
	vm, dir, err := start(t, s, config(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{vm.Pause(), vm.Resume(), vm.Update(1, 128<<20)} {
		if err != nil {
			t.Error(err)
		}
	}
	state, err := os.CreateTemp(dir, "state")
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	if err := vm.Save(state); err != nil {
		t.Error(err)
	}
	s.Expect(t,
		`PUT /api/v1/vm.create {"balloon":{"deflate_on_oom":true,"free_page_reporting":true,"size":0},"console":{"mode":"Off"},"cpus":{"boot_vcpus":2,"max_vcpus":2},"disks":[{"path":"/proc/self/fd/3","readonly":true,"serial":"root"}],"fs":[{"num_queues":1,"queue_size":512,"socket":"/proc/self/fd/5","tag":"volumes"}],"memory":{"shared":true,"size":268435456},"net":[{"fds":[4],"id":"net0","mac":"02:00:00:00:00:01"}],"payload":{"cmdline":"quiet","initramfs":"/i","kernel":"/k"},"rng":{"src":"/dev/urandom"},"serial":{"mode":"Null"},"vsock":{"cid":3,"socket":"`+dir+`/vsock"}}`,
		`PUT /api/v1/vm.boot`, `PUT /api/v1/vm.pause`, `PUT /api/v1/vm.resume`,
		`PUT /api/v1/vm.resize {"desired_ram":134217728,"desired_vcpus":1}`,
		`PUT /api/v1/vm.pause`, `PUT /api/v1/vm.snapshot {"destination_url":"file://`+dir+`/snapshot"}`,
	)
}

func TestRestore(t *testing.T) {
	s := resttest.New()
	cfg := config(t)
	cfg.Incoming = true
	vm, dir, err := start(t, s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	if err := os.WriteFile(state, []byte("/snap"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(state)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := vm.Restore(f); err != nil {
		t.Fatal(err)
	}
	s.Expect(t, `PUT /api/v1/vm.restore {"prefault":false,"source_url":"file:///snap"}`)
}

func TestRefusals(t *testing.T) {
	s := resttest.New()
	s.Fail = "/api/v1/vm.boot"
	if _, _, err := start(t, s, config(t)); err == nil || !strings.Contains(err.Error(), "vm.boot") {
		t.Errorf("a refused boot: %v", err)
	}
	select {
	case <-s.Done():
	default:
		t.Error("a hypervisor whose boot failed still runs")
	}
	cfg := config(t)
	cfg.Accel = hypervisor.TCG
	if _, err := (&Driver{}).Start(cfg); !errors.Is(err, hypervisor.ErrUnsupported) {
		t.Errorf("without KVM: %v", err)
	}
}
