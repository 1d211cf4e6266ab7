package vfs

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// AtEnd as a Write's offset means: append (O_APPEND), atomically.
const AtEnd int64 = -1

// Dirent is one entry that ReadDir emits.
type Dirent struct {
	Name string
	Ino  uint64
	Type uint8 // DT_*
	Next int64 // offset of the entry behind this one
}

// Mapping is a part of a host file that a guest may map.
type Mapping struct {
	// HostFD is borrowed: it stays valid while the description is held.
	HostFD int
	Offset int64
	// Anonymous: no host file, map zeroes (private /dev/zero).
	Anonymous bool
}

// File is what an open file description does. Buffers are the Sentry's own
// memory, or a shared page's output area (for reads): never read back what
// was written to dst. A call that would have to wait returns EAGAIN, and the
// caller waits on Queue for Ready to change, unless the description is
// O_NONBLOCK. Embed FileDefaults for what a kind of file refuses.
type File interface {
	// Release is called once, when the last reference goes.
	Release(fd *FileDescription)
	// Seekable files have an offset that vfs keeps; others get off 0, and
	// pread/pwrite/lseek give ESPIPE.
	Seekable() bool
	Read(c Caller, fd *FileDescription, dst []byte, off int64) (int, abi.Errno)
	// Write gives the bytes written and, for AtEnd, where they ended.
	Write(c Caller, fd *FileDescription, src []byte, off int64) (n int, end int64, e abi.Errno)
	// Seek handles SEEK_END, SEEK_DATA and SEEK_HOLE; vfs does SEEK_SET and SEEK_CUR.
	Seek(c Caller, fd *FileDescription, off int64, whence int) (int64, abi.Errno)
	ReadDir(c Caller, fd *FileDescription, off int64, emit func(Dirent) bool) abi.Errno
	// Ready gives the events that hold now (waiter.In, …).
	Ready(fd *FileDescription) uint32
	// Queue is notified when Ready may have changed; nil: it never does.
	Queue(fd *FileDescription) *waiter.Queue
	// Ioctl acts on the guest's argument through mem; ENOIOCTLCMD if unknown.
	Ioctl(c Caller, fd *FileDescription, cmd uint32, arg uint64, mem UserMemory) (uint64, abi.Errno)
	Sync(c Caller, fd *FileDescription, dataOnly bool) abi.Errno
	Allocate(c Caller, fd *FileDescription, mode uint32, off, length int64) abi.Errno
	// Map readies [off, off+length) for mapping with prot (PROT_*).
	Map(c Caller, fd *FileDescription, off, length int64, prot uint32, shared bool) (Mapping, abi.Errno)
}

// UserMemory is the caller's memory. Every access may fail with EFAULT.
type UserMemory interface {
	CopyIn(addr uint64, dst []byte) abi.Errno
	CopyOut(addr uint64, src []byte) abi.Errno
}
