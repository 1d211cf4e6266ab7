package unix

import (
	"testing"

	"bulkhead.dev/bulkhead/internal/sentry/fs/tmpfs"
	"bulkhead.dev/bulkhead/internal/sentry/socket/sockettest"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"golang.org/x/sys/unix"
)

func path(s string) []byte { return append(append([]byte{1, 0}, s...), 0) }

func TestPaths(t *testing.T) {
	fs, e := tmpfs.New(vfs.Internal, "", 0, "mode=777")
	if e != 0 {
		t.Fatal(e)
	}
	tree := vfs.NewMountNamespace(fs, "none", 0)
	c, u := sockettest.Root(), sockettest.User(1000, 9)
	c.Tree = vfs.NewFSContext(tree.Root(), 022)
	u.Tree = vfs.NewFSContext(tree.Root(), 022)
	ns := NewNamespace()
	srv, _ := ns.New(unix.SOCK_STREAM, 0)
	wantErr(t, "bind in no directory", srv.Bind(c, path("/none/s")), unix.ENOENT)
	wantErr(t, "bind", srv.Bind(c, path("/s")), 0)
	wantErr(t, "listen", srv.Listen(c, 5), 0)
	other, _ := ns.New(unix.SOCK_STREAM, 0)
	wantErr(t, "bind to the same", other.Bind(c, path("/s")), unix.EADDRINUSE)
	b, _ := srv.SockName(nil)
	if string(b) != "\x01\x00/s\x00" {
		t.Errorf("name %q", b)
	}
	at := vfs.At{FS: c.Tree}
	a, e := vfs.Stat(c, at, "/s", 0)
	if e != 0 || a.Mode != unix.S_IFSOCK|0755 {
		t.Errorf("mode %o, %v", a.Mode, e)
	}
	_, e = other.Connect(u, path("/s"))
	wantErr(t, "connect without write permission", e, unix.EACCES)
	_, e = other.Connect(c, path("/nothing"))
	wantErr(t, "connect to nothing", e, unix.ENOENT)
	vfs.Mkdir(c, at, "/d", 0755)
	_, e = other.Connect(c, path("/d"))
	wantErr(t, "connect to a directory", e, unix.ECONNREFUSED)
	_, e = other.Connect(c, path("s"))
	wantErr(t, "connect", e, 0)
	if p, _ := other.PeerName(nil); string(p) != "\x01\x00/s\x00" {
		t.Errorf("peer %q", p)
	}
	srv.Release(nil)
	third, _ := ns.New(unix.SOCK_STREAM, 0)
	_, e = third.Connect(c, path("/s"))
	wantErr(t, "connect to what is left", e, unix.ECONNREFUSED)
	wantErr(t, "unlink", vfs.Unlink(c, at, "/s"), 0)
	wantErr(t, "bind again", third.Bind(c, path("/s")), 0)
}
