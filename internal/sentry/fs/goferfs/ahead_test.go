package goferfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
)

// bigTree makes directories in three levels, with more in them than a few
// messages hold.
func bigTree(t *testing.T) (root string, names []string) {
	root = t.TempDir()
	for a := range 10 {
		for b := range 5 {
			for c := range 4 {
				dir := filepath.Join(fmt.Sprintf("a%d", a), fmt.Sprintf("b%d", b), fmt.Sprintf("c%d", c))
				if err := os.MkdirAll(filepath.Join(root, dir), 0755); err != nil {
					t.Fatal(err)
				}
				for f := range 6 {
					name := filepath.Join(dir, fmt.Sprintf("file%0200d", f))
					if err := os.WriteFile(filepath.Join(root, name), nil, 0644); err != nil {
						t.Fatal(err)
					}
					names = append(names, "/"+name)
				}
			}
		}
	}
	slices.Sort(names)
	return root, names
}

// walkTree reads a tree as find does: each directory whole, then those in it.
// enter is called before a directory is read.
func walkTree(t *testing.T, at vfs.At, dir string, enter func(dir string)) (files []string) {
	t.Helper()
	enter(dir)
	fd, e := vfs.Open(vfs.Internal, at, dir+"/", vfs.OpenHow{Flags: unix.O_DIRECTORY})
	if e != 0 {
		t.Fatal(dir, e)
	}
	defer fd.DecRef()
	var dirs []string
	if e := fd.ReadDir(vfs.Internal, func(d vfs.Dirent) bool {
		switch {
		case d.Name == "." || d.Name == "..":
		case d.Type == unix.DT_DIR:
			dirs = append(dirs, dir+"/"+d.Name)
		default:
			files = append(files, dir+"/"+d.Name)
		}
		return true
	}); e != 0 {
		t.Fatal(dir, e)
	}
	for _, d := range dirs {
		files = append(files, walkTree(t, at, d, enter)...)
	}
	return files
}

// TestWalkAhead holds that a walk sees every file once, and what it costs.
func TestWalkAhead(t *testing.T) {
	root, want := bigTree(t)
	for _, spare := range []bool{true, false} {
		fs := mountDir(t, root, Options{}, func(f func()) error { go f(); return nil })
		at := vfs.At{FS: vfstest.NewGuest(fs).FS}
		client := fs.RootDentry().Inode().(*inode).fs.client
		client.Spare = func() bool { return spare }
		begun := 0
		client.Ahead = func(begins bool) {
			if begins != (client.sent != nil) {
				t.Error("told that the Gofer works ahead:", begins)
			}
			if begins {
				begun++
			}
		}
		got := walkTree(t, at, "", func(string) {})
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("ahead %v: %d files, want %d", spare, len(got), len(want))
		}
		// The names are long: a message has room for 50 of the 200 lowest.
		if n := client.Calls(); n > 8 {
			t.Errorf("ahead %v: %d messages for 260 directories", spare, n)
		}
		if spare && begun < 2 || !spare && begun > 0 {
			t.Errorf("ahead %v: asked for ahead %d times", spare, begun)
		}
		client.settle()
		if client.sent != nil && !spare {
			t.Error("something was asked for ahead, without a CPU for it")
		}
	}
}

// TestWalkAheadChanges has the guest make and remove files in directories that
// were asked for ahead, before it comes to them.
func TestWalkAheadChanges(t *testing.T) {
	root, want := bigTree(t)
	fs := mountDir(t, root, Options{}, func(f func()) error { go f(); return nil })
	at := vfs.At{FS: vfstest.NewGuest(fs).FS}
	n := 0
	got := walkTree(t, at, "", func(dir string) {
		if n++; n%7 != 0 || len(dir) < 8 { // "/aN/bN/cN"
			return
		}
		for _, e := range []abi.Errno{
			vfs.Mknod(vfs.Internal, at, dir+"/new", unix.S_IFREG|0644, 0),
			vfs.Unlink(vfs.Internal, at, dir+fmt.Sprintf("/file%0200d", 3)),
		} {
			if e != 0 {
				t.Fatal(dir, e)
			}
		}
		want = append(want, dir+"/new")
		gone := slices.Index(want, dir+fmt.Sprintf("/file%0200d", 3))
		want = slices.Delete(want, gone, gone+1)
	})
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
}
