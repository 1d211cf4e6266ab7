package ipc

import (
	"encoding/binary"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Flags and commands of message queues (msgop(2), msgctl(2)).
const (
	MSG_NOERROR = 010000
	MSG_EXCEPT  = 020000
	MSG_COPY    = 040000

	MSG_STAT     = 11
	MSG_INFO     = 12
	MSG_STAT_ANY = 13
)

// Limits, as Linux starts with.
const (
	msgMax = 8192  // bytes of a message
	msgMNB = 16384 // bytes of a queue
	msgMNI = 32000

	// What the messages of all queues may take of the Sentry's memory.
	maxMessages  = 1 << 18
	maxTextBytes = 64 << 20
)

// Message is a message of a queue; it does not change.
type Message struct {
	Type int64
	Text []byte
}

// Queue is a message queue, guarded by Msg.mu.
type Queue struct {
	perm
	qbytes              uint64
	bytes               uint64
	messages            []*Message
	senders             []*msgSender
	receivers           []*msgReceiver
	stime, rtime, ctime int64
	lspid, lrpid        int32
}

// msgSender and msgReceiver are calls that wait, in the order in which they
// came.
type msgSender struct {
	sleeper
	m   *Message
	pid int32
}

type msgReceiver struct {
	sleeper
	typ   int64
	flags int32
	size  int
	pid   int32
	got   *Message
}

// Msg is the namespace's message queues.
type Msg struct {
	mu sync.Mutex
	t  table[*Queue]

	messages, bytes int // in all queues, and with senders that wait

	max, mnb int // kernel.msgmax, msgmnb; msgmni is t.max
}

// Max is kernel.msgmax: how long a message may be.
func (s *Msg) Max() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.max
}

// charge counts a message; ENOMEM if there are too many.
func (s *Msg) charge(m *Message) abi.Errno {
	if s.messages >= maxMessages || s.bytes+len(m.Text) > maxTextBytes {
		return unix.ENOMEM
	}
	s.messages++
	s.bytes += len(m.Text)
	return 0
}

func (s *Msg) uncharge(m *Message) {
	s.messages--
	s.bytes -= len(m.Text)
}

// Get is msgget(2).
func (s *Msg) Get(c vfs.Caller, key int32, flags uint32) (int32, abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t.get(c, key, flags, func(*Queue) abi.Errno { return 0 }, func() (*Queue, abi.Errno) {
		return &Queue{qbytes: uint64(s.mnb), ctime: now()}, 0
	})
}

// fits tells whether the queue has room for m.
func (q *Queue) fits(m *Message) bool {
	return q.bytes+uint64(len(m.Text)) <= q.qbytes && uint64(len(q.messages)+1) <= q.qbytes
}

// put gives m to the first receiver that waits for its like, or queues it.
func (s *Msg) put(q *Queue, m *Message, pid int32) {
	q.lspid, q.stime = pid, now()
	for i := 0; i < len(q.receivers); i++ {
		r := q.receivers[i]
		if !wants(r.typ, r.flags, m) {
			continue
		}
		q.receivers = slices.Delete(q.receivers, i, i+1)
		if r.size < len(m.Text) && r.flags&MSG_NOERROR == 0 {
			i--
			r.finish(unix.E2BIG)
			continue
		}
		q.lrpid, q.rtime = r.pid, now()
		s.uncharge(m)
		r.got = m
		r.finish(0)
		return
	}
	q.messages = append(q.messages, m)
	q.bytes += uint64(len(m.Text))
}

// wants tells whether a receiver for typ takes m, were it the first.
func wants(typ int64, flags int32, m *Message) bool {
	switch {
	case typ == 0:
		return true
	case typ < 0:
		return m.Type <= -typ || typ == -1<<63
	case flags&MSG_EXCEPT != 0:
		return m.Type != typ
	}
	return m.Type == typ
}

// find gives the place of the message that msgrcv(2) means, -1 for none.
func (q *Queue) find(typ int64, flags int32) int {
	best := -1
	for i, m := range q.messages {
		if !wants(typ, flags, m) {
			continue
		}
		if typ >= 0 {
			return i
		}
		if best < 0 || m.Type < q.messages[best].Type {
			best = i
		}
	}
	return best
}

// admit lets in senders that wait, as long as there is room for the first.
func (s *Msg) admit(q *Queue) {
	for len(q.senders) > 0 && q.fits(q.senders[0].m) {
		w := q.senders[0]
		q.senders = slices.Delete(q.senders, 0, 1)
		s.put(q, w.m, w.pid)
		w.finish(0)
	}
}

// Send is msgsnd(2).
func (s *Msg) Send(c vfs.Caller, b vfs.Blocker, id int32, m *Message, flags int32) abi.Errno {
	s.mu.Lock()
	q, e := s.t.find(id)
	if e == 0 {
		e = q.may(c.Creds(), 0222)
	}
	if e != 0 {
		s.mu.Unlock()
		return e
	}
	full := len(q.senders) > 0 || !q.fits(m)
	if full && flags&IPC_NOWAIT != 0 {
		s.mu.Unlock()
		return unix.EAGAIN
	}
	if e := s.charge(m); e != 0 {
		s.mu.Unlock()
		return e
	}
	if !full {
		s.put(q, m, c.TGID())
		s.mu.Unlock()
		return 0
	}
	w := &msgSender{sleeper: sleeper{b: b}, m: m, pid: c.TGID()}
	q.senders = append(q.senders, w)
	s.mu.Unlock()
	return s.sleep(&w.sleeper, func() {
		q.senders = slices.DeleteFunc(q.senders, func(x *msgSender) bool { return x == w })
		s.uncharge(m)
		s.admit(q)
	})
}

