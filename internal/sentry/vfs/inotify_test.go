package vfs_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// record is an inotify instance that writes events down.
type record struct{ events []string }

func (r *record) WatchEvent(w *vfs.Watch, mask, cookie uint32, name string) {
	s := fmt.Sprintf("%d:%#x", w.WD, mask)
	if cookie != 0 {
		s += "+"
	}
	if name != "" {
		s += ":" + name
	}
	r.events = append(r.events, s)
}

func (r *record) take() string {
	s := strings.Join(r.events, " ")
	r.events = nil
	return s
}

func TestInotifyEvents(t *testing.T) {
	w := newWorld(t)
	w.mkdir("/d", "/e")
	r := &record{}
	watch := func(path string, wd int32, mask uint32) *vfs.Watch {
		p, e := vfs.Walk(w.c, w.at(), path, 0)
		if e != 0 {
			t.Fatal(path, e)
		}
		defer p.DecRef()
		return vfs.AddWatch(p.Inode(), r, wd, mask)
	}
	d := watch("/d", 1, unix.IN_ALL_EVENTS)
	defer d.Remove()
	steps := []struct {
		what string
		do   func()
		want string
	}{
		{"create and close", func() { w.touch("/d/f") }, "1:0x100:f 1:0x20:f 1:0x8:f"},
		{"watch the file", func() { watch("/d/f", 2, unix.IN_ALL_EVENTS) }, ""},
		{"write", func() {
			fd := w.open("/d/f", unix.O_WRONLY)
			fd.Write(w.c, []byte("x"))
			fd.DecRef()
		}, "1:0x20:f 2:0x20 1:0x2:f 2:0x2 1:0x8:f 2:0x8"},
		{"chmod", func() {
			p, _ := vfs.Walk(w.c, w.at(), "/d/f", 0)
			vfs.Chmod(w.c, p, 0600)
			p.DecRef()
		}, "1:0x4:f 2:0x4"},
		{"mkdir", func() { w.mkdir("/d/s") }, "1:0x40000100:s"},
		{"rename", func() { vfs.Rename(w.c, w.at(), "/d/f", w.at(), "/d/g", 0) }, "1:0x40+:f 1:0x80+:g 2:0x800"},
		{"rename away", func() { vfs.Rename(w.c, w.at(), "/d/s", w.at(), "/e/s", 0) }, "1:0x40000040+:s"},
		{"link", func() { vfs.Link(w.c, w.at(), "/d/g", w.at(), "/d/h", 0) }, "1:0x100:h 2:0x4"},
		{"unlink one", func() { vfs.Unlink(w.c, w.at(), "/d/h") }, "2:0x4 1:0x200:h"},
		{"unlink the last", func() { vfs.Unlink(w.c, w.at(), "/d/g") }, "2:0x4 1:0x200:g 2:0x400 2:0x8000"},
		{"remove the directory", func() { vfs.Rmdir(w.c, w.at(), "/d") }, "1:0x400 1:0x8000"},
	}
	for _, s := range steps {
		s.do()
		if got := r.take(); got != s.want {
			t.Errorf("%s: events %q, want %q", s.what, got, s.want)
		}
	}
}

func TestInotifyOneshot(t *testing.T) {
	w := newWorld(t)
	r := &record{}
	vfs.AddWatch(w.fs.Root().Inode(), r, 1, unix.IN_CREATE|unix.IN_ONESHOT)
	w.mkdir("/a", "/b")
	if got, want := r.take(), "1:0x40000100:a 1:0x8000"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}
