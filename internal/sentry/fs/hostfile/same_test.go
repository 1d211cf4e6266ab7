package hostfile

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSameOpenFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	open := func() int {
		fd, err := unix.Open(name, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	a, other := open(), open()
	dup, err := unix.Dup(a)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	if !SameOpenFile(a, dup) {
		t.Error("a duplicate is not known")
	}
	if SameOpenFile(a, other) {
		t.Error("two opens of a file are taken for one")
	}
	if off, _ := unix.Seek(dup, 0, unix.SEEK_CUR); off != 0 {
		t.Errorf("the offset was left at %d", off)
	}
}
