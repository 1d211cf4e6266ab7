package epoll

import (
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// maxNests is how deep instances may watch each other (EP_MAX_NESTS).
const maxNests = 4

// nestMu guards which instance watches which, for all of them.
var nestMu sync.Mutex

// Add is EPOLL_CTL_ADD of fd, known to the caller as descriptor num.
func (ep *Instance) Add(c vfs.Caller, num int32, fd *vfs.FileDescription, events uint32, data uint64) abi.Errno {
	inner, _ := fd.Impl.(*Instance)
	if inner == ep {
		return unix.EINVAL
	}
	if e := checkFlags(events, inner != nil); e != 0 {
		return e
	}
	it := &item{ep: ep, fd: fd, num: num, data: data, nested: inner}
	it.entry.Listener = it
	it.events.Store(events | waiter.Err | waiter.Hup)
	if own, ok := fd.Impl.(perCaller); ok {
		it.own, it.queue = own, own.QueueFor(c)
	} else {
		it.queue = fd.Impl.Queue(fd)
	}
	if it.queue == nil {
		return unix.EPERM
	}
	if inner != nil {
		nestMu.Lock()
		defer nestMu.Unlock()
	}
	return ep.insert(c, it)
}

func (ep *Instance) insert(c vfs.Caller, it *item) abi.Errno {
	ep.foreign(c)
	ep.lock()
	defer ep.mu.Unlock()
	k := key{it.num, it.fd.ID}
	if ep.items[k] != nil {
		return unix.EEXIST
	}
	if ep.closed {
		return unix.EBADF
	}
	if it.nested != nil && !mayNest(ep, it.nested) {
		return unix.ELOOP
	}
	if itemCount.Add(1) > maxItems {
		itemCount.Add(-1)
		return unix.ENOSPC
	}
	if it.nested != nil {
		it.nest()
		it.nested.foreign(nil)
	}
	ep.add(c, k, it)
	ep.tell(it.num, it.fd, true)
	return 0
}

// add puts the item into its place. Under mu.
func (ep *Instance) add(c vfs.Caller, k key, it *item) {
	ep.items[k] = it
	it.fd.Watch(it)
	it.queue.Register(&it.entry, waiter.All)
	ep.offer(c, it)
}

// offer puts an item that is new, or was changed, on the ready list if it is.
func (ep *Instance) offer(c vfs.Caller, it *item) {
	if it.ready(c) != 0 {
		ep.push(it)
		ep.q.Notify(waiter.In | waiter.RdNorm)
	}
}

// Modify is EPOLL_CTL_MOD.
func (ep *Instance) Modify(c vfs.Caller, num int32, fd *vfs.FileDescription, events uint32, data uint64) abi.Errno {
	if fd.Impl == vfs.File(ep) {
		return unix.EINVAL
	}
	if events&flagExclusive != 0 {
		return unix.EINVAL
	}
	ep.foreign(c)
	ep.lock()
	defer ep.mu.Unlock()
	it := ep.items[key{num, fd.ID}]
	if it == nil {
		return unix.ENOENT
	}
	if it.events.Load()&flagExclusive != 0 {
		return unix.EINVAL
	}
	ep.change(c, it, events, data)
	return 0
}

// change runs under mu.
func (ep *Instance) change(c vfs.Caller, it *item, events uint32, data uint64) {
	it.data = data
	it.events.Store(events | waiter.Err | waiter.Hup)
	ep.offer(c, it)
}

// Delete is EPOLL_CTL_DEL.
func (ep *Instance) Delete(c vfs.Caller, num int32, fd *vfs.FileDescription) abi.Errno {
	if fd.Impl == vfs.File(ep) {
		return unix.EINVAL
	}
	if _, nested := fd.Impl.(*Instance); nested {
		nestMu.Lock()
		defer nestMu.Unlock()
	}
	ep.foreign(c)
	ep.lock()
	defer ep.mu.Unlock()
	it := ep.items[key{num, fd.ID}]
	if it == nil {
		return unix.ENOENT
	}
	ep.remove(it)
	it.unnest()
	ep.tell(num, fd, false)
	return 0
}

// DescriptionGone drops the item of a description that is closed for good:
// vfs.ReleaseWatcher.
func (it *item) DescriptionGone(*vfs.FileDescription) {
	if it.nested != nil {
		nestMu.Lock()
		defer nestMu.Unlock()
	}
	it.ep.lock()
	defer it.ep.mu.Unlock()
	if !it.dead {
		it.ep.remove(it)
		it.unnest()
	}
}

// remove takes the item out of everything but the nesting. Under mu.
func (ep *Instance) remove(it *item) {
	it.dead = true
	delete(ep.items, key{it.num, it.fd.ID})
	it.queue.Unregister(&it.entry)
	it.fd.Unwatch(it)
	ep.readyMu.Lock()
	ep.unlink(it)
	ep.readyMu.Unlock()
	itemCount.Add(-1)
}

// nest and unnest note who watches whom. Under nestMu, if there is an inner
// instance at all.
func (it *item) nest() {
	if it.nested.parents == nil {
		it.nested.parents = map[*Instance]int{}
	}
	it.nested.parents[it.ep]++
}

func (it *item) unnest() {
	if it.nested == nil {
		return
	}
	p := it.nested.parents
	if p[it.ep]--; p[it.ep] == 0 {
		delete(p, it.ep)
	}
}

// mayNest tells whether outer may watch inner: no loop, and no chain longer
// than maxNests. Under nestMu and outer.mu.
func mayNest(outer, inner *Instance) bool {
	up, loop := height(outer, inner, 0)
	if loop {
		return false
	}
	return up+1+depth(inner, outer, 0) <= maxNests
}

// height is the longest chain of instances above ep; loop tells whether target
// is among them.
func height(ep, target *Instance, level int) (n int, loop bool) {
	if ep == target {
		return 0, true
	}
	if level > maxNests {
		return level, false
	}
	for p := range ep.parents {
		h, l := height(p, target, level+1)
		if l {
			return 0, true
		}
		n = max(n, h+1)
	}
	return n, false
}

// depth is the longest chain below ep. outer is locked already, and not below.
func depth(ep, outer *Instance, level int) int {
	if level > maxNests {
		return level
	}
	ep.lock()
	defer ep.mu.Unlock()
	n := 0
	for _, it := range ep.items {
		if it.nested != nil && it.nested != outer {
			n = max(n, 1+depth(it.nested, outer, level+1))
		}
	}
	return n
}
