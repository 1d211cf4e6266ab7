package vfs

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Blocker is a Caller that can wait: a kernel.Task.
type Blocker interface {
	waiter.Listener
	Block(deadline int64) abi.Errno
}

// FileLock is a POSIX or OFD record lock on [Start, End], both included;
// End math.MaxInt64 is to the end of the file.
type FileLock struct {
	Type       int16 // F_RDLCK, F_WRLCK, F_UNLCK
	Start, End int64
	PID        int32 // what F_GETLK tells; -1 for OFD locks
	Owner      any   // *FDTable for POSIX locks, *FileDescription for OFD locks
}

type lockList struct{}

// SetLock takes, changes or drops a record lock. Without b it fails with
// EAGAIN on a conflict; with b it waits (F_SETLKW), and finds deadlocks
// (EDEADLK). fd's access mode is checked (EBADF).
func SetLock(fd *FileDescription, l FileLock, b Blocker) abi.Errno { return unix.ENOSYS }

// TestLock gives a lock that conflicts with l (F_GETLK).
func TestLock(fd *FileDescription, l FileLock) (FileLock, bool) { return FileLock{}, false }

// Flock is flock(2): op is LOCK_SH, LOCK_EX or LOCK_UN; with b it waits,
// without it fails with EWOULDBLOCK.
func Flock(fd *FileDescription, op int, b Blocker) abi.Errno { return unix.ENOSYS }

// LockInfo is a line of /proc/locks.
type LockInfo struct {
	Kind       string // POSIX, OFDLCK, FLOCK
	Write      bool
	Blocked    bool
	PID        int32
	Dev, Ino   uint64
	Start, End int64
}

// Locks lists all locks.
func Locks() []LockInfo { return nil }

func dropPosixLocks(ino Inode, t *FDTable) {}
