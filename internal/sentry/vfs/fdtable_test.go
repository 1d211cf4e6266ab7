package vfs_test

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

func TestFDTable(t *testing.T) {
	w := newWorld(t)
	tab := vfs.NewFDTable()
	fd := w.open("/f", unix.O_CREAT|unix.O_RDWR)
	for want := range int32(200) {
		fd.IncRef()
		if n, e := tab.Install(fd, 0, want%2 == 1, 1000); n != want || e != 0 {
			t.Fatalf("descriptor %d, %v, want %d", n, e, want)
		}
	}
	w.want("close", tab.Close(w.c, 7), 0)
	w.want("close twice", tab.Close(w.c, 7), unix.EBADF)
	fd.IncRef()
	if n, _ := tab.Install(fd, 100, false, 1000); n != 200 {
		t.Errorf("lowest from 100: %d, want 200", n)
	}
	fd.IncRef()
	if n, _ := tab.Install(fd, 0, false, 1000); n != 7 {
		t.Errorf("lowest: %d, want 7", n)
	}
	if _, e := tab.Install(fd, 0, false, 100); e != unix.EMFILE {
		t.Errorf("past the limit: %v, want EMFILE", e)
	}
	if _, e := tab.Install(fd, 100, false, 100); e != unix.EINVAL {
		t.Errorf("F_DUPFD past the limit: %v, want EINVAL", e)
	}
	fd.IncRef()
	w.want("dup2", tab.InstallAt(w.c, fd, 500, true, 1000), 0)
	fork := tab.Fork()
	fork.CloseOnExec(w.c)
	if n := fork.Count(); n != 102 {
		t.Errorf("%d descriptors after exec, want 102", n)
	}
	tab.CloseRange(w.c, 3, ^uint32(0))
	if n := tab.Count(); n != 3 {
		t.Errorf("%d descriptors after close_range, want 3", n)
	}
	fork.DecRef(w.c)
	tab.DecRef(w.c)
	if n := fd.Refs(); n != 1 {
		t.Errorf("%d references are left, want 1", n)
	}
	fd.DecRef()
}

// TestFDTableRace reads the table while another task changes it.
func TestFDTableRace(t *testing.T) {
	w := newWorld(t)
	tab := vfs.NewFDTable()
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		defer wg.Done()
		for range 3000 {
			n, _ := tab.Install(w.open("/", 0), 0, false, 1000)
			tab.Close(w.c, n)
		}
	}()
	go func() {
		defer wg.Done()
		for range 30000 {
			if fd, e := tab.Get(0); e == 0 {
				if fd.Refs() < 1 {
					t.Error("a description without references was given")
				}
				fd.DecRef()
			}
		}
	}()
	wg.Wait()
}
