package internal

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "bulkhead.dev/bulkhead/"

// forbidden lists what a package (prefix) must not import (prefixes).
var forbidden = []struct{ pkg, imports, why string }{
	{"internal/abi", "internal/", "abi imports nothing of this project"},
	{"internal/wire", "internal/sentry", "messages know nothing of the kernel"},
	{"internal/platform", "internal/sentry", "the platform knows nothing of the kernel"},
	{"internal/container", "internal/sentry", "the lifecycle reaches the Sentry by exec and sockets"},
	{"internal/container", "internal/gofer", "the lifecycle reaches the Gofer by exec and sockets"},
	{"internal/container", "internal/vm", "the lifecycle reaches the VM's monitor by exec and sockets"},
	{"internal/vm", "internal/container", "the VM wall knows nothing of the lifecycle"},
	{"internal/vm", "internal/sentry", "the walls know nothing of each other"},
	{"internal/gofer", "internal/sentry", "the Gofer is a process of its own"},
	{"internal/sentry/vfs", "internal/sentry/fs", "file systems import vfs"},
	{"internal/sentry/vfs", "internal/sentry/kernel", "the kernel imports vfs"},
	{"internal/sentry/fs", "internal/sentry/kernel", "fs and kernel meet through job and inspect"},
	{"internal/sentry/kernel", "internal/sentry/fs", "fs and kernel meet through job and inspect"},
	{"internal/sentry/socket", "internal/sentry/kernel", "sockets know callers, not tasks"},
	{"internal/agent", "internal/container", "PID 1 of a guest knows messages alone"},
	{"internal/agent", "internal/vm", "PID 1 of a guest knows messages alone"},
	{"internal/agent", "internal/sentry", "the walls know nothing of each other"},
	{"internal/sentry", "internal/container", "the Sentry knows nothing of the lifecycle"},
	{"internal/sentry", "github.com/vishvananda/netlink", "heavy: the launcher's"},
	{"internal/sentry", "github.com/opencontainers", "the launcher's"},
}

// TestLayers holds the import directions of ARCHITECTURE.md.
func TestLayers(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}|{{join .Imports \" \"}}", "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	checked := 0
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		pkg, imports, _ := strings.Cut(line, "|")
		pkg = strings.TrimPrefix(pkg, module)
		if strings.HasSuffix(pkg, "test") {
			continue // support of tests
		}
		for _, imp := range strings.Fields(imports) {
			imp = strings.TrimPrefix(imp, module)
			for _, f := range forbidden {
				if within(pkg, f.pkg) && within(imp, f.imports) && !within(imp, f.pkg) {
					t.Errorf("%s imports %s: %s", pkg, imp, f.why)
				}
			}
			checked++
		}
	}
	if checked < 100 {
		t.Fatalf("only %d imports were looked at", checked)
	}
}

func within(pkg, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}
