package vmtest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal of the host's, seen from the user's side.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File // nil where somebody else made the pair
	seen   bytes.Buffer
}

func newTerminal(t *testing.T, rows, cols uint16) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.Fatal(errno)
	}
	term := &terminal{t: t, master: os.NewFile(uintptr(fd), "master"), slave: os.NewFile(peer, "slave")}
	t.Cleanup(func() { term.master.Close(); term.slave.Close() })
	term.resize(rows, cols)
	return term
}

func (x *terminal) control(f func(fd int)) {
	raw, err := x.master.SyscallConn()
	if err != nil {
		x.t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { f(int(fd)) }); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) resize(rows, cols uint16) {
	x.t.Helper()
	x.control(func(fd int) {
		if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
			x.t.Error(err)
		}
	})
}

func (x *terminal) mode() unix.Termios {
	x.t.Helper()
	var out unix.Termios
	x.control(func(fd int) {
		m, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			x.t.Error(err)
			return
		}
		out = *m
	})
	return out
}

func (x *terminal) write(s string) {
	x.t.Helper()
	if _, err := io.WriteString(x.master, s); err != nil {
		x.t.Fatal(err)
	}
}

// expect reads until the terminal shows a text, and forgets what came up to it.
func (x *terminal) expect(want string) {
	x.t.Helper()
	x.master.SetReadDeadline(time.Now().Add(limit))
	buf := make([]byte, 4096)
	for {
		if i := bytes.Index(x.seen.Bytes(), []byte(want)); i >= 0 {
			x.seen.Next(i + len(want))
			return
		}
		n, err := x.master.Read(buf)
		x.seen.Write(buf[:n])
		if err != nil {
			x.t.Fatalf("the terminal does not show %q: %v; it shows %q", want, err, x.seen.String())
		}
	}
}

// start starts a command of bulkhead's on the terminal, as its session's.
func (b *box) start(x *terminal, stderr *os.File, args ...string) *exec.Cmd {
	b.t.Helper()
	cmd := exec.Command(b.prog, append([]string{"--root", b.state}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = x.slave, x.slave, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	return cmd
}

// ends waits for a command's exit code.
func (b *box) ends(cmd *exec.Cmd, want int) {
	b.t.Helper()
	late := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	defer late.Stop()
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != want {
		b.t.Errorf("%v: exit code %d, want %d", cmd.Args[3:], got, want)
	}
}

// onTerminal is what the program inside has to see: its terminal's name and
// size, new sizes, and signals of the keyboard's. What it says of ^C it says again
// and again: the kernel sends the signal first and throws away what the terminal
// has not shown afterwards (ISIG without NOFLSH), the answer too if that was fast.
const onTerminal = `tty; stty size; trap 'echo now; stty size' WINCH; trap 'got=caught' INT; echo waiting
i=0; while [ $i -lt 3000 ]; do sleep 0.1; [ -z "$got" ] || echo $got; i=$((i+1)); done`

// use plays the user of onTerminal.
func (x *terminal) use(size string) {
	x.t.Helper()
	x.expect("/dev/pts/")
	x.expect(size)
	x.expect("waiting")
	x.resize(41, 121)
	x.expect("now")
	x.expect("41 121")
	x.write("\x03")
	x.expect("^C")
	x.expect("caught")
}

// TestConsoleSocket: an engine has the master of a container's terminal, and
// of an exec'ed process's.
func TestConsoleSocket(t *testing.T) {
	b := newBox(t)
	b.edit(func(c map[string]any) {
		p := c["process"].(map[string]any)
		p["terminal"], p["consoleSize"] = true, map[string]any{"height": 33, "width": 99}
	})
	b.args("sh", "-c", onTerminal)
	path, accept := listen(t)
	b.must("create", "--bundle", b.bundle, "--console-socket", path, b.id)
	x := accept()
	b.must("start", b.id)
	x.use("33 99")

	path, accept = listen(t)
	b.must("exec", "--detach", "--tty", "--console-socket", path, b.id, "sh", "-c",
		"trap 'stty size; exec sleep 1000' WINCH; echo waiting; while :; do sleep 0.1; done")
	y := accept()
	y.expect("waiting")
	y.resize(41, 121)
	y.expect("41 121")
	y.write("\x03")
	y.master.SetReadDeadline(time.Now().Add(limit))
	if _, err := io.Copy(io.Discard, y.master); err != nil && !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("the terminal's end: %v", err)
	}
	b.must("delete", "--force", b.id)
}

// TestTerminals: `run`, `exec --tty` and `do` on the user's own terminal, which
// is raw meanwhile and afterwards as before.
func TestTerminals(t *testing.T) {
	b := newBox(t)
	b.edit(func(c map[string]any) { c["process"].(map[string]any)["terminal"] = true })
	b.args("sh", "-c", onTerminal)
	x := newTerminal(t, 30, 100)
	before := x.mode()
	run := b.start(x, x.slave, "run", "--bundle", b.bundle, b.id)
	x.use("30 100")
	if x.mode().Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
		t.Error("the user's terminal is not raw while the container has it")
	}

	y := newTerminal(t, 20, 60)
	stderr, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	ex := b.start(y, stderr, "exec", "--tty", b.id, "sh", "-c", "stty size; echo apart >&2; sleep 1000")
	y.expect("20 60")
	for text := []byte(nil); !bytes.Contains(text, []byte("apart")); time.Sleep(20 * time.Millisecond) {
		text, _ = os.ReadFile(stderr.Name())
	}
	y.write("\x03")
	b.ends(ex, 130)
	b.must("kill", b.id, "KILL")
	b.ends(run, 137)
	if after := x.mode(); after != before {
		t.Errorf("the terminal's mode is %+v, was %+v", after, before)
	}
	b.must("delete", "--force", b.id)
}

// TestDoOnTerminal: ^C ends a command, and its end is told.
func TestDoOnTerminal(t *testing.T) {
	b := newBox(t)
	root := filepath.Join(b.bundle, "rootfs")
	x := newTerminal(t, 25, 70)
	do := b.start(x, x.slave, "do", "--wall=vm", "--root-dir", root, "--", "sh", "-c", "stty size; echo waiting; exec sleep 1000")
	x.expect("25 70")
	x.expect("waiting")
	x.write("\x03")
	b.ends(do, 130)
}

// listen listens as an engine does on its console socket.
func listen(t *testing.T) (path string, accept func() *terminal) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vmtest") // a short name: t.TempDir's may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, func() *terminal {
		t.Helper()
		defer unix.Close(fd)
		conn, _, err := unix.Accept(fd)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(conn)
		master, err := receive(conn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { master.Close() })
		return &terminal{t: t, master: master}
	}
}

func receive(conn int) (*os.File, error) {
	buf, oob := make([]byte, 128), make([]byte, 128)
	_, n, _, _, err := unix.Recvmsg(conn, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages (%v)", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("descriptors %v (%v)", fds, err)
	}
	err = unix.SetNonblock(fds[0], true) // for deadlines, before os.NewFile looks
	return os.NewFile(uintptr(fds[0]), "master"), err
}
