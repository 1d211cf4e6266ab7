package vfs

import (
	"math"
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

// TryIncRef is for weak holders (epoll): false once the last reference went.
func (fd *FileDescription) TryIncRef() bool { return fd.tryIncRef() }

// Refs is the number of references; a hint (unix sockets' garbage collection).
func (fd *FileDescription) Refs() int64 { return fd.refs.Load() }

// DecRef drops a reference; the last releases the file.
func (fd *FileDescription) DecRef() {
	if fd.refs.Add(-1) == 0 {
		fd.release()
	}
}

func (fd *FileDescription) release() {
	fd.gone()
	if !fd.quiet && fd.Mode&FMODE_PATH == 0 && watched.Load() != 0 {
		ev := uint32(unix.IN_CLOSE_NOWRITE)
		if fd.Mode&FMODE_WRITE != 0 {
			ev = unix.IN_CLOSE_WRITE
		}
		fd.Path.Notify(ev)
	}
	if fd.locked.Load() {
		dropOwnLocks(fd)
	}
	fd.Impl.Release(fd)
	if fd.Path.Dentry == nil {
		return
	}
	if fd.writes {
		fd.Inode().Base().PutWrite()
		fd.Path.Mount.writes.Add(-1)
	}
	if fd.denies {
		fd.Inode().Base().AllowWrite()
	}
	fd.Path.DecRef()
}

// Inode gives the inode of the description's path.
func (fd *FileDescription) Inode() Inode { return fd.Path.Dentry.inode }

// SetFlags is F_SETFL: of v it takes SettableFlags.
func (fd *FileDescription) SetFlags(c Caller, v uint32) abi.Errno {
	if v&unix.O_NOATIME != 0 && fd.Flags()&unix.O_NOATIME == 0 && !ownerOrCapable(c.Creds(), fd.Inode().Perm()) {
		return unix.EPERM
	}
	if v&unix.O_DIRECT != 0 && !fd.direct() && fd.Inode().Perm().Mode&unix.S_IFMT != unix.S_IFIFO {
		return unix.EINVAL
	}
	fd.recall()
	for {
		old := fd.flags.Load()
		if fd.flags.CompareAndSwap(old, old&^SettableFlags|v&SettableFlags) {
			fd.hide()
			return 0
		}
	}
}

// direct tells whether the file can be read and written without a cache
// (O_DIRECT): files can, but for those that are made up as they are read. A pipe
// takes the flag too, for another purpose, once it is open.
func (fd *FileDescription) direct() bool {
	if fd.Path.Dentry == nil || fd.Inode().Perm().Mode&unix.S_IFMT != unix.S_IFREG {
		return false
	}
	switch fd.Path.Dentry.fs.Type {
	case "proc", "sysfs", "cgroup", "cgroup2", "mqueue":
		return false
	}
	return true
}

// Created tells whether the open of this description made the file.
func (fd *FileDescription) Created() bool { return fd.created }

// Async gives the owner for SIGIO, nil if none.
func (fd *FileDescription) Async() *AsyncOwner { return fd.async.Load() }

// SetAsync sets it.
func (fd *FileDescription) SetAsync(o *AsyncOwner) { fd.async.Store(o) }

// Seekable tells whether lseek, pread and pwrite are allowed.
func (fd *FileDescription) Seekable() bool { return fd.positioned() }

// Read reads at the description's offset and moves it. EBADF if it is not open
// for reading; EAGAIN if it would have to wait.
func (fd *FileDescription) Read(c Caller, dst []byte) (int, abi.Errno) {
	if fd.Mode&FMODE_READ == 0 {
		return 0, unix.EBADF
	}
	if !fd.Impl.Seekable() {
		n, e := fd.Impl.Read(c, fd, dst, 0)
		fd.moved(n, unix.IN_ACCESS)
		return n, e
	}
	fd.offMu.Lock()
	n, e := fd.Impl.Read(c, fd, dst, fd.off)
	if n > 0 {
		fd.off += int64(n)
	}
	fd.offMu.Unlock()
	fd.moved(n, unix.IN_ACCESS)
	return n, e
}

// Pread reads at off, without moving the offset.
func (fd *FileDescription) Pread(c Caller, dst []byte, off int64) (int, abi.Errno) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	if fd.Mode&FMODE_PATH != 0 {
		return 0, unix.EBADF
	}
	if !fd.positioned() {
		return 0, unix.ESPIPE
	}
	if fd.Mode&FMODE_READ == 0 {
		return 0, unix.EBADF
	}
	if off > math.MaxInt64-int64(len(dst)) {
		return 0, unix.EINVAL
	}
	n, e := fd.Impl.Read(c, fd, dst, off)
	fd.moved(n, unix.IN_ACCESS)
	return n, e
}

