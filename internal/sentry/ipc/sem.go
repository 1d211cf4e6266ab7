package ipc

import (
	"encoding/binary"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Flags and commands of semaphores (semop(2), semctl(2)).
const (
	SEM_UNDO = 010000

	GETPID       = 11
	GETVAL       = 12
	GETALL       = 13
	GETNCNT      = 14
	GETZCNT      = 15
	SETVAL       = 16
	SETALL       = 17
	SEM_STAT     = 18
	SEM_INFO     = 19
	SEM_STAT_ANY = 20
)

// Limits, as Linux starts with (kernel.sem).
const (
	semMSL = 32000
	semMNS = 1024000000
	semOPM = 500
	semMNI = 32000
	semVMX = 32767

	// maxSems is how many there can be, whatever semmns says: they take the
	// Sentry's own memory.
	maxSems = 1024000
)

// SemOp is struct sembuf.
type SemOp struct {
	Num   uint16
	Op    int16
	Flags int16
}

// sem is one semaphore.
type sem struct {
	val int32
	pid int32 // of the last change
}

// Set is a set of semaphores, guarded by Sem.mu.
type Set struct {
	perm
	sems         []sem
	otime, ctime int64
	waiting      []*semWait // in the order in which they came
	undo         map[any][]int16
}

// semWait is a semop(2) that waits.
type semWait struct {
	sleeper
	ops   []SemOp
	pid   int32
	owner any
	block int // the op that it waits for
}

// Sem is the namespace's semaphores.
type Sem struct {
	mu    sync.Mutex
	t     table[*Set]
	total int

	msl, mns, opm int // kernel.sem; its fourth is t.max
}

// Get is semget(2).
func (s *Sem) Get(c vfs.Caller, key int32, n int32, flags uint32) (int32, abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 0 || int(n) > s.msl {
		return 0, unix.EINVAL
	}
	return s.t.get(c, key, flags, func(o *Set) abi.Errno {
		if int(n) > len(o.sems) {
			return unix.EINVAL
		}
		return 0
	}, func() (*Set, abi.Errno) {
		if n == 0 {
			return nil, unix.EINVAL
		}
		if s.total+int(n) > min(s.mns, maxSems) {
			return nil, unix.ENOSPC
		}
		s.total += int(n)
		return &Set{sems: make([]sem, n), ctime: now()}, 0
	})
}

// try performs ops all at once, or none of them: the index of the one that has
// to wait, or -1.
func (o *Set) try(ops []SemOp, pid int32, owner any) (block int, e abi.Errno) {
	undo := o.undo[owner]
	k := 0
	for ; k < len(ops); k++ {
		op := &ops[k]
		m := &o.sems[op.Num]
		if op.Op == 0 && m.val != 0 || m.val+int32(op.Op) < 0 {
			break
		}
		if m.val+int32(op.Op) > semVMX {
			e = unix.ERANGE
			break
		}
		if op.Flags&SEM_UNDO != 0 {
			adj := -int32(op.Op)
			if undo != nil {
				adj += int32(undo[op.Num])
			}
			if adj < -semVMX-1 || adj > semVMX {
				e = unix.ERANGE
				break
			}
			undo = o.undoOf(owner)
			undo[op.Num] = int16(adj)
		}
		m.val += int32(op.Op)
	}
	if k == len(ops) {
		for i := range ops {
			o.sems[ops[i].Num].pid = pid
		}
		return -1, 0
	}
	for i := k - 1; i >= 0; i-- {
		op := &ops[i]
		o.sems[op.Num].val -= int32(op.Op)
		if op.Flags&SEM_UNDO != 0 {
			undo[op.Num] += op.Op
		}
	}
	if e == 0 && ops[k].Flags&IPC_NOWAIT != 0 {
		e = unix.EAGAIN
	}
	return k, e
}

func (o *Set) undoOf(owner any) []int16 {
	u := o.undo[owner]
	if u == nil {
		if o.undo == nil {
			o.undo = map[any][]int16{}
		}
		u = make([]int16, len(o.sems))
		o.undo[owner] = u
	}
	return u
}

// update completes those who wait and need wait no longer, the first first.
func (o *Set) update() {
	for i := 0; i < len(o.waiting); {
		w := o.waiting[i]
		block, e := o.try(w.ops, w.pid, w.owner)
		if e == 0 && block >= 0 {
			w.block = block
			i++
			continue
		}
		o.waiting = slices.Delete(o.waiting, i, i+1)
		if e == 0 {
			o.otime = now()
			if alters(w.ops) {
				i = 0
			}
		}
		w.finish(e)
	}
}

func alters(ops []SemOp) bool {
	for i := range ops {
		if ops[i].Op != 0 {
			return true
		}
	}
	return false
}

// CheckOps tells whether there may be n operations in a call.
func (s *Sem) CheckOps(n uint32) abi.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 1 {
		return unix.EINVAL
	}
	if int64(n) > int64(s.opm) {
		return unix.E2BIG
	}
	return 0
}

