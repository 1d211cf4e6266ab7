package hostfile

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/tty"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

func wrap(t *testing.T, fd int) *vfs.FileDescription {
	t.Helper()
	d, e := New(fd, vfs.Internal)
	if e != 0 {
		t.Fatal(e)
	}
	return d
}

func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return p[0], p[1]
}

func TestPipeNeverBlocks(t *testing.T) {
	r, w := pipe(t)
	in, out := wrap(t, r), wrap(t, w)
	buf := make([]byte, 10)
	if _, e := in.Read(vfs.Internal, buf); e != unix.EAGAIN {
		t.Fatalf("read of an empty pipe: %v, want EAGAIN", e)
	}
	if in.Ready()&waiter.In != 0 || out.Ready()&waiter.Out == 0 {
		t.Errorf("ready: %#x and %#x", in.Ready(), out.Ready())
	}
	chunk := make([]byte, 8192)
	for {
		if _, e := out.Write(vfs.Internal, chunk); e == unix.EAGAIN {
			break
		} else if e != 0 {
			t.Fatal(e)
		}
	}
	fl, _ := unix.FcntlInt(uintptr(r), unix.F_GETFL, 0)
	if fl&unix.O_NONBLOCK != 0 {
		t.Error("the descriptor's own flags were changed")
	}
	in.DecRef()
	if _, e := out.Write(vfs.Internal, chunk); e != unix.EPIPE {
		t.Errorf("write without a reader: %v, want EPIPE", e)
	}
	out.DecRef()
	if _, err := unix.FcntlInt(uintptr(r), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the descriptor is still open: %v", err)
	}
}

func TestPollerWakes(t *testing.T) {
	r, w := pipe(t)
	defer unix.Close(w)
	in := wrap(t, r)
	defer in.DecRef()
	got := make(chan string, 1)
	go func() {
		buf := make([]byte, 10)
		n, _ := newWaiting().read(in, buf, nil)
		got <- string(buf[:n])
	}()
	unix.Write(w, []byte("hello"))
	select {
	case s := <-got:
		if s != "hello" {
			t.Errorf("read %q", s)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody told the reader")
	}
}

func TestSocket(t *testing.T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b := wrap(t, p[0]), wrap(t, p[1])
	defer a.DecRef()
	buf := make([]byte, 10)
	if _, e := a.Read(vfs.Internal, buf); e != unix.EAGAIN {
		t.Errorf("read of an empty socket: %v", e)
	}
	if n, e := b.Write(vfs.Internal, []byte("x")); n != 1 || e != 0 {
		t.Errorf("write: %d, %v", n, e)
	}
	if n, e := a.Read(vfs.Internal, buf); n != 1 || e != 0 {
		t.Errorf("read: %d, %v", n, e)
	}
	b.DecRef()
	if n, e := a.Read(vfs.Internal, buf); n != 0 || e != 0 {
		t.Errorf("read at the end: %d, %v", n, e)
	}
}

func TestRegularSharesOffset(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	host, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	host.WriteString("before ")
	dup, err := unix.FcntlInt(host.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := wrap(t, dup)
	fd.Write(vfs.Internal, []byte("inside "))
	fd.DecRef()
	host.WriteString("after")
	if b, _ := os.ReadFile(name); string(b) != "before inside after" {
		t.Errorf("the file has %q", b)
	}
}

func TestRefusesDirectories(t *testing.T) {
	fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, e := New(fd, vfs.Internal); e != unix.EINVAL {
		t.Errorf("a directory: %v, want EINVAL", e)
	}
}

// hostPTY gives a pty of the host in raw mode, as a user's terminal is.
func hostPTY(t *testing.T) (master, slave int) {
	t.Helper()
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("this host gives no pty (mount devpts): %v", err)
	}
	t.Cleanup(func() { unix.Close(m) })
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	s, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(m), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if e != 0 {
		t.Fatal(e)
	}
	set, err := unix.IoctlGetTermios(int(s), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	set.Iflag, set.Oflag, set.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(int(s), unix.TCSETS, set); err != nil {
		t.Fatal(err)
	}
	return m, int(s)
}

type memory [64]byte

func (m *memory) CopyIn(a uint64, b []byte) abi.Errno  { copy(b, m[a:]); return 0 }
func (m *memory) CopyOut(a uint64, b []byte) abi.Errno { copy(m[a:], b); return 0 }

func TestTerminal(t *testing.T) {
	m, s := hostPTY(t)
	fd := wrap(t, s)
	defer fd.DecRef()
	unix.IoctlSetWinsize(m, unix.TIOCSWINSZ, &unix.Winsize{Row: 7, Col: 9})
	var mem memory
	if _, e := fd.Ioctl(vfs.Internal, unix.TIOCGWINSZ, 0, &mem); e != 0 || mem[0] != 7 || mem[2] != 9 {
		t.Errorf("TIOCGWINSZ: %v, %v", mem[:4], e)
	}
	if _, e := fd.Ioctl(vfs.Internal, unix.TIOCSTI, 0, &mem); e != abi.ENOIOCTLCMD {
		t.Errorf("TIOCSTI: %v, must not reach the host", e)
	}
	if _, ok := IsTerminal(fd); !ok {
		t.Error("not taken for a terminal")
	}
	buf := make([]byte, 10)
	if _, e := fd.Read(vfs.Internal, buf); e != unix.EAGAIN {
		t.Errorf("read of an idle terminal: %v", e)
	}
	unix.Write(m, []byte("k"))
	if n, e := newWaiting().read(fd, buf, nil); n != 1 || e != 0 || buf[0] != 'k' {
		t.Errorf("read: %q, %v", buf[:n], e)
	}
}

func TestRelay(t *testing.T) {
	m, s := hostPTY(t)
	s2, err := unix.FcntlInt(uintptr(s), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.IoctlSetWinsize(m, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	pair := tty.NewPair(0, nil, nil)
	r, e := NewRelay(s, s2, pair, pair.OpenMaster())
	if e != 0 {
		t.Fatal(e)
	}
	pair.Unlock()
	f, e := pair.OpenSlave(vfs.Internal, unix.O_RDWR|unix.O_NOCTTY)
	if e != 0 {
		t.Fatal(e)
	}
	slave := vfs.DescribeLoose(mount(), "x", wrap(t, dupNull(t)).Inode(), f, unix.O_RDWR, vfs.FMODE_READ|vfs.FMODE_WRITE)
	unix.Write(m, []byte("typed\r"))
	buf := make([]byte, 100)
	if n, e := newWaiting().read(slave, buf, nil); e != 0 || string(buf[:n]) != "typed\n" {
		t.Errorf("the guest reads %q, %v", buf[:n], e)
	}
	slave.Write(vfs.Internal, []byte("out\n"))
	slave.DecRef()
	r.Drain(10 * time.Second)
	var got []byte
	for len(got) < len("typed\r\nout\r\n") {
		n, err := unix.Read(m, buf)
		if err != nil {
			break
		}
		got = append(got, buf[:n]...)
	}
	if !bytes.Equal(got, []byte("typed\r\nout\r\n")) {
		t.Errorf("the terminal shows %q", got)
	}
}

func dupNull(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
