package tty

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

func wantLog(t *testing.T, tab *table, want ...string) {
	t.Helper()
	if got := tab.take(); !slices.Equal(got, want) {
		t.Fatalf("the process table was told %q, want %q", got, want)
	}
}

// controlled gives a pty that controls session 10, with group 10 in front, the
// leader, and a process of the background group 11.
func controlled(t *testing.T) (o *ours, leader, behind *caller) {
	t.Helper()
	tab := newTable()
	leader = &caller{table: tab, pid: 10, pg: 10, sid: 10}
	behind = &caller{table: tab, pid: 11, pg: 11, sid: 10}
	o = newOurs(t, leader, true)
	if e := o.ioctlInt(false, unix.TIOCSCTTY, 0); e != 0 {
		t.Fatal(e)
	}
	return o, leader, behind
}

func TestControllingTerminal(t *testing.T) {
	o, leader, _ := controlled(t)
	if leader.ControllingTerminal() != &o.pair.slave {
		t.Fatal("the session has not got the terminal")
	}
	if e := o.ioctlInt(false, unix.TIOCSCTTY, 0); e != 0 {
		t.Errorf("TIOCSCTTY again: %v", e)
	}
	other := &caller{table: leader.table, pid: 20, pg: 20, sid: 20}
	o.c = other
	if e := o.ioctlInt(false, unix.TIOCSCTTY, 0); e != unix.EPERM {
		t.Errorf("TIOCSCTTY by another session: %v, want EPERM", e)
	}
	if e := o.ioctl(false, unix.TIOCGPGRP, word(0)); e != unix.ENOTTY {
		t.Errorf("TIOCGPGRP by another session: %v, want ENOTTY", e)
	}
	if e := o.ioctlInt(false, unix.TIOCSCTTY, 1); e != 0 {
		t.Errorf("stealing the terminal: %v", e)
	}
	wantLog(t, leader.table, "taken from 10")
	pg := word(0)
	if e := o.ioctl(false, unix.TIOCGPGRP, pg); e != 0 || binary.LittleEndian.Uint32(pg) != 20 {
		t.Errorf("TIOCGPGRP: %v %v, want 20", pg, e)
	}
	if e := o.ioctl(false, tiocgsid, pg); e != 0 || binary.LittleEndian.Uint32(pg) != 20 {
		t.Errorf("TIOCGSID: %v %v, want 20", pg, e)
	}
}

func TestOpenAdopts(t *testing.T) {
	tab := newTable()
	leader := &caller{table: tab, pid: 10, pg: 10, sid: 10}
	member := &caller{table: tab, pid: 11, pg: 11, sid: 10}
	o := newOurs(t, leader, true)
	if _, e := o.pair.OpenSlave(member, unix.O_RDWR); e != 0 || tab.ttys[10] != nil {
		t.Fatalf("a member's open: %v, terminal %v", e, tab.ttys[10])
	}
	if _, e := o.pair.OpenSlave(leader, unix.O_WRONLY); e != 0 || tab.ttys[10] != nil {
		t.Fatalf("an open for writing: %v, terminal %v", e, tab.ttys[10])
	}
	if _, e := o.pair.OpenSlave(leader, unix.O_RDWR); e != 0 || tab.ttys[10] == nil {
		t.Fatalf("the leader's open: %v, terminal %v", e, tab.ttys[10])
	}
}

func TestForeground(t *testing.T) {
	o, leader, behind := controlled(t)
	tab := leader.table
	for _, c := range []struct {
		pg   int32
		want abi.Errno
	}{{-1, unix.EINVAL}, {77, unix.ESRCH}, {20, unix.EPERM}, {11, 0}} {
		if e := o.ioctl(false, unix.TIOCSPGRP, word(uint32(c.pg))); e != c.want {
			t.Errorf("TIOCSPGRP %d: %v, want %v", c.pg, e, c.want)
		}
	}
	o.write(true, []byte("\x03"))
	wantLog(t, tab, "SIGINT to 11 in 10")
	o.write(true, []byte("\x1c\x1a"))
	wantLog(t, tab, "SIGQUIT to 11 in 10", "SIGTSTP to 11 in 10")
	o.ioctl(true, unix.TIOCSWINSZ, []byte{1, 0, 1, 0, 0, 0, 0, 0})
	wantLog(t, tab, "SIGWINCH to 11 in 10")
	o.ioctl(true, unix.TIOCSWINSZ, []byte{1, 0, 1, 0, 0, 0, 0, 0})
	wantLog(t, tab)
	o.ioctlInt(true, tiocsig, uint64(unix.SIGINT))
	wantLog(t, tab, "SIGINT to 11 in 10")
	_ = behind
}

