package ipc

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Commands and flags of the *ctl and *get calls (sysvipc(7)).
const (
	IPC_PRIVATE = 0

	IPC_CREAT  = 01000
	IPC_EXCL   = 02000
	IPC_NOWAIT = 04000

	IPC_RMID = 0
	IPC_SET  = 1
	IPC_STAT = 2
	IPC_INFO = 3
)

// indexBits: an id is a sequence number above the index of its place.
const indexBits = 15

// perm is struct kern_ipc_perm. It is guarded by its table's mu.
type perm struct {
	id, key    int32
	uid, gid   uint32
	cuid, cgid uint32
	mode       uint32
	seq        uint16
	removed    bool
}

// permSize is the size of struct ipc64_perm.
const permSize = 48

func (p *perm) encode(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], uint32(p.key))
	le.PutUint32(b[4:], p.uid)
	le.PutUint32(b[8:], p.gid)
	le.PutUint32(b[12:], p.cuid)
	le.PutUint32(b[16:], p.cgid)
	le.PutUint32(b[20:], p.mode)
	le.PutUint16(b[24:], p.seq)
}

// set is IPC_SET's part: b is the caller's struct ipc64_perm.
func (p *perm) set(b []byte) {
	le := binary.LittleEndian
	p.uid, p.gid = le.Uint32(b[4:]), le.Uint32(b[8:])
	p.mode = p.mode&^0777 | le.Uint32(b[20:])&0777
}

// may checks the permission bits asked for (0444, 0222 or both).
func (p *perm) may(c *auth.Creds, want uint32) abi.Errno {
	want |= want>>6 | want>>3
	granted := p.mode
	switch {
	case c.EUID == p.cuid || c.EUID == p.uid:
		granted >>= 6
	case c.InEGroup(p.cgid) || c.InEGroup(p.gid):
		granted >>= 3
	}
	if want&^granted&7 != 0 && !c.Capable(auth.CAP_IPC_OWNER) {
		return unix.EACCES
	}
	return 0
}

// mayControl is the check of IPC_SET and IPC_RMID.
func (p *perm) mayControl(c *auth.Creds) abi.Errno {
	if c.EUID == p.cuid || c.EUID == p.uid || c.Capable(auth.CAP_SYS_ADMIN) {
		return 0
	}
	return unix.EPERM
}

// object is a *Segment, *Set or *Queue.
type object interface{ ipcPerm() *perm }

func (p *perm) ipcPerm() *perm { return p }

// table has the objects of one kind.
type table[T object] struct {
	max    int
	places []place[T]
	byKey  map[int32]int // places, by key
	count  int
}

type place[T object] struct {
	used bool
	seq  uint16
	obj  T
}

// get is the part that the three *get calls share. fits checks an object that
// is there; mk makes one, whose perm is filled in by get.
func (t *table[T]) get(c vfs.Caller, key int32, flags uint32, fits func(T) abi.Errno, mk func() (T, abi.Errno)) (int32, abi.Errno) {
	if key != IPC_PRIVATE {
		if i, ok := t.byKey[key]; ok {
			o := t.places[i].obj
			if flags&(IPC_CREAT|IPC_EXCL) == IPC_CREAT|IPC_EXCL {
				return 0, unix.EEXIST
			}
			if e := fits(o); e != 0 {
				return 0, e
			}
			return o.ipcPerm().id, o.ipcPerm().may(c.Creds(), flags&0777)
		}
		if flags&IPC_CREAT == 0 {
			return 0, unix.ENOENT
		}
	}
	return t.add(c, key, flags, mk)
}

func (t *table[T]) add(c vfs.Caller, key int32, flags uint32, mk func() (T, abi.Errno)) (int32, abi.Errno) {
	if t.count >= t.max {
		return 0, unix.ENOSPC
	}
	o, e := mk()
	if e != 0 {
		return 0, e
	}
	i := 0
	for i < len(t.places) && t.places[i].used {
		i++
	}
	if i == len(t.places) {
		t.places = append(t.places, place[T]{})
	}
	pl := &t.places[i]
	pl.used, pl.obj = true, o
	p, cr := o.ipcPerm(), c.Creds()
	p.key, p.mode, p.seq = key, flags&0777, pl.seq
	p.uid, p.cuid, p.gid, p.cgid = cr.EUID, cr.EUID, cr.EGID, cr.EGID
	p.id = int32(pl.seq)<<indexBits | int32(i)
	pl.seq = (pl.seq + 1) & 0x7fff
	t.count++
	if key != IPC_PRIVATE {
		if t.byKey == nil {
			t.byKey = map[int32]int{}
		}
		t.byKey[key] = i
	}
	return p.id, 0
}

// find gives the object of an id: EINVAL, or EIDRM when the place has another
// one now.
func (t *table[T]) find(id int32) (o T, e abi.Errno) {
	i := int(id & (1<<indexBits - 1))
	if id < 0 || i >= len(t.places) || !t.places[i].used {
		return o, unix.EINVAL
	}
	o = t.places[i].obj
	if o.ipcPerm().id != id {
		return o, unix.EIDRM
	}
	return o, 0
}

// at gives the object in a place (SHM_STAT and its like).
func (t *table[T]) at(i int32) (o T, e abi.Errno) {
	if i < 0 || int(i) >= len(t.places) || !t.places[i].used {
		return o, unix.EINVAL
	}
	return t.places[i].obj, 0
}

// unkey makes the object's key free; remove takes it out.
func (t *table[T]) unkey(o T) {
	p := o.ipcPerm()
	if p.key != IPC_PRIVATE {
		delete(t.byKey, p.key)
		p.key = IPC_PRIVATE
	}
}

func (t *table[T]) remove(o T) {
	t.unkey(o)
	p := o.ipcPerm()
	p.removed = true
	var none T
	pl := &t.places[p.id&(1<<indexBits-1)]
	pl.used, pl.obj = false, none
	t.count--
}

// highest is the highest place in use, 0 for none: what IPC_INFO returns.
func (t *table[T]) highest() uint64 {
	for i := len(t.places) - 1; i > 0; i-- {
		if t.places[i].used {
			return uint64(i)
		}
	}
	return 0
}

// each calls f for every object, by place.
func (t *table[T]) each(f func(T)) {
	for i := range t.places {
		if t.places[i].used {
			f(t.places[i].obj)
		}
	}
}

func now() int64 { return time.Now().Unix() }

// sleeper is a task that waits for an object; done is set under the table's mu
// by whoever completes its request.
type sleeper struct {
	b    vfs.Blocker
	done bool
	e    abi.Errno
}

func (s *sleeper) finish(e abi.Errno) {
	s.done, s.e = true, e
	s.b.Notified(nil, 0)
}
