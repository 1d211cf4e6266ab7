package overlay

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/gofer"
	"bulkhead.dev/bulkhead/internal/sentry/fs/goferfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
	"bulkhead.dev/bulkhead/internal/wire"
)

const goferEnv = "BULKHEAD_TEST_GOFER"

// TestMain runs a real, confined Gofer when the test binary is started as one.
func TestMain(m *testing.M) {
	if os.Getenv(goferEnv) != "" {
		if err := gofer.Main([]string{"--conn-fd=3", "--config-fd=4"}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// goferProcess starts a Gofer process.
func goferProcess(t testing.TB, mounts ...wire.GoferMount) *goferfs.Client {
	t.Helper()
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); e == unix.ENOTSUP {
		t.Skip("on demand: CGO_ENABLED=0 go test runs it; built with cgo, as for the race detector, a process cannot confine itself")
	}
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	conn := os.NewFile(uintptr(p[1]), "conn")
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), goferEnv+"=1")
	cmd.ExtraFiles = []*os.File{conn, r}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	r.Close()
	if err := json.NewEncoder(w).Encode(wire.GoferConfig{Mounts: mounts}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	c := goferfs.NewClient(p[0])
	t.Cleanup(func() {
		c.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the Gofer's end: %v", err)
		}
	})
	return c
}

// find walks like find(1) -type f: it reads every directory, looks at the type
// of each entry, and stats directories.
func find(t testing.TB, g *vfstest.Guest, c vfs.Caller, dir string, statAll bool) (files int) {
	fd, e := vfs.Open(c, vfs.At{FS: g.FS}, dir, vfs.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW})
	if e != 0 {
		return 0
	}
	defer fd.DecRef()
	at := vfs.At{FS: g.FS, Dir: fd}
	var sub []string
	for {
		n := 0
		var names []string
		fd.ReadDir(c, func(d vfs.Dirent) bool {
			if n == 256 {
				return false
			}
			n++
			if d.Name == "." || d.Name == ".." {
				return true
			}
			if d.Type == unix.DT_REG {
				files++
			}
			if d.Type == unix.DT_DIR {
				sub = append(sub, d.Name)
			} else if statAll {
				names = append(names, d.Name)
			}
			return true
		})
		for _, name := range names {
			if _, e := vfs.Stat(c, at, name, 0); e != 0 {
				t.Fatalf("stat of %s/%s: %v", dir, name, e)
			}
		}
		if n == 0 {
			break
		}
	}
	for _, s := range sub {
		if _, e := vfs.Stat(c, at, s, 0); e == 0 {
			files += find(t, g, c, dir+"/"+s, statAll)
		}
	}
	return files
}

// TestWalk walks a tree by way of a confined Gofer process: far less than one
// message for each directory, and none the second time.
func TestWalk(t *testing.T) {
	root := t.TempDir()
	dirs := 1
	for i := range 20 {
		for j := range 5 {
			dir := fmt.Sprintf("%s/%d/%d", root, i, j)
			if err := os.MkdirAll(dir, 0755); err != nil {
				t.Fatal(err)
			}
			for k := range 10 {
				if err := os.WriteFile(fmt.Sprintf("%s/file%d", dir, k), []byte("x"), 0644); err != nil {
					t.Fatal(err)
				}
			}
			dirs++
		}
		dirs++
	}
	c := goferProcess(t, wire.GoferMount{Root: root, Readonly: true, Dest: "/"})
	fs, e := New(vfs.Internal, mount(t, c, goferfs.Options{Readonly: true}), "")
	if e != 0 {
		t.Fatal(e)
	}
	defer fs.Ops.Release()
	g := vfstest.NewGuest(fs)
	caller := vfstest.NewCaller(vfstest.People[0])
	for i, most := range []uint64{uint64(dirs) / 10, 0} {
		before := c.Calls()
		if n := find(t, g, caller, "/", true); n != 1000 {
			t.Errorf("walk %d: %d files, want 1000", i, n)
		}
		if n := c.Calls() - before; n > most {
			t.Errorf("walk %d of %d directories: %d messages, want at most %d", i, dirs, n, most)
		}
	}
}

// BenchmarkWalkUsr walks /usr by way of a Gofer process that has just been
// started, as `find /usr -type f` does.
func BenchmarkWalkUsr(b *testing.B) {
	for b.Loop() {
		start := time.Now()
		out, err := exec.Command("find", "/usr", "-type", "f", "-printf", "x").Output()
		native := time.Since(start)
		if err != nil {
			b.Fatal(err)
		}
		c := goferProcess(b, wire.GoferMount{Root: "/", Readonly: true, Dest: "/"})
		fs, e := New(vfs.Internal, mount(b, c, goferfs.Options{Readonly: true}), "")
		if e != 0 {
			b.Fatal(e)
		}
		g := vfstest.NewGuest(fs)
		start = time.Now()
		n := find(b, g, vfstest.NewCaller(vfstest.People[0]), "/usr", false)
		took := time.Since(start)
		if n != len(out) {
			b.Errorf("%d files, find(1) has %d", n, len(out))
		}
		b.ReportMetric(float64(took)/float64(native), "×native")
		b.ReportMetric(float64(c.Calls()), "messages")
		fs.Ops.Release()
	}
}
