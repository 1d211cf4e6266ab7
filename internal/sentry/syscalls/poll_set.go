package syscalls

import (
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// pollItem is one file that poll or select waits for.
type pollItem struct {
	fd    *vfs.FileDescription // counted; nil: passed over
	want  uint32
	got   uint32
	num   int32 // select: the descriptor
	only  bool  // select: Err and Hup count only where a set asks for them
	queue *waiter.Queue
	entry waiter.Entry
}

// pollSet is what a call waits for. It comes from a pool.
type pollSet struct {
	items []pollItem
	raw   []byte
	in    bool // registered
}

var pollSets = sync.Pool{New: func() any { return new(pollSet) }}

// add appends a file; the set takes over the reference.
func (s *pollSet) add(fd *vfs.FileDescription, want uint32) {
	if len(s.items) < cap(s.items) {
		s.items = s.items[:len(s.items)+1]
		it := &s.items[len(s.items)-1]
		it.fd, it.want, it.got, it.only = fd, want, 0, false
		return
	}
	s.items = append(s.items, pollItem{fd: fd, want: want})
}

// bytes gives n bytes of scratch.
func (s *pollSet) bytes(n int) []byte {
	if cap(s.raw) < n {
		s.raw = make([]byte, n)
	}
	return s.raw[:n]
}

func (it *pollItem) mask() uint32 {
	if it.only {
		return it.want
	}
	return it.want | waiter.Err | waiter.Hup
}

// check asks every file, and counts those with events.
func (s *pollSet) check(t *kernel.Task) int {
	n := 0
	for i := range s.items {
		it := &s.items[i]
		if it.fd == nil {
			continue
		}
		it.got = readyOf(t, it.fd) & it.mask()
		if it.got != 0 {
			n++
		}
	}
	return n
}

// wait checks until a file is ready, deadline is past (0 files) or a signal
// comes. Deadline 0 is none, past says not to wait at all.
func (s *pollSet) wait(t *kernel.Task, deadline int64, past bool) (int, abi.Errno) {
	n := s.check(t)
	if n > 0 || past {
		return n, 0
	}
	s.register(t)
	for {
		if n = s.check(t); n > 0 {
			return n, 0
		}
		switch e := t.Block(deadline); e {
		case 0:
		case abi.ERESTARTSYS:
			return 0, e
		default:
			return s.check(t), 0
		}
	}
}

// register puts the task into every file's queue.
func (s *pollSet) register(t *kernel.Task) {
	s.in = true
	for i := range s.items {
		it := &s.items[i]
		if it.fd == nil {
			continue
		}
		if it.queue = queueOf(t, it.fd); it.queue != nil {
			it.entry.Listener = t
			it.queue.Register(&it.entry, it.want)
		}
	}
}

// put gives everything back.
func (s *pollSet) put() {
	for i := range s.items {
		it := &s.items[i]
		if it.fd == nil {
			continue
		}
		if s.in && it.queue != nil {
			it.queue.Unregister(&it.entry)
			it.queue, it.entry.Listener = nil, nil
		}
		it.fd.DecRef()
		it.fd = nil
	}
	s.items, s.in = s.items[:0], false
	if cap(s.items) <= 4096 {
		pollSets.Put(s)
	}
}
