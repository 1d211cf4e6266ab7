package vfstest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Host runs calls on the host's kernel, in a thread of its own whose root is a
// fresh tmpfs. It needs the superuser.
type Host struct {
	ops     chan Op
	answers chan string
	dir     string
	setup   chan error
}

// NewHost starts the thread. dir is an empty directory.
func NewHost(dir string) (*Host, error) {
	h := &Host{ops: make(chan Op), answers: make(chan string), dir: dir, setup: make(chan error)}
	go h.run()
	if err := <-h.setup; err != nil {
		return nil, err
	}
	return h, nil
}

// OnTmpfs runs f in a thread of its own in which dir is a fresh tmpfs: a Gofer,
// for instance.
func OnTmpfs(dir string, f func()) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root")
	}
	setup := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock
		err := privateTmpfs(dir)
		setup <- err
		if err == nil {
			f()
		}
	}()
	return <-setup
}

func privateTmpfs(dir string) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	unix.Umask(0)
	if err := unix.Mount("none", dir, "tmpfs", 0, "mode=755,size=64m,nr_inodes=100k"); err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %w", dir, err)
	}
	return nil
}

// Do runs one call.
func (h *Host) Do(o Op) string {
	h.ops <- o
	return <-h.answers
}

// Close ends the thread.
func (h *Host) Close() { close(h.ops) }

func (h *Host) run() {
	runtime.LockOSThread() // and never unlock: the thread ends with its odd state
	h.setup <- h.enter()
	for o := range h.ops {
		h.answers <- h.as(o)
	}
}

func (h *Host) enter() error {
	if os.Geteuid() != 0 {
		return errors.New("needs root")
	}
	if err := privateTmpfs(h.dir); err != nil {
		return err
	}
	if err := unix.Chroot(h.dir); err != nil {
		return err
	}
	unix.Umask(022)
	return unix.Chdir("/")
}

// as runs o with its person's identity.
func (h *Host) as(o Op) string {
	p := People[o.Who]
	rawSetgroups(p.Groups)
	unix.RawSyscall(unix.SYS_SETFSGID, uintptr(p.GID), 0, 0)
	unix.RawSyscall(unix.SYS_SETFSUID, uintptr(p.UID), 0, 0)
	s := hostDo(o)
	unix.RawSyscall(unix.SYS_SETFSUID, 0, 0, 0)
	unix.RawSyscall(unix.SYS_SETFSGID, 0, 0, 0)
	rawSetgroups(nil)
	return s
}

func result(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := err.(unix.Errno); ok {
		return unix.ErrnoName(e)
	}
	return err.Error()
}

