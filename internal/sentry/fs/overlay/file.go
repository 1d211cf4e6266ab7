package overlay

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// newContent gives a regular file empty contents of its own. mu is held, or
// the inode is new.
func (i *inode) newContent() abi.Errno {
	ino, file, e := i.fs.upper.NewContent(i.mode.Load(), i.uid.Load(), i.gid.Load())
	if e != 0 {
		return e
	}
	i.content.Store(&content{ino, file})
	return 0
}

// copyUp gives a regular file contents of its own: up to size bytes of the
// lower file's. mu is held, and the inode owned.
func (i *inode) copyUp(size int64) abi.Errno {
	if i.content.Load() != nil {
		return 0
	}
	ino, file, e := i.fs.upper.NewContent(i.mode.Load(), i.uid.Load(), i.gid.Load())
	if e != 0 {
		return e
	}
	up := &content{ino, file}
	if e := i.copyTo(up, size); e != 0 {
		file.Release(nil)
		ino.(vfs.Forgetter).Forget()
		return e
	}
	e = ino.SetAttr(vfs.Internal, vfs.SetAttr{
		Mask:  vfs.SetAtime | vfs.SetMtime,
		Atime: vfs.Time(i.atime.Load()), Mtime: vfs.Time(i.mtime.Load()),
	})
	i.content.Store(up)
	return e
}

// lowerFile opens the lower file for reading.
func (i *inode) lowerFile(c vfs.Caller) (vfs.File, *vfs.FileDescription, abi.Errno) {
	fd := &vfs.FileDescription{Mode: vfs.FMODE_READ}
	f, e := i.lower.Open(c, fd)
	return f, fd, e
}

// copyTo copies the lower file's bytes, its holes left out.
func (i *inode) copyTo(up *content, size int64) abi.Errno {
	a, e := i.lower.Attr()
	if e != 0 {
		return e
	}
	end := min(size, a.Size)
	if end == 0 {
		return 0
	}
	f, fd, e := i.lowerFile(vfs.Internal)
	if e != 0 {
		return e
	}
	defer f.Release(fd)
	buf := make([]byte, 256<<10)
	for off := int64(0); off < end; {
		at, e := f.Seek(vfs.Internal, fd, off, unix.SEEK_DATA)
		if e == unix.ENXIO {
			break
		}
		if e == 0 {
			off = at
		}
		if off >= end {
			break
		}
		stop := end
		if hole, e := f.Seek(vfs.Internal, fd, off, unix.SEEK_HOLE); e == 0 {
			stop = min(stop, hole)
		}
		n, e := f.Read(vfs.Internal, fd, buf[:min(int64(len(buf)), stop-off)], off)
		if e != 0 {
			return e
		}
		if n == 0 {
			break
		}
		done, _, e := up.file.Write(vfs.Internal, nil, buf[:n], off)
		if e != 0 {
			return e
		}
		if done < n {
			return unix.ENOSPC
		}
		off += int64(n)
	}
	return up.ino.SetAttr(vfs.Internal, vfs.SetAttr{Mask: vfs.SetSize, Size: end})
}

// writable gives contents that may be changed, copied up if need be.
func (i *inode) writable() (*content, abi.Errno) {
	if c := i.content.Load(); c != nil {
		return c, 0
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if e := i.ownLocked(); e != 0 {
		return nil, e
	}
	if e := i.copyUp(1<<63 - 1); e != 0 {
		return nil, e
	}
	return i.content.Load(), 0
}

// openFile makes a description of a regular file. Nothing is copied before the
// first write.
func (i *inode) openFile(c vfs.Caller, fd *vfs.FileDescription) (vfs.File, abi.Errno) {
	f := &file{i: i}
	if i.content.Load() != nil || fd.Mode&vfs.FMODE_READ == 0 {
		return f, 0
	}
	var e abi.Errno
	f.low, f.lowFD, e = i.lowerFile(c)
	return f, e
}

// file is a description of a regular file. It reads the lower file only as long
// as there is no other content.
type file struct {
	vfs.FileDefaults
	i     *inode
	low   vfs.File
	lowFD *vfs.FileDescription
}

// now gives the file to use, and the description to use it with.
func (f *file) now(fd *vfs.FileDescription) (vfs.File, *vfs.FileDescription) {
	if c := f.i.content.Load(); c != nil {
		return c.file, fd
	}
	return f.low, f.lowFD
}

// Release lets go of the lower file.
func (f *file) Release(*vfs.FileDescription) {
	if f.low != nil {
		f.low.Release(f.lowFD)
	}
}

func (f *file) Seekable() bool { return true }

// Read reads the newest contents.
func (f *file) Read(c vfs.Caller, fd *vfs.FileDescription, dst []byte, off int64) (int, abi.Errno) {
	g, gfd := f.now(fd)
	return g.Read(c, gfd, dst, off)
}

// Write copies up, then writes.
func (f *file) Write(c vfs.Caller, fd *vfs.FileDescription, src []byte, off int64) (int, int64, abi.Errno) {
	if len(src) == 0 && off != vfs.AtEnd {
		return 0, off, 0
	}
	up, e := f.i.writable()
	if e != 0 {
		return 0, off, e
	}
	n, end, e := up.file.Write(c, fd, src, off)
	if n > 0 && f.i.caps.Load() {
		f.i.mu.Lock()
		f.i.dropCaps()
		f.i.mu.Unlock()
	}
	return n, end, e
}

// Seek asks the newest contents.
func (f *file) Seek(c vfs.Caller, fd *vfs.FileDescription, off int64, whence int) (int64, abi.Errno) {
	g, gfd := f.now(fd)
	if g == nil { // open for writing alone, and not written to yet
		up, e := f.i.writable()
		if e != 0 {
			return 0, e
		}
		g, gfd = up.file, fd
	}
	return g.Seek(c, gfd, off, whence)
}

// Sync has nothing to do: no copy of the lower file has been changed.
func (f *file) Sync(vfs.Caller, *vfs.FileDescription, bool) abi.Errno { return 0 }

// Allocate copies up, then allocates.
func (f *file) Allocate(c vfs.Caller, fd *vfs.FileDescription, mode uint32, off, length int64) abi.Errno {
	up, e := f.i.writable()
	if e != 0 {
		return e
	}
	return up.file.Allocate(c, fd, mode, off, length)
}

// Map copies up what may be written to through the mapping.
func (f *file) Map(c vfs.Caller, fd *vfs.FileDescription, off, length int64, prot uint32, shared bool) (vfs.Mapping, abi.Errno) {
	if shared && fd.Mode&vfs.FMODE_WRITE != 0 {
		up, e := f.i.writable()
		if e != 0 {
			return vfs.Mapping{}, e
		}
		return up.file.Map(c, fd, off, length, prot, shared)
	}
	g, gfd := f.now(fd)
	return g.Map(c, gfd, off, length, prot, shared)
}
