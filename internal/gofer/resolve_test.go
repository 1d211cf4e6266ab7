package gofer

import (
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// TestResolve: several components in one message, never through a link.
func TestResolve(t *testing.T) {
	s := newTest(t, wire.GoferMount{Root: makeTree(t)})
	for _, c := range []struct {
		path, rest string
		err        unix.Errno
		count      uint32
		absent     uint8
		opened     bool
	}{
		{"", "dir/sub", 0, 2, 0, false},
		{"", "dir/file", 0, 2, 0, true},
		{"dir", "file", 0, 1, 0, true},
		{"", "dir/none/more", 0, 1, 1, false},
		{"", "none/more", unix.ENOENT, 0, 0, false},
		{"", "file/more", 0, 1, 0, false},
		{"", "fifo", 0, 1, 0, false},
		{"", "up/secret", 0, 1, 0, false}, // the link alone
		{"", "out", 0, 1, 0, false},
		{"", "dir/../../secret", unix.EINVAL, 0, 0, false},
		{"", "", unix.EINVAL, 0, 0, false},
		{"", "/etc/passwd", unix.EINVAL, 0, 0, false},
		{"up", "secret", unix.ELOOP, 0, 0, false},
		{"file", "x", unix.ENOTDIR, 0, 0, false},
	} {
		e, d, fd := askFlag(s, wire.FSResolve, wire.FSStatOpen, c.path, func(e *wire.Encoder) { e.Str(c.rest) })
		if e != c.err && !(c.err == unix.ELOOP && e == unix.ENOTDIR) {
			t.Errorf("%q %q: %v, want %v", c.path, c.rest, e, c.err)
		}
		if e != 0 {
			continue
		}
		n := d.U32()
		for range n {
			d.Attr(&wire.FSAttr{})
			d.Str()
		}
		if absent := d.U8(); n != c.count || absent != c.absent || d.Bad {
			t.Errorf("%q %q: %d components, absent %d; want %d, %d", c.path, c.rest, n, absent, c.count, c.absent)
		}
		if (fd >= 0) != c.opened {
			t.Errorf("%q %q: descriptor %d", c.path, c.rest, fd)
		}
		if fd >= 0 {
			f := os.NewFile(uintptr(fd), c.rest)
			if b, err := io.ReadAll(f); string(b) != "inside" {
				t.Errorf("%q %q: the descriptor reads %q, %v", c.path, c.rest, b, err)
			}
			f.Close()
		}
	}
}
