package overlay

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"bulkhead.dev/bulkhead/internal/sentry/fs/goferfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
)

// TestConcurrent has several tasks change one tree at once, on each kind of
// file system, with so few dentries that names come and go all the time.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	t.Cleanup(func() { // an ordinary user could not remove what has no permissions
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if d != nil && d.IsDir() {
				os.Chmod(path, 0700)
			}
			return nil
		})
	})
	c := startGofer(t, dir, func(f func()) error { go f(); return nil })
	shared := mount(t, c, goferfs.Options{Shared: true})
	plain := mount(t, c, goferfs.Options{})
	vfstest.Stress(1, 1, 300, vfstest.NewGuest(plain), vfstest.Limits{NoDevices: true})
	over, e := New(vfs.Internal, mount(t, c, goferfs.Options{Mount: 1, Readonly: true}), "size=64m")
	if e != 0 {
		t.Fatal(e)
	}
	for name, sys := range map[string]*vfs.Filesystem{"overlay": over, "goferfs": plain, "shared goferfs": shared} {
		t.Run(name, func(t *testing.T) {
			sys.SetDentryLimit(6)
			vfstest.Stress(2, 4, 500, vfstest.NewGuest(sys), vfstest.Limits{NoDevices: true})
		})
	}
}
