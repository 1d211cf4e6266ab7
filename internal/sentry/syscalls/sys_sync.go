package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_FSYNC, Name: "fsync", Args: "fd", Fn: sysFsync},
		Row{Nr: unix.SYS_FDATASYNC, Name: "fdatasync", Args: "fd", Fn: sysFdatasync},
		Row{Nr: unix.SYS_SYNC, Name: "sync", Fn: sysSync},
		Row{Nr: unix.SYS_SYNCFS, Name: "syncfs", Args: "fd", Fn: sysSyncfs},
		Row{Nr: unix.SYS_SYNC_FILE_RANGE, Name: "sync_file_range", Args: "fd off size hex", Fn: sysSyncFileRange},
		Row{Nr: unix.SYS_FALLOCATE, Name: "fallocate", Args: "fd flags:fallocate off size", Fn: sysFallocate},
		Row{Nr: unix.SYS_FADVISE64, Name: "fadvise64", Args: "fd off size int", Fn: sysFadvise64},
		Row{Nr: unix.SYS_READAHEAD, Name: "readahead", Args: "fd off size", Fn: sysReadahead},
	)
}

// sysFsync is fsync(2).
func sysFsync(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return withFD(t, a.Int(0), func(fd *vfs.FileDescription) abi.Errno { return fd.Sync(t, false) })
}

// sysFdatasync is fdatasync(2).
func sysFdatasync(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return withFD(t, a.Int(0), func(fd *vfs.FileDescription) abi.Errno { return fd.Sync(t, true) })
}

// sysSync is sync(2), for the file systems that the caller can see.
func sysSync(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	root := t.FS().Root()
	if ns := root.Namespace(); ns != nil {
		for _, fs := range ns.Filesystems() {
			fs.Ops.Sync()
		}
	}
	return 0, 0
}

// sysSyncfs is syncfs(2).
func sysSyncfs(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return withFD(t, a.Int(0), func(fd *vfs.FileDescription) abi.Errno { return fd.Path.Mount.FS.Ops.Sync() })
}

// fileType is S_IFMT of the file behind fd.
func fileType(fd *vfs.FileDescription) uint32 { return fd.Inode().Perm().Mode & unix.S_IFMT }

// badRange tells whether [off, off+n) is no range of a file.
func badRange(off, n int64) bool { return off < 0 || n < 0 || off > 1<<63-1-n }

// sysSyncFileRange is sync_file_range(2): it writes back more than it must.
func sysSyncFileRange(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Uint32(3)&^7 != 0 || badRange(int64(a[1]), int64(a[2])) {
		return 0, unix.EINVAL
	}
	return withFD(t, a.Int(0), func(fd *vfs.FileDescription) abi.Errno {
		switch fileType(fd) {
		case unix.S_IFREG, unix.S_IFBLK, unix.S_IFDIR:
			return fd.Sync(t, true)
		case unix.S_IFLNK:
			return 0
		}
		return unix.ESPIPE
	})
}

// sysFallocate is fallocate(2).
func sysFallocate(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return withFD(t, a.Int(0), func(fd *vfs.FileDescription) abi.Errno {
		return fd.Allocate(t, a.Uint32(1), int64(a[2]), int64(a[3]))
	})
}

// sysFadvise64 is posix_fadvise(2), whose advice changes nothing here.
func sysFadvise64(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return withFD(t, a.Int(0), func(fd *vfs.FileDescription) abi.Errno {
		if fileType(fd) == unix.S_IFIFO {
			return unix.ESPIPE
		}
		if a.Uint32(3) > unix.FADV_NOREUSE || int64(a[2]) < 0 {
			return unix.EINVAL
		}
		return 0
	})
}

// sysReadahead is readahead(2), a hint that is not taken.
func sysReadahead(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return withFD(t, a.Int(0), func(fd *vfs.FileDescription) abi.Errno {
		if fd.Mode&vfs.FMODE_READ == 0 {
			return unix.EBADF
		}
		if ft := fileType(fd); ft != unix.S_IFREG && ft != unix.S_IFBLK {
			return unix.EINVAL
		}
		return 0
	})
}
