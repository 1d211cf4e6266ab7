package devpts

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/fs/tty"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// node is a device node whose owner and mode may be changed.
type node struct {
	kernfs.Node

	mu    sync.Mutex
	perm  vfs.Perm
	atime vfs.Time
	mtime vfs.Time
	ctime vfs.Time
}

func (n *node) init(mode, uid, gid uint32) {
	n.Node.Init(unix.S_IFCHR | mode)
	n.perm = vfs.Perm{Mode: n.Mode, UID: uid, GID: gid}
	n.atime, n.mtime, n.ctime = n.Time, n.Time, n.Time
}

// OpensItself marks the node as its own driver: vfs.OwnOpener.
func (n *node) OpensItself() {}

func (n *node) Perm() vfs.Perm {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.perm
}

func (n *node) Attr() (vfs.Attr, abi.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return vfs.Attr{
		Mode: n.perm.Mode, Nlink: 1, UID: n.perm.UID, GID: n.perm.GID, Ino: n.Ino, Rdev: n.Rdev,
		Blksize: 1024, Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime,
	}, 0
}

func (n *node) SetAttr(_ vfs.Caller, s vfs.SetAttr) abi.Errno {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.Mask&vfs.SetMode != 0 {
		n.perm.Mode = unix.S_IFCHR | s.Mode&07777
	}
	if s.Mask&vfs.SetUID != 0 {
		n.perm.UID = s.UID
	}
	if s.Mask&vfs.SetGID != 0 {
		n.perm.GID = s.GID
	}
	if s.Mask&vfs.SetAtime != 0 {
		n.atime = s.Atime
	}
	if s.Mask&vfs.SetMtime != 0 {
		n.mtime = s.Mtime
	}
	n.ctime = vfs.Now()
	return 0
}

// ptmxNode makes a pair for each open.
type ptmxNode struct {
	node
	i *Instance
}

func (p *ptmxNode) setMode(mode uint32) {
	p.mu.Lock()
	p.perm.Mode = unix.S_IFCHR | mode
	p.mu.Unlock()
}

func (p *ptmxNode) Open(c vfs.Caller, _ *vfs.FileDescription) (vfs.File, abi.Errno) {
	return p.i.openMaster(c)
}

func (i *Instance) openMaster(c vfs.Caller) (vfs.File, abi.Errno) {
	cr := c.Creds()
	_, f, e := i.NewPair(cr.FSUID, cr.FSGID)
	if e != 0 {
		return nil, e
	}
	return f, 0
}

// slaveNode is /dev/pts/N.
type slaveNode struct {
	node
	pair *tty.Pair
}

func (s *slaveNode) init(mode, uid, gid uint32) {
	s.node.init(mode, uid, gid)
	s.Ino = firstSlave + uint64(s.pair.Index())
	s.Rdev = uint64(s.pair.Slave().DeviceNumber())
}

func (s *slaveNode) Open(c vfs.Caller, fd *vfs.FileDescription) (vfs.File, abi.Errno) {
	f, e := s.pair.OpenSlave(c, fd.Flags())
	if e != 0 {
		return nil, e
	}
	return f, 0
}

// number reads a name as the kernel writes it.
func number(name string) (uint32, bool) {
	n, err := strconv.ParseUint(name, 10, 32)
	return uint32(n), err == nil && strconv.FormatUint(n, 10) == name
}

// Lookup is kernfs.Dynamic's.
func (i *Instance) Lookup(_ vfs.Caller, name string) (vfs.Inode, abi.Errno) {
	n, ok := number(name)
	if !ok {
		return nil, unix.ENOENT
	}
	s := i.slave(n)
	if s == nil {
		return nil, unix.ENOENT
	}
	return s, 0
}

// Valid is kernfs.Dynamic's.
func (i *Instance) Valid(c vfs.Caller, name string, child vfs.Inode) bool {
	now, e := i.Lookup(c, name)
	if e != 0 {
		return child == nil
	}
	return now == child
}

// List is kernfs.Dynamic's.
func (i *Instance) List(_ vfs.Caller, after int64, emit func(kernfs.Entry) bool) abi.Errno {
	i.mu.Lock()
	all := make([]uint32, 0, len(i.slaves))
	for n := range i.slaves {
		if int64(n)+1 > after {
			all = append(all, n)
		}
	}
	i.mu.Unlock()
	slices.Sort(all)
	for _, n := range all {
		e := kernfs.Entry{Name: strconv.Itoa(int(n)), Key: int64(n) + 1, Ino: firstSlave + uint64(n), Type: unix.DT_CHR}
		if !emit(e) {
			break
		}
	}
	return 0
}

func openPtmx(c vfs.Caller, _ *vfs.FileDescription, _ vfs.Inode) (vfs.File, abi.Errno) {
	i := first.Load()
	if i == nil {
		return nil, unix.ENODEV
	}
	return i.openMaster(c)
}

// openBySlaveNumber opens a node with a slave's number that stands elsewhere.
func openBySlaveNumber(c vfs.Caller, fd *vfs.FileDescription, ino vfs.Inode) (vfs.File, abi.Errno) {
	i := first.Load()
	a, e := ino.Attr()
	if i == nil || e != 0 {
		return nil, unix.EIO
	}
	s := i.slave(unix.Minor(a.Rdev))
	if s == nil {
		return nil, unix.EIO
	}
	return s.Open(c, fd)
}

func init() {
	inspect.ProvideText("sys/kernel/pty/nr", func(b *bytes.Buffer) { fmt.Fprintf(b, "%d\n", pairs.Load()) })
	vfs.RegisterDevice(unix.S_IFCHR, ptmxMajor, ptmxMinor, 1, openPtmx)
	vfs.RegisterDevice(unix.S_IFCHR, tty.SlaveMajor, 0, maxIndex, openBySlaveNumber)
	vfs.RegisterFilesystem(&vfs.FSType{Name: "devpts", NoDev: true, New: func(_ vfs.Caller, _ string, _ uint64, data string) (*vfs.Filesystem, abi.Errno) {
		i, e := New(data)
		if e != 0 {
			return nil, e
		}
		return i.fs, 0
	}})
}
