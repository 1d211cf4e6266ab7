package pipefs

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

type caller struct{ creds *auth.Creds }

func (c caller) Creds() *auth.Creds { return c.creds }
func (caller) Umask() uint32        { return 0 }
func (caller) TGID() int32          { return 1 }
func (caller) FSizeLimit() uint64   { return ^uint64(0) }
func (caller) SignalXFSZ()          {}

func pair(t testing.TB) (r, w *File, rd, wd *vfs.FileDescription) {
	t.Helper()
	p := New()
	r, _ = p.Open(vfs.FMODE_READ, 0, false)
	w, _ = p.Open(vfs.FMODE_WRITE, 0, false)
	rd = vfs.NewDescription(vfs.Path{}, r, unix.O_RDONLY, vfs.FMODE_READ)
	wd = vfs.NewDescription(vfs.Path{}, w, unix.O_WRONLY, vfs.FMODE_WRITE)
	return r, w, rd, wd
}

func (f *File) put(fd *vfs.FileDescription, n int) (int, abi.Errno) {
	k, _, e := f.Write(nil, fd, bytes.Repeat([]byte{'x'}, n), 0)
	return k, e
}

func TestCapacityAndAtomicity(t *testing.T) {
	r, w, rd, wd := pair(t)
	if n, e := w.put(wd, 1<<17); n != 65536 || e != 0 {
		t.Fatalf("a large write took %d, %v", n, e)
	}
	if _, e := w.put(wd, 1); e != unix.EAGAIN {
		t.Fatalf("full: %v", e)
	}
	if w.Ready(wd) != 0 {
		t.Errorf("full, and ready for %x", w.Ready(wd))
	}
	// A page freed makes room for PIPE_BUF, and not a byte before.
	r.Read(nil, rd, make([]byte, 4095), 0)
	if _, e := w.put(wd, 1); e != unix.EAGAIN {
		t.Errorf("no slot is free: %v", e)
	}
	r.Read(nil, rd, make([]byte, 1), 0)
	if n, e := w.put(wd, 4096); n != 4096 || e != 0 {
		t.Errorf("PIPE_BUF: %d, %v", n, e)
	}
}

func TestSmallWritesMerge(t *testing.T) {
	r, w, rd, wd := pair(t)
	for i := range 65536 {
		if n, e := w.put(wd, 1); n != 1 || e != 0 {
			t.Fatalf("byte %d: %v", i, e)
		}
	}
	if r.p.bytes() != 65536 {
		t.Errorf("%d bytes", r.p.bytes())
	}
	b := make([]byte, 1<<17)
	if n, _ := r.Read(nil, rd, b, 0); n != 65536 {
		t.Errorf("read %d", n)
	}
}

func TestEndOfFileAndBrokenPipe(t *testing.T) {
	r, w, rd, wd := pair(t)
	if _, e := r.Read(nil, rd, make([]byte, 1), 0); e != unix.EAGAIN {
		t.Errorf("empty: %v", e)
	}
	w.put(wd, 3)
	w.Release(wd)
	if ev := r.Ready(rd); ev != waiter.In|waiter.RdNorm|waiter.Hup {
		t.Errorf("events %x", ev)
	}
	if n, e := r.Read(nil, rd, make([]byte, 8), 0); n != 3 || e != 0 {
		t.Errorf("%d, %v", n, e)
	}
	if n, e := r.Read(nil, rd, make([]byte, 8), 0); n != 0 || e != 0 {
		t.Errorf("end of file: %d, %v", n, e)
	}
	r, w, rd, wd = pair(t)
	r.Release(rd)
	if _, e := w.put(wd, 1); e != unix.EPIPE {
		t.Errorf("no reader: %v", e)
	}
	if ev := w.Ready(wd); ev != waiter.Out|waiter.WrNorm|waiter.Err {
		t.Errorf("events %x", ev)
	}
}

func TestPackets(t *testing.T) {
	r, w, rd, _ := pair(t)
	wd := vfs.NewDescription(vfs.Path{}, w, unix.O_WRONLY|unix.O_DIRECT, vfs.FMODE_WRITE)
	w.put(wd, 10)
	w.put(wd, 20)
	b := make([]byte, 64)
	if n, _ := r.Read(nil, rd, b[:4], 0); n != 4 {
		t.Errorf("first packet %d", n)
	}
	if n, _ := r.Read(nil, rd, b, 0); n != 20 {
		t.Errorf("second packet %d", n)
	}
}