func hostDo(o Op) string {
	const at = unix.AT_FDCWD
	switch o.Name {
	case "mkdir":
		return result(unix.Mkdirat(at, o.Path, o.Mode))
	case "create":
		return hostOpen(o.Path, o.Flags|unix.O_CREAT, o.Mode)
	case "open":
		return hostOpen(o.Path, o.Flags, o.Mode)
	case "openat2":
		how := unix.OpenHow{Flags: uint64(o.Flags&^unix.O_CREAT) | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: uint64(o.Len % 32)}
		if how.Flags&unix.O_PATH != 0 {
			how.Flags &= unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		fd, err := unix.Openat2(at, o.Path, &how)
		return hostOpened(fd, err)
	case "symlink":
		return result(unix.Symlinkat(o.To, at, o.Path))
	case "link":
		return result(unix.Linkat(at, o.Path, at, o.To, int(o.Flags)))
	case "unlink":
		return result(unix.Unlinkat(at, o.Path, 0))
	case "rmdir":
		return result(unix.Unlinkat(at, o.Path, unix.AT_REMOVEDIR))
	case "rename":
		return result(unix.Renameat2(at, o.Path, at, o.To, 0))
	case "rename2":
		return result(unix.Renameat2(at, o.Path, at, o.To, uint(o.Flags)))
	case "chmod":
		return result(unix.Fchmodat(at, o.Path, o.Mode, 0))
	case "chown":
		return result(unix.Fchownat(at, o.Path, int(int32(o.UID)), int(int32(o.GID)), unix.AT_SYMLINK_NOFOLLOW))
	case "truncate":
		return result(unix.Truncate(o.Path, o.Size))
	case "utimes":
		return result(unix.UtimesNanoAt(at, o.Path, hostTimes(o), 0))
	case "mknod":
		return result(unix.Mknodat(at, o.Path, o.Mode, int(o.Flags)))
	case "access":
		return result(unix.Faccessat2(at, o.Path, o.Mode, unix.AT_EACCESS))
	case "chdir":
		return result(unix.Chdir(o.Path))
	case "getcwd":
		var buf [unix.PathMax]byte
		n, err := unix.Getcwd(buf[:])
		if err != nil {
			return result(err)
		}
		return string(buf[:n-1])
	case "readlink":
		var buf [unix.PathMax]byte
		n, err := unix.Readlinkat(at, o.Path, buf[:])
		if err != nil {
			return result(err)
		}
		return string(buf[:n])
	case "stat", "lstat", "rdev":
		return hostStat(o)
	}
	return hostDo2(o)
}

func hostTimes(o Op) []unix.Timespec {
	ts := []unix.Timespec{{Sec: o.Size, Nsec: o.Len}, {Sec: o.Len, Nsec: 5}}
	switch o.Mode & 3 {
	case 1:
		ts[0].Nsec = unix.UTIME_OMIT
	case 2:
		ts[0].Nsec, ts[1].Nsec = unix.UTIME_NOW, unix.UTIME_NOW
	case 3:
		ts[0].Nsec, ts[1].Nsec = unix.UTIME_OMIT, unix.UTIME_OMIT
	}
	return ts
}

func hostStat(o Op) string {
	var st unix.Stat_t
	flags := 0
	if o.Name != "stat" {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	if err := unix.Fstatat(unix.AT_FDCWD, o.Path, &st, flags); err != nil {
		return result(err)
	}
	return statString(st.Mode, uint32(st.Nlink), st.Uid, st.Gid, st.Size, st.Rdev, st.Mtim.Sec)
}

func statString(mode, nlink, uid, gid uint32, size int64, rdev uint64, mtime int64) string {
	if mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0
	}
	if mtime > 1e6 || mode&unix.S_IFMT == unix.S_IFIFO {
		mtime = 1e6 // set by the clock
	}
	return fmt.Sprintf("mode %#o nlink %d owner %d:%d size %d rdev %#x mtime %d", mode, nlink, uid, gid, size, rdev, mtime)
}

func hostOpen(path string, flags, mode uint32) string {
	fd, err := unix.Open(path, int(flags)|unix.O_CLOEXEC|unix.O_NONBLOCK, mode)
	return hostOpened(fd, err)
}

func hostOpened(fd int, err error) string {
	if err != nil {
		return result(err)
	}
	defer unix.Close(fd)
	fl, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	var st unix.Stat_t
	unix.Fstat(fd, &st)
	return fmt.Sprintf("flags %#x ", fl&^(unix.O_NONBLOCK)) + statString(st.Mode, uint32(st.Nlink), st.Uid, st.Gid, st.Size, st.Rdev, st.Mtim.Sec)
}

func hostDo2(o Op) string {
	switch o.Name {
	case "setxattr":
		return result(unix.Lsetxattr(o.Path, o.Xattr, o.Data, o.XattrFlags))
	case "removexattr":
		return result(unix.Lremovexattr(o.Path, o.Xattr))
	case "getxattr":
		var buf [256]byte
		n, err := unix.Lgetxattr(o.Path, o.Xattr, buf[:])
		if err != nil {
			return result(err)
		}
		return fmt.Sprintf("%x", buf[:n])
	case "listxattr":
		var buf [4096]byte
		n, err := unix.Llistxattr(o.Path, buf[:])
		if err != nil {
			return result(err)
		}
		names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
		slices.Sort(names)
		return strings.Join(names, ",")
	case "list":
		return hostList(o.Path)
	}
	flags := unix.O_RDWR
	switch o.Name {
	case "read", "seekdata", "seekhole":
		flags = unix.O_RDONLY
	case "append":
		flags = unix.O_WRONLY | unix.O_APPEND
	case "tmpfile":
		flags |= unix.O_TMPFILE
	}
	fd, err := unix.Open(o.Path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, o.Mode)
	if err != nil {
		return result(err)
	}
	defer unix.Close(fd)
	return hostIO(o, fd)
}

func hostIO(o Op, fd int) string {
	var n int
	var off int64
	var err error
	switch o.Name {
	case "write", "append", "tmpfile":
		n, err = unix.Write(fd, o.Data)
	case "pwrite":
		n, err = unix.Pwrite(fd, o.Data, o.Size)
	case "read":
		buf := make([]byte, o.Len)
		n, err = unix.Pread(fd, buf, o.Size)
		if err == nil {
			return fmt.Sprintf("%x", sum(buf[:n]))
		}
	case "seekdata":
		off, err = unix.Seek(fd, o.Size, unix.SEEK_DATA)
	case "seekhole":
		off, err = unix.Seek(fd, o.Size, unix.SEEK_HOLE)
	case "fallocate":
		err = unix.Fallocate(fd, o.Flags, o.Size, o.Len)
	}
	if err != nil {
		return result(err)
	}
	if o.Name == "tmpfile" {
		err = unix.Linkat(fd, "", unix.AT_FDCWD, o.To, unix.AT_EMPTY_PATH)
		if err != nil {
			return result(err)
		}
	}
	return fmt.Sprintf("n %d off %d", n, off)
}

func sum(b []byte) string {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return fmt.Sprintf("%d bytes %x", len(b), h)
}

func hostList(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return result(err)
	}
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			return result(err)
		}
		if n == 0 {
			break
		}
		for b := buf[:n]; len(b) > 0; {
			reclen := int(b[16]) | int(b[17])<<8
			name, _, _ := strings.Cut(string(b[19:reclen]), "\x00")
			names = append(names, fmt.Sprintf("%s:%d", name, b[18]))
			b = b[reclen:]
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}
