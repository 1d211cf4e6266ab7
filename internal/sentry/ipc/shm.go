package ipc

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Flags and commands of shared memory (shmop(2), shmctl(2)).
const (
	SHM_RDONLY  = 010000
	SHM_RND     = 020000
	SHM_REMAP   = 040000
	SHM_EXEC    = 0100000
	SHM_HUGETLB = 04000

	SHM_LOCK     = 11
	SHM_UNLOCK   = 12
	SHM_STAT     = 13
	SHM_INFO     = 14
	SHM_STAT_ANY = 15

	shmDest   = 01000 // removed at the last detach
	shmLocked = 02000
)

const (
	pageSize = 4096
	shmMax   = 1<<64 - 1 - 1<<24 // shmmax and shmall as Linux starts with
	shmMNI   = 4096
)

// Segment is a shared memory segment. It is the Tag of its mappings.
type Segment struct {
	perm
	shm  *Shm // constant
	size uint64
	file *vfs.FileDescription // constant

	// Guarded by Shm.mu.
	attached            int
	cpid, lpid          int32
	atime, dtime, ctime int64
}

// Shm is the namespace's shared memory.
type Shm struct {
	// NewFile makes a segment's file; constant.
	NewFile func(c vfs.Caller, key int32, mode uint32, size int64) (*vfs.FileDescription, abi.Errno)

	mu    sync.Mutex
	t     table[*Segment]
	pages uint64

	// kernel.shmmax, shmall and shm_rmid_forced; shmmni is t.max.
	max, all uint64
	forced   bool // a segment goes with its last attachment
}

