package vfs

// Filesystems lists the file systems mounted in ns, each once: sync(2).
func (ns *MountNamespace) Filesystems() []*Filesystem {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	seen := map[*Filesystem]bool{}
	var out []*Filesystem
	for _, m := range ns.order {
		if !seen[m.FS] {
			seen[m.FS] = true
			out = append(out, m.FS)
		}
	}
	return out
}
