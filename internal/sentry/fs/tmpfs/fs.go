package tmpfs

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

const (
	magic    = 0x01021994
	pageSize = 4096
)

// FS is one tmpfs.
type FS struct {
	vfs.FilesystemDefaults
	vfsFS   *vfs.Filesystem
	arena   arena
	lastIno atomic.Uint64
	owned   atomic.Int32 // memfds that files have of their own

	mu     sync.Mutex
	opts   options
	pages  int64 // in use
	inodes int64
	files  map[*regular]struct{} // with a memfd of their own, to close in the end
}

// options are tmpfs's mount options.
type options struct {
	maxPages  int64 // 0: no limit
	maxInodes int64 // 0: no limit
	mode      uint32
	uid, gid  uint32
	shown     string // as mountinfo shows them
}

func init() {
	vfs.RegisterFilesystem(&vfs.FSType{Name: "tmpfs", NoDev: true, New: New})
}

// New makes a tmpfs with mount(2)'s data string.
func New(c vfs.Caller, source string, flags uint64, data string) (*vfs.Filesystem, abi.Errno) {
	o := options{mode: 01777, maxPages: memoryPages() / 2, uid: c.Creds().FSUID, gid: c.Creds().FSGID}
	o.maxInodes = o.maxPages
	if e := o.parse(data); e != 0 {
		return nil, e
	}
	return newFS(c, "tmpfs", o).vfsFS, 0
}

func newFS(c vfs.Caller, typ string, o options) *FS {
	fs := &FS{opts: o, inodes: 1, files: map[*regular]struct{}{}}
	fs.arena.fd = -1
	root := &directory{}
	fs.initInode(&root.inode, unix.S_IFDIR|o.mode, o.uid, o.gid)
	root.nlink.Store(2)
	fs.vfsFS = vfs.NewFilesystem(typ, magic, root, fs)
	// Names of a tmpfs are nowhere but in memory: a dropped dentry saves
	// little.
	fs.vfsFS.SetDentryLimit(65536)
	return fs
}

// memoryPages is the host's memory, which the default size is half of.
func memoryPages() int64 {
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) != nil {
		return 1 << 18
	}
	return int64(si.Totalram) * int64(si.Unit) / pageSize
}

// parse reads "size=64k,mode=755".
func (o *options) parse(data string) abi.Errno {
	for opt := range strings.SplitSeq(data, ",") {
		if opt == "" {
			continue
		}
		key, val, _ := strings.Cut(opt, "=")
		if e := o.set(key, val); e != 0 {
			return e
		}
		switch key {
		case "size", "nr_blocks", "nr_inodes", "mode", "uid", "gid":
			if o.shown != "" {
				o.shown += ","
			}
			o.shown += opt
		}
	}
	return 0
}

func (o *options) set(key, val string) abi.Errno {
	switch key {
	case "size":
		if p, ok := strings.CutSuffix(val, "%"); ok {
			n, err := strconv.ParseInt(p, 10, 32)
			if err != nil || n < 0 {
				return unix.EINVAL
			}
			o.maxPages = memoryPages() * n / 100
			return 0
		}
		return setSize(&o.maxPages, val, pageSize)
	case "nr_blocks":
		return setSize(&o.maxPages, val, 1)
	case "nr_inodes":
		return setSize(&o.maxInodes, val, 1)
	case "mode":
		n, err := strconv.ParseUint(val, 8, 32)
		if err != nil {
			return unix.EINVAL
		}
		o.mode = uint32(n) & 07777
	case "uid":
		return setID(&o.uid, val)
	case "gid":
		return setID(&o.gid, val)
	case "huge", "mpol", "inode64", "inode32", "noswap":
		// Hints about placement, without effect here.
	default:
		return unix.EINVAL
	}
	return 0
}

