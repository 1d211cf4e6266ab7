package kernel

import "bulkhead.dev/bulkhead/internal/sentry/vfs"

// EachFSContext calls f for the root and working directory of every task, each
// once (pivot_root(2)).
func (k *Kernel) EachFSContext(f func(*vfs.FSContext)) {
	seen := map[*vfs.FSContext]bool{}
	for _, tg := range k.ThreadGroups() {
		for _, t := range tg.Tasks() {
			t.mu.Lock()
			fs := t.fs
			t.mu.Unlock()
			if fs != nil && !seen[fs] {
				seen[fs] = true
				f(fs)
			}
		}
	}
}
