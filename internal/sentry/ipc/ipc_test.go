package ipc

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// caller is a task of a test.
type caller struct {
	vfs.Caller
	pid    int32
	creds  *auth.Creds
	wake   chan struct{}
	signal chan struct{}
	asleep chan struct{} // told each time it goes to sleep
}

func newCaller(pid int32, uid uint32) *caller {
	cr := auth.Root()
	if uid != 0 {
		cr = &auth.Creds{EUID: uid, EGID: uid}
	}
	return &caller{vfs.Internal, pid, cr, make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 8)}
}

func (c *caller) Creds() *auth.Creds { return c.creds }
func (c *caller) TGID() int32        { return c.pid }
func (c *caller) Notified(*waiter.Entry, uint32) {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *caller) Block(deadline int64) abi.Errno {
	c.asleep <- struct{}{}
	var late <-chan time.Time
	if deadline != 0 {
		late = time.After(time.Millisecond)
	}
	select {
	case <-c.wake:
		return 0
	case <-c.signal:
		return abi.ERESTARTSYS
	case <-late:
		return unix.ETIMEDOUT
	case <-time.After(10 * time.Second):
		panic("nobody wakes the task")
	}
}

func TestKeys(t *testing.T) {
	n := New()
	c, other := newCaller(1, 1000), newCaller(2, 2000)
	for _, step := range []struct {
		c     *caller
		key   int32
		size  uint64
		flags uint32
		want  abi.Errno
	}{
		{c, 5, 100, 0, unix.ENOENT},
		{c, 5, 0, IPC_CREAT | 0600, unix.EINVAL},
		{c, 5, 100, IPC_CREAT | 0600, 0},
		{c, 5, 100, IPC_CREAT | IPC_EXCL | 0600, unix.EEXIST},
		{c, 5, 101, 0, unix.EINVAL},
		{c, 5, 0, 0, 0},
		{other, 5, 0, 0444, unix.EACCES},
		{other, 5, 0, 0, 0},
	} {
		if _, e := n.Shm.Get(step.c, step.key, step.size, step.flags); e != step.want {
			t.Errorf("shmget key %d size %d flags %#o: %v, want %v", step.key, step.size, step.flags, e, step.want)
		}
	}
	id, _ := n.Shm.Get(c, 5, 0, 0)
	if e := n.Shm.Remove(other, id); e != unix.EPERM {
		t.Errorf("removal by another: %v, want EPERM", e)
	}
	if e := n.Shm.Remove(c, id); e != 0 {
		t.Error(e)
	}
	if e := n.Shm.Remove(c, id); e != unix.EINVAL {
		t.Errorf("removal again: %v, want EINVAL", e)
	}
	next, _ := n.Shm.Get(c, 5, 1, IPC_CREAT|0600)
	if next == id {
		t.Error("the id was used again at once")
	}
	if e := n.Shm.Remove(c, id); e != unix.EIDRM {
		t.Errorf("removal by the old id: %v, want EIDRM", e)
	}
}

func TestSegmentLives(t *testing.T) {
	n := New()
	c := newCaller(1, 0)
	id, _ := n.Shm.Get(c, 7, 5000, IPC_CREAT|0600)
	at, e := n.Shm.Attach(c, id, 0)
	if e != 0 || at.Size != 8192 {
		t.Fatal(at.Size, e)
	}
	at.Segment.Mapped()
	at.Segment.Attached(1, true)
	at.File.DecRef()
	n.Shm.Remove(c, id)
	b, _, e := n.Shm.Stat(c, id, false, false)
	if e != 0 || binary.LittleEndian.Uint64(b[88:]) != 1 || binary.LittleEndian.Uint32(b[20:])&shmDest == 0 {
		t.Errorf("after removal: %v, %d attached", e, binary.LittleEndian.Uint64(b[88:]))
	}
	if _, e := n.Shm.Get(c, 7, 0, 0); e != unix.ENOENT {
		t.Errorf("its key: %v, want ENOENT", e)
	}
	at.Segment.Unmapped()
	if _, _, e := n.Shm.Stat(c, id, false, false); e != unix.EINVAL {
		t.Errorf("after the last detach: %v, want EINVAL", e)
	}
	if n.Shm.pages != 0 || n.Shm.t.count != 0 {
		t.Error("something is left over")
	}
}

