package tmpfs

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

const (
	// inlineMax is the size up to which a file's bytes stay in the heap.
	inlineMax = 64 << 10
	maxSize   = math.MaxInt64 &^ (pageSize - 1)
)

// Where a regular file's bytes are.
const (
	inHeap  = iota // in data; bytes behind its end are zero
	inArena        // in win of the file system's arena
	inOwn          // in own, a memfd
)

// regular is a regular file.
type regular struct {
	inode
	size  atomic.Int64 // written under mu
	opens atomic.Int32

	// mu guards the contents: held for reading over reads.
	mu    sync.RWMutex
	store int
	data  []byte
	win   window
	own   int
	held  extents // pages with storage
	wrote extents // of these, those with data: what fallocate reserves reads as a hole
	seals uint32
}

func newRegular() *regular { return &regular{own: -1, seals: unix.F_SEAL_SEAL} }

// Attr adds size and blocks.
func (f *regular) Attr() (vfs.Attr, abi.Errno) {
	a, e := f.inode.Attr()
	f.mu.RLock()
	a.Size = f.size.Load()
	a.Blocks = f.held.pages() * (pageSize / 512)
	if f.store == inOwn {
		var st unix.Stat_t
		if unix.Fstat(f.own, &st) == nil {
			a.Blocks = st.Blocks
		}
	}
	f.mu.RUnlock()
	return a, e
}

// SetAttr may change the size too.
func (f *regular) SetAttr(c vfs.Caller, s vfs.SetAttr) abi.Errno {
	if s.Mask&vfs.SetSize != 0 {
		if e := f.resize(s.Size); e != 0 {
			return e
		}
		f.dropFileCaps()
	}
	return f.inode.SetAttr(c, s)
}

// resize is truncate(2).
func (f *regular) resize(size int64) abi.Errno {
	if size > maxSize {
		return unix.EFBIG
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.size.Load()
	switch {
	case size < old && f.seals&unix.F_SEAL_SHRINK != 0, size > old && f.seals&unix.F_SEAL_GROW != 0:
		return unix.EPERM
	}
	if size < old {
		f.free(size, old)
	} else if e := f.fit(size); e != 0 {
		return e
	}
	if f.store == inOwn {
		if err := unix.Ftruncate(f.own, size); err != nil {
			return hostErr(err)
		}
	}
	f.size.Store(size)
	f.modified()
	return 0
}

// fit moves the contents to a store that can hold size bytes of address. Holes
// cost nothing, so a heap file may be of any size as long as what is written
// lies in front.
func (f *regular) fit(size int64) abi.Errno {
	if f.store == inArena && size > f.win.size {
		if size > bigWindow {
			return f.toOwn()
		}
		return f.toArena(size)
	}
	return 0
}

// free makes [from, to) a hole: whole pages lose their storage, the rest is
// zeroed. mu is held.
func (f *regular) free(from, to int64) {
	first, last := roundUp(from)/pageSize, to/pageSize
	if to >= f.size.Load() {
		last = roundUp(to) / pageSize
	}
	switch f.store {
	case inHeap:
		n := int64(len(f.data))
		if to >= n && from < n {
			clear(f.data[from:])
			f.data = f.data[:from]
		} else if from < n {
			clear(f.data[from:min(to, n)])
		}
	default:
		f.zero(from, to)
	}
	if first < last {
		n := last - first - f.held.missing(first, last)
		f.held.remove(first, last)
		f.wrote.remove(first, last)
		f.fs.uncharge(n)
	}
}

// zero punches [from, to) of the host file. A range that ends with the file is
// punched to the end of its last page.
func (f *regular) zero(from, to int64) {
	if to >= f.size.Load() {
		to = roundUp(to)
	}
	punch(f.hostFD(), f.base()+from, to-from)
}

// hostFD is the descriptor that holds the contents; not for heap files.
func (f *regular) hostFD() int {
	if f.store == inOwn {
		return f.own
	}
	return f.fs.arena.fd
}

func (f *regular) base() int64 {
	if f.store == inArena {
		return f.win.base
	}
	return 0
}

// read reads what lies before the end.
func (f *regular) read(dst []byte, off int64) (int, abi.Errno) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	size := f.size.Load()
	if off >= size {
		return 0, 0
	}
	dst = dst[:min(int64(len(dst)), size-off)]
	if f.store == inHeap {
		n := 0
		if off < int64(len(f.data)) {
			n = copy(dst, f.data[off:])
		}
		clear(dst[n:])
		return len(dst), 0
	}
	n, e := readFull(f.hostFD(), dst, f.base()+off)
	if n > 0 {
		return n, 0
	}
	return 0, e
}

// write writes at off, AtEnd for the end, and gives where it ended.
func (f *regular) write(c vfs.Caller, src []byte, off int64) (n int, end int64, e abi.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := f.size.Load()
	if off == vfs.AtEnd {
		off = size
	}
	if n, e = vfs.LimitWrite(c, off, len(src)); e != 0 || n == 0 {
		return 0, off, e
	}
	if off >= maxSize {
		return 0, off, unix.EFBIG
	}
	src = src[:min(int64(n), maxSize-off)]
	if f.seals&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
		return 0, off, unix.EPERM
	}
	if end = off + int64(len(src)); end > size && f.seals&unix.F_SEAL_GROW != 0 {
		if off >= size {
			return 0, off, unix.EPERM
		}
		src, end = src[:size-off], size
	}
	if src, e = f.reserve(src, off); e != 0 {
		return 0, off, e
	}
	n, e = f.put(src, off)
	end = off + int64(n)
	if n > 0 {
		f.wrote.add(off/pageSize, roundUp(end)/pageSize)
		f.size.Store(max(size, end))
		f.modified()
		f.dropFileCaps()
		e = 0
	}
	return n, end, e
}

