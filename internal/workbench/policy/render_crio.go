package policy

import (
	"fmt"
	"strings"
)

// CRIO renders the runtime entries of CRI-O's configuration (crio.conf(5),
// crio.conf.d(5)), which starts each program by itself, without a shim. Each
// has a state directory of its own.
func (p *Policy) CRIO() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by bulkhead policy render crio from %s.\n", p.file)
	b.WriteString("# Put it into /etc/crio/crio.conf.d/; then restart CRI-O.\n")
	fmt.Fprintf(&b, "[crio.runtime]\n# What a pod gets that names no runtimeClassName.\ndefault_runtime = \"%s\"\n", p.runtime(p.Absent).Handler)
	seen := map[string]bool{}
	for _, r := range p.Runtimes {
		if seen[r.Handler] {
			continue
		}
		seen[r.Handler] = true
		fmt.Fprintf(&b, "\n# wall %s: %s\n[crio.runtime.runtimes.%s]\nruntime_path = \"%s\"\nruntime_type = \"oci\"\nruntime_root = \"/run/%s\"\n",
			r.Wall, r.Wall.about(), r.Handler, r.Binary, r.Handler)
		if r.Wall != WallNone {
			// privileged is about the wall's own kernel, not about the host's devices.
			b.WriteString("privileged_without_host_devices = true\n")
		}
	}
	return b.String()
}