func TestSemaphores(t *testing.T) {
	n := New()
	c := newCaller(1, 0)
	s := &n.Sem
	id, _ := s.Get(c, 1, 3, IPC_CREAT|0600)
	op := func(ops ...SemOp) abi.Errno { return s.Op(c, c, "me", id, ops, 0) }
	for _, step := range []struct {
		name string
		got  abi.Errno
		want abi.Errno
	}{
		{"up", op(SemOp{0, 2, 0}), 0},
		{"two at once, one too many", op(SemOp{0, -1, 0}, SemOp{1, -1, IPC_NOWAIT}), unix.EAGAIN},
		{"zero", op(SemOp{1, 0, IPC_NOWAIT}), 0},
		{"not zero", op(SemOp{0, 0, IPC_NOWAIT}), unix.EAGAIN},
		{"no such", op(SemOp{3, 1, 0}), unix.EFBIG},
		{"too large", op(SemOp{0, 32767, 0}), unix.ERANGE},
		{"set", s.SetValue(c, id, 2, 32768), unix.ERANGE},
		{"count", s.CheckOps(501), unix.E2BIG},
	} {
		if step.got != step.want {
			t.Errorf("%s: %v, want %v", step.name, step.got, step.want)
		}
	}
	if v, _ := s.Value(c, id, 0, GETVAL); v != 2 {
		t.Errorf("a refused call changed the value to %d", v)
	}
	if e := s.Op(c, c, "me", id, []SemOp{{1, -1, 0}}, 1); e != unix.EAGAIN {
		t.Errorf("time out: %v, want EAGAIN", e)
	}
	if v, _ := s.Value(c, id, 1, GETNCNT); v != 0 {
		t.Errorf("%d wait, after the time out", v)
	}
}

func TestSemaphoreOrder(t *testing.T) {
	n := New()
	s := &n.Sem
	main := newCaller(1, 0)
	id, _ := s.Get(main, 1, 1, IPC_CREAT|0600)
	done := make(chan int32, 3)
	for i := int32(2); i <= 4; i++ {
		c := newCaller(i, 0)
		go func() {
			if e := s.Op(c, c, c.pid, id, []SemOp{{0, -1, 0}}, 0); e == 0 {
				done <- c.pid
			}
		}()
		<-c.asleep
	}
	if v, _ := s.Value(main, id, 0, GETNCNT); v != 3 {
		t.Errorf("%d wait, want 3", v)
	}
	for want := int32(2); want <= 4; want++ {
		s.Op(main, main, 1, id, []SemOp{{0, 1, 0}}, 0)
		if got := <-done; got != want {
			t.Errorf("task %d went on, want %d", got, want)
		}
	}
	c := newCaller(5, 0)
	end := make(chan abi.Errno, 2)
	go func() { end <- s.Op(c, c, 5, id, []SemOp{{0, -1, 0}}, 0) }()
	<-c.asleep
	c.signal <- struct{}{}
	if e := <-end; e != unix.EINTR {
		t.Errorf("a signal: %v, want EINTR", e)
	}
	go func() { end <- s.Op(c, c, 5, id, []SemOp{{0, -1, 0}}, 0) }()
	<-c.asleep
	s.Remove(main, id)
	if e := <-end; e != unix.EIDRM {
		t.Errorf("removal: %v, want EIDRM", e)
	}
}

func TestUndo(t *testing.T) {
	n := New()
	s := &n.Sem
	c := newCaller(1, 0)
	id, _ := s.Get(c, 1, 2, IPC_CREAT|0600)
	s.SetValue(c, id, 0, 5)
	s.Op(c, c, "p", id, []SemOp{{0, -3, SEM_UNDO}, {1, 4, SEM_UNDO}}, 0)
	s.Op(c, c, "q", id, []SemOp{{0, -1, SEM_UNDO}}, 0)
	s.SetValue(c, id, 1, 2) // forgets what was to be undone
	s.Exit("p", 9)
	v0, _ := s.Value(c, id, 0, GETVAL)
	v1, _ := s.Value(c, id, 1, GETVAL)
	pid, _ := s.Value(c, id, 0, GETPID)
	if v0 != 4 || v1 != 2 || pid != 9 {
		t.Errorf("after the exit: %d and %d by %d, want 4 and 2 by 9", v0, v1, pid)
	}
}