// moved tells watchers that bytes moved.
func (fd *FileDescription) moved(n int, event uint32) {
	if n > 0 && watched.Load() != 0 {
		fd.Path.Notify(event)
	}
}

// Write writes at the offset, or at the end (O_APPEND), and moves it.
func (fd *FileDescription) Write(c Caller, src []byte) (int, abi.Errno) {
	return fd.write(c, src, fd.Flags()&unix.O_APPEND != 0)
}

// WriteAppend writes at the end, whatever the flags (RWF_APPEND).
func (fd *FileDescription) WriteAppend(c Caller, src []byte) (int, abi.Errno) {
	return fd.write(c, src, true)
}

// WriteHere writes at the offset, whatever the flags (RWF_NOAPPEND).
func (fd *FileDescription) WriteHere(c Caller, src []byte) (int, abi.Errno) {
	return fd.write(c, src, false)
}

func (fd *FileDescription) write(c Caller, src []byte, atEnd bool) (int, abi.Errno) {
	if fd.Mode&FMODE_WRITE == 0 {
		return 0, unix.EBADF
	}
	if !fd.Impl.Seekable() {
		n, _, e := fd.Impl.Write(c, fd, src, 0)
		fd.moved(n, unix.IN_MODIFY)
		return n, e
	}
	if len(src) > 0 {
		dropSetIDOnWrite(c, fd.Inode(), fd.Inode().Perm())
	}
	fd.offMu.Lock()
	off := fd.off
	if atEnd {
		off = AtEnd
	}
	n, end, e := fd.Impl.Write(c, fd, src, off)
	if n > 0 {
		if atEnd {
			fd.off = end
		} else {
			fd.off += int64(n)
		}
	}
	fd.offMu.Unlock()
	fd.moved(n, unix.IN_MODIFY)
	return n, e
}

// Pwrite writes at off; with O_APPEND at the end, as Linux does. AtEnd as off
// is RWF_APPEND with an offset.
func (fd *FileDescription) Pwrite(c Caller, src []byte, off int64) (int, abi.Errno) {
	return fd.pwrite(c, src, off, fd.Flags()&unix.O_APPEND != 0)
}

// PwriteHere writes at off, whatever the flags (RWF_NOAPPEND).
func (fd *FileDescription) PwriteHere(c Caller, src []byte, off int64) (int, abi.Errno) {
	return fd.pwrite(c, src, off, false)
}

func (fd *FileDescription) pwrite(c Caller, src []byte, off int64, atEnd bool) (int, abi.Errno) {
	if off < 0 && off != AtEnd {
		return 0, unix.EINVAL
	}
	if fd.Mode&FMODE_PATH != 0 {
		return 0, unix.EBADF
	}
	if !fd.positioned() {
		return 0, unix.ESPIPE
	}
	if fd.Mode&FMODE_WRITE == 0 {
		return 0, unix.EBADF
	}
	if off > math.MaxInt64-int64(len(src)) {
		return 0, unix.EINVAL
	}
	if atEnd {
		off = AtEnd
	}
	if len(src) > 0 {
		dropSetIDOnWrite(c, fd.Inode(), fd.Inode().Perm())
	}
	n, _, e := fd.Impl.Write(c, fd, src, off)
	fd.moved(n, unix.IN_MODIFY)
	return n, e
}

