package goferfs

import (
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/wire"
)

// hostFD is a descriptor of the host, shared by the descriptions of a file. The
// inode holds one reference, each description another.
type hostFD struct {
	fd       int
	readable bool
	writable bool
	refs     atomic.Int32
}

func newHostFD(fd int, writable bool) *hostFD {
	h := &hostFD{fd: fd, readable: true, writable: writable}
	h.refs.Store(1)
	return h
}

func (h *hostFD) put() {
	if h.refs.Add(-1) == 0 {
		unix.Close(h.fd)
	}
}

// idleFDs are the inodes whose descriptor is kept though no description uses
// it, oldest first. Its lock is a leaf.
type idleFDs struct {
	mu   sync.Mutex
	list []*inode
	max  int
}

// idleLimit is how many descriptors are kept idle: a small part of what the
// process may have.
func idleLimit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 32
	}
	return int(min(r.Cur/8, 512))
}

// add keeps i's descriptor, at the cost of the oldest. i.mu is not held.
func (l *idleFDs) add(i *inode) {
	l.mu.Lock()
	if !i.idle {
		i.idle = true
		l.list = append(l.list, i)
	}
	l.mu.Unlock()
	l.drop(l.max)
}

// drop keeps n and closes the rest.
func (l *idleFDs) drop(n int) {
	for {
		l.mu.Lock()
		if len(l.list) <= n {
			l.mu.Unlock()
			return
		}
		i := l.list[0]
		i.idle = false
		l.list = l.list[1:]
		l.mu.Unlock()
		i.closeIdle()
	}
}

// forget closes i's descriptor.
func (l *idleFDs) forget(i *inode) {
	l.mu.Lock()
	if i.idle {
		k := slices.Index(l.list, i)
		l.list = slices.Delete(l.list, k, k+1)
		i.idle = false
	}
	l.mu.Unlock()
	i.closeIdle()
}

// closeIdle closes the descriptor unless a description uses it: then it comes
// back to the idle ones when that goes.
func (i *inode) closeIdle() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if h := i.host.Load(); h != nil && h.refs.CompareAndSwap(1, 0) {
		i.host.Store(nil)
		unix.Close(h.fd)
	}
}

// openFile makes a description of a regular file.
func (i *inode) openFile(fd *vfs.FileDescription) (vfs.File, abi.Errno) {
	h, e := i.descriptor(fd.Mode&vfs.FMODE_READ != 0, fd.Mode&vfs.FMODE_WRITE != 0)
	if e != 0 {
		return nil, e
	}
	return &file{i: i, h: h}, 0
}

// descriptor gives a host descriptor with a reference for the caller.
func (i *inode) descriptor(read, write bool) (*hostFD, abi.Errno) {
	i.mu.Lock()
	defer i.mu.Unlock()
	h := i.host.Load()
	if h == nil || write && !h.writable || read && !h.readable {
		n, e := i.askFor(read, write)
		if e != 0 {
			return nil, e
		}
		if h != nil {
			h.put()
		}
		h = n
		i.host.Store(h)
	}
	h.refs.Add(1)
	return h, 0
}

// askFor asks the Gofer for a descriptor: for reading alone, or for both, or,
// if the host does not let the Gofer read, for writing alone.
func (i *inode) askFor(read, write bool) (*hostFD, abi.Errno) {
	if !write {
		return i.askFD(unix.O_RDONLY)
	}
	h, e := i.askFD(unix.O_RDWR)
	if e == unix.EACCES && !read {
		if h, e = i.askFD(unix.O_WRONLY); e == 0 {
			h.readable = false
		}
	}
	return h, e
}

