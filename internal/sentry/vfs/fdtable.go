package vfs

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// FDTable is a table of descriptors (files_struct). Get takes no lock; changes
// take mu. It counts its users: threads that share it by CLONE_FILES.
type FDTable struct {
	users atomic.Int32
	slots atomic.Pointer[[]atomic.Pointer[FileDescription]]

	mu      sync.Mutex
	used    []uint64 // bit per descriptor
	cloexec []uint64
	next    int32 // no descriptor below is free
	count   int32
	locks   atomic.Bool // some POSIX lock may be owned by this table

	borrower FDBorrower         // whose stub is ahead of the table; nil: none
	never    bool               // it is lent no more
	settling bool               // what the stub did is being done
	gone     []*FileDescription // closed by that, to be let go behind mu
	told     struct {           // the directory whose entries are in the stub's note
		fd  *FileDescription // only compared
		end int64            // the offset behind them
	}
}

// NewFDTable gives an empty table with one user.
func NewFDTable() *FDTable {
	t := &FDTable{}
	t.users.Store(1)
	s := make([]atomic.Pointer[FileDescription], 64)
	t.slots.Store(&s)
	t.used, t.cloexec = make([]uint64, 1), make([]uint64, 1)
	return t
}

// IncRef adds a user of the table.
func (t *FDTable) IncRef() {
	t.users.Add(1)
	t.Recall(false)
}

// Users is the number of users.
func (t *FDTable) Users() int32 { return t.users.Load() }

// DecRef removes a user; the last closes every descriptor.
func (t *FDTable) DecRef(c Caller) {
	if t.users.Add(-1) == 0 {
		t.CloseRange(c, 0, ^uint32(0))
	}
}

// Get gives the description behind fd, counted once more: DecRef it. EBADF if
// there is none.
func (t *FDTable) Get(fd int32) (*FileDescription, abi.Errno) {
	for {
		slots := *t.slots.Load()
		if uint32(fd) >= uint32(len(slots)) {
			return nil, unix.EBADF
		}
		f := slots[fd].Load()
		if f == nil {
			return nil, unix.EBADF
		}
		if f.tryIncRef() {
			return f, 0
		}
	}
}

// GetPathOK is Get; GetFile is Get that refuses O_PATH descriptors with EBADF,
// as fdget does.
func (t *FDTable) GetFile(fd int32) (*FileDescription, abi.Errno) {
	f, e := t.Get(fd)
	if e == 0 && f.Mode&FMODE_PATH != 0 {
		f.DecRef()
		return nil, unix.EBADF
	}
	return f, e
}

// Install puts f at the lowest free descriptor ≥ min and takes over its
// reference, unless it fails with EMFILE. limit is RLIMIT_NOFILE.
func (t *FDTable) Install(f *FileDescription, min int32, cloexec bool, limit uint64) (int32, abi.Errno) {
	t.lock()
	defer t.unlock()
	if min < 0 || uint64(min) >= limit {
		return -1, unix.EINVAL
	}
	fd := t.lowest(min)
	if uint64(fd) >= limit || fd >= maxFD {
		return -1, unix.EMFILE
	}
	t.grow(fd)
	t.set(fd, f, cloexec)
	if min <= t.next {
		t.next = fd + 1
	}
	return fd, 0
}

// InstallAt puts f, whose reference it takes over, at newfd (dup2, dup3,
// SECCOMP_ADDFD), closing what was there. EBADF if newfd is past limit.
func (t *FDTable) InstallAt(c Caller, f *FileDescription, newfd int32, cloexec bool, limit uint64) abi.Errno {
	if newfd < 0 || uint64(newfd) >= limit || newfd >= maxFD {
		return unix.EBADF
	}
	t.lock()
	t.grow(newfd)
	old := (*t.slots.Load())[newfd].Load()
	t.set(newfd, f, cloexec)
	t.unlock()
	if old != nil {
		t.closed(c, old)
	}
	return 0
}

// Remove takes fd out of the table and gives its description with the
// table's reference. Close is what close(2) wants.
func (t *FDTable) Remove(fd int32) (*FileDescription, abi.Errno) {
	t.lock()
	defer t.unlock()
	return t.remove(fd)
}

// Close closes fd: its POSIX locks go, then its reference.
func (t *FDTable) Close(c Caller, fd int32) abi.Errno {
	t.lock()
	f, e := t.remove(fd)
	t.unlock()
	if e != 0 {
		return e
	}
	t.closed(c, f)
	return 0
}

// CloseRange closes first … last (close_range(2)).
func (t *FDTable) CloseRange(c Caller, first, last uint32) {
	t.eachIn(first, last, func(fd int32) { t.Close(c, fd) })
}

// CloexecRange marks first … last close-on-exec (CLOSE_RANGE_CLOEXEC).
func (t *FDTable) CloexecRange(first, last uint32) {
	t.eachIn(first, last, func(fd int32) { t.SetCloexec(fd, true) })
}