func TestSetSize(t *testing.T) {
	r, w, _, wd := pair(t)
	user, root := caller{&auth.Creds{}}, caller{auth.Root()}
	for _, c := range []struct {
		who  caller
		size uint32
		want int
		e    abi.Errno
	}{
		{user, 1, 4096, 0}, {user, 4097, 8192, 0}, {user, 1 << 20, 1 << 20, 0},
		{user, 1<<20 + 1, 0, unix.EPERM}, {root, 1<<20 + 1, 1 << 21, 0},
		{root, 1<<31 + 1, 0, unix.EINVAL}, {root, 1 << 31, 0, unix.EPERM},
	} {
		if n, e := r.SetSize(c.who, c.size); n != c.want || e != c.e {
			t.Errorf("%d: %d, %v", c.size, n, e)
		}
	}
	w.put(wd, 3*4096)
	if _, e := r.SetSize(user, 8192); e != unix.EBUSY {
		t.Errorf("shrunk under what it holds: %v", e)
	}
	if n, e := r.SetSize(user, 4*4096); n != 4*4096 || e != 0 {
		t.Errorf("%d, %v", n, e)
	}
	if r.p.bytes() != 3*4096 {
		t.Errorf("%d bytes left", r.p.bytes())
	}
}

func TestFifoRules(t *testing.T) {
	p := New()
	if _, e := p.Open(vfs.FMODE_WRITE, unix.O_NONBLOCK, true); e != unix.ENXIO {
		t.Errorf("writer without reader: %v", e)
	}
	r, _ := p.Open(vfs.FMODE_READ, unix.O_NONBLOCK, true)
	if !r.opened() || r.Ready(nil) != 0 {
		t.Errorf("reader without writer: events %x", r.Ready(nil))
	}
	w, _ := p.Open(vfs.FMODE_WRITE, 0, true)
	if !w.opened() {
		t.Error("a writer with a reader waits")
	}
	w.Release(nil)
	if r.Ready(nil) != waiter.Hup {
		t.Errorf("events %x", r.Ready(nil))
	}
	r.Release(nil)
	r2, _ := p.Open(vfs.FMODE_READ, 0, true)
	if r2.opened() {
		t.Error("a reader without writer does not wait")
	}
	w2, _ := p.Open(vfs.FMODE_WRITE, 0, true)
	w2.Release(nil)
	if !r2.opened() {
		t.Error("a writer that came and went does not let the reader go on")
	}
	r2.Release(nil)
	rw, _ := p.Open(vfs.FMODE_READ|vfs.FMODE_WRITE, 0, true)
	if !rw.opened() {
		t.Error("O_RDWR waits")
	}
	rw.Release(nil)
}

func TestSpliceAndTee(t *testing.T) {
	ar, aw, _, awd := pair(t)
	br, bw, brd, _ := pair(t)
	aw.Write(nil, awd, []byte("hello world"), 0)
	if n, e := Tee(bw, ar, 5); n != 5 || e != 0 {
		t.Fatalf("tee %d, %v", n, e)
	}
	// What is shared must not change when more is written.
	aw.Write(nil, awd, []byte("!"), 0)
	var out bytes.Buffer
	n, e := br.SpliceOut(100, func(b []byte) (int, abi.Errno) { out.Write(b); return len(b), 0 })
	if n != 5 || e != 0 || out.String() != "hello" {
		t.Fatalf("%d %v %q", n, e, out.String())
	}
	if n, _ := Move(bw, ar, 6); n != 6 {
		t.Fatalf("moved %d", n)
	}
	if n, _ := Move(bw, ar, 100); n != 6 {
		t.Fatalf("moved %d", n)
	}
	b := make([]byte, 64)
	n, _ = br.Read(nil, brd, b, 0)
	if string(b[:n]) != "hello world!" {
		t.Errorf("%q", b[:n])
	}
	if _, e := Move(bw, ar, 1); e != unix.EAGAIN {
		t.Errorf("nothing to move: %v", e)
	}
	aw.Release(nil)
	if n, e := Move(bw, ar, 1); n != 0 || e != 0 {
		t.Errorf("end: %d %v", n, e)
	}
	src := bytes.NewReader(bytes.Repeat([]byte("ab"), 5000))
	n, e = bw.SpliceIn(1<<20, func(d []byte) (int, abi.Errno) { n, _ := io.ReadFull(src, d); return n, 0 })
	if n != 10000 || e != 0 {
		t.Errorf("%d %v", n, e)
	}
}