func (i *inode) askFD(access uint32) (*hostFD, abi.Errno) {
	var h *hostFD
	e := i.fs.call(request{op: wire.FSOpen, ino: i}, func(e *wire.Encoder) { e.U32(access) }, func(d *wire.Decoder, fd int) abi.Errno {
		if fd < 0 {
			return unix.ENFILE // the Sentry has no room for it
		}
		h = newHostFD(fd, access != unix.O_RDONLY)
		var a wire.FSAttr
		if d.Attr(&a); !d.Bad && a.Mode&unix.S_IFMT == unix.S_IFREG {
			i.setAttr(&a)
		}
		names := decodeNames(d)
		i.xattrs = &names
		return 0
	})
	return h, e
}

// file is a description of a regular file.
type file struct {
	vfs.FileDefaults
	i *inode
	h *hostFD
}

// Release lets go of the descriptor; the inode keeps it for a while.
func (f *file) Release(*vfs.FileDescription) {
	f.h.put()
	if f.i.host.Load() == f.h {
		f.i.fs.idle.add(f.i)
	}
}

func (f *file) Seekable() bool { return true }

// Read reads from the host's descriptor.
func (f *file) Read(c vfs.Caller, fd *vfs.FileDescription, dst []byte, off int64) (int, abi.Errno) {
	for {
		n, err := unix.Pread(f.h.fd, dst, off)
		switch {
		case err == nil:
			return n, 0
		case err != unix.EINTR:
			return 0, hostErr(err)
		}
	}
}

// Write writes to it. Appending is atomic among the sandbox's own writers.
func (f *file) Write(c vfs.Caller, fd *vfs.FileDescription, src []byte, off int64) (int, int64, abi.Errno) {
	i := f.i
	i.mu.Lock()
	defer i.mu.Unlock()
	if off == vfs.AtEnd {
		var st unix.Stat_t
		if err := unix.Fstat(f.h.fd, &st); err != nil {
			return 0, 0, hostErr(err)
		}
		off = st.Size
	}
	n, e := vfs.LimitWrite(c, off, len(src))
	if e != 0 {
		return 0, off, e
	}
	i.stale = true
	for {
		done, err := unix.Pwrite(f.h.fd, src[:n], off)
		switch {
		case err == nil:
			return done, off + int64(done), 0
		case err != unix.EINTR:
			return 0, off, hostErr(err)
		}
	}
}

// Seek is SEEK_END, SEEK_DATA and SEEK_HOLE.
func (f *file) Seek(c vfs.Caller, fd *vfs.FileDescription, off int64, whence int) (int64, abi.Errno) {
	if whence == unix.SEEK_END {
		var st unix.Stat_t
		if err := unix.Fstat(f.h.fd, &st); err != nil {
			return 0, hostErr(err)
		}
		return st.Size + off, 0
	}
	n, err := unix.Seek(f.h.fd, off, whence)
	if err != nil {
		return 0, hostErr(err)
	}
	return n, 0
}

// Sync writes the file back. fdatasync is fsync, to keep the Sentry's filter
// short.
func (f *file) Sync(c vfs.Caller, fd *vfs.FileDescription, _ bool) abi.Errno {
	if !f.h.writable && f.i.fs.readonly {
		return 0
	}
	if err := unix.Fsync(f.h.fd); err != nil {
		return hostErr(err)
	}
	return 0
}

// Allocate is fallocate(2) on the host.
func (f *file) Allocate(c vfs.Caller, fd *vfs.FileDescription, mode uint32, off, length int64) abi.Errno {
	f.i.mu.Lock()
	defer f.i.mu.Unlock()
	f.i.stale = true
	if err := unix.Fallocate(f.h.fd, mode, off, length); err != nil {
		return hostErr(err)
	}
	return 0
}

// Map gives the host's file itself.
func (f *file) Map(c vfs.Caller, fd *vfs.FileDescription, off, length int64, prot uint32, shared bool) (vfs.Mapping, abi.Errno) {
	if !f.h.readable {
		return vfs.Mapping{}, unix.EACCES
	}
	if shared && f.h.writable {
		f.i.mu.Lock()
		f.i.stale = true
		f.i.mu.Unlock()
	}
	return vfs.Mapping{HostFD: f.h.fd, Offset: off}, 0
}
