package tmpfs

import (
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
)

// deep makes /usr/lib/x/y/file and gives the view of it.
func deep(t testing.TB) (*vfstest.Guest, vfs.Caller) {
	fs, e := New(vfs.Internal, "", 0, "mode=755")
	if e != 0 {
		t.Fatal(e)
	}
	g := vfstest.NewGuest(fs)
	at := vfs.At{FS: g.FS}
	for _, d := range []string{"/usr", "/usr/lib", "/usr/lib/x", "/usr/lib/x/y"} {
		if e := vfs.Mkdir(vfs.Internal, at, d, 0755); e != 0 {
			t.Fatal(e)
		}
	}
	fd, e := vfs.Open(vfs.Internal, at, "/usr/lib/x/y/file", vfs.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY, Mode: 0644})
	if e != 0 {
		t.Fatal(e)
	}
	fd.Write(vfs.Internal, make([]byte, 5000))
	fd.DecRef()
	vfs.Symlink(vfs.Internal, "usr/lib", at, "/lib")
	return g, vfstest.NewCaller(vfstest.People[1])
}

// TestCachedWalkAllocates holds the promise that a walk over cached names, a
// symlink and a name that does not exist among them, allocates nothing.
func TestCachedWalkAllocates(t *testing.T) {
	g, c := deep(t)
	at := vfs.At{FS: g.FS}
	for _, path := range []string{"/usr/lib/x/y/file", "/lib/x/y/../y/file", "/usr/lib/none", "usr/lib"} {
		n := testing.AllocsPerRun(100, func() {
			if p, e := vfs.Walk(c, at, path, vfs.LookupFollow); e == 0 {
				p.Stat(c)
				p.DecRef()
			}
		})
		if n != 0 {
			t.Errorf("a cached walk to %s allocates %v times", path, n)
		}
	}
	fd, _ := vfs.Open(c, at, "/lib/x/y/file", vfs.OpenHow{})
	defer fd.DecRef()
	buf := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() { fd.Pread(c, buf, 0) }); n != 0 {
		t.Errorf("a read allocates %v times", n)
	}
}

func BenchmarkStat(b *testing.B) {
	g, c := deep(b)
	at := vfs.At{FS: g.FS}
	b.ReportAllocs()
	for b.Loop() {
		if _, e := vfs.Stat(c, at, "/usr/lib/x/y/file", vfs.LookupFollow); e != 0 {
			b.Fatal(e)
		}
	}
}

func BenchmarkOpenClose(b *testing.B) {
	g, c := deep(b)
	at := vfs.At{FS: g.FS}
	t := vfs.NewFDTable()
	b.ReportAllocs()
	for b.Loop() {
		fd, e := vfs.Open(c, at, "/usr/lib/x/y/file", vfs.OpenHow{})
		if e != 0 {
			b.Fatal(e)
		}
		n, _ := t.Install(fd, 0, false, 1024)
		t.Close(c, n)
	}
}

func BenchmarkRead(b *testing.B) {
	g, c := deep(b)
	fd, _ := vfs.Open(c, vfs.At{FS: g.FS}, "/usr/lib/x/y/file", vfs.OpenHow{})
	buf := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		fd.Pread(c, buf, 10)
	}
}
