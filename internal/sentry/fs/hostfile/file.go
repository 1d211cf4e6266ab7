package hostfile

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/tty"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// kind is what a host descriptor leads to.
type kind int

const (
	kindRegular kind = iota // seekable
	kindStream              // pipes, fifos, character devices without a terminal
	kindSocket
	kindTerminal
)

// ttyChunk bounds one write to a terminal: poll tells that there is some room,
// not how much.
const ttyChunk = 1024

// Inode is a host descriptor as a guest's inode. It owns the descriptor.
type Inode struct {
	vfs.InodeBase
	vfs.InodeDefaults
	host   int    // constant
	kind   kind   // constant
	access uint32 // FMODE_* that the descriptor allows; constant
	ino    uint64
	rdev   uint64
	q      waiter.Queue

	once    sync.Once // adds it to the poller
	watched bool

	mu sync.Mutex
	// mustAsk: the host's kernel refuses RWF_NOWAIT here, so poll comes first.
	mustAsk bool
	perm    vfs.Perm
	users   int // open files, and the dentry; at 0 the descriptor is closed

	control tty.Control // under mu
}

// File is an open Inode.
type File struct {
	vfs.FileDefaults
	*Inode
	// shares: the host's offset is kept where the guest's is.
	shares bool
}

// New takes over the host descriptor and gives a description of it. The guest
// sees the caller as its owner.
func New(host int, c vfs.Caller) (*vfs.FileDescription, abi.Errno) {
	var st unix.Stat_t
	if err := unix.Fstat(host, &st); err != nil {
		return nil, errno(err)
	}
	flags, err := unix.FcntlInt(uintptr(host), unix.F_GETFL, 0)
	if err != nil {
		return nil, errno(err)
	}
	if flags&unix.O_PATH != 0 || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil, unix.EINVAL // a way into the host's tree
	}
	cr := c.Creds()
	i := &Inode{host: host, kind: kindOf(host, &st), access: vfs.AccessMode(uint32(flags)), ino: lastIno.Add(1), rdev: st.Rdev, users: 2}
	i.perm = vfs.Perm{Mode: st.Mode, UID: cr.EUID, GID: cr.EGID}
	i.control.Init(i)
	f := &File{Inode: i, shares: i.kind == kindRegular}
	const kept = unix.O_ACCMODE | unix.O_APPEND
	fd := vfs.DescribeLoose(mount(), i.name(), i, f, uint32(flags)&kept|vfs.O_LARGEFILE, i.access)
	if i.kind == kindRegular {
		if off, err := unix.Seek(host, 0, unix.SEEK_CUR); err == nil {
			fd.Seek(c, off, unix.SEEK_SET)
		}
	}
	return fd, 0
}

func kindOf(host int, st *unix.Stat_t) kind {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK:
		return kindRegular
	case unix.S_IFSOCK:
		return kindSocket
	case unix.S_IFCHR:
		if _, err := unix.IoctlGetTermios(host, unix.TCGETS); err == nil {
			return kindTerminal
		}
	}
	return kindStream
}

func errno(err error) abi.Errno {
	if e, ok := err.(unix.Errno); ok {
		return e
	}
	return unix.EIO
}

// Forget is called when no dentry leads to the inode: vfs.Forgetter.
func (i *Inode) Forget() { i.drop() }

// Release is called when the last reference to the description goes: vfs.File.
func (f *File) Release(*vfs.FileDescription) { f.drop() }

// open makes one more file; EIO when the descriptor has been closed.
func (i *Inode) open() (*File, abi.Errno) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.users == 0 {
		return nil, unix.EIO
	}
	i.users++
	return &File{Inode: i}, 0
}

func (i *Inode) drop() {
	i.mu.Lock()
	i.users--
	last := i.users == 0
	i.mu.Unlock()
	if !last {
		return
	}
	if i.watched {
		watch.remove(i)
	}
	unix.Close(i.host)
}

// Seekable is vfs.File's.
func (f *File) Seekable() bool { return f.kind == kindRegular }

// await begins to watch the descriptor, before the first try that may have to
// be told of a change.
func (f *Inode) await() {
	f.once.Do(func() {
		if f.kind != kindRegular {
			f.watched = watch.add(f)
		}
	})
}

// Ready is poll(2)'s view: vfs.File.
func (f *File) Ready(*vfs.FileDescription) uint32 {
	f.await()
	return f.poll(unix.POLLIN | unix.POLLOUT | unix.POLLPRI | unix.POLLRDHUP)
}

func (f *Inode) poll(want int16) uint32 {
	p := []unix.PollFd{{Fd: int32(f.host), Events: want}}
	for {
		_, err := unix.Poll(p, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return waiter.Err
		}
		return mask(uint32(uint16(p[0].Revents)))
	}
}

// Queue is told of what the poller sees: vfs.File.
func (f *File) Queue(*vfs.FileDescription) *waiter.Queue {
	f.await()
	return &f.q
}

// asks tells whether poll has to be asked before an attempt.
func (f *Inode) asks() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mustAsk || f.kind == kindTerminal
}

