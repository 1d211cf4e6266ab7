package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/inotifyfd"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_INOTIFY_INIT, Name: "inotify_init", Fn: sysInotifyInit},
		Row{Nr: unix.SYS_INOTIFY_INIT1, Name: "inotify_init1", Args: "flags:open", Fn: sysInotifyInit1},
		Row{Nr: unix.SYS_INOTIFY_ADD_WATCH, Name: "inotify_add_watch", Args: "fd path flags:inotify", Fn: sysInotifyAddWatch},
		Row{Nr: unix.SYS_INOTIFY_RM_WATCH, Name: "inotify_rm_watch", Args: "fd int", Fn: sysInotifyRmWatch},
	)
}

func newInotify(t *kernel.Task, flags uint32) (uint64, abi.Errno) {
	if flags&^(unix.IN_CLOEXEC|unix.IN_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	f, e := inotifyfd.New()
	if e != 0 {
		return 0, e
	}
	return install(t, vfs.NewAnonBare("inotify", f, unix.O_RDONLY|flags&unix.IN_NONBLOCK), flags&unix.IN_CLOEXEC != 0)
}

// sysInotifyInit is inotify_init(2).
func sysInotifyInit(t *kernel.Task, a *Args) (uint64, abi.Errno) { return newInotify(t, 0) }

// sysInotifyInit1 is inotify_init1(2).
func sysInotifyInit1(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return newInotify(t, a.Uint32(0))
}

// Flags of inotify_add_watch(2).
const (
	inOnlyDir    = 0x01000000
	inDontFollow = 0x02000000
	inMaskCreate = 0x10000000
	inMaskAdd    = 0x20000000
	inBits       = unix.IN_ALL_EVENTS | unix.IN_UNMOUNT | unix.IN_Q_OVERFLOW | unix.IN_IGNORED | inOnlyDir | inDontFollow |
		unix.IN_EXCL_UNLINK | inMaskCreate | inMaskAdd | unix.IN_ISDIR | unix.IN_ONESHOT
)

// withInotify gets an instance for f.
func withInotify(t *kernel.Task, num int32, f func(*inotifyfd.File) (uint64, abi.Errno)) (uint64, abi.Errno) {
	fd, e := t.FDs().GetFile(num)
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	in, ok := fd.Impl.(*inotifyfd.File)
	if !ok {
		return 0, unix.EINVAL
	}
	return f(in)
}

// sysInotifyAddWatch is inotify_add_watch(2).
func sysInotifyAddWatch(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	mask := a.Uint32(2)
	if mask&inBits == 0 || mask&(inMaskAdd|inMaskCreate) == inMaskAdd|inMaskCreate {
		return 0, unix.EINVAL
	}
	return withInotify(t, a.Int(0), func(f *inotifyfd.File) (uint64, abi.Errno) {
		p, e := cwdPath(t, a[1])
		if e != 0 {
			return 0, e
		}
		var how vfs.Lookup
		if mask&inDontFollow == 0 {
			how |= vfs.LookupFollow
		}
		if mask&inOnlyDir != 0 {
			how |= vfs.LookupDirectory
		}
		path, e := p.walk(t, how)
		if e != 0 {
			return 0, e
		}
		defer path.DecRef()
		if e := path.Permission(t, vfs.MayRead); e != 0 {
			return 0, e
		}
		wd, e := f.AddWatch(path.Inode(), mask)
		return uint64(wd), e
	})
}

// sysInotifyRmWatch is inotify_rm_watch(2).
func sysInotifyRmWatch(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return withInotify(t, a.Int(0), func(f *inotifyfd.File) (uint64, abi.Errno) { return 0, f.RemoveWatch(a.Int(1)) })
}
