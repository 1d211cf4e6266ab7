package gofer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// newTest gives a server of dir without a connection: handle is called.
func newTest(t testing.TB, m wire.GoferMount) *server {
	t.Helper()
	trees, err := openTrees(&wire.GoferConfig{Mounts: []wire.GoferMount{m}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(trees[0].root) })
	return newServer(nil, trees)
}

// ask makes a request and gives the error number, the rest of the reply and
// the descriptor or -1.
func ask(s *server, op wire.FSOp, path string, args func(e *wire.Encoder)) (unix.Errno, *wire.Decoder, int) {
	return askFlag(s, op, 0, path, args)
}

func askFlag(s *server, op wire.FSOp, flag uint8, path string, args func(e *wire.Encoder)) (unix.Errno, *wire.Decoder, int) {
	e := wire.NewEncoder()
	e.Request(op, flag, 0)
	e.Str(path)
	if args != nil {
		args(e)
	}
	s.handle(e.B, -1)
	d := &wire.Decoder{B: s.out.B}
	fd := s.send
	s.send = -1
	return unix.Errno(d.U32()), d, fd
}

func u32(v uint32) func(*wire.Encoder) { return func(e *wire.Encoder) { e.U32(v) } }

// tree makes a root with a file, a directory, links that lead out, a fifo and
// a socket; beside it lies a secret.
func makeTree(t testing.TB) (root string) {
	base := t.TempDir()
	root = filepath.Join(base, "root")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(root, "dir", "sub"), 0755),
		os.WriteFile(filepath.Join(root, "file"), []byte("inside"), 0644),
		os.WriteFile(filepath.Join(root, "dir", "file"), []byte("inside"), 0644),
		os.WriteFile(filepath.Join(base, "secret"), []byte("outside"), 0644),
		os.Symlink("../secret", filepath.Join(root, "out")),
		os.Symlink(base, filepath.Join(root, "up")),
		unix.Mkfifo(filepath.Join(root, "fifo"), 0644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPathsStayInside(t *testing.T) {
	s := newTest(t, wire.GoferMount{Root: makeTree(t)})
	for _, path := range []string{"..", "../secret", "dir/../../secret", "/etc/passwd", "/", "dir/", "dir//file", ".", "dir/./file", "up/secret", "up/root/file", "a\x00b"} {
		for _, op := range []wire.FSOp{wire.FSStat, wire.FSList, wire.FSOpen, wire.FSUnlink, wire.FSMkdir, wire.FSGetXattr} {
			e, _, fd := ask(s, op, path, func(e *wire.Encoder) { e.U32(0); e.U64(0); e.U64(0) })
			if e == 0 || fd >= 0 {
				t.Errorf("operation %d on %q is allowed", op, path)
			}
		}
	}
	for _, link := range []string{"out", "up"} {
		if e, _, fd := ask(s, wire.FSOpen, link, u32(unix.O_RDONLY)); e == 0 || fd >= 0 {
			t.Errorf("a link that leads out, %q, was opened", link)
		}
		if e, _, _ := ask(s, wire.FSList, link, func(e *wire.Encoder) { e.U64(0) }); e == 0 {
			t.Errorf("a link that leads out, %q, was listed", link)
		}
		if e, _, _ := ask(s, wire.FSStat, link, nil); e != 0 {
			t.Errorf("stat of the link %q itself: %v", link, e)
		}
	}
}

func TestWalkStaysInside(t *testing.T) {
	s := newTest(t, wire.GoferMount{Root: makeTree(t)})
	walk := func(path string, names ...string) (unix.Errno, uint32) {
		e, d, _ := ask(s, wire.FSWalk, "", func(e *wire.Encoder) {
			e.U32(2)
			for range 2 { // the second group is held to the same rules
				e.Str(path)
				e.U32(uint32(len(names)))
				for _, n := range names {
					e.Str(n)
				}
				path, names = "", []string{"dir"}
			}
		})
		return e, d.U32()
	}
	for _, c := range [][2]string{{"", ".."}, {"", "."}, {"", ""}, {"", "dir/sub"}, {"..", "root"}, {"dir/..", "dir"}, {"/", "etc"}, {"dir/", "sub"}, {".", "dir"}} {
		if e, _ := walk(c[0], c[1]); e == 0 {
			t.Errorf("a walk from %q in %q is allowed", c[1], c[0])
		}
	}
	for _, c := range [][2]string{{"", "up"}, {"", "out"}, {"up", "root"}, {"out", "x"}, {"none", "x"}} {
		if e, n := walk(c[0], c[1]); e != 0 || n != 2 { // those of the second group
			t.Errorf("a walk from %q in %q: %v, %d sections, want 2", c[1], c[0], e, n)
		}
	}
	if e, n := walk("", "dir"); e != 0 || n != 4 {
		t.Errorf("a walk from dir: %v, %d sections, want 4", e, n)
	}
	if e, n := walk("dir", "sub"); e != 0 || n != 3 {
		t.Errorf("a walk from dir/sub: %v, %d sections, want 3", e, n)
	}
}

func TestSpecialFilesAreNotOpened(t *testing.T) {
	root := makeTree(t)
	if os.Geteuid() == 0 {
		unix.Mknod(filepath.Join(root, "null"), unix.S_IFCHR|0666, int(unix.Mkdev(1, 3)))
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	dir, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0) // an address holds 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/s", dir)}); err != nil {
		t.Fatalf("a socket in the test's directory: %v", err)
	}
	s := newTest(t, wire.GoferMount{Root: root})
	for _, name := range []string{"fifo", "s", "null", "dir"} {
		for _, access := range []uint32{unix.O_RDONLY, unix.O_RDWR} {
			if e, _, fd := ask(s, wire.FSOpen, name, u32(access)); e == 0 || fd >= 0 {
				t.Errorf("%s was opened", name)
			}
		}
	}
	e, _, _ := ask(s, wire.FSMknod, "dev", func(e *wire.Encoder) { e.U32(unix.S_IFCHR | 0666); e.U32(0); e.U32(0) })
	if e != unix.EPERM {
		t.Errorf("making a device node: %v, want EPERM", e)
	}
}

