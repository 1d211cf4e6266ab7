// Package inotifyfd owns inotify(7) instances: their queue of events and the
// numbers of their watches. vfs keeps the watches on inodes and finds events.
//
// Lock order: File.control → vfs's locks on watches → File.mu → waiter.Queue.
package inotifyfd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"

	"golang.org/x/sys/unix"
)

// Limits, as in /proc/sys/fs/inotify; for the sandbox, not for each user.
const (
	MaxQueuedEvents = 16384
	MaxInstances    = 1024
	MaxWatches      = 1 << 17
)

const (
	headerSize = 16 // struct inotify_event without its name
	maskCreate = 0x10000000
	maskAdd    = 0x20000000
	flagsKept  = unix.IN_ALL_EVENTS | unix.IN_EXCL_UNLINK | unix.IN_ONESHOT
)

var instances, watchCount atomic.Int64

// event is one queued event.
type event struct {
	wd           int32
	mask, cookie uint32
	name         string
}

func (e *event) size() int {
	if e.name == "" {
		return headerSize
	}
	return headerSize + (len(e.name)+1+headerSize-1)/headerSize*headerSize
}

// File is an inotify instance.
type File struct {
	vfs.FileDefaults

	// control is held over adding and removing watches.
	control sync.Mutex
	lastWD  int32

	mu      sync.Mutex
	watches map[int32]*vfs.Watch
	queue   []event // queue[head:] is pending
	head    int
	bytes   int

	q waiter.Queue
}

// New makes an instance; EMFILE if there are too many.
func New() (*File, abi.Errno) {
	if instances.Add(1) > MaxInstances {
		instances.Add(-1)
		return nil, unix.EMFILE
	}
	return &File{watches: map[int32]*vfs.Watch{}}, 0
}

// AddWatch is inotify_add_watch(2) on an inode, permission checked.
func (f *File) AddWatch(ino vfs.Inode, mask uint32) (int32, abi.Errno) {
	f.control.Lock()
	defer f.control.Unlock()
	if w := vfs.FindWatch(ino, f); w != nil {
		switch {
		case mask&maskCreate != 0:
			return -1, unix.EEXIST
		case mask&maskAdd != 0:
			w.SetMask(w.Mask() | mask&flagsKept)
		default:
			w.SetMask(mask & flagsKept)
		}
		return w.WD, 0
	}
	if watchCount.Add(1) > MaxWatches {
		watchCount.Add(-1)
		return -1, unix.ENOSPC
	}
	f.lastWD++
	wd := f.lastWD
	f.mu.Lock()
	f.watches[wd] = nil // an event may end the watch at once
	f.mu.Unlock()
	w := vfs.AddWatch(ino, f, wd, mask&flagsKept)
	f.mu.Lock()
	if _, live := f.watches[wd]; live {
		f.watches[wd] = w
	}
	f.mu.Unlock()
	return wd, 0
}

// RemoveWatch is inotify_rm_watch(2).
func (f *File) RemoveWatch(wd int32) abi.Errno {
	f.control.Lock()
	defer f.control.Unlock()
	f.mu.Lock()
	w := f.watches[wd]
	f.mu.Unlock()
	if w == nil {
		return unix.EINVAL
	}
	if !w.Remove() {
		return unix.EINVAL // it is going by itself
	}
	f.WatchEvent(w, unix.IN_IGNORED, 0, "")
	return 0
}

// WatchEvent queues an event: vfs.Watcher.
func (f *File) WatchEvent(w *vfs.Watch, mask, cookie uint32, name string) {
	f.mu.Lock()
	if mask&unix.IN_IGNORED != 0 {
		if _, live := f.watches[w.WD]; !live {
			f.mu.Unlock()
			return
		}
		delete(f.watches, w.WD)
		watchCount.Add(-1)
	}
	added := f.add(event{w.WD, mask, cookie, name})
	f.mu.Unlock()
	if added {
		f.q.Notify(waiter.In | waiter.RdNorm)
	}
}

// add queues e unless it repeats the last event. Under mu.
func (f *File) add(e event) bool {
	n := len(f.queue)
	if n > f.head && f.queue[n-1] == e && e.mask&unix.IN_IGNORED == 0 {
		return false
	}
	if n-f.head >= MaxQueuedEvents {
		if f.queue[n-1].mask == unix.IN_Q_OVERFLOW {
			return false
		}
		e = event{wd: -1, mask: unix.IN_Q_OVERFLOW}
	}
	e.name = strings.Clone(e.name)
	f.queue = append(f.queue, e)
	f.bytes += e.size()
	return true
}

// Release removes all watches: vfs.File.
func (f *File) Release(*vfs.FileDescription) {
	f.control.Lock()
	defer f.control.Unlock()
	f.mu.Lock()
	list := f.watches
	f.watches = map[int32]*vfs.Watch{}
	f.mu.Unlock()
	for _, w := range list {
		if w != nil {
			w.Remove()
		}
	}
	watchCount.Add(-int64(len(list)))
	instances.Add(-1)
}

// Seekable is false: vfs.File.
func (f *File) Seekable() bool { return false }

// Read gives as many whole events as fit: vfs.File.
func (f *File) Read(_ vfs.Caller, _ *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for f.head < len(f.queue) {
		e := &f.queue[f.head]
		size := e.size()
		if n+size > len(dst) {
			break
		}
		e.encode(dst[n : n+size])
		n += size
		f.bytes -= size
		*e = event{}
		f.head++
	}
	if f.head == len(f.queue) {
		f.queue, f.head = f.queue[:0], 0
		if n == 0 {
			return 0, unix.EAGAIN
		}
	}
	if f.head > MaxQueuedEvents {
		f.queue = append([]event(nil), f.queue[f.head:]...)
		f.head = 0
	}
	if n == 0 {
		return 0, unix.EINVAL
	}
	return n, 0
}

// encode writes struct inotify_event.
func (e *event) encode(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(e.wd))
	le.PutUint32(b[4:], e.mask)
	le.PutUint32(b[8:], e.cookie)
	le.PutUint32(b[12:], uint32(len(b)-headerSize))
	clear(b[headerSize+copy(b[headerSize:], e.name):])
}

// Ready is poll(2)'s view: vfs.File.
func (f *File) Ready(*vfs.FileDescription) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head < len(f.queue) {
		return waiter.In | waiter.RdNorm
	}
	return 0
}

// Queue is where readers wait: vfs.File.
func (f *File) Queue(*vfs.FileDescription) *waiter.Queue { return &f.q }

// Ioctl knows FIONREAD: vfs.File.
func (f *File) Ioctl(_ vfs.Caller, _ *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	if cmd != unix.TIOCINQ {
		return 0, abi.ENOIOCTLCMD
	}
	f.mu.Lock()
	n := f.bytes
	f.mu.Unlock()
	return 0, mem.CopyOut(arg, binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

// SeekStaysPut: lseek(2) gives 0.
func (*File) SeekStaysPut() {}

// FDInfo adds the lines of /proc/pid/fdinfo.
func (f *File) FDInfo(b *bytes.Buffer) {
	f.control.Lock()
	defer f.control.Unlock()
	f.mu.Lock()
	list := make([]*vfs.Watch, 0, len(f.watches))
	for _, w := range f.watches {
		if w != nil {
			list = append(list, w)
		}
	}
	f.mu.Unlock()
	for _, w := range list {
		a, _ := w.Inode().Attr()
		fmt.Fprintf(b, "inotify wd:%x ino:%x sdev:%x mask:%x ignored_mask:0\n", w.WD, a.Ino, a.Dev, w.Mask())
	}
}
