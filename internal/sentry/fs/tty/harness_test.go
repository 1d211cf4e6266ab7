package tty

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/job"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// caller is a process of a test.
type caller struct {
	table        *table
	pid, pg, sid int32
	deaf         map[int]bool
	orphaned     bool
	creds        *auth.Creds
}

func (c *caller) Creds() *auth.Creds {
	if c.creds != nil {
		return c.creds
	}
	return auth.Root()
}
func (c *caller) Umask() uint32               { return 022 }
func (c *caller) TGID() int32                 { return c.pid }
func (c *caller) FSizeLimit() uint64          { return ^uint64(0) }
func (c *caller) SignalXFSZ()                 {}
func (c *caller) JobTable() job.Table         { return c.table }
func (c *caller) SessionID() int32            { return c.sid }
func (c *caller) ProcessGroupID() int32       { return c.pg }
func (c *caller) SessionLeader() bool         { return c.pid == c.sid }
func (c *caller) GroupOrphaned() bool         { return c.orphaned }
func (c *caller) SignalDeaf(sig int) bool     { return c.deaf[sig] }
func (c *caller) GroupSession(pg int32) int32 { return c.table.groups[pg] }
func (c *caller) ControllingTerminal() job.Terminal {
	return c.table.ttys[c.sid]
}
func (c *caller) SetControllingTerminal(t job.Terminal) {
	if old := c.table.ttys[c.sid]; t == nil && old != nil {
		delete(c.table.ttys, c.sid)
		c.table.ended = append(c.table.ended, c.sid)
		return
	}
	c.table.ttys[c.sid] = t
}

// table is the process table of a test; it writes down what it was told.
type table struct {
	groups map[int32]int32
	ttys   map[int32]job.Terminal
	log    []string
	ended  []int32
}

func newTable() *table {
	return &table{groups: map[int32]int32{10: 10, 11: 10, 20: 20}, ttys: map[int32]job.Terminal{}}
}

func (t *table) SignalGroup(sid, pg int32, sig int) {
	t.log = append(t.log, fmt.Sprintf("%s to %d in %d", unix.SignalName(unix.Signal(sig)), pg, sid))
}
func (t *table) HangUp(sid, fg int32, _ job.Terminal) {
	delete(t.ttys, sid)
	t.log = append(t.log, fmt.Sprintf("hang up %d, foreground %d", sid, fg))
}
func (t *table) TakeTerminal(sid int32, _ job.Terminal) {
	delete(t.ttys, sid)
	t.log = append(t.log, fmt.Sprintf("taken from %d", sid))
}

func (t *table) take() []string {
	l := t.log
	t.log = nil
	return l
}

// memory is a guest's: addresses are offsets.
type memory [256]byte

func (m *memory) CopyIn(a uint64, b []byte) abi.Errno {
	if a+uint64(len(b)) > uint64(len(m)) {
		return unix.EFAULT
	}
	copy(b, m[a:])
	return 0
}

func (m *memory) CopyOut(a uint64, b []byte) abi.Errno {
	if a+uint64(len(b)) > uint64(len(m)) {
		return unix.EFAULT
	}
	copy(m[a:], b)
	return 0
}

// rig is a pty to be driven: ours, or the host's.
type rig interface {
	write(master bool, b []byte) (int, abi.Errno)
	read(master bool, n int) ([]byte, abi.Errno)
	ioctl(master bool, cmd uint32, arg []byte) abi.Errno
	ioctlInt(master bool, cmd uint32, arg uint64) abi.Errno
}

type ours struct {
	c     vfs.Caller
	pair  *Pair
	files [2]*File
	fds   [2]*vfs.FileDescription
}

func index(master bool) int {
	if master {
		return 1
	}
	return 0
}