func TestReadonly(t *testing.T) {
	s := newTest(t, wire.GoferMount{Root: makeTree(t), Readonly: true})
	many := func(e *wire.Encoder) {
		e.Str("x")
		e.U64(0)
		e.U64(0)
		e.U64(0)
		e.U64(0)
		e.U64(0)
	}
	for op := wire.FSCreate; op < wire.FSOpEnd; op++ {
		switch op {
		case wire.FSGetXattr, wire.FSListXattr, wire.FSStatfs, wire.FSWalk, wire.FSResolve:
			continue
		}
		if e, _, fd := ask(s, op, "new", many); e != unix.EROFS || fd >= 0 {
			t.Errorf("operation %d on a read-only mount: %v, want EROFS", op, e)
		}
	}
	for _, access := range []uint32{unix.O_RDWR, unix.O_WRONLY} {
		if e, _, _ := ask(s, wire.FSOpen, "file", u32(access)); e != unix.EROFS {
			t.Errorf("opening to write on a read-only mount: %v, want EROFS", e)
		}
	}
}

// TestForeignDescriptor holds that a descriptor that was not opened for writing
// gives no right to change its file.
func TestForeignDescriptor(t *testing.T) {
	root := makeTree(t)
	s := newTest(t, wire.GoferMount{Root: root})
	name := filepath.Join(filepath.Dir(root), "secret")
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	e := wire.NewEncoder()
	e.Request(wire.FSSetAttr, 0, 0)
	e.Str("file")
	e.SetAttr(&wire.FSSetAttrArgs{Mask: wire.FSSetMode, Mode: 0777})
	s.handle(e.B, fd)
	if got := unix.Errno((&wire.Decoder{B: s.out.B}).U32()); got != unix.EPERM {
		t.Errorf("chmod by a read-only descriptor: %v, want EPERM", got)
	}
}

func TestHostsKernelIsHidden(t *testing.T) {
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Fatal("no /proc is mounted")
	}
	s := newTest(t, wire.GoferMount{Root: "/", Readonly: true})
	e, d, _ := ask(s, wire.FSList, "proc", func(e *wire.Encoder) { e.U64(0) })
	if h := d.ListHeader(); e != 0 || h.Count != 0 || !h.Done {
		t.Errorf("the host's /proc: %v, %+v, want an empty directory", e, h)
	}
	for _, path := range []string{"proc/self", "proc/version", "proc/sys/kernel"} {
		if e, _, _ := ask(s, wire.FSStat, path, nil); e != unix.ENOENT {
			t.Errorf("stat of %s: %v, want ENOENT", path, e)
		}
		if e, _, fd := ask(s, wire.FSOpen, path, u32(unix.O_RDONLY)); e == 0 || fd >= 0 {
			t.Errorf("%s was opened", path)
		}
	}
}

// TestRace exchanges a directory for a link that leads out, again and again,
// while files below are opened: none may be the one outside.
func TestRace(t *testing.T) {
	root := makeTree(t)
	s := newTest(t, wire.GoferMount{Root: root})
	outside := filepath.Join(filepath.Dir(root), "outside")
	if err := os.MkdirAll(outside, 0755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "file"), []byte("outside"), 0644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, "dir"), unix.AT_FDCWD, filepath.Join(root, "link"), unix.RENAME_EXCHANGE)
		}
	}()
	buf := make([]byte, 16)
	for range 3000 {
		e, _, fd := ask(s, wire.FSOpen, "dir/file", u32(unix.O_RDONLY))
		if e != 0 {
			continue
		}
		n, _ := unix.Read(fd, buf)
		unix.Close(fd)
		if !bytes.Equal(buf[:n], []byte("inside")) {
			t.Errorf("a file outside the root was opened: %q", buf[:n])
			break
		}
	}
	stop.Store(true)
	<-done
}

func TestFilterIsShort(t *testing.T) {
	for _, writable := range []bool{false, true} {
		f := Filter(writable)
		if n := len(f.Calls()); n > 46 {
			t.Errorf("the filter (writable %v) allows %d host calls, more than 46", writable, n)
		}
		if _, err := f.Compile(); err != nil {
			t.Error(err)
		}
	}
}

// FuzzHandle gives the server messages of every kind: it must answer each, and
// stay within its root.
func FuzzHandle(f *testing.F) {
	for op := range wire.FSOpEnd {
		e := wire.NewEncoder()
		e.Request(op, 0, 0)
		e.Str("dir/file")
		e.Str("dir/other")
		e.U64(0)
		e.U64(0)
		f.Add(e.B)
	}
	root := makeTree(f)
	s := newTest(f, wire.GoferMount{Root: root})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > wire.MaxFSMessage {
			return
		}
		s.handle(b, -1)
		if s.send >= 0 {
			unix.Close(s.send)
			s.send = -1
		}
		if len(s.out.B) < wire.FSReplyHeader || len(s.out.B) > wire.MaxFSMessage {
			t.Fatalf("a reply of %d bytes", len(s.out.B))
		}
		if got, err := os.ReadFile(filepath.Join(filepath.Dir(root), "secret")); err != nil || string(got) != "outside" {
			t.Fatalf("the file outside is now %q, %v", got, err)
		}
	})
}