func TestPagesAreGivenBack(t *testing.T) {
	before := pages.Load()
	r, w, rd, wd := pair(t)
	w.put(wd, 10000)
	if pages.Load() != before+defaultSlots {
		t.Errorf("%d slots", pages.Load()-before)
	}
	r.Release(rd)
	w.Release(wd)
	w.Release(wd)
	if pages.Load() != before {
		t.Errorf("%d slots left", pages.Load()-before)
	}
}

func TestNoAllocation(t *testing.T) {
	r, w, rd, wd := pair(t)
	b := []byte{1}
	if n := testing.AllocsPerRun(1000, func() {
		w.Write(nil, wd, b, 0)
		r.Read(nil, rd, b, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestStream has writers and a reader race over a small pipe.
func TestStream(t *testing.T) {
	r, w, rd, wd := pair(t)
	r.SetSize(caller{auth.Root()}, 4096)
	const each, writers = 2000, 4
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			msg := bytes.Repeat([]byte{byte('a' + i)}, 100)
			for range each {
				wake := listen(&w.p.q)
				for {
					if _, _, e := w.Write(nil, wd, msg, 0); e == 0 {
						break
					}
					<-wake.ch
				}
				wake.end()
			}
		})
	}
	wake := listen(&r.p.q)
	b := make([]byte, 100)
	for range each * writers {
		n := 0
		for n < 100 {
			k, e := r.Read(nil, rd, b[n:], 0)
			if e != 0 {
				<-wake.ch
			}
			n += k
		}
		if bytes.Count(b, b[:1]) != 100 {
			t.Fatalf("a small write was torn: %q", b)
		}
	}
	wg.Wait()
}

type wakeup struct {
	ch    chan struct{}
	q     *waiter.Queue
	entry waiter.Entry
}

func listen(q *waiter.Queue) *wakeup {
	w := &wakeup{ch: make(chan struct{}, 1), q: q}
	w.entry.Listener = w
	q.Register(&w.entry, waiter.All)
	return w
}

func (w *wakeup) end() { w.q.Unregister(&w.entry) }

func (w *wakeup) Notified(*waiter.Entry, uint32) {
	select {
	case w.ch <- struct{}{}:
	default:
	}
}

// interrupted is a caller whose sleep ends with a signal, after block.
type interrupted struct {
	vfs.Caller
	block func()
}

func (interrupted) Notified(*waiter.Entry, uint32) {}
func (i interrupted) Block(int64) abi.Errno {
	i.block()
	return abi.ERESTARTSYS
}

// TestOpenWithASignal: the other side came and went, and a signal with it (its own
// SIGCHLD): the open is complete. If nobody came, the signal ends it.
func TestOpenWithASignal(t *testing.T) {
	p := New()
	r, _ := p.Open(vfs.FMODE_READ, 0, true)
	e := r.await(interrupted{block: func() {
		w, _ := p.Open(vfs.FMODE_WRITE, 0, true)
		w.Write(nil, vfs.NewDescription(vfs.Path{}, w, unix.O_WRONLY, vfs.FMODE_WRITE), []byte("x"), 0)
		w.Release(nil)
	}})
	b := make([]byte, 2)
	if n, re := r.Read(nil, nil, b, 0); e != 0 || re != 0 || n != 1 {
		t.Errorf("opened %v, read %d, %v", e, n, re)
	}
	r, _ = New().Open(vfs.FMODE_READ, 0, true)
	if e := r.await(interrupted{block: func() {}}); e != abi.ERESTARTSYS {
		t.Error("nobody came:", e)
	}
}
