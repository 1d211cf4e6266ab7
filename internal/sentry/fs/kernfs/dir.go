package kernfs

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Dynamic are the children of a directory that come and go.
type Dynamic interface {
	Lookup(c vfs.Caller, name string) (vfs.Inode, abi.Errno)
	// List emits the children whose keys are above after, by rising key, until
	// emit gives false. Keys are positive.
	List(c vfs.Caller, after int64, emit func(Entry) bool) abi.Errno
	// Valid tells whether name still is child; nil: still does not exist.
	Valid(c vfs.Caller, name string, child vfs.Inode) bool
}

// Entry is a child that Dynamic.List emits.
type Entry struct {
	Name string
	Key  int64
	Ino  uint64
	Type uint8 // DT_*
}

// Dir is a directory.
type Dir struct {
	Node
	names    []string
	children map[string]vfs.Inode
	Dynamic  Dynamic
	MayRead  func(c vfs.Caller) abi.Errno // asked on open; nil: all may
	// Fill adds the fixed children when somebody first looks; nil: they are
	// there already. Most sandboxes never look at most of a tree.
	Fill func(d *Dir)
	once sync.Once
	// Refusal is what making a name gives; 0: as a file system that has no
	// such operation.
	Refusal abi.Errno
}

// NewDir makes a directory of a fixed tree, 0555.
func NewDir() *Dir {
	d := &Dir{}
	d.Init(unix.S_IFDIR | 0555)
	d.Nlink = 2
	return d
}

// Add gives the directory a child and returns it. Before the tree is used.
func (d *Dir) Add(name string, child vfs.Inode) vfs.Inode {
	if d.children == nil {
		d.children = map[string]vfs.Inode{}
	}
	if _, there := d.children[name]; !there {
		d.names = append(d.names, name)
	}
	d.children[name] = child
	if child.Perm().Mode&unix.S_IFMT == unix.S_IFDIR {
		d.Nlink++
	}
	return child
}

// Sub gives the directory of a path below d, making what is missing.
func (d *Dir) Sub(names ...string) *Dir {
	for _, n := range names {
		next, ok := d.children[n].(*Dir)
		if !ok {
			next = NewDir()
			next.Refusal = d.Refusal
			d.Add(n, next)
		}
		d = next
	}
	return d
}

// ready has the fixed children made.
func (d *Dir) ready() {
	if d.Fill != nil {
		d.once.Do(func() { d.Fill(d) })
	}
}

// Child gives a fixed child, nil if there is none.
func (d *Dir) Child(name string) vfs.Inode {
	d.ready()
	return d.children[name]
}

// Lookup is vfs.Inode's.
func (d *Dir) Lookup(c vfs.Caller, name string) (vfs.Inode, abi.Errno) {
	d.ready()
	if ino, ok := d.children[name]; ok {
		return ino, 0
	}
	if d.Dynamic != nil {
		return d.Dynamic.Lookup(c, name)
	}
	return nil, unix.ENOENT
}

// Create, Mkdir, Symlink and Mknod are vfs.Inode's: names are not made here.
func (d *Dir) Create(vfs.Caller, string, uint32) (vfs.Inode, abi.Errno) {
	return nil, d.refuse(unix.EACCES)
}

func (d *Dir) Mkdir(vfs.Caller, string, uint32) (vfs.Inode, abi.Errno) {
	return nil, d.refuse(unix.EPERM)
}

func (d *Dir) Symlink(vfs.Caller, string, string) (vfs.Inode, abi.Errno) {
	return nil, d.refuse(unix.EPERM)
}

func (d *Dir) Mknod(vfs.Caller, string, uint32, uint64) (vfs.Inode, abi.Errno) {
	return nil, d.refuse(unix.EPERM)
}

func (d *Dir) refuse(otherwise abi.Errno) abi.Errno {
	if d.Refusal != 0 {
		return d.Refusal
	}
	return otherwise
}

// Revalidate is vfs.Revalidator's.
func (d *Dir) Revalidate(c vfs.Caller, name string, child vfs.Inode) bool {
	d.ready()
	if have, ok := d.children[name]; ok {
		return have == child
	}
	if d.Dynamic == nil {
		return child == nil
	}
	return d.Dynamic.Valid(c, name, child)
}

// Open is vfs.Inode's.
func (d *Dir) Open(c vfs.Caller, _ *vfs.FileDescription) (vfs.File, abi.Errno) {
	if d.MayRead != nil {
		if e := d.MayRead(c); e != 0 {
			return nil, e
		}
	}
	d.ready()
	return &dirFile{d: d}, 0
}

type dirFile struct {
	vfs.FileDefaults
	d *Dir
}

func (f *dirFile) Seekable() bool { return true }

func (f *dirFile) Read(vfs.Caller, *vfs.FileDescription, []byte, int64) (int, abi.Errno) {
	return 0, unix.EISDIR
}

func (f *dirFile) Seek(vfs.Caller, *vfs.FileDescription, int64, int) (int64, abi.Errno) {
	return 0, unix.EINVAL
}

func (f *dirFile) Sync(vfs.Caller, *vfs.FileDescription, bool) abi.Errno { return 0 }

// firstDynamic is the offset of the dynamic children: key k is at
// firstDynamic+k.
const firstDynamic = 1 << 20

func (f *dirFile) ReadDir(c vfs.Caller, fd *vfs.FileDescription, off int64, emit func(vfs.Dirent) bool) abi.Errno {
	d := f.d
	if off == 0 {
		if !emit(vfs.Dirent{Name: ".", Ino: d.Ino, Type: unix.DT_DIR, Next: 1}) {
			return 0
		}
		off = 1
	}
	if off == 1 {
		if !emit(vfs.Dirent{Name: "..", Ino: parentIno(fd, d.Ino), Type: unix.DT_DIR, Next: 2}) {
			return 0
		}
		off = 2
	}
	for ; off-2 < int64(len(d.names)); off++ {
		name := d.names[off-2]
		a, _ := d.children[name].Attr()
		if !emit(vfs.Dirent{Name: name, Ino: a.Ino, Type: DType(a.Mode), Next: off + 1}) {
			return 0
		}
	}
	if d.Dynamic == nil {
		return 0
	}
	return d.Dynamic.List(c, max(off-firstDynamic, 0), func(e Entry) bool {
		return emit(vfs.Dirent{Name: e.Name, Ino: e.Ino, Type: e.Type, Next: firstDynamic + e.Key})
	})
}

func parentIno(fd *vfs.FileDescription, own uint64) uint64 {
	if fd == nil || fd.Path.Dentry == nil || fd.Path.Dentry.Parent() == nil {
		return own
	}
	a, e := fd.Path.Dentry.Parent().Inode().Attr()
	if e != 0 {
		return own
	}
	return a.Ino
}
