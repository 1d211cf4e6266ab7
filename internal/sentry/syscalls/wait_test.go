package syscalls

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/fs/eventfd"
	"bulkhead.dev/bulkhead/internal/sentry/fs/pipefs"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// Tasks in these tests have no host thread and no memory: what they test comes
// before the guest's buffers.

func newTask(t *testing.T) *kernel.Task {
	t.Helper()
	task, e := kernel.New(kernel.Config{}).NewProcess(auth.Root(), "test")
	if e != 0 {
		t.Fatal(e)
	}
	return task
}

func another(t *testing.T, of *kernel.Task) *kernel.Task {
	t.Helper()
	task, e := of.Kernel().NewTask(of, kernel.CloneOptions{ExitSignal: kernel.SIGCHLD})
	if e != 0 {
		t.Fatal(e)
	}
	return task
}

func counter(n uint32) *vfs.FileDescription {
	return vfs.NewDescription(vfs.Path{}, eventfd.New(n, false), unix.O_RDWR, vfs.FMODE_READ|vfs.FMODE_WRITE)
}

func post(t *testing.T, fd *vfs.FileDescription) {
	if _, e := fd.Write(nil, binary.LittleEndian.AppendUint64(nil, 1)); e != 0 {
		t.Error(e)
	}
}

func TestReadWaits(t *testing.T) {
	task, fd := newTask(t), counter(0)
	c := rwCall{t: task, fd: fd, off: here}
	var wg sync.WaitGroup
	wg.Go(func() { post(t, fd) })
	var b [8]byte
	if n, e := c.readWait(b[:], 0); n != 8 || e != 0 || b[0] != 1 {
		t.Errorf("%d, %v, % x", n, e, b)
	}
	wg.Wait()
	c.flags = rwfNoWait
	if _, e := c.readWait(b[:], 0); e != unix.EAGAIN {
		t.Errorf("RWF_NOWAIT: %v", e)
	}
}

// TestStreamWritesAll: a blocking write to a pipe goes on until all is taken.
func TestStreamWritesAll(t *testing.T) {
	task := newTask(t)
	reader := another(t, task)
	r, w := pipefs.NewPair(task, 0)
	data := make([]byte, 300000)
	for i := range data {
		data[i] = byte(i * 31)
	}
	var got bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() {
		c := rwCall{t: reader, fd: r, off: here}
		b := make([]byte, 5000)
		for got.Len() < len(data) {
			n, e := c.readWait(b, 0)
			if e != 0 || n == 0 {
				t.Errorf("%d, %v", n, e)
				return
			}
			got.Write(b[:n])
		}
	})
	c := rwCall{t: task, fd: w, off: here}
	if n, e := c.writeWait(data, 0); n != len(data) || e != 0 {
		t.Errorf("%d, %v", n, e)
	}
	wg.Wait()
	if !bytes.Equal(got.Bytes(), data) {
		t.Error("other bytes came out")
	}
}

func TestSignalEndsAWait(t *testing.T) {
	task := newTask(t)
	r, w := pipefs.NewPair(task, 0)
	task.SetAction(kernel.SIGUSR1, &kernel.SigAction{Handler: 4096})
	task.SendSignal(kernel.KernelInfo(kernel.SIGUSR1, kernel.SI_USER, 1, 0))
	c := rwCall{t: task, fd: r, off: here}
	if _, e := c.readWait(make([]byte, 1), 0); e != abi.ERESTARTSYS {
		t.Errorf("read: %v", e)
	}
	c.fd = w
	if n, e := c.writeWait(make([]byte, 100000), 0); n != 65536 || e != 0 {
		t.Errorf("what was written before the signal counts: %d, %v", n, e)
	}
	if _, e := c.writeWait(make([]byte, 1), 0); e != abi.ERESTARTSYS {
		t.Errorf("write: %v", e)
	}
}

func TestPollSet(t *testing.T) {
	task := newTask(t)
	a, b := counter(0), counter(0)
	fill := func() *pollSet {
		s := pollSets.Get().(*pollSet)
		a.IncRef()
		b.IncRef()
		s.add(a, waiter.In)
		s.add(nil, 0)
		s.add(b, waiter.In)
		return s
	}
	s := fill()
	if n, e := s.wait(task, 0, true); n != 0 || e != 0 {
		t.Errorf("%d, %v", n, e)
	}
	if n, e := s.wait(task, deadlineIn(int64(time.Millisecond)), false); n != 0 || e != 0 {
		t.Errorf("timeout: %d, %v", n, e)
	}
	s.put()
	s = fill()
	var wg sync.WaitGroup
	wg.Go(func() { post(t, b) })
	if n, e := s.wait(task, 0, false); n != 1 || e != 0 || s.items[2].got != waiter.In || s.items[0].got != 0 {
		t.Errorf("%d, %v", n, e)
	}
	s.put()
	wg.Wait()
	if !a.Queue().Empty() || !b.Queue().Empty() || a.Refs() != 1 {
		t.Error("something is left in a queue")
	}
}

func TestNoAllocationInTheWay(t *testing.T) {
	task := newTask(t)
	r, w := pipefs.NewPair(task, 0)
	in, out := rwCall{t: task, fd: r, off: here}, rwCall{t: task, fd: w, off: here}
	b := make([]byte, 1)
	full := counter(1)
	if n := testing.AllocsPerRun(100, func() {
		out.writeWait(b, 0)
		in.readWait(b, 0)
		s := pollSets.Get().(*pollSet)
		full.IncRef()
		s.add(full, waiter.In)
		s.wait(task, 0, false)
		s.put()
		startWait(task, full, waiter.In).end()
	}); n > 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}

func TestLockRange(t *testing.T) {
	const most = 1<<63 - 1
	fd := counter(0)
	for _, c := range []struct {
		start, n   int64
		first, end int64
		e          abi.Errno
	}{
		{0, 0, 0, most, 0}, {5, 2, 5, 6, 0}, {5, -2, 3, 4, 0}, {1, -2, 0, 0, unix.EINVAL},
		{-1, 0, 0, 0, unix.EINVAL}, {most, 1, most, most, 0}, {most, 2, 0, 0, unix.EOVERFLOW},
	} {
		s, end, e := lockRange(nil, fd, &abi.Flock{Start: c.start, Len: c.n})
		if e != c.e || e == 0 && (s != c.first || end != c.end) {
			t.Errorf("%d+%d: %d to %d, %v", c.start, c.n, s, end, e)
		}
	}
}

func TestOpenFlags(t *testing.T) {
	for _, c := range []struct {
		flags uint32
		e     abi.Errno
	}{
		{unix.O_RDONLY, 0}, {unix.O_CREAT | unix.O_DIRECTORY, unix.EINVAL}, {unix.O_TMPFILE | unix.O_RDWR, 0},
		{unix.O_TMPFILE, unix.EINVAL}, {tmpfileBit | unix.O_RDWR, unix.EINVAL}, {unix.O_TMPFILE | unix.O_RDWR | unix.O_CREAT, unix.EINVAL},
	} {
		if _, e := openHow(c.flags, 0); e != c.e {
			t.Errorf("%#o: %v", c.flags, e)
		}
	}
	how, _ := openHow(unix.O_PATH|unix.O_RDWR|unix.O_CREAT, 0o644)
	if how.Flags != unix.O_PATH || how.Mode != 0 {
		t.Errorf("O_PATH: %+v", how)
	}
	how, _ = openHow(unix.O_CREAT|1<<30, 0o177777)
	if how.Flags != unix.O_CREAT|oLargefile || how.Mode != 0o7777 {
		t.Errorf("%+v", how)
	}
}
