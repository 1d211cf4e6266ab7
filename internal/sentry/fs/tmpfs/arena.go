package tmpfs

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// Windows of the arena come in two sizes, the small ones in its lower half.
//
//	0                       2^61                        2^62
//	┌───┬───┬───┬─ … ───────┬────────────┬─ … ──────────┐
//	│ 1 MiB each            │ 64 GiB each               │
//	└───┴───┴───┴─ … ───────┴────────────┴─ … ──────────┘
const (
	smallWindow = 1 << 20
	bigWindow   = 64 << 30
	bigBase     = 1 << 61
	arenaSize   = 1 << 62
)

// arena is a sparse memfd in which files have windows.
type arena struct {
	mu        sync.Mutex
	fd        int // -1: not made yet
	nextSmall int64
	nextBig   int64
	freeSmall []int64
	freeBig   []int64
}

// window is a part of the arena.
type window struct{ base, size int64 }

// get gives a window for a file of size bytes: ENOMEM if it would be too big.
func (a *arena) get(size int64) (window, abi.Errno) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fd < 0 {
		fd, e := newMemfd("tmpfs")
		if e != 0 {
			return window{}, e
		}
		if err := unix.Ftruncate(fd, arenaSize); err != nil {
			unix.Close(fd)
			return window{}, unix.ENOSPC
		}
		a.fd = fd
	}
	if size <= smallWindow {
		return take(&a.freeSmall, &a.nextSmall, 0, smallWindow), 0
	}
	if size > bigWindow {
		return window{}, unix.EFBIG
	}
	return take(&a.freeBig, &a.nextBig, bigBase, bigWindow), 0
}

func take(free *[]int64, next *int64, base, size int64) window {
	if n := len(*free); n > 0 {
		w := window{(*free)[n-1], size}
		*free = (*free)[:n-1]
		return w
	}
	w := window{base + *next*size, size}
	*next++
	return w
}

// put gives a window back, its pages freed.
func (a *arena) put(w window, used int64) {
	punch(a.fd, w.base, roundUp(used))
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.size == smallWindow {
		a.freeSmall = append(a.freeSmall, w.base)
	} else {
		a.freeBig = append(a.freeBig, w.base)
	}
}

func (a *arena) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fd >= 0 {
		unix.Close(a.fd)
		a.fd = -1
	}
}

// punch frees the pages of a range and makes it read as zeros.
func punch(fd int, off, n int64) {
	if n > 0 {
		unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	}
}

// newMemfd makes a host memfd; ENFILE when descriptors have run out.
func newMemfd(name string) (int, abi.Errno) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, hostErr(err)
	}
	return fd, 0
}

// hostErr gives the guest's error for a failure of a host call on a memfd.
func hostErr(err error) abi.Errno {
	e, ok := err.(unix.Errno)
	switch {
	case !ok:
		return unix.EIO
	case e == unix.EMFILE:
		return unix.ENFILE
	case e == unix.EBADF, e == unix.EFAULT:
		return unix.EIO
	}
	return e
}

// readFull and writeFull move all of b, or up to an error; a read past the
// file's end stops.
func readFull(fd int, b []byte, off int64) (int, abi.Errno) {
	done := 0
	for done < len(b) {
		n, err := unix.Pread(fd, b[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, hostErr(err)
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, 0
}

func writeFull(fd int, b []byte, off int64) (int, abi.Errno) {
	done := 0
	for done < len(b) {
		n, err := unix.Pwrite(fd, b[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, hostErr(err)
		}
		done += n
	}
	return done, 0
}
