package tmpfs

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// shm is the kernel's own tmpfs, mounted nowhere: memfds and shared memory.
var shm = sync.OnceValue(func() *vfs.Mount {
	return vfs.NewInternalMount(newFS(vfs.Internal, "tmpfs", options{mode: 0777}).vfsFS)
})

// loose makes a file of shm with one reference.
func loose(c vfs.Caller, name string, mode uint32, size int64, seals uint32) (*vfs.FileDescription, abi.Errno) {
	m := shm()
	fs := m.FS.Ops.(*FS)
	f := newRegular()
	f.seals = seals
	if e := fs.newInode(); e != 0 {
		return nil, e
	}
	fs.initInode(&f.inode, unix.S_IFREG|mode, c.Creds().FSUID, c.Creds().FSGID)
	f.nlink.Store(0)
	f.size.Store(size)
	f.opens.Add(1)
	flags := uint32(unix.O_RDWR | vfs.O_LARGEFILE)
	return vfs.DescribeLoose(m, name, f, (*regularFile)(f), flags, vfs.FMODE_READ|vfs.FMODE_WRITE), 0
}

// NewMemfd makes memfd_create(2)'s file: sealable with MFD_ALLOW_SEALING, and
// not executable, sealed so, with MFD_NOEXEC_SEAL.
func NewMemfd(c vfs.Caller, name string, flags uint32) (*vfs.FileDescription, abi.Errno) {
	mode, seals := uint32(0777), uint32(unix.F_SEAL_SEAL)
	if flags&(unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL) != 0 {
		seals = 0
	}
	if flags&unix.MFD_NOEXEC_SEAL != 0 {
		mode, seals = 0666, 0x20 // F_SEAL_EXEC
	}
	return loose(c, "/memfd:"+name+" (deleted)", mode, 0, seals)
}

// NewShared makes the file behind a MAP_SHARED|MAP_ANONYMOUS mapping, or behind
// a shared mapping of /dev/zero.
func NewShared(c vfs.Caller, size int64) (*vfs.FileDescription, abi.Errno) {
	return loose(c, "/dev/zero (deleted)", 0777, size, unix.F_SEAL_SEAL)
}

// NewSysV makes the file behind a System V shared memory segment.
func NewSysV(c vfs.Caller, key int32, mode uint32, size int64) (*vfs.FileDescription, abi.Errno) {
	return loose(c, fmt.Sprintf("/SYSV%08x (deleted)", uint32(key)), mode&0777, size, unix.F_SEAL_SEAL)
}
