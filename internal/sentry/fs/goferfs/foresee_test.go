package goferfs

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
)

// TestForeseenAtOnce has a task ask for a name while another foresees names of
// the same shared directory and takes what was foreseen away.
func TestForeseenAtOnce(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	fs := mountDir(t, root, Options{Shared: true}, func(f func()) error { go f(); return nil })
	i := fs.RootDentry().Inode().(*inode)
	asker, other := vfstest.NewCaller(vfstest.People[0]), vfstest.NewCaller(vfstest.People[1])
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !done.Load() {
			i.foresee(other, "g", nil, unix.ENOENT)
			i.unforesee()
		}
	})
	for range 20000 {
		e, err := i.answer(asker, "f")
		if err != 0 {
			t.Errorf("f: %v", err)
			break
		}
		e.drop()
	}
	done.Store(true)
	wg.Wait()
}
