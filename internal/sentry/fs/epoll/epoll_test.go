package epoll

import (
	"encoding/binary"
	"sync"
	"testing"

	"bulkhead.dev/bulkhead/internal/sentry/fs/eventfd"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

func describe(f vfs.File) *vfs.FileDescription {
	return vfs.NewDescription(vfs.Path{}, f, unix.O_RDWR, vfs.FMODE_READ|vfs.FMODE_WRITE)
}

func add(f *eventfd.File, n uint64) {
	f.Write(nil, nil, binary.LittleEndian.AppendUint64(nil, n), 0)
}

func take(f *eventfd.File) { f.Read(nil, nil, make([]byte, 8), 0) }

type got struct {
	events uint32
	data   uint64
}

func collect(ep *Instance, room int) []got {
	b := make([]byte, room*EventSize)
	n := ep.Collect(nil, b)
	out := make([]got, n)
	for i := range out {
		out[i] = got{binary.LittleEndian.Uint32(b[i*12:]), binary.LittleEndian.Uint64(b[i*12+4:])}
	}
	return out
}

func TestLevelAndEdge(t *testing.T) {
	ep := New()
	level, edge := eventfd.New(0, false), eventfd.New(0, false)
	ep.Add(nil, 3, describe(level), waiter.In, 30)
	ep.Add(nil, 4, describe(edge), waiter.In|flagEdge, 40)
	if g := collect(ep, 8); len(g) != 0 {
		t.Fatalf("nothing is ready, got %v", g)
	}
	add(level, 1)
	add(edge, 1)
	if g := collect(ep, 8); len(g) != 2 || g[0] != (got{waiter.In, 30}) || g[1] != (got{waiter.In, 40}) {
		t.Fatalf("got %v", g)
	}
	if g := collect(ep, 8); len(g) != 1 || g[0].data != 30 {
		t.Fatalf("only the level-triggered item stays, got %v", g)
	}
	add(edge, 1)
	take(level)
	if g := collect(ep, 8); len(g) != 1 || g[0].data != 40 {
		t.Fatalf("got %v", g)
	}
}

func TestOneShotAndModify(t *testing.T) {
	ep, f := New(), eventfd.New(1, false)
	fd := describe(f)
	ep.Add(nil, 3, fd, waiter.In|flagOneShot, 1)
	if g := collect(ep, 8); len(g) != 1 {
		t.Fatalf("got %v", g)
	}
	add(f, 1)
	if g := collect(ep, 8); len(g) != 0 {
		t.Fatalf("one shot gave %v", g)
	}
	if e := ep.Modify(nil, 3, fd, waiter.In|waiter.Out|flagOneShot, 2); e != 0 {
		t.Fatal(e)
	}
	if g := collect(ep, 8); len(g) != 1 || g[0] != (got{waiter.In | waiter.Out, 2}) {
		t.Fatalf("got %v", g)
	}
}

func TestErrors(t *testing.T) {
	ep, f := New(), eventfd.New(1, false)
	fd, self := describe(f), describe(ep)
	regular := describe(struct{ vfs.FileDefaults }{})
	if e := ep.Add(nil, 3, regular, waiter.In, 0); e != unix.EPERM {
		t.Errorf("a file without a queue: %v", e)
	}
	if e := ep.Add(nil, 3, self, waiter.In, 0); e != unix.EINVAL {
		t.Errorf("itself: %v", e)
	}
	if e := ep.Modify(nil, 3, fd, waiter.In, 0); e != unix.ENOENT {
		t.Errorf("modify of none: %v", e)
	}
	ep.Add(nil, 3, fd, waiter.In|flagExclusive, 0)
	if e := ep.Add(nil, 3, fd, waiter.In, 0); e != unix.EEXIST {
		t.Errorf("twice: %v", e)
	}
	if e := ep.Modify(nil, 3, fd, waiter.In, 0); e != unix.EINVAL {
		t.Errorf("modify of exclusive: %v", e)
	}
	if e := ep.Delete(nil, 3, fd); e != 0 {
		t.Error(e)
	}
	if e := ep.Delete(nil, 3, fd); e != unix.ENOENT {
		t.Errorf("delete of none: %v", e)
	}
}

func TestLastReferenceRemoves(t *testing.T) {
	ep, f := New(), eventfd.New(1, false)
	fd := describe(f)
	before := itemCount.Load()
	ep.Add(nil, 3, fd, waiter.In, 0)
	fd.IncRef()
	fd.DecRef()
	if g := collect(ep, 8); len(g) != 1 {
		t.Fatalf("got %v", g)
	}
	fd.DecRef()
	if g := collect(ep, 8); len(g) != 0 || itemCount.Load() != before {
		t.Fatalf("got %v, %d items", g, itemCount.Load())
	}
}

func TestNesting(t *testing.T) {
	var eps [6]*Instance
	var fds [6]*vfs.FileDescription
	for i := range eps {
		eps[i] = New()
		fds[i] = describe(eps[i])
	}
	f := eventfd.New(0, false)
	eps[0].Add(nil, 9, describe(f), waiter.In, 0)
	for i := 0; i < 4; i++ {
		if e := eps[i+1].Add(nil, int32(i), fds[i], waiter.In, uint64(i)); e != 0 {
			t.Fatalf("level %d: %v", i, e)
		}
	}
	if e := eps[5].Add(nil, 4, fds[4], waiter.In, 0); e != unix.ELOOP {
		t.Errorf("too deep: %v", e)
	}
	if e := eps[0].Add(nil, 4, fds[4], waiter.In, 0); e != unix.ELOOP {
		t.Errorf("a loop: %v", e)
	}
	if eps[4].Ready(nil) != 0 {
		t.Error("ready before the event")
	}
	add(f, 1)
	if g := collect(eps[4], 1); len(g) != 1 || g[0].data != 3 {
		t.Errorf("got %v", g)
	}
	take(f)
	if g := collect(eps[4], 1); len(g) != 0 {
		t.Errorf("got %v", g)
	}
	eps[2].Release(nil)
	if len(eps[1].parents) != 0 {
		t.Error("a closed instance still watches")
	}
}

type counter struct{ ch chan struct{} }

func (c counter) Notified(*waiter.Entry, uint32) {
	select {
	case c.ch <- struct{}{}:
	default:
	}
}

// TestNoLostWake has writers and a waiter race; every count must arrive.
func TestNoLostWake(t *testing.T) {
	for _, flags := range []uint32{0, flagEdge} {
		ep := New()
		files := make([]*eventfd.File, 8)
		for i := range files {
			files[i] = eventfd.New(0, false)
			ep.Add(nil, int32(i), describe(files[i]), waiter.In|flags, uint64(i))
		}
		const rounds = 500
		var wg sync.WaitGroup
		for _, f := range files {
			wg.Go(func() {
				for range rounds {
					add(f, 1)
				}
			})
		}
		c := counter{make(chan struct{}, 1)}
		entry := waiter.Entry{Listener: c}
		ep.q.Register(&entry, waiter.All)
		var sum uint64
		for sum < rounds*uint64(len(files)) {
			for _, g := range collect(ep, 3) {
				var b [8]byte
				if _, e := files[g.data].Read(nil, nil, b[:], 0); e == 0 {
					sum += binary.LittleEndian.Uint64(b[:])
				}
				if g.events != waiter.In {
					t.Fatalf("events %x", g.events)
				}
			}
			if sum < rounds*uint64(len(files)) && ep.Ready(nil) == 0 {
				<-c.ch
			}
		}
		wg.Wait()
		ep.Release(nil)
	}
}

func TestCollectAllocatesNothing(t *testing.T) {
	ep, f := New(), eventfd.New(1, false)
	ep.Add(nil, 3, describe(f), waiter.In, 0)
	b := make([]byte, EventSize)
	if n := testing.AllocsPerRun(100, func() { ep.Collect(nil, b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
