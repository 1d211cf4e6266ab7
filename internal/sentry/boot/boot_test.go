package boot

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/fs/dev"
	"bulkhead.dev/bulkhead/internal/sentry/fs/hostfile"
	"bulkhead.dev/bulkhead/internal/sentry/fs/tmpfs"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/syscalls"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

var testPlatform *platform.Platform

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "stays" {
		s := &sandbox{k: kernel.New(kernel.Config{})}
		s.mustEnd(time.Millisecond)
		time.Sleep(time.Minute)
		os.Exit(0)
	}
	runtime.LockOSThread()
	p, err := platform.New("/proc/")
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	testPlatform = p
	code := m.Run()
	p.Close()
	os.Exit(code)
}

// TestMustEnd: a Sentry that stays says where it is.
func TestMustEnd(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", "stays")
	cmd.Stderr = w
	if err := cmd.Start(); err != nil { // its end is the platform's to see
		t.Fatal(err)
	}
	w.Close()
	said, _ := io.ReadAll(r)
	for _, want := range []string{"init ended 1ms ago, and the Sentry has not", "0 tasks in 0 processes", "time.Sleep"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
}

func TestBusybox(t *testing.T) {
	fs, e := tmpfs.New(vfs.Internal, "root", 0, "")
	if e != 0 {
		t.Fatal(e)
	}
	ns := vfs.NewMountNamespace(fs, "root", 0)
	fc := vfs.NewFSContext(ns.Root(), 022)
	at := vfs.At{FS: fc}
	for _, d := range []string{"/bin", "/dev", "/tmp"} {
		if e := vfs.Mkdir(vfs.Internal, at, d, 0755); e != 0 {
			t.Fatal(d, e)
		}
	}
	if e := dev.Populate(vfs.Internal, at, "/dev"); e != 0 {
		t.Fatal(e)
	}
	data, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	fd, e := vfs.Open(vfs.Internal, at, "/bin/busybox", vfs.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY, Mode: 0755})
	if e != 0 {
		t.Fatal(e)
	}
	if n, e := fd.Write(vfs.Internal, data); e != 0 || n != len(data) {
		t.Fatal(n, e)
	}
	fd.DecRef()

	k := kernel.New(kernel.Config{Hostname: "box"})
	k.Attach(testPlatform, syscalls.Dispatch, os.Getenv("STRACE") != "")
	task, e := k.NewProcess(auth.Root(), "init")
	if e != 0 {
		t.Fatal(e)
	}
	fds := vfs.NewFDTable()
	for i := int32(0); i < 3; i++ {
		h, err := unix.Dup(int(i))
		if err != nil {
			t.Fatal(err)
		}
		f, e := hostfile.New(h, vfs.Internal)
		if e != 0 {
			t.Fatal(e)
		}
		if e := fds.InstallAt(vfs.Internal, f, i, false, 1024); e != 0 {
			t.Fatal(e)
		}
	}
	status := make(chan uint32, 1)
	task.ThreadGroup().SetExitHook(func(s uint32) { status <- s })
	cmd := os.Getenv("CMD")
	if cmd == "" {
		cmd = "echo hello; ls -la /; echo a | cat; for i in 1 2 3; do /bin/busybox true; done; exit 7"
	}
	task.StartProgram(fds, fc, &kernel.ExecArgs{At: at, Path: "/bin/busybox", How: vfs.LookupFollow, Argv: []string{"sh", "-c", cmd}, Envv: []string{"PATH=/bin"}}, func(e unix.Errno) {
		if e != 0 {
			t.Errorf("exec: %v", e)
			status <- 0xffff
		}
	})
	select {
	case s := <-status:
		t.Logf("status %#x", s)
		if s != 7<<8 {
			t.Fatal("status")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("timeout")
	}
}
