package monitor

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/rest"
	"bulkhead.dev/bulkhead/internal/wire"
)

// confinedEnv has the test binary stand for a monitor; its value is a socket.
const confinedEnv = "BULKHEAD_TEST_CONFINED"

// TestConfined: a monitor without a mount namespace, of a hypervisor with an API
// socket, goes on behind its filter: it speaks to the API, reads what the
// hypervisor uses, removes its directory, computes for some seconds, and is
// told no more of the host's files.
func TestConfined(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "api"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	sleeper := exec.Command("sleep", "100")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer sleeper.Wait()
	defer sleeper.Process.Kill()
	cmd := exec.Command(os.Args[0], fmt.Sprint(sleeper.Process.Pid))
	cmd.Env = append(os.Environ(), confinedEnv+"="+l.Addr().String())
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "held" {
		t.Errorf("%v: %s", err, out)
	}
}

// pidVM is a process.
type pidVM struct {
	hypervisor.VM
	pid int
}

func (v pidVM) Pid() int { return v.pid }

func init() {
	api := os.Getenv(confinedEnv)
	if api == "" {
		return
	}
	if err := confined(api); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	os.Exit(0)
}

func confined(api string) error {
	m := &monitor{cfg: wire.VMConfig{}}
	m.machine.hypervisor = nameFirecracker
	if err := m.prepareRoot(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(m.scratch, "ram"), nil, 0o600); err != nil {
		return err
	}
	ours, theirs, err := channel()
	if err != nil {
		return err
	}
	// Its version, or that this kernel has none.
	_, _, landlock := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1)
	var vm pidVM
	fmt.Sscan(os.Args[1], &vm.pid)
	if err := m.confine(vm); err != nil {
		os.RemoveAll(m.scratch)
		return err
	}
	if err := rest.New(api, "").Do("PUT", "/x", nil, nil); err != nil {
		return fmt.Errorf("the API: %w", err)
	}
	if _, err := hypervisor.ProcStats(vm.pid); err != nil {
		return fmt.Errorf("the hypervisor's figures: %w", err)
	}
	// Else they would be out of reach once the kernel drops its caches.
	if _, err := unix.FcntlInt(uintptr(m.held[0]), unix.F_GETFL, 0); err != nil {
		return fmt.Errorf("the descriptor of the hypervisor's directory is not held: %w", err)
	}
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); {
		go theirs.Write([]byte("x"))
		if _, err := ours.Read(make([]byte, 1)); err != nil {
			return fmt.Errorf("the channel: %w", err)
		}
		_ = make([]byte, 1<<20)
	}
	entropy()
	if _, err := os.Open("/etc/passwd"); landlock == 0 && !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("/etc/passwd: %v", err)
	}
	if err := os.RemoveAll(m.scratch); err != nil {
		return fmt.Errorf("its directory: %w", err)
	}
	return nil
}
