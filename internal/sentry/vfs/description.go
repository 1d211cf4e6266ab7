package vfs

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// SettableFlags are those that F_SETFL changes.
const SettableFlags = unix.O_APPEND | unix.O_NONBLOCK | unix.O_ASYNC | unix.O_DIRECT | unix.O_NOATIME

var lastDescription atomic.Uint64

// NewDescription gives a description with one reference. It pins path once
// more. mode is FMODE_*; flags are O_* as F_GETFL shows them.
func NewDescription(path Path, impl File, flags, mode uint32) *FileDescription {
	path.IncRef()
	fd := &FileDescription{Mode: mode, Path: path, Impl: impl, ID: lastDescription.Add(1)}
	fd.refs.Store(1)
	fd.flags.Store(flags)
	return fd
}

// AccessMode gives FMODE_READ and FMODE_WRITE for open's O_ACCMODE.
func AccessMode(flags uint32) uint32 {
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return FMODE_READ
	case unix.O_WRONLY:
		return FMODE_WRITE
	case unix.O_RDWR:
		return FMODE_READ | FMODE_WRITE
	}
	return 0
}

// IncRef adds a reference to a description of which one is held.
func (fd *FileDescription) IncRef() { fd.refs.Add(1) }

// tryIncRef adds one unless the last has gone.
func (fd *FileDescription) tryIncRef() bool {
	for {
		n := fd.refs.Load()
		if n <= 0 {
			return false
		}
		if fd.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Refs is the number of references; a hint (unix sockets' garbage collection).
func (fd *FileDescription) Refs() int64 { return fd.refs.Load() }

// DecRef drops a reference; the last releases the file.
func (fd *FileDescription) DecRef() {
	if fd.refs.Add(-1) == 0 {
		fd.gone()
		fd.release()
	}
}

// Inode gives the inode of the description's path.
func (fd *FileDescription) Inode() Inode { return fd.Path.Dentry.inode }

// SetFlags is F_SETFL: of v it takes SettableFlags. O_APPEND and O_NOATIME
// have conditions (EPERM).
func (fd *FileDescription) SetFlags(c Caller, v uint32) abi.Errno { return unix.ENOSYS }

// Async gives the owner for SIGIO, nil if none.
func (fd *FileDescription) Async() *AsyncOwner { return fd.async.Load() }

// SetAsync sets it.
func (fd *FileDescription) SetAsync(o *AsyncOwner) { fd.async.Store(o) }

// Seekable tells whether lseek, pread and pwrite are allowed.
func (fd *FileDescription) Seekable() bool { return fd.Impl.Seekable() }

// Read reads at the description's offset and moves it. EBADF if it is not open
// for reading; EAGAIN if it would have to wait.
func (fd *FileDescription) Read(c Caller, dst []byte) (int, abi.Errno) { return 0, unix.ENOSYS }

// Write writes at the offset, or at the end (O_APPEND), and moves it.
func (fd *FileDescription) Write(c Caller, src []byte) (int, abi.Errno) { return 0, unix.ENOSYS }

// WriteAppend writes at the end, whatever the flags (RWF_APPEND).
func (fd *FileDescription) WriteAppend(c Caller, src []byte) (int, abi.Errno) {
	return 0, unix.ENOSYS
}

// Pread reads at off, without moving the offset.
func (fd *FileDescription) Pread(c Caller, dst []byte, off int64) (int, abi.Errno) {
	return 0, unix.ENOSYS
}

// Pwrite writes at off; with O_APPEND at the end, as Linux does.
func (fd *FileDescription) Pwrite(c Caller, src []byte, off int64) (int, abi.Errno) {
	return 0, unix.ENOSYS
}

// Seek is lseek(2).
func (fd *FileDescription) Seek(c Caller, off int64, whence int) (int64, abi.Errno) {
	return 0, unix.ENOSYS
}

// Offset gives the offset, for /proc/PID/fdinfo.
func (fd *FileDescription) Offset() int64 {
	fd.offMu.Lock()
	defer fd.offMu.Unlock()
	return fd.off
}

// ReadDir emits entries from the offset on until emit gives false (that entry
// is not consumed), and moves the offset behind the last consumed.
func (fd *FileDescription) ReadDir(c Caller, emit func(Dirent) bool) abi.Errno { return unix.ENOSYS }

// Ready and Queue are the file's.
func (fd *FileDescription) Ready() uint32        { return fd.Impl.Ready(fd) }
func (fd *FileDescription) Queue() *waiter.Queue { return fd.Impl.Queue(fd) }

// Ioctl is the file's.
func (fd *FileDescription) Ioctl(c Caller, cmd uint32, arg uint64, mem UserMemory) (uint64, abi.Errno) {
	return fd.Impl.Ioctl(c, fd, cmd, arg, mem)
}

// Sync is fsync and fdatasync.
func (fd *FileDescription) Sync(c Caller, dataOnly bool) abi.Errno {
	return fd.Impl.Sync(c, fd, dataOnly)
}

// Allocate is fallocate(2), arguments and limits checked.
func (fd *FileDescription) Allocate(c Caller, mode uint32, off, length int64) abi.Errno {
	return unix.ENOSYS
}

// Map checks the description's mode and mount against mmap(2)'s arguments
// (EACCES, EPERM) and asks the file. The mapping's host descriptor is valid
// while the description is held.
func (fd *FileDescription) Map(c Caller, off, length int64, prot uint32, shared bool) (Mapping, abi.Errno) {
	return Mapping{}, unix.ENOSYS
}

func (fd *FileDescription) release() {}
