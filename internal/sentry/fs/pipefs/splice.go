package pipefs

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// SpliceOut hands up to limit of the oldest bytes to sink, slot by slot, and
// drops what sink took: splice(2) from a pipe. The pipe is locked meanwhile, so
// sink must not touch it.
func (f *File) SpliceOut(limit int, sink func(b []byte) (int, abi.Errno)) (int, abi.Errno) {
	n, freed, e := f.p.spliceOut(limit, sink)
	if freed {
		f.p.q.Notify(waiter.Out | waiter.WrNorm)
	}
	return n, e
}

func (p *Pipe) spliceOut(limit int, sink func(b []byte) (int, abi.Errno)) (n int, freed bool, e abi.Errno) {
	p.lock()
	defer p.unlock()
	if p.empty() && p.writers != 0 {
		return 0, false, unix.EAGAIN
	}
	wasFull := p.full()
	for n < limit && !p.empty() {
		s := p.at(p.tail)
		want := min(s.n, limit-n)
		var k int
		k, e = sink(s.p.b[s.off : s.off+want])
		n += k
		s.off += k
		s.n -= k
		if s.n == 0 {
			p.pop()
		}
		if e != 0 || k < want {
			break
		}
	}
	if n > 0 {
		e = 0
	}
	return n, wasFull && !p.full(), e
}

// SpliceIn fills up to limit bytes of new slots from source, until source gives
// less than asked: splice(2) to a pipe, under the pipe's lock.
func (f *File) SpliceIn(limit int, source func(dst []byte) (int, abi.Errno)) (int, abi.Errno) {
	n, e := f.p.spliceIn(limit, source)
	if n > 0 {
		f.p.q.Notify(waiter.In | waiter.RdNorm)
	}
	return n, e
}

func (p *Pipe) spliceIn(limit int, source func(dst []byte) (int, abi.Errno)) (n int, e abi.Errno) {
	p.lock()
	defer p.unlock()
	p.wrote(nil)
	if p.readers == 0 {
		return 0, unix.EPIPE
	}
	if p.full() {
		return 0, unix.EAGAIN
	}
	for n < limit && !p.full() {
		g := p.getPage()
		want := min(PageSize, limit-n)
		var k int
		k, e = source(g.b[:want])
		if k == 0 {
			p.putPage(g)
			break
		}
		*p.at(p.head) = slot{p: g, n: k}
		p.head++
		n += k
		if e != 0 || k < want {
			break
		}
	}
	if n > 0 {
		e = 0
	}
	return n, e
}

// Move takes up to limit bytes from src to dst without copying; Tee leaves them
// in src as well: splice(2) and tee(2) between pipes. EAGAIN: src is empty or
// dst is full.
func Move(dst, src *File, limit int) (int, abi.Errno) { return transfer(dst, src, limit, false) }

// Tee is described at Move.
func Tee(dst, src *File, limit int) (int, abi.Errno) { return transfer(dst, src, limit, true) }

func transfer(dst, src *File, limit int, keep bool) (int, abi.Errno) {
	a, b := src.p, dst.p
	if a == b {
		return 0, unix.EINVAL
	}
	if a.id < b.id {
		a.lock()
		b.lock()
	} else {
		b.lock()
		a.lock()
	}
	b.wrote(nil)
	wasFull := a.full()
	n, e := b.takeFrom(a, limit, keep)
	freed := wasFull && !a.full()
	a.unlock()
	b.unlock()
	if freed {
		a.q.Notify(waiter.Out | waiter.WrNorm)
	}
	if n > 0 {
		b.q.Notify(waiter.In | waiter.RdNorm)
	}
	return n, e
}

// takeFrom runs under both locks.
func (p *Pipe) takeFrom(a *Pipe, limit int, keep bool) (n int, e abi.Errno) {
	if p.readers == 0 {
		return 0, unix.EPIPE
	}
	next := a.tail
	for n < limit && next != a.head && !p.full() {
		s := a.at(next)
		out := *s
		k := min(s.n, limit-n)
		out.n = k
		switch {
		case !keep && k == s.n: // the slot itself moves
			*s = slot{}
			a.tail++
		case keep: // both share the page
			s.p.refs.Add(1)
			out.merge, s.merge = false, false
		default: // a part moves
			s.p.refs.Add(1)
			out.merge = false
			s.off += k
			s.n -= k
		}
		next++
		*p.at(p.head) = out
		p.head++
		n += k
	}
	if n == 0 && (p.full() && !a.empty() || a.empty() && a.writers != 0) {
		return 0, unix.EAGAIN
	}
	return n, 0
}