// Op is semtimedop(2); deadline is CLOCK_MONOTONIC, 0 for none. owner bears
// the undo values: what is undone when Exit is called with it.
func (s *Sem) Op(c vfs.Caller, b vfs.Blocker, owner any, id int32, ops []SemOp, deadline int64) abi.Errno {
	s.mu.Lock()
	o, e := s.t.find(id)
	if e != 0 {
		s.mu.Unlock()
		return e
	}
	want := uint32(0444)
	if alters(ops) {
		want = 0222
	}
	for i := range ops {
		if int(ops[i].Num) >= len(o.sems) {
			s.mu.Unlock()
			return unix.EFBIG
		}
	}
	if e := o.may(c.Creds(), want); e != 0 {
		s.mu.Unlock()
		return e
	}
	block, e := o.try(ops, c.TGID(), owner)
	if e != 0 || block < 0 {
		if e == 0 {
			o.otime = now()
			if want == 0222 {
				o.update()
			}
		}
		s.mu.Unlock()
		return e
	}
	w := &semWait{sleeper: sleeper{b: b}, ops: ops, pid: c.TGID(), owner: owner, block: block}
	o.waiting = append(o.waiting, w)
	s.mu.Unlock()
	return s.wait(o, w, b, deadline)
}

func (s *Sem) wait(o *Set, w *semWait, b vfs.Blocker, deadline int64) abi.Errno {
	for {
		e := b.Block(deadline)
		s.mu.Lock()
		if w.done || e != 0 {
			if !w.done {
				o.waiting = slices.DeleteFunc(o.waiting, func(x *semWait) bool { return x == w })
				o.update()
				w.e = unix.EINTR
				if e == unix.ETIMEDOUT {
					w.e = unix.EAGAIN
				}
			}
			s.mu.Unlock()
			return w.e
		}
		s.mu.Unlock()
	}
}

// Exit applies what owner has to undo.
func (s *Sem) Exit(owner any, pid int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.each(func(o *Set) {
		u := o.undo[owner]
		if u == nil {
			return
		}
		delete(o.undo, owner)
		changed := false
		for i, adj := range u {
			if adj == 0 {
				continue
			}
			changed = true
			m := &o.sems[i]
			m.val = min(max(m.val+int32(adj), 0), semVMX)
			m.pid = pid
		}
		if changed {
			o.otime = now()
			o.update()
		}
	})
}

// Remove is semctl's IPC_RMID: all who wait get EIDRM.
func (s *Sem) Remove(c vfs.Caller, id int32) abi.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, e := s.t.find(id)
	if e == 0 {
		e = o.mayControl(c.Creds())
	}
	if e != 0 {
		return e
	}
	s.t.remove(o)
	s.total -= len(o.sems)
	for _, w := range o.waiting {
		w.finish(unix.EIDRM)
	}
	o.waiting = nil
	return 0
}

// SemDSSize is the size of struct semid64_ds.
const SemDSSize = 104