func TestBackground(t *testing.T) {
	o, leader, behind := controlled(t)
	tab := leader.table
	o.c = behind
	if _, e := o.read(false, 10); e != abi.ERESTARTSYS {
		t.Errorf("background read: %v, want ERESTARTSYS", e)
	}
	wantLog(t, tab, "SIGTTIN to 11 in 10")
	behind.deaf = map[int]bool{int(unix.SIGTTIN): true}
	if _, e := o.read(false, 10); e != unix.EIO {
		t.Errorf("background read, SIGTTIN ignored: %v, want EIO", e)
	}
	behind.deaf, behind.orphaned = nil, true
	if _, e := o.read(false, 10); e != unix.EIO {
		t.Errorf("read of an orphaned group: %v, want EIO", e)
	}
	behind.orphaned = false
	if _, e := o.write(false, []byte("x")); e != 0 {
		t.Errorf("background write without TOSTOP: %v", e)
	}
	wantLog(t, tab)
	n := o.pair.slave.termios
	n.Lflag |= unix.TOSTOP
	set := n.encode()
	if e := o.ioctl(false, unix.TCSETS, bytesOf(set)); e != abi.ERESTARTSYS {
		t.Errorf("background TCSETS: %v, want ERESTARTSYS", e)
	}
	wantLog(t, tab, "SIGTTOU to 11 in 10")
	o.c = leader
	if e := o.ioctl(false, unix.TCSETS, bytesOf(set)); e != 0 {
		t.Fatal(e)
	}
	o.c = behind
	if _, e := o.write(false, []byte("x")); e != abi.ERESTARTSYS {
		t.Errorf("background write with TOSTOP: %v, want ERESTARTSYS", e)
	}
	wantLog(t, tab, "SIGTTOU to 11 in 10")
	behind.deaf = map[int]bool{int(unix.SIGTTOU): true}
	if _, e := o.write(false, []byte("x")); e != 0 {
		t.Errorf("background write, SIGTTOU ignored: %v", e)
	}
}

func bytesOf(b [termios2Size]byte) []byte { return b[:] }

func TestHangUp(t *testing.T) {
	o, leader, _ := controlled(t)
	o.files[1].Release(nil)
	wantLog(t, leader.table, "hang up 10, foreground 10")
	if b, e := o.read(false, 10); e != 0 || len(b) != 0 {
		t.Errorf("read after a hang-up: %q, %v, want the end", b, e)
	}
	if _, e := o.write(false, []byte("x")); e != unix.EIO {
		t.Errorf("write after a hang-up: %v, want EIO", e)
	}
	if e := o.ioctl(false, unix.TCGETS, make([]byte, 60)); e != unix.EIO {
		t.Errorf("TCGETS after a hang-up: %v, want EIO", e)
	}
	want := waiter.In | waiter.Out | waiter.Err | waiter.Hup | waiter.RdNorm | waiter.WrNorm
	if ev := o.files[0].Ready(nil); ev != want {
		t.Errorf("ready after a hang-up: %#x, want %#x", ev, want)
	}
	if _, e := o.pair.OpenSlave(leader, unix.O_RDWR); e != unix.EIO {
		t.Errorf("open after a hang-up: %v, want EIO", e)
	}
}

// TestLastClose compares what the master sees when the slave is closed and
// opened again.
func TestLastClose(t *testing.T) {
	b := newBoth(t)
	b.write(false, "bye")
	b.o.files[0].Release(nil)
	unix.Close(b.h.fds[0])
	b.h.fds[0] = -1
	check := func() {
		t.Helper()
		p := []unix.PollFd{{Fd: int32(b.h.fds[1]), Events: unix.POLLIN | unix.POLLOUT}}
		unix.Poll(p, 0)
		if ev := b.o.files[1].Ready(nil) & (unix.POLLIN | unix.POLLOUT | unix.POLLHUP); uint32(p[0].Revents) != ev {
			t.Errorf("master ready for %#x, host %#x", ev, p[0].Revents)
		}
	}
	check()
	b.read(true, 100)
	check()
	b.read(true, 100)
	n, e := b.o.write(true, []byte("into nowhere\n"))
	hn, he := b.h.write(true, []byte("into nowhere\n"))
	if n != hn || e != he {
		t.Errorf("write without a slave: %d, %v; host %d, %v", n, e, hn, he)
	}
	if _, e := b.o.pair.OpenSlave(b.o.c, unix.O_RDWR|unix.O_NOCTTY); e != 0 {
		t.Errorf("open again: %v", e)
	}
	if ev := b.o.files[1].Ready(nil); ev&waiter.Hup != 0 {
		t.Error("the master is still hung up")
	}
}

