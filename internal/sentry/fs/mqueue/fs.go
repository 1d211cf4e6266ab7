package mqueue

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

const superMagic = 0x19800202 // MQUEUE_MAGIC

// Ceilings that no privilege lifts.
const (
	hardMsgMax     = 65536
	hardMsgSizeMax = 16 << 20
	// hardBytes is what all queues together may take of the Sentry's memory.
	hardBytes = 128 << 20
)

// FS is the file system of queues.
type FS struct {
	vfs.FilesystemDefaults
	root *root
	fs   *vfs.Filesystem
	ctx  *vfs.FSContext // whose root the queues are in

	// Sysctls of fs.mqueue.
	queuesMax, msgMax, msgSizeMax, msgDefault, msgSizeDefault atomic.Int64

	mu    sync.Mutex
	count int64
	total uint64            // bytes that all queues may take
	used  map[uint32]uint64 // … and each user's
}

// New makes a file system without queues.
func New() *FS {
	f := &FS{used: map[uint32]uint64{}}
	f.queuesMax.Store(256)
	f.msgMax.Store(10)
	f.msgSizeMax.Store(8192)
	f.msgDefault.Store(10)
	f.msgSizeDefault.Store(8192)
	f.root = &root{fs: f, queues: map[string]*node{}}
	f.root.init(unix.S_IFDIR|01777, 0, 0)
	f.root.nlink.Store(2)
	f.fs = vfs.NewFilesystem("mqueue", superMagic, f.root, f)
	ns := vfs.NewMountNamespace(f.fs, "mqueue", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC)
	f.ctx = vfs.NewFSContext(ns.Root(), 0)
	return f
}

// Default is the sandbox's.
var Default = sync.OnceValue(New)

func init() {
	vfs.RegisterFilesystem(&vfs.FSType{Name: "mqueue", NoDev: true, New: func(vfs.Caller, string, uint64, string) (*vfs.Filesystem, abi.Errno) {
		return Default().fs, 0
	}})
	for _, s := range []struct {
		name      string
		of        func(*FS) *atomic.Int64
		low, high int64
	}{
		{"queues_max", func(f *FS) *atomic.Int64 { return &f.queuesMax }, 0, 1 << 30},
		{"msg_max", func(f *FS) *atomic.Int64 { return &f.msgMax }, 1, hardMsgMax},
		{"msgsize_max", func(f *FS) *atomic.Int64 { return &f.msgSizeMax }, 128, hardMsgSizeMax},
		{"msg_default", func(f *FS) *atomic.Int64 { return &f.msgDefault }, 1, hardMsgMax},
		{"msgsize_default", func(f *FS) *atomic.Int64 { return &f.msgSizeDefault }, 128, hardMsgSizeMax},
	} {
		inspect.Provide("sys/fs/mqueue/"+s.name, inspect.Content{
			Mode: 0644,
			Read: func(_ vfs.Caller, b *bytes.Buffer) abi.Errno {
				fmt.Fprintf(b, "%d\n", s.of(Default()).Load())
				return 0
			},
			Write: func(_ vfs.Caller, data []byte) abi.Errno {
				n, ok := kernfs.ParseInt(data)
				if !ok || n < s.low || n > s.high {
					return unix.EINVAL
				}
				s.of(Default()).Store(n)
				return 0
			},
		})
	}
}

// opener is the caller of mq_open(2): creating a queue, it says how large.
type opener struct {
	vfs.Caller
	attr  *Attr
	limit uint64 // RLIMIT_MSGQUEUE
}

// Open is mq_open(2); name is without its slash. attr may be nil. limit is the
// caller's RLIMIT_MSGQUEUE.
func (f *FS) Open(c vfs.Caller, name string, flags, mode uint32, attr *Attr, limit uint64) (*vfs.FileDescription, abi.Errno) {
	if e := checkName(name); e != 0 {
		return nil, e
	}
	if flags&unix.O_ACCMODE == unix.O_ACCMODE {
		return nil, unix.EINVAL
	}
	const known = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NONBLOCK | unix.O_CLOEXEC
	how := vfs.OpenHow{Flags: flags&known | unix.O_NOFOLLOW, Mode: mode & 0777}
	return vfs.Open(opener{c, attr, limit}, vfs.At{FS: f.ctx}, "/"+name, how)
}

