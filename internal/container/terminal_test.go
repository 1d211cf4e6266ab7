package container

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// consoleSocket listens as an engine does, and gives what it receives.
func consoleSocket(t *testing.T) (path string, master func() *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "console.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	return path, func() *os.File {
		defer unix.Close(fd)
		conn, _, err := unix.Accept(fd)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(conn)
		buf, oob := make([]byte, 128), make([]byte, 128)
		n, oobn, _, _, err := unix.Recvmsg(conn, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(msgs) != 1 {
			t.Fatalf("control messages %v, %v", msgs, err)
		}
		fds, err := unix.ParseUnixRights(&msgs[0])
		if err != nil || len(fds) != 1 {
			t.Fatalf("descriptors %v, %v", fds, err)
		}
		if name := string(buf[:n]); !strings.HasPrefix(name, "/dev/pts/") {
			t.Errorf("the message is %q", name)
		}
		if err := unix.SetNonblock(fds[0], true); err != nil { // for the deadline
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fds[0]), "master")
		f.SetDeadline(time.Now().Add(20 * time.Second))
		return f
	}
}

func TestConsoleSocket(t *testing.T) {
	w := newWorld(t)
	w.spec.Process.Terminal = true
	w.spec.Process.ConsoleSize = &specs.Box{Height: 33, Width: 99}
	w.spec.Process.Args = []string{"sh", "-c", "stty size; read x; echo got $x"}
	w.write()
	o := w.options("t")
	if err := w.rt.Create(o); err == nil || !strings.Contains(err.Error(), "--console-socket") {
		t.Errorf("a terminal without a console socket: %v", err)
	}
	path, accept := consoleSocket(t)
	o.ConsoleSocket = path
	if err := w.rt.Create(o); err != nil {
		t.Fatal(err)
	}
	master := accept()
	defer master.Close()
	w.start("t")
	r := bufio.NewReader(master)
	line, err := r.ReadString('\n')
	if err != nil || line != "33 99\n" {
		t.Errorf("size %q, %v", line, err)
	}
	master.WriteString("typed\n")
	if line, err := r.ReadString('\n'); err != nil || line != "got typed\n" {
		t.Errorf("answer %q, %v", line, err)
	}
	w.stopped("t")
}

// TestConsoleSocketRefused: a socket that nobody listens on fails the create.
func TestConsoleSocketRefused(t *testing.T) {
	w := newWorld(t)
	w.spec.Process.Terminal = true
	w.write()
	o := w.options("t")
	o.ConsoleSocket = filepath.Join(t.TempDir(), "none")
	if err := w.rt.Create(o); err == nil || !strings.Contains(err.Error(), "--console-socket") {
		t.Errorf("error %v", err)
	}
}

// TestRawMode: the caller's terminal is raw while a sandbox has it, and as
// before afterwards.
func TestRawMode(t *testing.T) {
	p, err := newPty(24, 80)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	cooked, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	cooked.Lflag |= unix.ICANON | unix.ECHO | unix.ISIG
	if err := unix.IoctlSetTermios(int(p.slave.Fd()), unix.TCSETS, cooked); err != nil {
		t.Fatal(err)
	}
	term, err := openTerminal(p.slave)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if raw.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
		t.Errorf("local modes %#x are not raw", raw.Lflag)
	}
	term.restore()
	after, _ := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if *after != *cooked {
		t.Errorf("modes %+v, were %+v", after, cooked)
	}
	if rows, cols, err := windowSize(p.slave); rows != 24 || cols != 80 || err != nil {
		t.Errorf("size %d×%d, %v", rows, cols, err)
	}
	if isTerminal(devNull(t)) {
		t.Error("/dev/null is a terminal")
	}
}