func TestSessionEnds(t *testing.T) {
	o, leader, _ := controlled(t)
	o.pair.slave.SessionEnded(20, true)
	if o.pair.slave.ForegroundGroup() != 10 {
		t.Error("another session's end took the terminal")
	}
	o.pair.slave.SessionEnded(10, true)
	if o.pair.slave.ForegroundGroup() != 0 {
		t.Error("a foreground group without a session")
	}
	o, leader, _ = controlled(t)
	if e := o.ioctlInt(false, unix.TIOCNOTTY, 0); e != 0 || leader.ControllingTerminal() != nil {
		t.Errorf("TIOCNOTTY: %v", e)
	}
}

func TestLocked(t *testing.T) {
	p := NewPair(3, nil, nil)
	f := p.OpenMaster()
	c := &caller{table: newTable()}
	if _, e := p.OpenSlave(c, unix.O_RDWR); e != unix.EIO {
		t.Errorf("open of a locked slave: %v, want EIO", e)
	}
	fd := vfs.NewDescription(vfs.Path{}, f, unix.O_RDWR, vfs.FMODE_READ|vfs.FMODE_WRITE)
	if _, e := f.Read(c, fd, make([]byte, 1), 0); e != unix.EAGAIN {
		t.Errorf("read before the slave was opened: %v, want EAGAIN", e)
	}
}

// blockingRead does what a task does: read, wait for the queue, read again.
func blockingRead(t *testing.T, o *ours, n int) ([]byte, abi.Errno) {
	t.Helper()
	woken := make(chan struct{}, 1)
	e := waiter.Entry{Listener: wake(woken)}
	q := o.files[0].Queue(nil)
	q.Register(&e, waiter.In)
	defer q.Unregister(&e)
	for {
		b, errno := o.read(false, n)
		if errno != unix.EAGAIN {
			return b, errno
		}
		select {
		case <-woken:
		case <-time.After(10 * time.Second):
			t.Fatal("the reader was not woken")
		}
	}
}

type wake chan struct{}

func (w wake) Notified(*waiter.Entry, uint32) {
	select {
	case w <- struct{}{}:
	default:
	}
}

func TestMinAndTime(t *testing.T) {
	o := newOurs(t, &caller{table: newTable(), pid: 99, sid: 98}, false)
	set := func(min, tenths uint8) {
		n := o.pair.slave.termios
		n.Iflag, n.Lflag = 0, 0
		n.CC[unix.VMIN], n.CC[unix.VTIME] = min, tenths
		o.pair.slave.apply(n)
	}
	set(0, 1)
	start := time.Now()
	if b, e := blockingRead(t, o, 10); e != 0 || len(b) != 0 || time.Since(start) < 100*time.Millisecond {
		t.Errorf("MIN 0 TIME 1: %q, %v after %v", b, e, time.Since(start))
	}
	set(3, 0)
	o.write(true, []byte("ab"))
	if _, e := o.read(false, 10); e != unix.EAGAIN {
		t.Errorf("MIN 3 with 2 bytes there: %v, want EAGAIN", e)
	}
	if b, e := o.read(false, 2); e != 0 || string(b) != "ab" {
		t.Errorf("MIN 3, a read of 2: %q, %v", b, e)
	}
	set(3, 1)
	if _, e := o.read(false, 10); e != unix.EAGAIN {
		t.Errorf("MIN 3 TIME 1 before the first byte: %v", e)
	}
	o.write(true, []byte("x"))
	if b, e := blockingRead(t, o, 10); e != 0 || string(b) != "x" {
		t.Errorf("MIN 3 TIME 1: %q, %v, want x after a while", b, e)
	}
	if len(o.pair.slave.readWaits) != 0 {
		t.Error("clocks of readers are left over")
	}
}
