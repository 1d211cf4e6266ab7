package gofer

import (
	"os"
	"path/filepath"
	"testing"

	"bulkhead.dev/bulkhead/internal/wire"
)

// TestMountPoints: what is missing is made inside the root, wherever links lead,
// and nothing below an earlier mount.
func TestMountPoints(t *testing.T) {
	root := makeTree(t)
	for link, target := range map[string]string{"run": "var/run", "abs": "/dir", "loop": "loop", "var": "dir/sub/../../v"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	newTest(t, wire.GoferMount{Root: root, Readonly: true, MountPoints: []wire.MountPoint{
		{Path: "/proc"}, {Path: "/proc/sys"}, {Path: "/etc/hosts", File: true}, {Path: "/file", File: true}, {Path: "/run/lock"},
		{Path: "/abs/new"}, {Path: "/abs/new/deep"}, {Path: "/up/evil"}, {Path: "/out/evil"}, {Path: "/../../evil"}, {Path: "/loop/x"}, {Path: "/file/x"},
	}})
	for path, dir := range map[string]bool{"proc": true, "etc/hosts": false, "v/run/lock": true, "dir/new": true, "evil": true} {
		if st, err := os.Lstat(filepath.Join(root, path)); err != nil || st.IsDir() != dir {
			t.Errorf("%s: %v, directory %v", path, err, dir)
		}
	}
	for _, path := range []string{"proc/sys", "dir/new/deep", "../evil"} {
		if _, err := os.Lstat(filepath.Join(root, path)); err == nil {
			t.Errorf("%s was made", path)
		}
	}
	if b, err := os.ReadFile(filepath.Join(root, "../secret")); err != nil || string(b) != "outside" {
		t.Errorf("the file outside: %q, %v", b, err)
	}
}