// Get is shmget(2).
func (s *Shm) Get(c vfs.Caller, key int32, size uint64, flags uint32) (int32, abi.Errno) {
	if flags&SHM_HUGETLB != 0 && flags&IPC_CREAT != 0 {
		return 0, unix.EINVAL // no huge pages here
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t.get(c, key, flags, func(o *Segment) abi.Errno {
		if size > o.size {
			return unix.EINVAL
		}
		return 0
	}, func() (*Segment, abi.Errno) { return s.make(c, key, size, flags) })
}

func (s *Shm) make(c vfs.Caller, key int32, size uint64, flags uint32) (*Segment, abi.Errno) {
	if size < 1 || size > s.max {
		return nil, unix.EINVAL
	}
	pages := (size + pageSize - 1) / pageSize
	if pages<<12 < size || s.pages+pages < s.pages || s.pages+pages > s.all {
		return nil, unix.ENOSPC
	}
	if pages > 1<<40/pageSize {
		return nil, unix.ENOMEM
	}
	f, e := s.NewFile(c, key, flags&0777, int64(pages*pageSize))
	if e != 0 {
		return nil, e
	}
	s.pages += pages
	return &Segment{shm: s, size: size, file: f, cpid: c.TGID(), ctime: now()}, 0
}

// Attachment is what shmat(2) maps.
type Attachment struct {
	Segment *Segment
	File    *vfs.FileDescription // a reference is taken
	Size    uint64               // whole pages
}

// Attach checks shmat(2)'s permissions and holds the segment until Abandon or
// the end of its mapping: call Attached once it is mapped.
func (s *Shm) Attach(c vfs.Caller, id int32, flags uint32) (Attachment, abi.Errno) {
	want := uint32(0666)
	if flags&SHM_RDONLY != 0 {
		want = 0444
	}
	if flags&SHM_EXEC != 0 {
		want |= 0111
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, e := s.t.find(id)
	if e != 0 {
		return Attachment{}, e
	}
	if e := o.may(c.Creds(), want); e != 0 {
		return Attachment{}, e
	}
	o.attached++ // keeps it while it is being mapped
	o.file.IncRef()
	return Attachment{o, o.file, (o.size + pageSize - 1) &^ (pageSize - 1)}, 0
}

// Attached ends what Attach began, when the mapping has been made or has
// failed: the mapping counts for itself.
func (o *Segment) Attached(pid int32, ok bool) {
	s := o.shm
	s.mu.Lock()
	defer s.unlockAndDrop(o)
	o.attached--
	if ok {
		o.atime, o.lpid = now(), pid
	}
}

// Mapped is mm.Tagger's: one more mapping of the segment.
func (o *Segment) Mapped() {
	o.shm.mu.Lock()
	o.attached++
	o.atime = now()
	o.shm.mu.Unlock()
}

// Unmapped is mm.Tagger's.
func (o *Segment) Unmapped() {
	s := o.shm
	s.mu.Lock()
	defer s.unlockAndDrop(o)
	o.attached--
	o.dtime = now()
}

// Detached notes who has called shmdt(2).
func (o *Segment) Detached(pid int32) {
	o.shm.mu.Lock()
	o.lpid = pid
	o.shm.mu.Unlock()
}

// unlockAndDrop releases mu, and the segment too if it was removed and nobody
// has it attached any more.
func (s *Shm) unlockAndDrop(o *Segment) {
	drop := o.attached == 0 && (o.mode&shmDest != 0 || s.forced && o.atime != 0) && !o.removed
	if drop {
		s.t.remove(o)
		s.pages -= (o.size + pageSize - 1) / pageSize
	}
	s.mu.Unlock()
	if drop {
		o.file.DecRef()
	}
}

// Remove is shmctl's IPC_RMID.
func (s *Shm) Remove(c vfs.Caller, id int32) abi.Errno {
	s.mu.Lock()
	o, e := s.t.find(id)
	if e == 0 {
		e = o.mayControl(c.Creds())
	}
	if e != 0 {
		s.mu.Unlock()
		return e
	}
	o.mode |= shmDest
	s.t.unkey(o)
	s.unlockAndDrop(o)
	return 0
}

// ShmDSSize is the size of struct shmid64_ds.
const ShmDSSize = 112

// Set is IPC_SET: b is the caller's struct shmid64_ds.
func (s *Shm) Set(c vfs.Caller, id int32, b []byte) abi.Errno {
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

// Stat is IPC_STAT, or SHM_STAT with an index in place of the id, which also
// gives the id. any: without a check (SHM_STAT_ANY).
func (s *Shm) Stat(c vfs.Caller, id int32, index, any bool) (b [ShmDSSize]byte, full int32, e abi.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, e := lookup(&s.t, c, id, index, any)
	if e != 0 {
		return b, 0, e
	}
	le := binary.LittleEndian
	o.encode(b[:])
	le.PutUint64(b[48:], o.size)
	le.PutUint64(b[56:], uint64(o.atime))
	le.PutUint64(b[64:], uint64(o.dtime))
	le.PutUint64(b[72:], uint64(o.ctime))
	le.PutUint32(b[80:], uint32(o.cpid))
	le.PutUint32(b[84:], uint32(o.lpid))
	le.PutUint64(b[88:], uint64(o.attached))
	return b, o.id, 0
}

// lookup finds an object by id, or by index, and checks that it may be read.
func lookup[T object](t *table[T], c vfs.Caller, id int32, index, any bool) (T, abi.Errno) {
	find := t.find
	if index {
		find = t.at
	}
	o, e := find(id)
	if e == 0 && !any {
		e = o.ipcPerm().may(c.Creds(), 0444)
	}
	return o, e
}

// Lock is SHM_LOCK and SHM_UNLOCK. The host decides what is in memory: only
// the flag changes.
func (s *Shm) Lock(c vfs.Caller, id int32, on bool) abi.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, e := s.t.find(id)
	if e != 0 {
		return e
	}
	cr := c.Creds()
	if !cr.Capable(auth.CAP_IPC_LOCK) && cr.EUID != o.uid && cr.EUID != o.cuid {
		return unix.EPERM
	}
	o.mode &^= shmLocked
	if on {
		o.mode |= shmLocked
	}
	return 0
}

// Info is IPC_INFO's struct shminfo64.
func (s *Shm) Info() (b [72]byte, highest uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	le := binary.LittleEndian
	le.PutUint64(b[0:], s.max)
	le.PutUint64(b[8:], 1)
	le.PutUint64(b[16:], uint64(s.t.max))
	le.PutUint64(b[24:], uint64(s.t.max))
	le.PutUint64(b[32:], s.all)
	return b, s.t.highest()
}

// Usage is SHM_INFO's struct shm_info.
func (s *Shm) Usage() (b [48]byte, highest uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	le := binary.LittleEndian
	le.PutUint32(b[0:], uint32(s.t.count))
	le.PutUint64(b[8:], s.pages)
	le.PutUint64(b[16:], s.pages)
	return b, s.t.highest()
}
