package container

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// SpecVersion is the version of the OCI runtime specification this
// implements.
var SpecVersion = specs.Version

// Runtime is what every command on containers works with.
type Runtime struct {
	Root          string // state directory; Init fills in the default
	Wall          Wall
	SystemdCgroup bool
	Rootless      string // "true", "false" or "auto": see rootless
	Warn          func(format string, a ...any)
	Debug         func(format string, a ...any)
}

// Init fills in defaults. It makes no directory.
func (rt *Runtime) Init() error {
	if rt.Warn == nil {
		rt.Warn = func(string, ...any) {}
	}
	if rt.Debug == nil {
		rt.Debug = func(string, ...any) {}
	}
	if rt.Root == "" {
		rt.Root = defaultRoot()
	}
	abs, err := filepath.Abs(rt.Root)
	if err != nil {
		return fmt.Errorf("--root %q: %w", rt.Root, err)
	}
	rt.Root = abs
	return nil
}

func defaultRoot() string {
	if os.Geteuid() != 0 || inUserNS() {
		if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
			return filepath.Join(dir, "bulkhead")
		}
		return fmt.Sprintf("/tmp/bulkhead-%d", os.Geteuid())
	}
	return "/run/bulkhead"
}

// rootless says whether cgroups that may not be made are to be done without.
func (rt *Runtime) rootless() bool {
	switch rt.Rootless {
	case "true":
		return true
	case "false":
		return false
	}
	return os.Geteuid() != 0 || inUserNS()
}

// inUserNS says whether this process is in a user namespace other than the
// first.
var inUserNS = sync.OnceValue(func() bool {
	raw, err := slurp("/proc/self/uid_map")
	if err != nil {
		return false
	}
	var inside, outside, size uint64
	if _, err := fmt.Sscan(raw, &inside, &outside, &size); err != nil {
		return false
	}
	return inside != 0 || outside != 0 || size != 1<<32-1
})

// CheckWall refuses a wall that this build does not have.
func CheckWall(w Wall) error {
	switch w {
	case WallSentry:
		return nil
	case WallVM:
		_, err := vmmExe()
		return err
	}
	return fmt.Errorf("--wall=%s: want sentry or vm", w)
}