// Stat is IPC_STAT and SEM_STAT.
func (s *Sem) Stat(c vfs.Caller, id int32, index, any bool) (b [SemDSSize]byte, full int32, e abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, e := lookup(&s.t, c, id, index, any)
	if e != 0 {
		return b, 0, e
	}
	le := binary.LittleEndian
	o.encode(b[:])
	le.PutUint64(b[48:], uint64(o.otime))
	le.PutUint64(b[64:], uint64(o.ctime))
	le.PutUint64(b[80:], uint64(len(o.sems)))
	return b, o.id, 0
}

// Set is IPC_SET.
func (s *Sem) Set(c vfs.Caller, id int32, b []byte) abi.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, e := s.t.find(id)
	if e == 0 {
		e = o.mayControl(c.Creds())
	}
	if e != 0 {
		return e
	}
	o.set(b)
	o.ctime = now()
	return 0
}

// Info is struct seminfo: limits, or with used what there is (SEM_INFO).
func (s *Sem) Info(used bool) (b [40]byte, highest uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := [10]int{s.mns, s.t.max, s.mns, s.mns, s.msl, s.opm, s.opm, 20, semVMX, semVMX}
	if used {
		v[7], v[9] = s.t.count, s.total
	}
	for i, n := range v {
		binary.LittleEndian.PutUint32(b[4*i:], uint32(n))
	}
	return b, s.t.highest()
}

// with runs f on a set that the caller may access.
func (s *Sem) with(c vfs.Caller, id int32, want uint32, f func(o *Set) abi.Errno) abi.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, e := s.t.find(id)
	if e == 0 {
		e = o.may(c.Creds(), want)
	}
	if e != 0 {
		return e
	}
	return f(o)
}

// Value is GETVAL, GETPID, GETNCNT or GETZCNT of one semaphore.
func (s *Sem) Value(c vfs.Caller, id, num, cmd int32) (v int32, e abi.Errno) {
	e = s.with(c, id, 0444, func(o *Set) abi.Errno {
		if num < 0 || int(num) >= len(o.sems) {
			return unix.EINVAL
		}
		switch cmd {
		case GETVAL:
			v = o.sems[num].val
		case GETPID:
			v = o.sems[num].pid
		default:
			for _, w := range o.waiting {
				op := &w.ops[w.block]
				if int32(op.Num) == num && (op.Op == 0) == (cmd == GETZCNT) {
					v++
				}
			}
		}
		return 0
	})
	return v, e
}

// Values is GETALL.
func (s *Sem) Values(c vfs.Caller, id int32) (v []uint16, e abi.Errno) {
	e = s.with(c, id, 0444, func(o *Set) abi.Errno {
		for i := range o.sems {
			v = append(v, uint16(o.sems[i].val))
		}
		return 0
	})
	return v, e
}

// Count gives the number of semaphores of a set, for SETALL.
func (s *Sem) Count(c vfs.Caller, id int32) (n int, e abi.Errno) {
	e = s.with(c, id, 0222, func(o *Set) abi.Errno {
		n = len(o.sems)
		return 0
	})
	return n, e
}

// SetValue is SETVAL; SetValues is SETALL. What was to be undone of the
// semaphores is forgotten.
func (s *Sem) SetValue(c vfs.Caller, id, num, v int32) abi.Errno {
	if v < 0 || v > semVMX {
		return unix.ERANGE
	}
	return s.with(c, id, 0222, func(o *Set) abi.Errno {
		if num < 0 || int(num) >= len(o.sems) {
			return unix.EINVAL
		}
		o.assign(int(num), v, c.TGID())
		o.ctime = now()
		o.update()
		return 0
	})
}

func (s *Sem) SetValues(c vfs.Caller, id int32, v []uint16) abi.Errno {
	for _, n := range v {
		if n > semVMX {
			return unix.ERANGE
		}
	}
	return s.with(c, id, 0222, func(o *Set) abi.Errno {
		if len(v) != len(o.sems) {
			return unix.EIDRM // another set by now
		}
		for i, n := range v {
			o.assign(i, int32(n), c.TGID())
		}
		o.ctime = now()
		o.update()
		return 0
	})
}

func (o *Set) assign(i int, v, pid int32) {
	o.sems[i] = sem{v, pid}
	for _, u := range o.undo {
		u[i] = 0
	}
}
