package mqueue

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

var lastIno atomic.Uint64

// base is what the directory and the queues have in common.
type base struct {
	vfs.InodeBase
	vfs.InodeDefaults
	ino   uint64
	nlink atomic.Uint32

	permMu              sync.Mutex
	perm                vfs.Perm
	atime, mtime, ctime vfs.Time
}

func (b *base) init(mode, uid, gid uint32) {
	b.ino = lastIno.Add(1)
	b.nlink.Store(1)
	b.perm = vfs.Perm{Mode: mode, UID: uid, GID: gid}
	b.atime = vfs.Now()
	b.mtime, b.ctime = b.atime, b.atime
}

func (b *base) Perm() vfs.Perm {
	b.permMu.Lock()
	defer b.permMu.Unlock()
	return b.perm
}

func (b *base) attr(size int64) vfs.Attr {
	b.permMu.Lock()
	defer b.permMu.Unlock()
	return vfs.Attr{
		Mode: b.perm.Mode, UID: b.perm.UID, GID: b.perm.GID, Nlink: b.nlink.Load(), Ino: b.ino, Size: size,
		Blksize: 4096, Atime: b.atime, Mtime: b.mtime, Ctime: b.ctime,
	}
}

func (b *base) SetAttr(_ vfs.Caller, s vfs.SetAttr) abi.Errno {
	b.permMu.Lock()
	defer b.permMu.Unlock()
	if s.Mask&vfs.SetMode != 0 {
		b.perm.Mode = b.perm.Mode&unix.S_IFMT | s.Mode&07777
	}
	if s.Mask&vfs.SetUID != 0 {
		b.perm.UID = s.UID
	}
	if s.Mask&vfs.SetGID != 0 {
		b.perm.GID = s.GID
	}
	if s.Mask&vfs.SetAtime != 0 {
		b.atime = s.Atime
	}
	if s.Mask&vfs.SetMtime != 0 {
		b.mtime = s.Mtime
	}
	b.ctime = vfs.Now()
	return 0
}

// node is a queue's inode.
type node struct {
	base
	fs    *FS
	q     *Queue
	uid   uint32 // who is charged
	bytes uint64
}

// Attr is vfs.Inode's.
func (n *node) Attr() (vfs.Attr, abi.Errno) { return n.attr(80), 0 }

// Open is vfs.Inode's.
func (n *node) Open(vfs.Caller, *vfs.FileDescription) (vfs.File, abi.Errno) {
	return &File{q: n.q, n: n}, 0
}

// Forget is called when nothing leads to the queue: vfs.Forgetter. One that
// still has its name stays.
func (n *node) Forget() {
	if n.nlink.Load() != 0 {
		return
	}
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if n.bytes == 0 {
		return
	}
	n.fs.total -= n.bytes
	n.fs.used[n.uid] -= n.bytes
	n.fs.count--
	n.bytes = 0
}

// root is the directory.
type root struct {
	base
	fs *FS

	mu     sync.Mutex
	queues map[string]*node
}

// Attr is vfs.Inode's.
func (r *root) Attr() (vfs.Attr, abi.Errno) {
	r.mu.Lock()
	n := len(r.queues)
	r.mu.Unlock()
	return r.attr(int64(20 * n)), 0
}

func (r *root) Lookup(_ vfs.Caller, name string) (vfs.Inode, abi.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.queues[name]; n != nil {
		return n, 0
	}
	return nil, unix.ENOENT
}

// Create makes a queue.
func (r *root) Create(c vfs.Caller, name string, mode uint32) (vfs.Inode, abi.Errno) {
	q, bytes, e := r.fs.admit(c)
	if e != 0 {
		return nil, e
	}
	cr := c.Creds()
	n := &node{fs: r.fs, q: q, uid: cr.UID, bytes: bytes}
	n.init(unix.S_IFREG|mode&07777, cr.FSUID, cr.FSGID)
	r.mu.Lock()
	r.queues[strings.Clone(name)] = n
	r.mu.Unlock()
	return n, 0
}

// Unlink takes a queue's name; those who have it open keep it.
func (r *root) Unlink(_ vfs.Caller, name string, target vfs.Inode) abi.Errno {
	r.mu.Lock()
	delete(r.queues, name)
	r.mu.Unlock()
	if n, ok := target.(*node); ok {
		n.nlink.Store(0)
	}
	return 0
}

// Open is vfs.Inode's.
func (r *root) Open(vfs.Caller, *vfs.FileDescription) (vfs.File, abi.Errno) {
	return &dirFile{r: r}, 0
}

type dirFile struct {
	vfs.FileDefaults
	r *root
}

func (f *dirFile) Seekable() bool { return true }

func (f *dirFile) Read(vfs.Caller, *vfs.FileDescription, []byte, int64) (int, abi.Errno) {
	return 0, unix.EISDIR
}

// ReadDir lists the queues by inode number, which is their offset.
func (f *dirFile) ReadDir(_ vfs.Caller, _ *vfs.FileDescription, off int64, emit func(vfs.Dirent) bool) abi.Errno {
	for ; off < 2; off++ {
		if !emit(vfs.Dirent{Name: []string{".", ".."}[off], Ino: f.r.ino, Type: unix.DT_DIR, Next: off + 1}) {
			return 0
		}
	}
	type item struct {
		name string
		ino  uint64
	}
	var all []item
	f.r.mu.Lock()
	for name, n := range f.r.queues {
		if int64(n.ino)+2 >= off {
			all = append(all, item{name, n.ino})
		}
	}
	f.r.mu.Unlock()
	slices.SortFunc(all, func(a, b item) int { return int(a.ino) - int(b.ino) })
	for _, i := range all {
		if !emit(vfs.Dirent{Name: i.name, Ino: i.ino, Type: unix.DT_REG, Next: int64(i.ino) + 3}) {
			break
		}
	}
	return 0
}
