// Package guest owns the programs that the workbench takes into containers:
// a C program that times single kernel services, compiled on the user's machine
// because it has to make its calls as a C library makes them, and an ELF file of
// some 170 bytes whose first instructions say "ready".
//
// It holds no state.
package guest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed probe/probe.c
var probeSource []byte

// Names of the programs inside the directory that Install fills.
const (
	Probe = "probe"
	First = "first"
)

// ErrNoCompiler is why the probe may be missing: its workloads are then not
// measured, and say so.
var ErrNoCompiler = errors.New("no C compiler (cc) to build the probe with: apt-get install gcc libc6-dev")

// Install puts the guest programs into dir. An error that wraps ErrNoCompiler
// leaves a usable directory without the probe.
func Install(ctx context.Context, dir string) error {
	if err := os.WriteFile(filepath.Join(dir, First), FirstELF(), 0o755); err != nil {
		return fmt.Errorf("install %s: %w", First, err)
	}
	src := filepath.Join(dir, "probe.c")
	if err := os.WriteFile(src, probeSource, 0o644); err != nil {
		return fmt.Errorf("install the probe's source: %w", err)
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		return ErrNoCompiler
	}
	cmd := exec.CommandContext(ctx, cc, "-O2", "-static", "-pthread", "-o", filepath.Join(dir, Probe), src)
	if out, err := cmd.CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%w: cc failed: %v: %s", ErrNoCompiler, err, first)
	}
	return nil
}
