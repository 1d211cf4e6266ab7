package tmpfs

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// Open gives the file's operations; they are the same for every description.
func (f *regular) Open(c vfs.Caller, fd *vfs.FileDescription) (vfs.File, abi.Errno) {
	f.opens.Add(1)
	return (*regularFile)(f), 0
}

// regularFile is a regular file as vfs.File.
type regularFile regular

func (r *regularFile) file() *regular { return (*regular)(r) }

// ownLimit is how many memfds files of one file system keep after their last
// description is closed.
const ownLimit = 128

// Release moves a file that was mapped back to the arena, when many have
// descriptors of their own.
func (r *regularFile) Release(fd *vfs.FileDescription) {
	f := r.file()
	if f.opens.Add(-1) != 0 || f.fs.owned.Load() <= ownLimit {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.store == inOwn && f.opens.Load() == 0 && f.seals == unix.F_SEAL_SEAL && f.size.Load() <= bigWindow {
		f.refresh()
		f.toArena(f.size.Load())
	}
}

// Seekable, Ready, Queue, Ioctl and ReadDir are those of every regular file.
func (r *regularFile) Seekable() bool                           { return true }
func (r *regularFile) Ready(fd *vfs.FileDescription) uint32     { return vfs.FileDefaults{}.Ready(fd) }
func (r *regularFile) Queue(*vfs.FileDescription) *waiter.Queue { return nil }
func (r *regularFile) Ioctl(vfs.Caller, *vfs.FileDescription, uint32, uint64, vfs.UserMemory) (uint64, abi.Errno) {
	return 0, abi.ENOIOCTLCMD
}
func (r *regularFile) ReadDir(vfs.Caller, *vfs.FileDescription, int64, func(vfs.Dirent) bool) abi.Errno {
	return unix.ENOTDIR
}

// Read reads from off.
func (r *regularFile) Read(c vfs.Caller, fd *vfs.FileDescription, dst []byte, off int64) (int, abi.Errno) {
	f := r.file()
	n, e := f.read(dst, off)
	if len(dst) > 0 {
		f.accessed(fd)
	}
	return n, e
}

// Write writes at off or at the end.
func (r *regularFile) Write(c vfs.Caller, fd *vfs.FileDescription, src []byte, off int64) (int, int64, abi.Errno) {
	return r.file().write(c, src, off)
}

// Seek is SEEK_END, SEEK_DATA and SEEK_HOLE.
func (r *regularFile) Seek(c vfs.Caller, fd *vfs.FileDescription, off int64, whence int) (int64, abi.Errno) {
	f := r.file()
	if whence == unix.SEEK_END {
		return f.size.Load() + off, 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	size := f.size.Load()
	if off < 0 || off >= size {
		return 0, unix.ENXIO
	}
	if f.store == inOwn {
		f.refresh()
	}
	page := off / pageSize
	if whence == unix.SEEK_HOLE {
		if h := f.wrote.hole(page); h > page {
			return min(h*pageSize, size), 0
		}
		return off, 0
	}
	d, ok := f.wrote.data(page)
	if !ok || d*pageSize >= size {
		return 0, unix.ENXIO
	}
	return max(off, d*pageSize), 0
}

// Sync has nothing to do.
func (r *regularFile) Sync(vfs.Caller, *vfs.FileDescription, bool) abi.Errno { return 0 }

// Allocate is fallocate(2). Collapsing and inserting ranges is refused, as
// tmpfs does.
func (r *regularFile) Allocate(c vfs.Caller, fd *vfs.FileDescription, mode uint32, off, length int64) abi.Errno {
	f := r.file()
	const keep = unix.FALLOC_FL_KEEP_SIZE
	if mode&^uint32(keep|unix.FALLOC_FL_PUNCH_HOLE) != 0 {
		return unix.EOPNOTSUPP
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	size, end := f.size.Load(), off+length
	if mode&unix.FALLOC_FL_PUNCH_HOLE != 0 {
		if f.seals&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
			return unix.EPERM
		}
		if off < size {
			f.free(off, min(end, roundUp(size)))
		}
		f.modified()
		return 0
	}
	if end > maxSize {
		return unix.EFBIG
	}
	grows := mode&keep == 0 && end > size
	if grows && f.seals&unix.F_SEAL_GROW != 0 {
		return unix.EPERM
	}
	return f.allocate(off, end, grows)
}

// allocate gives [off, end) storage. mu is held.
func (f *regular) allocate(off, end int64, grows bool) abi.Errno {
	first, last := off/pageSize, roundUp(end)/pageSize
	need := f.held.missing(first, last)
	if e := f.fs.charge(need); e != 0 {
		return e
	}
	if f.store == inHeap && end > inlineMax {
		if e := f.toArena(max(end, f.size.Load())); e != 0 {
			f.fs.uncharge(need)
			return e
		}
	} else if e := f.fit(end); e != 0 {
		f.fs.uncharge(need)
		return e
	}
	if f.store == inOwn && grows {
		if err := unix.Ftruncate(f.own, end); err != nil {
			f.fs.uncharge(need)
			return hostErr(err)
		}
	}
	f.held.add(first, last)
	if grows {
		f.size.Store(end)
	}
	f.modified()
	return 0
}

// Map gives the file a memfd of its own.
func (r *regularFile) Map(c vfs.Caller, fd *vfs.FileDescription, off, length int64, prot uint32, shared bool) (vfs.Mapping, abi.Errno) {
	f := r.file()
	f.mu.Lock()
	defer f.mu.Unlock()
	if shared && prot&unix.PROT_WRITE != 0 && f.seals&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
		return vfs.Mapping{}, unix.EPERM
	}
	if e := f.toOwn(); e != 0 {
		return vfs.Mapping{}, e
	}
	f.accessed(fd)
	return vfs.Mapping{HostFD: f.own, Offset: off}, 0
}

// Seals gives F_SEAL_* bits.
func (r *regularFile) Seals() uint32 {
	f := r.file()
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.seals
}

// AddSeals is F_ADD_SEALS. The host's kernel keeps them too: it knows of
// writable mappings (EBUSY).
func (r *regularFile) AddSeals(seals uint32) abi.Errno {
	const sealExec = 0x20
	const known = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE | sealExec
	if seals&^uint32(known) != 0 {
		return unix.EINVAL
	}
	f := r.file()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seals&unix.F_SEAL_SEAL != 0 {
		return unix.EPERM
	}
	if seals&sealExec != 0 && f.mode.Load()&0111 != 0 {
		seals |= unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE
	}
	if e := f.toOwn(); e != 0 {
		return e
	}
	if host := int(seals &^ (unix.F_SEAL_SEAL | sealExec)); host != 0 {
		if _, err := unix.FcntlInt(uintptr(f.own), unix.F_ADD_SEALS, host); err != nil {
			return hostErr(err)
		}
	}
	f.seals |= seals
	return 0
}