// Unlink is mq_unlink(2).
func (f *FS) Unlink(c vfs.Caller, name string) abi.Errno {
	if e := checkName(name); e != 0 {
		return e
	}
	return vfs.Unlink(c, vfs.At{FS: f.ctx}, "/"+name)
}

func checkName(name string) abi.Errno {
	switch {
	case name == "":
		return unix.ENOENT
	case strings.Contains(name, "/"), name == ".", name == "..":
		return unix.EACCES
	case len(name) > 255:
		return unix.ENAMETOOLONG
	}
	return 0
}

// queueBytes is what a queue counts for RLIMIT_MSGQUEUE: its messages and the
// kernel's records of them.
func queueBytes(a *Attr) uint64 {
	const record, treeNode = 48, 48
	return uint64(a.MaxMsg)*(uint64(a.MsgSize)+record) + uint64(min(a.MaxMsg, PrioMax))*treeNode
}

// admit checks a new queue's attributes against the limits and charges its
// owner.
func (f *FS) admit(c vfs.Caller) (*Queue, uint64, abi.Errno) {
	a := Attr{MaxMsg: min(f.msgMax.Load(), f.msgDefault.Load()), MsgSize: min(f.msgSizeMax.Load(), f.msgSizeDefault.Load())}
	limit := ^uint64(0)
	capable := c.Creds().Capable(auth.CAP_SYS_RESOURCE)
	if o, ok := c.(opener); ok {
		limit = o.limit
		if o.attr != nil {
			a = Attr{MaxMsg: o.attr.MaxMsg, MsgSize: o.attr.MsgSize}
		}
	}
	maxMsg, maxSize := f.msgMax.Load(), f.msgSizeMax.Load()
	if capable {
		maxMsg, maxSize = hardMsgMax, hardMsgSizeMax
	}
	if a.MaxMsg <= 0 || a.MsgSize <= 0 || a.MaxMsg > maxMsg || a.MsgSize > maxSize {
		return nil, 0, unix.EINVAL
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count >= f.queuesMax.Load() && !capable {
		return nil, 0, unix.ENOSPC
	}
	n, uid := queueBytes(&a), c.Creds().UID
	if f.used[uid]+n > limit {
		return nil, 0, unix.EMFILE
	}
	if f.total+n > hardBytes {
		return nil, 0, unix.ENOMEM
	}
	f.total += n
	f.used[uid] += n
	f.count++
	return &Queue{attr: a}, n, 0
}

// ProcessGone ends what registrations pid has.
func (f *FS) ProcessGone(pid int32) {
	f.root.mu.Lock()
	defer f.root.mu.Unlock()
	for _, n := range f.root.queues {
		n.q.DropNotify(pid)
	}
}

// File is an open queue.
type File struct {
	vfs.FileDefaults
	q *Queue
	n *node
}

// Release ends the registration that was made through the description:
// vfs.File.
func (f *File) Release(fd *vfs.FileDescription) {
	f.q.drop(func(n *Notify) bool { return n.FD == fd })
}

func (f *File) Seekable() bool { return true }

// Read tells of the queue's state, as a file in /dev/mqueue does.
func (f *File) Read(_ vfs.Caller, _ *vfs.FileDescription, dst []byte, off int64) (int, abi.Errno) {
	q := f.q
	q.mu.Lock()
	n := Notify{}
	if q.notify != nil {
		n = *q.notify
	}
	text := fmt.Sprintf("QSIZE:%-10d NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", q.bytes, n.Kind, n.Signal, n.PID)
	q.mu.Unlock()
	if off >= int64(len(text)) {
		return 0, 0
	}
	return copy(dst, text[off:]), 0
}

// Ready is poll(2)'s view: vfs.File.
func (f *File) Ready(*vfs.FileDescription) uint32 {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	var ev uint32
	if len(f.q.messages) > 0 {
		ev |= waiter.In | waiter.RdNorm
	}
	if !f.q.full() {
		ev |= waiter.Out | waiter.WrNorm
	}
	return ev
}

// Queue is vfs.File's.
func (f *File) Queue(*vfs.FileDescription) *waiter.Queue { return &f.q.q }
