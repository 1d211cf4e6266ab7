package mqueue

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

type caller struct {
	vfs.Caller
	creds  *auth.Creds
	wake   chan struct{}
	asleep chan struct{}
}

func newCaller(uid uint32) *caller {
	cr := auth.Root()
	if uid != 0 {
		cr = &auth.Creds{UID: uid, EUID: uid, FSUID: uid}
	}
	return &caller{vfs.Internal, cr, make(chan struct{}, 1), make(chan struct{}, 8)}
}

func (c *caller) Creds() *auth.Creds             { return c.creds }
func (c *caller) Umask() uint32                  { return 022 }
func (c *caller) TGID() int32                    { return 42 }
func (c *caller) Notified(*waiter.Entry, uint32) { c.wake <- struct{}{} }
func (c *caller) Block(deadline int64) abi.Errno {
	c.asleep <- struct{}{}
	if deadline != 0 {
		return unix.ETIMEDOUT
	}
	select {
	case <-c.wake:
		return 0
	case <-time.After(10 * time.Second):
		panic("nobody wakes the task")
	}
}

func open(t *testing.T, f *FS, c *caller, name string, flags uint32, attr *Attr) (*vfs.FileDescription, *File) {
	t.Helper()
	fd, e := f.Open(c, name, flags, 0600, attr, 819200)
	if e != 0 {
		t.Fatalf("mq_open %s: %v", name, e)
	}
	return fd, fd.Impl.(*File)
}

func TestPriorities(t *testing.T) {
	f, c := New(), newCaller(0)
	fd, q := open(t, f, c, "q", unix.O_CREAT|unix.O_RDWR, &Attr{MaxMsg: 4, MsgSize: 10})
	for _, m := range []struct {
		text string
		prio uint32
	}{{"a", 1}, {"b", 5}, {"c", 1}, {"d", 0}} {
		if e := q.Send(c, fd, c, []byte(m.text), m.prio, 0, false); e != 0 {
			t.Fatal(e)
		}
	}
	if ev := fd.Ready(); ev&waiter.Out != 0 || ev&waiter.In == 0 {
		t.Errorf("full, and ready for %#x", ev)
	}
	for _, want := range []string{"b", "a", "c", "d"} {
		if text, _, e := q.Receive(fd, c, 10, 0, false); e != 0 || string(text) != want {
			t.Errorf("received %q, %v, want %q", text, e, want)
		}
	}
	for _, x := range []struct {
		name      string
		got, want abi.Errno
	}{
		{"a message too large", q.Send(c, fd, c, make([]byte, 11), 0, 0, false), unix.EMSGSIZE},
		{"too little room", second(q.Receive(fd, c, 9, 0, false)), unix.EMSGSIZE},
		{"time out", second(q.Receive(fd, c, 10, 1, false)), unix.ETIMEDOUT},
		{"time over", second(q.Receive(fd, c, 10, 0, true)), unix.ETIMEDOUT},
	} {
		if x.got != x.want {
			t.Errorf("%s: %v, want %v", x.name, x.got, x.want)
		}
	}
	fd.DecRef()
}

func second(_ []byte, _ uint32, e abi.Errno) abi.Errno { return e }

func TestNamesAndLimits(t *testing.T) {
	f, root, user := New(), newCaller(0), newCaller(1000)
	for _, x := range []struct {
		c     *caller
		name  string
		flags uint32
		attr  *Attr
		want  abi.Errno
	}{
		{user, "q", unix.O_RDWR, nil, unix.ENOENT},
		{user, "a/b", unix.O_RDWR | unix.O_CREAT, nil, unix.EACCES},
		{user, "..", unix.O_RDWR, nil, unix.EACCES},
		{user, "", unix.O_RDWR, nil, unix.ENOENT},
		{user, "q", unix.O_RDWR | unix.O_CREAT, &Attr{MaxMsg: 11, MsgSize: 1}, unix.EINVAL},
		{user, "q", unix.O_RDWR | unix.O_CREAT, &Attr{MaxMsg: 0, MsgSize: 1}, unix.EINVAL},
		{root, "big", unix.O_RDWR | unix.O_CREAT, &Attr{MaxMsg: 200, MsgSize: 8192}, unix.EMFILE},
		{user, "q", unix.O_RDWR | unix.O_CREAT, nil, 0},
		{user, "q", unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, nil, unix.EEXIST},
		{newCaller(7), "q", unix.O_RDONLY, nil, unix.EACCES},
	} {
		fd, e := f.Open(x.c, x.name, x.flags, 0600, x.attr, 819200)
		if e != x.want {
			t.Errorf("mq_open %q flags %#x %v: %v, want %v", x.name, x.flags, x.attr, e, x.want)
		}
		if fd != nil {
			fd.DecRef()
		}
	}
	if e := f.Unlink(newCaller(7), "q"); e != unix.EPERM && e != unix.EACCES {
		t.Errorf("removal by another: %v", e)
	}
	fd, _ := open(t, f, user, "q", unix.O_RDWR, nil)
	if e := f.Unlink(user, "q"); e != 0 {
		t.Errorf("mq_unlink: %v", e)
	}
	if f.count != 1 {
		t.Errorf("%d queues, while one is open", f.count)
	}
	fd.DecRef()
	f.fs.DropCaches()
	if f.count != 0 || f.used[1000] != 0 {
		t.Errorf("%d queues and %d bytes are left over", f.count, f.used[1000])
	}
}

func TestHandOver(t *testing.T) {
	f, c := New(), newCaller(0)
	fd, q := open(t, f, c, "q", unix.O_CREAT|unix.O_RDWR, &Attr{MaxMsg: 1, MsgSize: 10})
	r := newCaller(0)
	got := make(chan string, 1)
	go func() { text, _, _ := q.Receive(fd, r, 10, 0, false); got <- string(text) }()
	<-r.asleep
	told := 0
	q.SetNotify(&Notify{PID: 42, Deliver: func(int32, uint32) { told++ }})
	if e := q.SetNotify(&Notify{PID: 43}); e != unix.EBUSY {
		t.Errorf("a second registration: %v, want EBUSY", e)
	}
	q.Send(c, fd, c, []byte("x"), 0, 0, false)
	if s := <-got; s != "x" || told != 0 {
		t.Errorf("the receiver got %q, told %d times", s, told)
	}
	q.Send(c, fd, c, []byte("y"), 0, 0, false)
	if told != 1 {
		t.Errorf("told %d times, want 1", told)
	}
	w := newCaller(0)
	end := make(chan abi.Errno, 1)
	go func() { end <- q.Send(w, fd, w, []byte("z"), 0, 0, false) }()
	<-w.asleep
	for _, want := range []string{"y", "z"} {
		if text, _, e := q.Receive(fd, c, 10, 0, false); e != 0 || string(text) != want {
			t.Errorf("received %q, %v, want %q", text, e, want)
		}
	}
	if e := <-end; e != 0 {
		t.Errorf("the sender that waited: %v", e)
	}
	if told != 1 {
		t.Error("told again without a registration")
	}
	fd.DecRef()
}