// sleep waits until w is done; leave takes it out of its queue when a signal
// comes first.
func (s *Msg) sleep(w *sleeper, leave func()) abi.Errno {
	for {
		e := w.b.Block(0)
		s.mu.Lock()
		if w.done || e != 0 {
			if !w.done {
				leave()
				w.e = abi.ERESTARTNOHAND
			}
			s.mu.Unlock()
			return w.e
		}
		s.mu.Unlock()
	}
}

// Receive is msgrcv(2): at most size bytes of the message's text count.
func (s *Msg) Receive(c vfs.Caller, b vfs.Blocker, id int32, size int, typ int64, flags int32) (*Message, abi.Errno) {
	s.mu.Lock()
	q, e := s.t.find(id)
	if e == 0 {
		e = q.may(c.Creds(), 0444)
	}
	if e != 0 {
		s.mu.Unlock()
		return nil, e
	}
	if flags&MSG_COPY != 0 {
		defer s.mu.Unlock()
		return q.copyOf(size, typ, flags)
	}
	if i := q.find(typ, flags); i >= 0 {
		defer s.mu.Unlock()
		m := q.messages[i]
		if len(m.Text) > size && flags&MSG_NOERROR == 0 {
			return nil, unix.E2BIG
		}
		q.messages = slices.Delete(q.messages, i, i+1)
		q.bytes -= uint64(len(m.Text))
		s.uncharge(m)
		q.lrpid, q.rtime = c.TGID(), now()
		s.admit(q)
		return m, 0
	}
	if flags&IPC_NOWAIT != 0 {
		s.mu.Unlock()
		return nil, unix.ENOMSG
	}
	w := &msgReceiver{sleeper: sleeper{b: b}, typ: typ, flags: flags, size: size, pid: c.TGID()}
	q.receivers = append(q.receivers, w)
	s.mu.Unlock()
	e = s.sleep(&w.sleeper, func() {
		q.receivers = slices.DeleteFunc(q.receivers, func(x *msgReceiver) bool { return x == w })
	})
	return w.got, e
}

// copyOf is MSG_COPY: the message in place n, which stays.
func (q *Queue) copyOf(size int, n int64, flags int32) (*Message, abi.Errno) {
	if flags&IPC_NOWAIT == 0 || flags&MSG_EXCEPT != 0 {
		return nil, unix.EINVAL
	}
	if n < 0 || n >= int64(len(q.messages)) {
		return nil, unix.ENOMSG
	}
	m := q.messages[n]
	if len(m.Text) > size && flags&MSG_NOERROR == 0 {
		return nil, unix.E2BIG
	}
	return m, 0
}

// Remove is msgctl's IPC_RMID.
func (s *Msg) Remove(c vfs.Caller, id int32) abi.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, e := s.t.find(id)
	if e == 0 {
		e = q.mayControl(c.Creds())
	}
	if e != 0 {
		return e
	}
	s.t.remove(q)
	for _, w := range q.senders {
		s.uncharge(w.m)
		w.finish(unix.EIDRM)
	}
	for _, m := range q.messages {
		s.uncharge(m)
	}
	for _, w := range q.receivers {
		w.finish(unix.EIDRM)
	}
	q.senders, q.receivers, q.messages = nil, nil, nil
	return 0
}

// MsgDSSize is the size of struct msqid64_ds.
const MsgDSSize = 120

// Stat is IPC_STAT and MSG_STAT.
func (s *Msg) Stat(c vfs.Caller, id int32, index, any bool) (b [MsgDSSize]byte, full int32, e abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, e := lookup(&s.t, c, id, index, any)
	if e != 0 {
		return b, 0, e
	}
	le := binary.LittleEndian
	q.encode(b[:])
	le.PutUint64(b[48:], uint64(q.stime))
	le.PutUint64(b[56:], uint64(q.rtime))
	le.PutUint64(b[64:], uint64(q.ctime))
	le.PutUint64(b[72:], q.bytes)
	le.PutUint64(b[80:], uint64(len(q.messages)))
	le.PutUint64(b[88:], q.qbytes)
	le.PutUint32(b[96:], uint32(q.lspid))
	le.PutUint32(b[100:], uint32(q.lrpid))
	return b, q.id, 0
}

// Set is IPC_SET: b is the caller's struct msqid64_ds.
func (s *Msg) Set(c vfs.Caller, id int32, b []byte) abi.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, e := s.t.find(id)
	if e == 0 {
		e = q.mayControl(c.Creds())
	}
	if e != 0 {
		return e
	}
	qbytes := binary.LittleEndian.Uint64(b[88:])
	if qbytes > uint64(s.mnb) && !c.Creds().Capable(auth.CAP_SYS_RESOURCE) {
		return unix.EPERM
	}
	q.set(b)
	q.qbytes, q.ctime = qbytes, now()
	s.admit(q)
	return 0
}

// Info is struct msginfo: limits, or with used what there is (MSG_INFO).
func (s *Msg) Info(used bool) (b [32]byte, highest uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := [7]int{s.t.max * s.mnb / 1024, s.mnb, s.max, s.mnb, s.t.max, 16, s.mnb}
	if used {
		v[0], v[1], v[6] = s.t.count, 0, 0
		s.t.each(func(q *Queue) {
			v[1] += len(q.messages)
			v[6] += int(q.bytes)
		})
	}
	for i, n := range v {
		binary.LittleEndian.PutUint32(b[4*i:], uint32(n))
	}
	binary.LittleEndian.PutUint16(b[28:], 0xffff)
	return b, s.t.highest()
}