// LimitWrite cuts a write of n bytes at off to RLIMIT_FSIZE, for regular files.
// Past it: SIGXFSZ and EFBIG.
func LimitWrite(c Caller, off int64, n int) (int, abi.Errno) {
	limit := c.FSizeLimit()
	if uint64(off)+uint64(n) <= limit || n == 0 {
		return n, 0
	}
	if uint64(off) >= limit {
		c.SignalXFSZ()
		return 0, unix.EFBIG
	}
	return int(limit - uint64(off)), 0
}

// StaysPut is a file without offsets on which lseek(2) succeeds all the same:
// eventfd, epoll and their like.
type StaysPut interface{ SeekStaysPut() }

// AnyOffset is a StaysPut that pread and pwrite take any offset of: /dev/zero
// and its like. It costs its reads no lock.
type AnyOffset interface {
	StaysPut
	AnyOffset()
}

// positioned tells whether pread and pwrite are allowed.
func (fd *FileDescription) positioned() bool {
	if fd.Impl.Seekable() {
		return true
	}
	_, ok := fd.Impl.(AnyOffset)
	return ok
}

// Seek is lseek(2).
func (fd *FileDescription) Seek(c Caller, off int64, whence int) (int64, abi.Errno) {
	if fd.Mode&FMODE_PATH != 0 {
		return 0, unix.EBADF
	}
	if whence < unix.SEEK_SET || whence > unix.SEEK_HOLE {
		return 0, unix.EINVAL
	}
	if !fd.Impl.Seekable() {
		if _, ok := fd.Impl.(StaysPut); ok {
			return 0, 0
		}
		return 0, unix.ESPIPE
	}
	fd.offMu.Lock()
	defer fd.offMu.Unlock()
	to := off
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		at := fd.position()
		if off > 0 && at > math.MaxInt64-off {
			return 0, unix.EINVAL
		}
		to = at + off
	default:
		var e abi.Errno
		if to, e = fd.Impl.Seek(c, fd, off, whence); e != 0 {
			return 0, e
		}
	}
	if to < 0 {
		return 0, unix.EINVAL
	}
	fd.position()
	fd.off = to
	if fd.shown.Load() != nil && isDir(fd.Inode()) {
		fd.hide()
	}
	return to, 0
}

// Offset gives the offset, for /proc/PID/fdinfo.
func (fd *FileDescription) Offset() int64 {
	fd.offMu.Lock()
	defer fd.offMu.Unlock()
	return fd.position()
}

// Rewind sets the offset of a directory back to where a read began, or got to.
func (fd *FileDescription) Rewind(off int64) {
	fd.offMu.Lock()
	fd.position()
	fd.off = off
	fd.offMu.Unlock()
}

// ReadDir emits entries from the offset on until emit gives false (that entry
// is not consumed), and moves the offset behind the last consumed.
func (fd *FileDescription) ReadDir(c Caller, emit func(Dirent) bool) abi.Errno {
	if fd.Mode&FMODE_PATH != 0 {
		return unix.EBADF
	}
	ino := fd.Inode()
	if !isDir(ino) {
		return unix.ENOTDIR
	}
	if fd.Path.Dentry.flags.Load()&dentryUnlinked != 0 {
		return unix.ENOENT
	}
	fd.offMu.Lock()
	off := fd.position()
	e := fd.Impl.ReadDir(c, fd, off, func(d Dirent) bool {
		if !emit(d) {
			return false
		}
		off = d.Next
		return true
	})
	fd.off = off
	fd.offMu.Unlock()
	fd.moved(1, unix.IN_ACCESS)
	return e
}

// Ready and Queue are the file's.
func (fd *FileDescription) Ready() uint32        { return fd.Impl.Ready(fd) }
func (fd *FileDescription) Queue() *waiter.Queue { return fd.Impl.Queue(fd) }

// Ioctl is the file's.
func (fd *FileDescription) Ioctl(c Caller, cmd uint32, arg uint64, mem UserMemory) (uint64, abi.Errno) {
	return fd.Impl.Ioctl(c, fd, cmd, arg, mem)
}

