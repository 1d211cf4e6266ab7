package devpts

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/fs/tty"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

const (
	superMagic = 0x1cd1 // DEVPTS_SUPER_MAGIC
	ptmxMajor  = 5
	ptmxMinor  = 2
	ptmxIno    = 2
	firstSlave = 3 // inode number of slave 0
	maxIndex   = 1 << 20
	maxPairs   = 4096 // kernel.pty.max, of all instances
)

// options are devpts's mount options.
type options struct {
	uid, gid       uint32
	setUID, setGID bool
	mode, ptmxMode uint32
	max            int
}

// Instance is one devpts.
type Instance struct {
	vfs.FilesystemDefaults
	fs   *vfs.Filesystem // constant
	ptmx *ptmxNode       // constant

	mu     sync.Mutex
	opt    options
	slaves map[uint32]*slaveNode
	mount  *vfs.Mount // see internal
}

// pairs counts the open pairs of all instances.
var pairs atomic.Int32

// first is the instance that a bare /dev/ptmx node belongs to.
var first atomic.Pointer[Instance]

// New makes an instance from mount data ("gid=5,mode=620").
func New(data string) (*Instance, abi.Errno) {
	i := &Instance{
		opt:    options{mode: 0600, max: maxIndex},
		slaves: map[uint32]*slaveNode{},
	}
	if e := i.opt.parse(data); e != 0 {
		return nil, e
	}
	root := kernfs.NewDir()
	root.Mode = unix.S_IFDIR | 0755
	root.Ino = 1
	root.Dynamic = i
	i.ptmx = &ptmxNode{i: i}
	i.ptmx.init(i.opt.ptmxMode, 0, 0)
	i.ptmx.Ino = ptmxIno
	i.ptmx.Rdev = vfs.MakeDev(ptmxMajor, ptmxMinor)
	root.Add("ptmx", i.ptmx)
	i.fs = vfs.NewFilesystem("devpts", superMagic, root, i)
	i.fs.Volatile = true
	first.CompareAndSwap(nil, i)
	return i, 0
}

// Filesystem gives the instance as what is mounted.
func (i *Instance) Filesystem() *vfs.Filesystem { return i.fs }

func (o *options) parse(data string) abi.Errno {
	for _, f := range strings.Split(data, ",") {
		key, val, _ := strings.Cut(f, "=")
		base := 10
		if key == "mode" || key == "ptmxmode" {
			base = 8
		}
		n, err := strconv.ParseUint(val, base, 32)
		switch key {
		case "", "newinstance":
			continue
		case "uid":
			o.uid, o.setUID = uint32(n), true
		case "gid":
			o.gid, o.setGID = uint32(n), true
		case "mode":
			o.mode = uint32(n) & 0777
		case "ptmxmode":
			o.ptmxMode = uint32(n) & 0777
		case "max":
			if n > maxIndex {
				return unix.EINVAL
			}
			o.max = int(n)
		default:
			return unix.EINVAL
		}
		if err != nil {
			return unix.EINVAL
		}
	}
	return 0
}

// Options is vfs.FilesystemOps's.
func (i *Instance) Options() string {
	i.mu.Lock()
	o := i.opt
	i.mu.Unlock()
	var s []string
	if o.setUID {
		s = append(s, "uid="+strconv.Itoa(int(o.uid)))
	}
	if o.setGID {
		s = append(s, "gid="+strconv.Itoa(int(o.gid)))
	}
	s = append(s, fmt.Sprintf("mode=%03o,ptmxmode=%03o", o.mode, o.ptmxMode))
	if o.max < maxIndex {
		s = append(s, "max="+strconv.Itoa(o.max))
	}
	return strings.Join(s, ",")
}

// Remount is vfs.FilesystemOps's.
func (i *Instance) Remount(_ vfs.Caller, data string) abi.Errno {
	i.mu.Lock()
	o := i.opt
	i.mu.Unlock()
	if e := o.parse(data); e != 0 {
		return e
	}
	i.mu.Lock()
	i.opt = o
	i.mu.Unlock()
	i.ptmx.setMode(o.ptmxMode)
	return 0
}

// NewPair makes a pair whose slave belongs to uid and gid, unless options say
// otherwise, and its master's file. ENOSPC when there are too many.
func (i *Instance) NewPair(uid, gid uint32) (*tty.Pair, *tty.File, abi.Errno) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.slaves) >= i.opt.max {
		return nil, nil, unix.ENOSPC
	}
	if pairs.Add(1) > maxPairs {
		pairs.Add(-1)
		return nil, nil, unix.ENOSPC
	}
	index := uint32(0)
	for i.slaves[index] != nil {
		index++
	}
	if i.opt.setUID {
		uid = i.opt.uid
	}
	if i.opt.setGID {
		gid = i.opt.gid
	}
	s := &slaveNode{}
	s.pair = tty.NewPair(index, func() { i.remove(index) }, func(c vfs.Caller, master *vfs.FileDescription, flags uint32) (*vfs.FileDescription, abi.Errno) {
		return i.openSlave(c, master, index, flags)
	})
	s.init(i.opt.mode, uid, gid)
	i.slaves[index] = s
	return s.pair, s.pair.OpenMaster(), 0
}

func (i *Instance) remove(index uint32) {
	i.mu.Lock()
	delete(i.slaves, index)
	i.mu.Unlock()
	pairs.Add(-1)
}

func (i *Instance) slave(index uint32) *slaveNode {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.slaves[index]
}

// openSlave is TIOCGPTPEER: the slave is opened whatever names lead to it, by
// the mount that the master was opened through if that is the instance's.
func (i *Instance) openSlave(c vfs.Caller, master *vfs.FileDescription, index, flags uint32) (*vfs.FileDescription, abi.Errno) {
	ctx, ok := c.(interface{ FS() *vfs.FSContext })
	if !ok {
		return nil, unix.EIO
	}
	return i.openBy(c, ctx.FS(), master.Path.Mount, index, flags)
}

// OpenSlave opens a slave for boot, by its name /dev/pts/N below ctx's root if
// the instance is mounted there.
func (i *Instance) OpenSlave(c vfs.Caller, ctx *vfs.FSContext, index, flags uint32) (*vfs.FileDescription, abi.Errno) {
	var m *vfs.Mount
	if p, e := vfs.Walk(c, vfs.At{FS: ctx}, "/dev/pts", vfs.LookupFollow); e == 0 {
		m = p.Mount
		defer p.DecRef()
	}
	return i.openBy(c, ctx, m, index, flags)
}

func (i *Instance) openBy(c vfs.Caller, ctx *vfs.FSContext, m *vfs.Mount, index, flags uint32) (*vfs.FileDescription, abi.Errno) {
	if m == nil || m.FS != i.fs {
		m = i.internal()
	}
	dir := vfs.NewDescription(vfs.Path{Mount: m, Dentry: i.fs.RootDentry()}, vfs.FileDefaults{}, unix.O_PATH, vfs.FMODE_PATH)
	defer dir.DecRef()
	name := strconv.Itoa(int(index))
	return vfs.Open(c, vfs.At{FS: ctx, Dir: dir}, name, vfs.OpenHow{Flags: flags &^ unix.O_CREAT})
}

// internal is a mount of the instance that no name leads to.
func (i *Instance) internal() *vfs.Mount {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.mount == nil {
		i.mount = vfs.NewInternalMount(i.fs)
	}
	return i.mount
}
