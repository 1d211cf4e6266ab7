package proc

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// fdList are the children of /proc/PID/fd and fdinfo.
type fdList struct {
	d    *taskDir
	info bool
}

// firstFD is where the inode numbers of descriptors begin, below an id.
const fdInoShift = 32

func makeFDs(info bool) func(d *taskDir, n kernfs.Meta) vfs.Inode {
	return func(d *taskDir, n kernfs.Meta) vfs.Inode {
		dir := &kernfs.Dir{Refusal: unix.ENOENT, Dynamic: fdList{d, info}}
		dir.Meta = n
		dir.Nlink = 2
		dir.MayRead = func(c vfs.Caller) abi.Errno {
			if !mayTrace(c, d.t) {
				return unix.EACCES
			}
			return 0
		}
		return dir
	}
}

var (
	makeFDDir     = makeFDs(false)
	makeFDInfoDir = makeFDs(true)
)

// get gives the description behind a name, counted once more.
func (l fdList) get(name string) (*vfs.FileDescription, int32, bool) {
	n, err := strconv.ParseUint(name, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != name {
		return nil, 0, false
	}
	fds, release := l.d.t.FDs()
	if fds == nil {
		return nil, 0, false
	}
	defer release()
	fd, e := fds.Get(int32(n))
	return fd, int32(n), e == 0
}

func (l fdList) Lookup(c vfs.Caller, name string) (vfs.Inode, abi.Errno) {
	if !mayTrace(c, l.d.t) {
		return nil, unix.EACCES
	}
	fd, n, ok := l.get(name)
	if !ok {
		return nil, unix.ENOENT
	}
	mode := fd.Mode
	fd.DecRef()
	m := l.d.meta(0)
	m.Ino = l.ino(n)
	m.Owner = func() (uint32, uint32) { return owner(l.d.t, false) }
	if l.info {
		m.Mode = reg | 0444
		f := &kernfs.File{Read: func(c vfs.Caller, b *bytes.Buffer) abi.Errno { return l.writeInfo(c, name, b) }}
		f.Meta = m
		return f, 0
	}
	m.Mode = unix.S_IFLNK
	if mode&vfs.FMODE_READ != 0 {
		m.Mode |= 0500
	}
	if mode&vfs.FMODE_WRITE != 0 {
		m.Mode |= 0300
	}
	link := &fdLink{l: l, name: name, mode: mode}
	link.Meta = m
	return link, 0
}

func (l fdList) ino(fd int32) uint64 {
	n := taskIno(l.d.t.TID(), l.d.thread, 0x80) | 1<<62 | uint64(uint32(fd))<<40
	if l.info {
		n |= 1
	}
	return n
}

// Valid: a descriptor's link is made anew when the descriptor's mode has
// changed; what it leads to is looked up each time.
func (l fdList) Valid(c vfs.Caller, name string, child vfs.Inode) bool {
	if !mayTrace(c, l.d.t) {
		return false
	}
	fd, _, ok := l.get(name)
	if !ok {
		return child == nil
	}
	mode := fd.Mode
	fd.DecRef()
	if link, isLink := child.(*fdLink); isLink {
		return link.mode == mode
	}
	return child != nil
}

func (l fdList) List(_ vfs.Caller, after int64, emit func(kernfs.Entry) bool) abi.Errno {
	fds, release := l.d.t.FDs()
	if fds == nil {
		return unix.ENOENT
	}
	all := fds.FDs()
	release()
	typ := uint8(unix.DT_LNK)
	if l.info {
		typ = unix.DT_REG
	}
	for _, fd := range all {
		if int64(fd)+1 <= after {
			continue
		}
		if !emit(kernfs.Entry{Name: strconv.Itoa(int(fd)), Key: int64(fd) + 1, Ino: l.ino(fd), Type: typ}) {
			break
		}
	}
	return 0
}

// fdLink is /proc/PID/fd/N.
type fdLink struct {
	kernfs.Node
	l    fdList
	name string
	mode uint32
}

// Readlink is vfs.Inode's.
func (f *fdLink) Readlink(c vfs.Caller) (string, abi.Errno) {
	if !mayTrace(c, f.l.d.t) {
		return "", unix.EACCES
	}
	fd, _, ok := f.l.get(f.name)
	if !ok {
		return "", unix.ENOENT
	}
	defer fd.DecRef()
	return nameFor(c, fd.Path), 0
}

// Target is vfs.MagicLink's.
func (f *fdLink) Target(c vfs.Caller) (vfs.Path, abi.Errno) {
	if !mayTrace(c, f.l.d.t) {
		return vfs.Path{}, unix.EACCES
	}
	fd, _, ok := f.l.get(f.name)
	if !ok {
		return vfs.Path{}, unix.ENOENT
	}
	defer fd.DecRef()
	p := fd.Path
	p.IncRef()
	return p, 0
}

// rooted is a caller with a root directory: a task.
type rooted interface{ FS() *vfs.FSContext }

// nameFor gives a path's name as the caller sees it.
func nameFor(c vfs.Caller, p vfs.Path) string {
	var root vfs.Path
	if r, ok := c.(rooted); ok && r.FS() != nil {
		root = r.FS().Root()
	}
	name, _ := vfs.PathName(root, p)
	return name
}

// FDInfoer is a File with lines of its own in fdinfo: eventfd, epoll, …
type FDInfoer interface {
	FDInfo(b *bytes.Buffer)
}

func (l fdList) writeInfo(c vfs.Caller, name string, b *bytes.Buffer) abi.Errno {
	if !mayTrace(c, l.d.t) {
		return unix.EACCES
	}
	fd, n, ok := l.get(name)
	if !ok {
		return unix.ENOENT
	}
	defer fd.DecRef()
	flags := fd.Flags()
	if fds, release := l.d.t.FDs(); fds != nil {
		if on, _ := fds.Cloexec(n); on {
			flags |= unix.O_CLOEXEC
		}
		release()
	}
	mnt, ino := 0, uint64(0)
	if fd.Path.Dentry != nil {
		mnt = fd.Path.Mount.ID
		if a, e := fd.Path.Stat(c); e == 0 {
			ino = a.Ino
		}
	}
	fmt.Fprintf(b, "pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n", fd.Offset(), flags, mnt, ino)
	if f, ok := fd.Impl.(FDInfoer); ok {
		f.FDInfo(b)
	}
	return 0
}