// setSize reads a number with a suffix k, m, g or t, in units of unit bytes,
// rounded up.
func setSize(dst *int64, val string, unit int64) abi.Errno {
	shift := 0
	if val != "" {
		switch val[len(val)-1] | 0x20 {
		case 'k':
			shift = 10
		case 'm':
			shift = 20
		case 'g':
			shift = 30
		case 't':
			shift = 40
		}
	}
	if shift != 0 {
		val = val[:len(val)-1]
	}
	n, err := strconv.ParseInt(val, 0, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return unix.EINVAL
	}
	*dst = (n<<shift + unit - 1) / unit
	return 0
}

func setID(dst *uint32, val string) abi.Errno {
	n, err := strconv.ParseUint(val, 10, 32)
	if err != nil {
		return unix.EINVAL
	}
	*dst = uint32(n)
	return 0
}

// Options are shown by mountinfo.
func (fs *FS) Options() string {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.opts.shown
}

// Remount changes size and nr_inodes; a limit below what is in use is EINVAL.
func (fs *FS) Remount(c vfs.Caller, data string) abi.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	o := fs.opts
	if data != "" {
		o.shown = ""
	}
	if e := o.parse(data); e != 0 {
		return e
	}
	if o.maxPages != 0 && o.maxPages < fs.pages || o.maxInodes != 0 && o.maxInodes < fs.inodes {
		return unix.EINVAL
	}
	fs.opts = o
	return 0
}

// Statfs gives the limits and what is left of them.
func (fs *FS) Statfs(vfs.Caller) (vfs.Statfs, abi.Errno) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	s := vfs.Statfs{Bsize: pageSize, Namelen: 255}
	if fs.opts.maxPages != 0 {
		s.Blocks = uint64(fs.opts.maxPages)
		s.Bfree = uint64(max(fs.opts.maxPages-fs.pages, 0))
		s.Bavail = s.Bfree
	}
	if fs.opts.maxInodes != 0 {
		s.Files = uint64(fs.opts.maxInodes)
		s.Ffree = uint64(fs.opts.maxInodes - fs.inodes)
	}
	return s, 0
}

// Release closes every host descriptor.
func (fs *FS) Release() {
	fs.arena.close()
	fs.mu.Lock()
	files := fs.files
	fs.files = map[*regular]struct{}{}
	fs.mu.Unlock()
	for f := range files {
		f.mu.Lock()
		f.closeOwn()
		f.mu.Unlock()
	}
}

// charge takes n pages; ENOSPC if there are none.
func (fs *FS) charge(n int64) abi.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.opts.maxPages != 0 && fs.pages+n > fs.opts.maxPages {
		return unix.ENOSPC
	}
	fs.pages += n
	return 0
}

// room takes up to n pages and tells how many there were.
func (fs *FS) room(n int64) int64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.opts.maxPages != 0 {
		n = max(0, min(n, fs.opts.maxPages-fs.pages))
	}
	fs.pages += n
	return n
}

func (fs *FS) uncharge(n int64) {
	fs.mu.Lock()
	fs.pages -= n
	fs.mu.Unlock()
}

// newInode counts one more inode; ENOSPC if there are too many.
func (fs *FS) newInode() abi.Errno {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.opts.maxInodes != 0 && fs.inodes >= fs.opts.maxInodes {
		return unix.ENOSPC
	}
	fs.inodes++
	return 0
}

func (fs *FS) freeInode() {
	fs.mu.Lock()
	fs.inodes--
	fs.mu.Unlock()
}

// ChargeInode and ReleaseInode count an inode that a layer over this file
// system keeps itself.
func (fs *FS) ChargeInode() abi.Errno { return fs.newInode() }
func (fs *FS) ReleaseInode()          { fs.freeInode() }

// NewContent makes a regular file without a name, open for good: the contents
// of a file of a layer over this one. Release the file, then Forget the inode.
func (fs *FS) NewContent(mode, uid, gid uint32) (vfs.Inode, vfs.File, abi.Errno) {
	if e := fs.newInode(); e != 0 {
		return nil, nil, e
	}
	f := newRegular()
	fs.initInode(&f.inode, mode, uid, gid)
	f.nlink.Store(0)
	f.opens.Add(1)
	return f, (*regularFile)(f), 0
}