// reserve charges the pages that a write of src at off needs, and cuts src to
// what there is room for.
func (f *regular) reserve(src []byte, off int64) ([]byte, abi.Errno) {
	first, last := off/pageSize, roundUp(off+int64(len(src)))/pageSize
	need := f.held.missing(first, last)
	if need > 0 {
		got := f.fs.room(need)
		for got < need && last > first {
			last--
			need = f.held.missing(first, last)
			if last*pageSize > off {
				src = src[:min(int64(len(src)), last*pageSize-off)]
			} else {
				src = nil
			}
		}
		f.fs.uncharge(got - need)
		if len(src) == 0 {
			f.fs.uncharge(need)
			return nil, unix.ENOSPC
		}
	}
	f.held.add(first, last)
	return src, 0
}

// put stores src, whose pages have been charged.
func (f *regular) put(src []byte, off int64) (int, abi.Errno) {
	end := off + int64(len(src))
	if f.store == inHeap && end <= inlineMax {
		f.growHeap(int(end))
		return copy(f.data[off:], src), 0
	}
	if f.store == inHeap {
		if e := f.toArena(max(end, f.size.Load())); e != 0 {
			return 0, e
		}
	} else if e := f.fit(end); e != 0 {
		return 0, e
	}
	return writeFull(f.hostFD(), src, f.base()+off)
}

// growHeap makes data at least n bytes long.
func (f *regular) growHeap(n int) {
	if n <= len(f.data) {
		return
	}
	if n <= cap(f.data) {
		f.data = f.data[:n] // zero: see shrink and getBuf
		return
	}
	b := getBuf(n)
	copy(b, f.data)
	putBuf(f.data)
	f.data = b
}

// toArena moves a heap file, or one whose window is too small, to a window
// for size bytes; beyond the arena's windows to a memfd of its own.
func (f *regular) toArena(size int64) abi.Errno {
	if size > bigWindow {
		return f.toOwn()
	}
	w, e := f.fs.arena.get(size)
	if e != 0 {
		return e
	}
	if e := f.copyTo(f.fs.arena.fd, w.base); e != 0 {
		f.fs.arena.put(w, f.size.Load())
		return e
	}
	f.leaveStore()
	f.store, f.win = inArena, w
	return 0
}

// toOwn moves the contents to a memfd of the file's own.
func (f *regular) toOwn() abi.Errno {
	if f.store == inOwn {
		return 0
	}
	fd, e := newMemfd("tmpfs")
	if e != 0 {
		return e
	}
	if err := unix.Ftruncate(fd, f.size.Load()); err != nil {
		unix.Close(fd)
		return hostErr(err)
	}
	if e := f.copyTo(fd, 0); e != 0 {
		unix.Close(fd)
		return e
	}
	f.leaveStore()
	f.store, f.own = inOwn, fd
	f.fs.owned.Add(1)
	f.fs.mu.Lock()
	f.fs.files[f] = struct{}{}
	f.fs.mu.Unlock()
	return 0
}

// copyTo copies what has storage to a host file at base.
func (f *regular) copyTo(fd int, base int64) abi.Errno {
	if f.store == inHeap {
		_, e := writeFull(fd, f.data, base)
		return e
	}
	buf := getBuf(inlineMax)
	defer putBuf(buf)
	size := f.size.Load()
	for _, x := range f.held {
		for off, end := x.start*pageSize, min(x.end*pageSize, size); off < end; {
			b := buf[:min(int64(len(buf)), end-off)]
			n, e := readFull(f.hostFD(), b, f.base()+off)
			if e != 0 {
				return e
			}
			if n == 0 {
				break
			}
			if _, e := writeFull(fd, b[:n], base+off); e != 0 {
				return e
			}
			off += int64(n)
		}
	}
	return 0
}

// leaveStore gives up the store that contents were copied from.
func (f *regular) leaveStore() {
	switch f.store {
	case inHeap:
		putBuf(f.data)
		f.data = nil
	case inArena:
		f.fs.arena.put(f.win, f.size.Load())
	case inOwn:
		f.closeOwn()
	}
}

// closeOwn closes the memfd. mu is held.
func (f *regular) closeOwn() {
	if f.own < 0 {
		return
	}
	unix.Close(f.own)
	f.own = -1
	f.fs.owned.Add(-1)
	f.fs.mu.Lock()
	delete(f.fs.files, f)
	f.fs.mu.Unlock()
}

// refresh learns which pages a guest has touched by its mappings.
func (f *regular) refresh() {
	var now extents
	size := f.size.Load()
	for off := int64(0); off < size; {
		d, err := unix.Seek(f.own, off, unix.SEEK_DATA)
		if err != nil {
			break
		}
		h, err := unix.Seek(f.own, d, unix.SEEK_HOLE)
		if err != nil {
			break
		}
		now.add(d/pageSize, roundUp(h)/pageSize)
		off = h
	}
	before, after := f.held.pages(), now.pages()
	f.held, f.wrote = now, slices.Clone(now)
	f.fs.uncharge(before - after)
}

// Forget frees the contents of a file without links and names.
func (f *regular) Forget() {
	if f.nlink.Load() != 0 || f.freed.Swap(true) {
		return
	}
	f.fs.freeInode()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fs.uncharge(f.held.pages())
	f.held, f.wrote = nil, nil
	f.leaveStore()
	f.store = inHeap
	f.size.Store(0)
}

func roundUp(n int64) int64 { return (n + pageSize - 1) &^ (pageSize - 1) }