// CloseOnExec closes what is marked so.
func (t *FDTable) CloseOnExec(c Caller) {
	t.eachIn(0, ^uint32(0), func(fd int32) {
		if on, e := t.Cloexec(fd); e == 0 && on {
			t.Close(c, fd)
		}
	})
}

// eachIn calls f for the descriptors in use, without the lock.
func (t *FDTable) eachIn(first, last uint32, f func(int32)) {
	for _, fd := range t.FDs() {
		if uint32(fd) >= first && uint32(fd) <= last {
			f(fd)
		}
	}
}

// Cloexec tells whether fd is closed on exec.
func (t *FDTable) Cloexec(fd int32) (bool, abi.Errno) {
	t.lock()
	defer t.unlock()
	if !t.inUse(fd) {
		return false, unix.EBADF
	}
	return t.cloexec[fd/64]>>uint(fd%64)&1 != 0, 0
}

// SetCloexec sets or clears the close-on-exec flag.
func (t *FDTable) SetCloexec(fd int32, on bool) abi.Errno {
	t.lock()
	defer t.unlock()
	if !t.inUse(fd) {
		return unix.EBADF
	}
	t.setCloexec(fd, on)
	return 0
}

// Fork gives a copy with one user, for a child process.
func (t *FDTable) Fork() *FDTable {
	t.lock()
	defer t.unlock()
	slots := *t.slots.Load()
	n := &FDTable{used: slices.Clone(t.used), cloexec: slices.Clone(t.cloexec), next: t.next, count: t.count}
	n.users.Store(1)
	s := make([]atomic.Pointer[FileDescription], len(slots))
	for i := range slots {
		if f := slots[i].Load(); f != nil {
			f.IncRef()
			s[i].Store(f)
		}
	}
	n.slots.Store(&s)
	return n
}

// FDs gives the descriptors in use, ascending.
func (t *FDTable) FDs() []int32 {
	t.lock()
	defer t.unlock()
	out := make([]int32, 0, t.count)
	for i, w := range t.used {
		for ; w != 0; w &= w - 1 {
			out = append(out, int32(i*64+bits.TrailingZeros64(w)))
		}
	}
	return out
}

// Size is how many descriptors the table has room for (FDSize in status).
func (t *FDTable) Size() int { return len(*t.slots.Load()) }

// Count is the number of descriptors in use.
func (t *FDTable) Count() int {
	t.lock()
	defer t.unlock()
	return int(t.count)
}

const maxFD = 1 << 20 // fs.nr_open

func (t *FDTable) inUse(fd int32) bool {
	return fd >= 0 && int(fd/64) < len(t.used) && t.used[fd/64]>>uint(fd%64)&1 != 0
}

func (t *FDTable) lowest(min int32) int32 {
	fd := max(min, t.next)
	for i := int(fd / 64); i < len(t.used); i++ {
		free := ^t.used[i]
		if i == int(fd/64) {
			free &= ^uint64(0) << uint(fd%64)
		}
		if free != 0 {
			return int32(i*64 + bits.TrailingZeros64(free))
		}
	}
	return max(fd, int32(len(t.used)*64))
}

func (t *FDTable) grow(fd int32) {
	old := *t.slots.Load()
	if int(fd) < len(old) {
		return
	}
	n := len(old)
	for n <= int(fd) {
		n *= 2
	}
	s := make([]atomic.Pointer[FileDescription], n)
	for i := range old {
		s[i].Store(old[i].Load())
	}
	t.slots.Store(&s)
	t.used = append(t.used, make([]uint64, n/64-len(t.used))...)
	t.cloexec = append(t.cloexec, make([]uint64, n/64-len(t.cloexec))...)
}

func (t *FDTable) set(fd int32, f *FileDescription, cloexec bool) {
	if !t.inUse(fd) {
		t.used[fd/64] |= 1 << uint(fd%64)
		t.count++
	}
	(*t.slots.Load())[fd].Store(f)
	t.setCloexec(fd, cloexec)
}

func (t *FDTable) setCloexec(fd int32, on bool) {
	if on {
		t.cloexec[fd/64] |= 1 << uint(fd%64)
	} else {
		t.cloexec[fd/64] &^= 1 << uint(fd%64)
	}
	t.changed(fd)
}

func (t *FDTable) remove(fd int32) (*FileDescription, abi.Errno) {
	if !t.inUse(fd) {
		return nil, unix.EBADF
	}
	slot := &(*t.slots.Load())[fd]
	f := slot.Load()
	slot.Store(nil)
	t.used[fd/64] &^= 1 << uint(fd%64)
	t.setCloexec(fd, false)
	t.count--
	t.next = min(t.next, fd)
	return f, 0
}

// closed ends one descriptor's hold on f.
func (t *FDTable) closed(c Caller, f *FileDescription) {
	if t.locks.Load() && f.Path.Dentry != nil {
		dropPosixLocks(f.Inode(), t)
	}
	f.recall()
	f.uncontrol()
	f.DecRef()
}
