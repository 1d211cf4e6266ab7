package gofer

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

const (
	envServe  = "BULKHEAD_TEST_GOFER"
	envEscape = "BULKHEAD_TEST_ESCAPE"
)

// TestMain runs a confined Gofer, or one that then tries to break out, when
// the test binary is started as such.
func TestMain(m *testing.M) {
	if os.Getenv(envServe) != "" {
		if err := Main([]string{"--conn-fd=3", "--config-fd=4"}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if root := os.Getenv(envEscape); root != "" {
		escape(root, os.Args[1])
	}
	os.Exit(m.Run())
}

// escape confines the process, then makes a call that must end it. It exits
// with 3 if it is still there, 4 if the call even succeeded.
func escape(root, what string) {
	trees, err := openTrees(&wire.GoferConfig{Mounts: []wire.GoferMount{{Root: root, Readonly: true}}})
	if err == nil {
		err = confineSelf(trees)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	switch what {
	case "open":
		_, err = unix.Open("/etc/passwd", unix.O_RDONLY, 0)
	case "socket":
		_, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	case "exec":
		err = unix.Exec("/bin/true", []string{"true"}, nil)
	case "landlock":
		// Allowed by the filter, since the path is relative to a descriptor;
		// an absolute one ignores it. Landlock stands in the way.
		_, err = unix.Openat(trees[0].root, "/etc/passwd", unix.O_RDONLY, 0)
		if err == unix.EACCES {
			os.Exit(0)
		}
	}
	if err == nil {
		os.Exit(4)
	}
	os.Exit(3)
}

// needsConfinement skips a test in a program that cannot confine itself.
func needsConfinement(t *testing.T) {
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); e == unix.ENOTSUP {
		t.Skip("on demand: CGO_ENABLED=0 go test runs it; built with cgo, as for the race detector, a process cannot confine itself")
	}
}

func TestConfinement(t *testing.T) {
	needsConfinement(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1)
	for _, what := range []string{"open", "socket", "exec", "landlock"} {
		if what == "landlock" && e != 0 {
			t.Logf("no Landlock in this kernel: %v", e)
			continue
		}
		cmd := exec.Command(exe, what)
		cmd.Env = append(os.Environ(), envEscape+"="+t.TempDir())
		out, err := cmd.CombinedOutput()
		st := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if what == "landlock" {
			if err != nil {
				t.Errorf("an absolute path, confined: %v %s", err, out)
			}
			continue
		}
		if !st.Signaled() || st.Signal() != unix.SIGSYS {
			t.Errorf("%s in a confined Gofer: %v, want SIGSYS: %s", what, err, out)
		}
	}
}

// TestProcess runs a real Gofer, asks it something, and ends it.
func TestProcess(t *testing.T) {
	needsConfinement(t)
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
	cmd.Env = append(os.Environ(), envServe+"=1")
	cmd.ExtraFiles = []*os.File{conn, r}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	r.Close()
	root := makeTree(t)
	if err := json.NewEncoder(w).Encode(wire.GoferConfig{Mounts: []wire.GoferMount{{Root: root, Dest: "/"}}}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	c, e := wire.NewFSConn(p[0]), wire.NewEncoder()
	e.Request(wire.FSCreate, 0, 0)
	e.Str("dir/new")
	e.U32(unix.S_IFREG | 0640)
	e.U32(uint32(os.Geteuid()))
	e.U32(uint32(os.Getegid()))
	if err := c.Send(e.B, -1); err != nil {
		t.Fatal(err)
	}
	b, fd, err := c.Receive()
	if err != nil || b == nil {
		t.Fatalf("no reply: %v", err)
	}
	if errno := (&wire.Decoder{B: b}).U32(); errno != 0 || fd < 0 {
		t.Fatalf("create: error %d, descriptor %d", errno, fd)
	}
	if _, err := unix.Write(fd, []byte("hello")); err != nil {
		t.Error(err)
	}
	unix.Close(fd)
	c.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the Gofer's end: %v", err)
	}
	if got, err := os.ReadFile(root + "/dir/new"); err != nil || string(got) != "hello" {
		t.Errorf("the file made has %q, %v", got, err)
	}
}