// Sync is fsync and fdatasync.
func (fd *FileDescription) Sync(c Caller, dataOnly bool) abi.Errno {
	if fd.Mode&FMODE_PATH != 0 {
		return unix.EBADF
	}
	return fd.Impl.Sync(c, fd, dataOnly)
}

// Allocate is fallocate(2).
func (fd *FileDescription) Allocate(c Caller, mode uint32, off, length int64) abi.Errno {
	if off < 0 || length <= 0 {
		return unix.EINVAL
	}
	if fd.Mode&FMODE_PATH != 0 || fd.Mode&FMODE_WRITE == 0 {
		return unix.EBADF
	}
	if e := allocateMode(mode); e != 0 {
		return e
	}
	switch fd.Inode().Perm().Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFIFO:
		return unix.ESPIPE
	case unix.S_IFDIR:
		return unix.EISDIR
	default:
		return unix.ENODEV
	}
	if off > math.MaxInt64-length {
		return unix.EFBIG
	}
	if mode&unix.FALLOC_FL_KEEP_SIZE == 0 && uint64(off+length) > c.FSizeLimit() {
		c.SignalXFSZ()
		return unix.EFBIG
	}
	dropSetIDOnWrite(c, fd.Inode(), fd.Inode().Perm())
	e := fd.Impl.Allocate(c, fd, mode, off, length)
	if e == 0 {
		fd.moved(1, unix.IN_MODIFY)
	}
	return e
}

// allocateMode checks the combination of FALLOC_FL_* bits.
func allocateMode(mode uint32) abi.Errno {
	const (
		keep     = unix.FALLOC_FL_KEEP_SIZE
		punch    = unix.FALLOC_FL_PUNCH_HOLE
		collapse = unix.FALLOC_FL_COLLAPSE_RANGE
		zero     = unix.FALLOC_FL_ZERO_RANGE
		insert   = unix.FALLOC_FL_INSERT_RANGE
		unshare  = unix.FALLOC_FL_UNSHARE_RANGE
	)
	if mode&^uint32(keep|punch|collapse|zero|insert|unshare) != 0 {
		return unix.EOPNOTSUPP
	}
	switch mode &^ uint32(keep) {
	case 0, zero, unshare:
		return 0
	case punch:
		if mode&keep == 0 {
			return unix.EOPNOTSUPP
		}
		return 0
	case collapse, insert:
		if mode&keep != 0 {
			return unix.EOPNOTSUPP
		}
		return 0
	}
	return unix.EOPNOTSUPP
}

// Map checks the description's mode and mount against mmap(2)'s arguments
// (EACCES, EPERM) and asks the file. The mapping's host descriptor is valid
// while the description is held.
func (fd *FileDescription) Map(c Caller, off, length int64, prot uint32, shared bool) (Mapping, abi.Errno) {
	if fd.Mode&FMODE_PATH != 0 {
		return Mapping{}, unix.EBADF
	}
	if fd.Mode&FMODE_READ == 0 {
		return Mapping{}, unix.EACCES
	}
	if shared && prot&unix.PROT_WRITE != 0 && fd.Mode&FMODE_WRITE == 0 {
		return Mapping{}, unix.EACCES
	}
	if prot&unix.PROT_EXEC != 0 && fd.Path.Mount.Flags()&unix.MS_NOEXEC != 0 {
		return Mapping{}, unix.EPERM
	}
	return fd.Impl.Map(c, fd, off, length, prot, shared)
}

// WantAtime tells whether a read through fd should set the access time, by the
// mount's and the description's flags (mount(2), relatime).
func (fd *FileDescription) WantAtime(atime, mtime, ctime, now Time) bool {
	if fd.flags.Load()&unix.O_NOATIME != 0 {
		return false
	}
	flags := fd.Path.Mount.flags.Load()
	if flags&(unix.MS_NOATIME|unix.MS_RDONLY) != 0 {
		return false
	}
	if flags&unix.MS_NODIRATIME != 0 && isDir(fd.Inode()) {
		return false
	}
	if flags&unix.MS_RELATIME == 0 {
		return true
	}
	return atime <= mtime || atime <= ctime || now-atime >= 24*3600*1e9
}
