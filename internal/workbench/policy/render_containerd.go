package policy

import (
	"fmt"
	"strings"
)

// containerdPlugin is where a version of containerd's configuration keeps the
// runtimes of Kubernetes' interface: 3 is containerd 2's, 2 is containerd 1's.
var containerdPlugin = map[int]string{
	3: `plugins.'io.containerd.cri.v1.runtime'.containerd`,
	2: `plugins."io.containerd.grpc.v1.cri".containerd`,
}

// Containerd renders the runtime entries of containerd's configuration. All of
// them run through the runc shim, which starts the program that BinaryName names.
// https://github.com/containerd/containerd/blob/main/docs/cri/config.md
func (p *Policy) Containerd(version int, systemd bool) (string, error) {
	plugin, ok := containerdPlugin[version]
	if !ok {
		return "", fmt.Errorf("--config-version %d: want 3 (containerd 2) or 2 (containerd 1.5 and later)", version)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by bulkhead policy render containerd from %s.\n", p.file)
	b.WriteString("# Put it where the imports of containerd's config.toml find it, or into that file; then restart containerd.\n")
	fmt.Fprintf(&b, "version = %d\n\n", version)
	fmt.Fprintf(&b, "[%s]\n  # What a pod gets that names no runtimeClassName.\n  default_runtime_name = '%s'\n", plugin, p.runtime(p.Absent).Handler)
	seen := map[string]bool{}
	for _, r := range p.Runtimes {
		if seen[r.Handler] {
			continue
		}
		seen[r.Handler] = true
		fmt.Fprintf(&b, "\n# wall %s: %s\n", r.Wall, r.Wall.about())
		fmt.Fprintf(&b, "[%s.runtimes.%s]\n  runtime_type = 'io.containerd.runc.v2'\n", plugin, r.Handler)
		if r.Wall != WallNone {
			// privileged is about the wall's own kernel, not about the host's devices.
			b.WriteString("  privileged_without_host_devices = true\n")
		}
		fmt.Fprintf(&b, "[%s.runtimes.%s.options]\n  BinaryName = '%s'\n", plugin, r.Handler, r.Binary)
		if systemd {
			b.WriteString("  SystemdCgroup = true\n")
		}
	}
	return b.String(), nil
}
