package unix

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"golang.org/x/sys/unix"
)

// takeFlight moves m's files to x. On success gcMu stays locked, for the
// caller to enqueue x under it; ETOOMANYREFS if the sender has too many files
// in flight already.
func (ns *Namespace) takeFlight(c vfs.Caller, m *socket.Msg, x *message) abi.Errno {
	k := c.Creds()
	ns.gcMu.Lock()
	over := m.FlightLimit != 0 && uint64(ns.perUser[k.UID]) > m.FlightLimit
	if over && !k.Capable(auth.CAP_SYS_RESOURCE) && !k.Capable(auth.CAP_SYS_ADMIN) {
		ns.gcMu.Unlock()
		return unix.ETOOMANYREFS
	}
	x.files = append([]*vfs.FileDescription(nil), m.Files...)
	x.uid = k.UID
	m.Files = m.Files[:0]
	ns.perUser[x.uid] += len(x.files)
	for _, f := range x.files {
		if _, ok := f.Impl.(*Socket); ok {
			ns.inflight[f]++
		}
	}
	return 0
}

// undoFlight gives m back what takeFlight took; gcMu is held if x has files.
func (ns *Namespace) undoFlight(m *socket.Msg, x *message) {
	if x.files == nil {
		return
	}
	ns.land(x)
	m.Files = append(m.Files[:0], x.files...)
	x.files = nil
}

// land ends the flight of x's files; gcMu is held.
func (ns *Namespace) land(x *message) {
	if ns.perUser[x.uid] -= len(x.files); ns.perUser[x.uid] <= 0 {
		delete(ns.perUser, x.uid)
	}
	for _, f := range x.files {
		if _, ok := f.Impl.(*Socket); !ok {
			continue
		}
		if ns.inflight[f]--; ns.inflight[f] <= 0 {
			delete(ns.inflight, f)
		}
	}
}

// collect releases sockets that nobody can reach any more: those held by
// nothing but queues of sockets that are themselves held so, in a cycle. A
// socket whose description has more references than there are in flight is
// reachable, and so is what its queue holds.
//
// Whoever closes a socket collects, but not for each of many: the work is done
// when as much has been closed as makes it worth while.
func (ns *Namespace) collect() {
	if ns.busy() {
		return // whoever releases what was buried collects afterwards
	}
	ns.gcMu.Lock()
	ns.closes++
	if len(ns.inflight) == 0 || ns.closes*16 < len(ns.inflight) {
		ns.gcMu.Unlock()
		return
	}
	ns.closes = 0
	dead := ns.unreachable()
	var doomed []*message
	for s := range dead {
		doomed = append(doomed, s.cutFiles()...)
	}
	for _, x := range doomed {
		ns.land(x)
	}
	ns.gcMu.Unlock()
	for _, x := range doomed {
		ns.bury(x.files)
		x.owner.uncharge(x.charge)
		x.free()
	}
}

// bury releases files that nobody will receive. Sockets among them hold files
// in turn: those are released by the same loop, so that a long chain does not
// become a deep recursion.
func (ns *Namespace) bury(files []*vfs.FileDescription) {
	if len(files) == 0 {
		return
	}
	ns.graveMu.Lock()
	defer ns.graveMu.Unlock()
	ns.grave = append(ns.grave, files...)
	if ns.digging {
		return
	}
	ns.digging = true
	for len(ns.grave) > 0 {
		f := ns.grave[0]
		ns.grave[0] = nil
		ns.grave = ns.grave[1:]
		ns.graveMu.Unlock()
		f.DecRef()
		ns.graveMu.Lock()
	}
	ns.grave = nil
	ns.digging = false
}

func (ns *Namespace) busy() bool {
	ns.graveMu.Lock()
	defer ns.graveMu.Unlock()
	return ns.digging
}

// unreachable gives the sockets in cycles; gcMu is held.
func (ns *Namespace) unreachable() map[*Socket]struct{} {
	suspects := make(map[*Socket]struct{})
	for f, n := range ns.inflight {
		if f.Refs() == int64(n) {
			suspects[f.Impl.(*Socket)] = struct{}{}
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	ns.mu.Lock()
	var work []*Socket
	for s := range ns.sockets {
		if _, ok := suspects[s]; !ok && !s.embryo {
			work = append(work, s)
		}
	}
	ns.mu.Unlock()
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		for _, held := range s.holds() {
			if _, ok := suspects[held]; ok {
				delete(suspects, held)
				work = append(work, held)
			}
		}
	}
	return suspects
}

// holds gives the sockets in s's queue, and in those of the connections that
// wait to be accepted; gcMu is held.
func (s *Socket) holds() []*Socket {
	var out []*Socket
	for _, q := range s.withPending() {
		q.rx.mu.Lock()
		for x := q.rx.head; x != nil; x = x.next {
			for _, f := range x.files {
				if held, ok := f.Impl.(*Socket); ok {
					out = append(out, held)
				}
			}
		}
		q.rx.mu.Unlock()
	}
	return out
}

func (s *Socket) withPending() []*Socket {
	s.ns.mu.Lock()
	defer s.ns.mu.Unlock()
	return append([]*Socket{s}, s.pending...)
}

// cutFiles takes the messages with files out of s's queues; gcMu is held.
func (s *Socket) cutFiles() []*message {
	var out []*message
	for _, q := range s.withPending() {
		q.rx.mu.Lock()
		var keep *message
		all := q.rx.head
		q.rx.head, q.rx.tail, q.rx.n, q.rx.bytes = nil, nil, 0, 0
		for all != nil {
			x := all
			all = x.next
			x.next = nil
			if x.files != nil {
				out = append(out, x)
				continue
			}
			keep = x
			q.rx.push(keep)
			q.rx.bytes -= x.off
		}
		q.rx.mu.Unlock()
	}
	return out
}
