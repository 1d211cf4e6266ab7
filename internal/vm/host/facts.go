package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Facts are what was found out since the machine was booted.
type Facts struct {
	BootID string `json:"bootID"`
	// Program and its change time: another QEMU may fare otherwise.
	Program string `json:"program"`
	TSCKHz  uint64 `json:"tscKHz"`
	// KVM: a guest was seen to boot with it; Why says what became of the try.
	KVM bool   `json:"kvm"`
	Why string `json:"why,omitempty"`
}

// ErrNoKVM is a machine on which no guest boots with KVM.
var ErrNoKVM = errors.New("no guest boots with KVM here")

// factsFile is in the VM's cache.
const factsFile = "host.json"

// BootID is the kernel's name for this boot.
func BootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return string(bytes.TrimSpace(raw))
}

// ProgramID names a program file and its state.
func ProgramID(path string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return path
	}
	return fmt.Sprintf("%s %d %d", path, st.Size, st.Ctim.Nano())
}

// Load gives what is known, or finds it out with probe, which says whether a
// guest boots with KVM, and keeps it.
func Load(cache, program string, probe func(tsc uint64) error) (*Facts, error) {
	id, prog := BootID(), ProgramID(program)
	path := filepath.Join(cache, factsFile)
	if raw, err := os.ReadFile(path); err == nil {
		var f Facts
		if json.Unmarshal(raw, &f) == nil && f.BootID == id && f.Program == prog && f.TSCKHz > 0 {
			return &f, nil
		}
	}
	f := &Facts{BootID: id, Program: prog, TSCKHz: TSCKHz()}
	switch err := probe(f.TSCKHz); {
	case err == nil:
		f.KVM = true
	case errors.Is(err, ErrNoKVM):
		f.Why = err.Error()
	default: // says nothing of KVM: the next one tries again
		f.Why = err.Error()
		return f, nil
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	tmp := fmt.Sprintf("%s.%d.%d", path, os.Getpid(), rdtsc())
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return nil, fmt.Errorf("the VM's cache: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return nil, fmt.Errorf("the VM's cache: %w", err)
	}
	return f, nil
}

// MemAvailable is the kernel's estimate of what can be used without swapping,
// in bytes; 0 if unknown.
func MemAvailable() int64 {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, rest, ok := bytes.Cut(raw, []byte("MemAvailable:"))
	if !ok {
		return 0
	}
	f := bytes.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(f[0]), 10, 64)
	return n << 10
}