func (f *Inode) setAsks() {
	f.mu.Lock()
	f.mustAsk = true
	f.mu.Unlock()
}

// Read is read(2): vfs.File.
func (f *File) Read(c vfs.Caller, _ *vfs.FileDescription, dst []byte, off int64) (int, abi.Errno) {
	if len(dst) == 0 {
		return 0, 0
	}
	switch f.kind {
	case kindRegular:
		n, e := retry(func() (int, error) { return unix.Pread(f.host, dst, off) })
		f.share(off + int64(n))
		return n, e
	case kindSocket:
		f.await()
		return retry(func() (int, error) {
			n, _, _, _, err := unix.Recvmsg(f.host, dst, nil, unix.MSG_DONTWAIT)
			return n, err
		})
	case kindTerminal:
		if e := f.control.CheckRead(c); e != 0 {
			return 0, e
		}
	}
	f.await()
	if !f.asks() {
		n, e := retry(func() (int, error) { return unix.Preadv2(f.host, [][]byte{dst}, -1, rwfNowait) })
		if e != unix.EOPNOTSUPP && e != unix.EINVAL {
			return n, e
		}
		f.setAsks()
	}
	if f.poll(unix.POLLIN) == 0 {
		return 0, unix.EAGAIN
	}
	return retry(func() (int, error) { return unix.Read(f.host, dst) })
}

const rwfNowait = 8 // RWF_NOWAIT

// Write is write(2): vfs.File. EPIPE's signal is the caller's to send.
func (f *File) Write(c vfs.Caller, _ *vfs.FileDescription, src []byte, off int64) (int, int64, abi.Errno) {
	if len(src) == 0 {
		return 0, 0, 0
	}
	switch f.kind {
	case kindRegular:
		return f.writeRegular(src, off)
	case kindSocket:
		f.await()
		n, e := retry(func() (int, error) {
			return unix.SendmsgN(f.host, src, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		})
		return n, 0, e
	case kindTerminal:
		if e := f.stopsOutput(c); e != 0 {
			return 0, 0, e
		}
		src = src[:min(len(src), ttyChunk)]
	}
	f.await()
	if !f.asks() {
		n, e := retry(func() (int, error) { return unix.Pwritev2(f.host, [][]byte{src}, -1, rwfNowait) })
		if e != unix.EOPNOTSUPP && e != unix.EINVAL {
			return n, 0, e
		}
		f.setAsks()
	}
	if f.poll(unix.POLLOUT) == 0 {
		return 0, 0, unix.EAGAIN
	}
	n, e := retry(func() (int, error) { return unix.Write(f.host, src) })
	return n, 0, e
}

// writeRegular writes a seekable file. The end is where the host says it is:
// the descriptor may have O_APPEND itself.
func (f *File) writeRegular(src []byte, off int64) (int, int64, abi.Errno) {
	if off == vfs.AtEnd {
		n, e := retry(func() (int, error) { return unix.Pwritev2(f.host, [][]byte{src}, 0, rwfAppend) })
		end, _ := f.size()
		f.share(end)
		return n, end, e
	}
	n, e := retry(func() (int, error) { return unix.Pwrite(f.host, src, off) })
	f.share(off + int64(n))
	return n, off + int64(n), e
}

// share moves the host's offset to the guest's, for those who have the same
// description.
func (f *File) share(off int64) {
	if f.shares {
		unix.Seek(f.host, off, unix.SEEK_SET)
	}
}

const rwfAppend = 0x10 // RWF_APPEND

func (f *Inode) size() (int64, abi.Errno) {
	var st unix.Stat_t
	if err := unix.Fstat(f.host, &st); err != nil {
		return 0, errno(err)
	}
	return st.Size, 0
}

// Seek is lseek(2) relative to what the host keeps: vfs.File.
func (f *File) Seek(_ vfs.Caller, _ *vfs.FileDescription, off int64, whence int) (int64, abi.Errno) {
	if f.kind != kindRegular {
		return 0, unix.ESPIPE
	}
	n, err := unix.Seek(f.host, off, whence)
	if err != nil {
		return 0, errno(err)
	}
	return n, 0
}

// Sync is fsync(2): vfs.File. fdatasync is fsync, to keep the filter short.
func (f *File) Sync(_ vfs.Caller, _ *vfs.FileDescription, _ bool) abi.Errno {
	if f.kind != kindRegular {
		return unix.EINVAL
	}
	if err := unix.Fsync(f.host); err != nil {
		return errno(err)
	}
	return 0
}

// Map lets regular files be mapped: vfs.File.
func (f *File) Map(_ vfs.Caller, _ *vfs.FileDescription, off, _ int64, _ uint32, _ bool) (vfs.Mapping, abi.Errno) {
	if f.kind != kindRegular {
		return vfs.Mapping{}, unix.ENODEV
	}
	return vfs.Mapping{HostFD: f.host, Offset: off}, 0
}

func retry(f func() (int, error)) (int, abi.Errno) {
	for {
		n, err := f()
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, errno(err)
		}
		return n, 0
	}
}
