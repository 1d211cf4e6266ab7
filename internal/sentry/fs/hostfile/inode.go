package hostfile

import (
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

var lastIno atomic.Uint64

// mount is the internal mount that the files' names hang in.
var mount = sync.OnceValue(func() *vfs.Mount {
	return vfs.NewInternalMount(vfs.NewFilesystem("hostfs", 0x00c0ffee, kernfs.NewDir(), vfs.FilesystemDefaults{}))
})

// name is what /proc/self/fd shows.
func (i *Inode) name() string {
	n := strconv.FormatUint(i.ino, 10)
	switch i.kind {
	case kindSocket:
		return "socket:[" + n + "]"
	case kindTerminal:
		return "/dev/console"
	case kindStream:
		if i.perm.Mode&unix.S_IFMT == unix.S_IFCHR {
			return i.deviceName()
		}
		return "pipe:[" + n + "]"
	}
	return "/host/" + n
}

func (i *Inode) deviceName() string {
	if i.rdev == vfs.MakeDev(1, 3) {
		return "/dev/null"
	}
	return "/dev/char/" + strconv.Itoa(int(unix.Major(i.rdev))) + ":" + strconv.Itoa(int(unix.Minor(i.rdev)))
}

// OpensItself is vfs.OwnOpener's: /dev/stdout opens what stands behind it.
func (i *Inode) OpensItself() {}

// Open opens the descriptor once more, with no more access than it has.
func (i *Inode) Open(_ vfs.Caller, fd *vfs.FileDescription) (vfs.File, abi.Errno) {
	if fd.Mode&(vfs.FMODE_READ|vfs.FMODE_WRITE)&^i.access != 0 {
		return nil, unix.EACCES
	}
	f, e := i.open()
	if e != 0 {
		return nil, e
	}
	return f, 0
}

// Perm is vfs.Inode's.
func (i *Inode) Perm() vfs.Perm {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.perm
}

// Attr is vfs.Inode's: size and times are the host file's, owner and number
// are not.
func (i *Inode) Attr() (vfs.Attr, abi.Errno) {
	var st unix.Stat_t
	if err := unix.Fstat(i.host, &st); err != nil {
		return vfs.Attr{}, errno(err)
	}
	p := i.Perm()
	return vfs.Attr{
		Mode: p.Mode, Nlink: uint32(st.Nlink), UID: p.UID, GID: p.GID, Ino: i.ino, Rdev: st.Rdev,
		Size: st.Size, Blocks: st.Blocks, Blksize: uint32(st.Blksize),
		Atime: vfs.Time(st.Atim.Nano()), Mtime: vfs.Time(st.Mtim.Nano()), Ctime: vfs.Time(st.Ctim.Nano()),
	}, 0
}

// SetAttr changes mode and owner in the guest's eyes alone, and the size of a
// regular file that is open for writing.
func (i *Inode) SetAttr(_ vfs.Caller, s vfs.SetAttr) abi.Errno {
	if s.Mask&vfs.SetSize != 0 {
		if i.kind != kindRegular || i.access&vfs.FMODE_WRITE == 0 {
			return unix.EINVAL
		}
		if err := unix.Ftruncate(i.host, s.Size); err != nil {
			return errno(err)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if s.Mask&vfs.SetMode != 0 {
		i.perm.Mode = i.perm.Mode&unix.S_IFMT | s.Mode&07777
	}
	if s.Mask&vfs.SetUID != 0 {
		i.perm.UID = s.UID
	}
	if s.Mask&vfs.SetGID != 0 {
		i.perm.GID = s.GID
	}
	return 0
}