func TestMessages(t *testing.T) {
	n := New()
	m := &n.Msg
	c := newCaller(1, 0)
	id, _ := m.Get(c, 1, IPC_CREAT|0600)
	for i, typ := range []int64{3, 1, 2, 1} {
		if e := m.Send(c, c, id, &Message{typ, []byte{byte('a' + i)}}, 0); e != 0 {
			t.Fatal(e)
		}
	}
	for _, r := range []struct {
		typ   int64
		flags int32
		want  string
	}{{-2, 0, "b"}, {3, MSG_EXCEPT, "c"}, {0, 0, "a"}, {5, IPC_NOWAIT, ""}, {1, 0, "d"}} {
		got, e := m.Receive(c, c, id, 10, r.typ, r.flags)
		if r.want == "" {
			if e != unix.ENOMSG {
				t.Errorf("type %d: %v, want ENOMSG", r.typ, e)
			}
			continue
		}
		if e != 0 || string(got.Text) != r.want {
			t.Errorf("type %d: %v, %v, want %q", r.typ, got, e, r.want)
		}
	}
	m.Send(c, c, id, &Message{1, make([]byte, 20)}, 0)
	if _, e := m.Receive(c, c, id, 10, 0, 0); e != unix.E2BIG {
		t.Errorf("a long message: %v, want E2BIG", e)
	}
	if got, e := m.Receive(c, c, id, 10, 0, MSG_COPY|IPC_NOWAIT|MSG_NOERROR); e != 0 || len(got.Text) != 20 {
		t.Errorf("MSG_COPY: %v", e)
	}
	if _, e := m.Receive(c, c, id, 10, 0, MSG_NOERROR); e != 0 {
		t.Errorf("MSG_NOERROR: %v", e)
	}
}

func TestFullQueue(t *testing.T) {
	n := New()
	m := &n.Msg
	c := newCaller(1, 0)
	id, _ := m.Get(c, 1, IPC_CREAT|0600)
	big := &Message{1, make([]byte, 8192)}
	m.Send(c, c, id, big, 0)
	m.Send(c, c, id, big, 0)
	if e := m.Send(c, c, id, big, IPC_NOWAIT); e != unix.EAGAIN {
		t.Errorf("a full queue: %v, want EAGAIN", e)
	}
	w := newCaller(2, 0)
	end := make(chan abi.Errno, 1)
	go func() { end <- m.Send(w, w, id, &Message{7, []byte("x")}, 0) }()
	<-w.asleep
	m.Receive(c, c, id, 8192, 0, 0)
	if e := <-end; e != 0 {
		t.Errorf("the sender that waited: %v", e)
	}
	if got, e := m.Receive(c, c, id, 10, 7, 0); e != 0 || string(got.Text) != "x" {
		t.Errorf("its message: %v", e)
	}
	m.Receive(c, c, id, 8192, 0, 0)
	r := newCaller(3, 0)
	got := make(chan *Message, 1)
	go func() { x, _ := m.Receive(r, r, id, 10, 4, 0); got <- x }()
	<-r.asleep
	m.Send(c, c, id, &Message{3, nil}, 0)
	m.Send(c, c, id, &Message{4, []byte("y")}, 0)
	if x := <-got; x == nil || string(x.Text) != "y" {
		t.Errorf("the receiver that waited got %v", x)
	}
	m.Remove(c, id)
	if m.messages != 0 || m.bytes != 0 {
		t.Errorf("%d messages and %d bytes are left over", m.messages, m.bytes)
	}
}

func TestSysctls(t *testing.T) {
	n := New()
	c := newCaller(1, 0)
	for _, x := range []struct {
		name, text string
		want       abi.Errno
	}{
		{"shmmax", "8192", 0}, {"shmmni", "1", 0}, {"msgmax", "5", 0}, {"sem", "2 4 1", 0}, {"sem", "1 2 3 4 5", unix.EINVAL},
		{"shmmni", "99999999", unix.EINVAL}, {"msgmax", "x", unix.EINVAL}, {"shm_rmid_forced", "1", 0},
	} {
		if e := n.sysctl(x.name).set([]byte(x.text)); e != x.want {
			t.Errorf("%s = %s: %v, want %v", x.name, x.text, e, x.want)
		}
	}
	if got := n.sysctl("sem").get(); got != "2\t4\t1\t32000" {
		t.Errorf("sem is %q", got)
	}
	if _, e := n.Shm.Get(c, 1, 8193, IPC_CREAT); e != unix.EINVAL {
		t.Errorf("a segment over shmmax: %v", e)
	}
	id, e := n.Shm.Get(c, 1, 8192, IPC_CREAT|0600)
	if e != 0 {
		t.Fatal(e)
	}
	if _, e := n.Shm.Get(c, 2, 1, IPC_CREAT); e != unix.ENOSPC {
		t.Errorf("a segment over shmmni: %v", e)
	}
	if _, e := n.Sem.Get(c, 1, 3, IPC_CREAT); e != unix.EINVAL {
		t.Errorf("a set over semmsl: %v", e)
	}
	if e := n.Sem.CheckOps(2); e != unix.E2BIG {
		t.Errorf("operations over semopm: %v", e)
	}
	at, e := n.Shm.Attach(c, id, 0)
	if e != 0 {
		t.Fatal(e)
	}
	at.File.DecRef()
	at.Segment.Mapped()
	at.Segment.Attached(1, true)
	at.Segment.Unmapped()
	if n.Shm.t.count != 0 {
		t.Error("shm_rmid_forced leaves a segment")
	}
}