func newOurs(t testing.TB, c vfs.Caller, nonblock bool) *ours {
	t.Helper()
	p := NewPair(0, nil, nil)
	o := &ours{c: c, pair: p}
	flags := uint32(unix.O_RDWR)
	if nonblock {
		flags |= unix.O_NONBLOCK
	}
	o.files[1] = p.OpenMaster()
	o.fds[1] = vfs.NewDescription(vfs.Path{}, o.files[1], flags, vfs.FMODE_READ|vfs.FMODE_WRITE)
	if e := o.ioctl(true, unix.TIOCSPTLCK, make([]byte, 4)); e != 0 {
		t.Fatal(e)
	}
	f, e := p.OpenSlave(c, flags|unix.O_NOCTTY)
	if e != 0 {
		t.Fatal(e)
	}
	o.files[0] = f
	o.fds[0] = vfs.NewDescription(vfs.Path{}, f, flags, vfs.FMODE_READ|vfs.FMODE_WRITE)
	return o
}

func (o *ours) write(master bool, b []byte) (int, abi.Errno) {
	i := index(master)
	total := 0
	for {
		n, _, e := o.files[i].Write(o.c, o.fds[i], b[total:], 0)
		total += n
		if e != 0 || total == len(b) {
			if total > 0 {
				e = 0
			}
			return total, e
		}
	}
}

func (o *ours) read(master bool, n int) ([]byte, abi.Errno) {
	i := index(master)
	b := make([]byte, n)
	n, e := o.files[i].Read(o.c, o.fds[i], b, 0)
	return b[:n], e
}

func (o *ours) ioctl(master bool, cmd uint32, arg []byte) abi.Errno {
	i := index(master)
	var m memory
	copy(m[:], arg)
	_, e := o.files[i].Ioctl(o.c, o.fds[i], cmd, 0, &m)
	copy(arg, m[:])
	return e
}

func (o *ours) ioctlInt(master bool, cmd uint32, arg uint64) abi.Errno {
	i := index(master)
	var m memory
	_, e := o.files[i].Ioctl(o.c, o.fds[i], cmd, arg, &m)
	return e
}

type hosts struct{ fds [2]int }

func newHosts(t testing.TB) *hosts {
	t.Helper()
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("this host gives no pty to compare with (mount devpts): %v", err)
	}
	t.Cleanup(func() { unix.Close(m) })
	h := &hosts{}
	h.fds[1] = m
	if e := h.ioctl(true, unix.TIOCSPTLCK, make([]byte, 4)); e != 0 {
		t.Fatal(e)
	}
	s, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(m), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC)
	if e != 0 {
		t.Fatal(e)
	}
	t.Cleanup(func() { unix.Close(int(s)) })
	h.fds[0] = int(s)
	return h
}

func (h *hosts) write(master bool, b []byte) (int, abi.Errno) {
	n, err := unix.Write(h.fds[index(master)], b)
	if err != nil {
		return 0, err.(abi.Errno)
	}
	return n, 0
}

func (h *hosts) read(master bool, n int) ([]byte, abi.Errno) {
	b := make([]byte, n)
	n, err := unix.Read(h.fds[index(master)], b)
	if err != nil {
		return nil, err.(abi.Errno)
	}
	return b[:n], 0
}

func (h *hosts) ioctl(master bool, cmd uint32, arg []byte) abi.Errno {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(h.fds[index(master)]), uintptr(cmd), uintptr(unsafe.Pointer(&arg[0])))
	return e
}

func (h *hosts) ioctlInt(master bool, cmd uint32, arg uint64) abi.Errno {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(h.fds[index(master)]), uintptr(cmd), uintptr(arg))
	return e
}

// settled reads from the host until it has what ours gave; the host passes
// bytes on in a worker of its own.
func (h *hosts) settled(master bool, n int, want []byte, wantErr abi.Errno) ([]byte, abi.Errno) {
	var got []byte
	end := time.Now().Add(500 * time.Millisecond)
	for {
		b, e := h.read(master, n-len(got))
		got = append(got, b...)
		if bytes.Equal(got, want) && e == wantErr {
			return got, e
		}
		if e != unix.EAGAIN && len(b) == 0 || len(got) > len(want) || time.Now().After(end) {
			return got, e
		}
		if len(got) > 0 && len(got) >= len(want) {
			return got, e
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// poll makes the host pass on what was written.
func (h *hosts) poll() {
	unix.Poll([]unix.PollFd{{Fd: int32(h.fds[0]), Events: unix.POLLIN}, {Fd: int32(h.fds[1]), Events: unix.POLLIN}}, 0)
}

func word(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
