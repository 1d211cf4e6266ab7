package gofer

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// owner is the mode and the ids that a new file gets.
type owner struct{ mode, uid, gid uint32 }

const nofollow = unix.AT_SYMLINK_NOFOLLOW

// sysFchmodat2 came with Linux 6.6.
const sysFchmodat2 = 452

// make creates a regular file, directory, fifo or socket.
func (s *server) make(op wire.FSOp, t *tree, path []byte, o owner, bad bool) unix.Errno {
	if bad {
		return unix.EINVAL
	}
	dir, name, e := s.parent(t, path, &s.name1)
	if e != 0 {
		return e
	}
	defer s.drop(dir, t)
	switch op {
	case wire.FSCreate:
		return s.create(dir, name, o)
	case wire.FSMkdir:
		return s.mkdir(dir, name, o)
	}
	switch o.mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK:
	default:
		return unix.EPERM // device nodes of the host are none of the guest's
	}
	if e := sysName(unix.SYS_MKNODAT, dir, name, uintptr(o.mode), 0, 0); e != 0 {
		return e
	}
	return s.adopt(dir, name, o)
}

// create makes a regular file, and sends its descriptor.
func (s *server) create(dir int, name []byte, o owner) unix.Errno {
	const flags = unix.O_CREAT | unix.O_EXCL | unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, e := openat(dir, name, flags, o.mode&0777)
	if e != 0 {
		return e
	}
	if e := s.own(fd, o); e != 0 {
		closeFD(fd)
		sysName(unix.SYS_UNLINKAT, dir, name, 0, 0, 0)
		return e
	}
	s.send = fd
	return 0
}

// own gives a new file its owner and mode, and encodes its attributes. Without
// the right to give files away, it stays the Gofer's own.
func (s *server) own(fd int, o owner) unix.Errno {
	if e := statx(fd, zero, unix.AT_EMPTY_PATH, &s.st); e != 0 {
		return e
	}
	// Mostly it has them already, and each change would be one more for the
	// host's file system to keep.
	chown := s.st.Uid != o.uid || s.st.Gid != o.gid
	if chown {
		if e := fchown(fd, uintptr(o.uid), uintptr(o.gid)); e != 0 && e != unix.EPERM {
			return e
		}
	}
	chmod := uint32(s.st.Mode)&07777 != o.mode&07777 || chown && o.mode&(unix.S_ISUID|unix.S_ISGID) != 0
	if chmod {
		if err := unix.Fchmod(fd, o.mode&07777); err != nil {
			return err.(unix.Errno)
		}
	}
	if chown || chmod {
		if e := statx(fd, zero, unix.AT_EMPTY_PATH, &s.st); e != 0 {
			return e
		}
	}
	s.putAttr()
	return 0
}

func (s *server) mkdir(dir int, name []byte, o owner) unix.Errno {
	if e := sysName(unix.SYS_MKDIRAT, dir, name, uintptr(o.mode&0777|0700), 0, 0); e != 0 {
		return e
	}
	fd, e := openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if e == 0 {
		e = s.own(fd, o)
		closeFD(fd)
	}
	if e != 0 {
		sysName(unix.SYS_UNLINKAT, dir, name, unix.AT_REMOVEDIR, 0, 0)
	}
	return e
}

// adopt is own for what has no descriptor.
func (s *server) adopt(dir int, name []byte, o owner) unix.Errno {
	e := sysName(unix.SYS_FCHOWNAT, dir, name, uintptr(o.uid), uintptr(o.gid), nofollow)
	if e != 0 && e != unix.EPERM {
		return e
	}
	if o.mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		// The change of owner has cleared these.
		sysName(sysFchmodat2, dir, name, uintptr(o.mode&07777), nofollow, 0)
	}
	if e := statx(dir, name, nofollow, &s.st); e != 0 {
		return e
	}
	s.putAttr()
	return 0
}

func (s *server) symlink(t *tree, path, target []byte, o owner, bad bool) unix.Errno {
	if bad || len(target) == 0 || len(target) >= unix.PathMax || !noZero(target) {
		return unix.EINVAL
	}
	dir, name, e := s.parent(t, path, &s.name1)
	if e != 0 {
		return e
	}
	defer s.drop(dir, t)
	if e := symlinkat(cstring(&s.name2, target), dir, name); e != 0 {
		return e
	}
	return s.adopt(dir, name, o)
}

func noZero(b []byte) bool {
	for _, c := range b {
		if c == 0 {
			return false
		}
	}
	return true
}

// two opens the directories of two paths.
func (s *server) two(t *tree, path, to []byte, bad bool, f func(dir int, name []byte, dir2 int, name2 []byte) unix.Errno) unix.Errno {
	if bad || !valid(to) {
		return unix.EINVAL
	}
	dir, name, e := s.parent(t, path, &s.name1)
	if e != 0 {
		return e
	}
	defer s.drop(dir, t)
	dir2, name2, e := s.parent(t, to, &s.name2)
	if e != 0 {
		return e
	}
	defer s.drop(dir2, t)
	return f(dir, name, dir2, name2)
}

func (s *server) linkFile(t *tree, path, to []byte, bad bool) unix.Errno {
	return s.two(t, path, to, bad, func(dir int, name []byte, dir2 int, name2 []byte) unix.Errno {
		if e := sysNames(unix.SYS_LINKAT, dir, name, dir2, name2, 0); e != 0 {
			return e
		}
		if e := statx(dir2, name2, nofollow, &s.st); e != 0 {
			return e
		}
		s.putAttr()
		return 0
	})
}

// tmpfile makes a file without a name (O_TMPFILE), and sends its descriptor.
func (s *server) tmpfile(t *tree, path []byte, o owner, bad bool) unix.Errno {
	if bad || t.file != nil {
		return unix.EINVAL
	}
	dir, e := s.open(t, path, unix.O_PATH|unix.O_DIRECTORY)
	if e != 0 {
		return e
	}
	defer closeFD(dir)
	if e := s.mayEnter(t, dir); e != 0 {
		return e
	}
	fd, e := openat(dir, []byte(".\x00"), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, o.mode&0777)
	if e != 0 {
		return e
	}
	if e := s.own(fd, o); e != 0 {
		closeFD(fd)
		return e
	}
	s.send = fd
	return 0
}

// linkFD gives a file without a name one. It must be one that was opened for
// writing and has no name: any other file might be one that only a read-only
// mount shows.
func (s *server) linkFD(t *tree, path []byte, fd int) unix.Errno {
	if e := s.writableFile(fd); e != 0 {
		return e
	}
	if s.st.Nlink != 0 {
		return unix.EPERM
	}
	dir, name, e := s.parent(t, path, &s.name1)
	if e != 0 {
		return e
	}
	defer s.drop(dir, t)
	if e := sysNames(unix.SYS_LINKAT, fd, zero, dir, name, unix.AT_EMPTY_PATH); e != 0 {
		return e
	}
	if e := statx(fd, zero, unix.AT_EMPTY_PATH, &s.st); e != 0 {
		return e
	}
	s.putAttr()
	return 0
}

// writableFile checks a descriptor from the Sentry, and fills s.st.
func (s *server) writableFile(fd int) unix.Errno {
	if fd < 0 {
		return unix.EBADF
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE == unix.O_RDONLY || flags&unix.O_PATH != 0 {
		return unix.EPERM
	}
	if e := statx(fd, zero, unix.AT_EMPTY_PATH, &s.st); e != 0 {
		return e
	}
	if s.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EPERM
	}
	return 0
}

func (s *server) rename(t *tree, path, to []byte, flags uint32, bad bool) unix.Errno {
	if flags&^uint32(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
		return unix.EINVAL
	}
	return s.two(t, path, to, bad, func(dir int, name []byte, dir2 int, name2 []byte) unix.Errno {
		return sysNames(unix.SYS_RENAMEAT2, dir, name, dir2, name2, uintptr(flags))
	})
}

// unlink removes a name, if it leads to want.
func (s *server) unlink(t *tree, path []byte, flags uintptr, want wire.FSIdentity, bad bool) unix.Errno {
	if bad {
		return unix.EINVAL
	}
	dir, name, e := s.parent(t, path, &s.name1)
	if e != 0 {
		return e
	}
	defer s.drop(dir, t)
	if want.Ino != 0 {
		if e := statx(dir, name, nofollow, &s.st); e != 0 {
			return e
		}
		if want != (wire.FSIdentity{Ino: s.st.Ino, Dev: devOf(&s.st), Type: uint32(s.st.Mode) & unix.S_IFMT, UID: s.st.Uid}) {
			return unix.ESTALE
		}
	}
	return sysName(unix.SYS_UNLINKAT, dir, name, flags, 0, 0)
}

// openSafe opens a regular file or directory for a call that needs a
// descriptor; anything else is EOPNOTSUPP. s.st is filled.
func (s *server) openSafe(t *tree, path []byte, access uint64) (int, unix.Errno) {
	look, e := s.at(t, path)
	if e != 0 {
		return -1, e
	}
	inside, root := s.covered(t, path, look)
	closeFD(look)
	switch {
	case inside || root:
		return -1, unix.ENOENT
	case s.st.Mode&unix.S_IFMT == unix.S_IFDIR:
		access = unix.O_RDONLY
	case s.st.Mode&unix.S_IFMT != unix.S_IFREG:
		return -1, unix.EOPNOTSUPP
	}
	return s.open(t, path, access|unix.O_NONBLOCK|unix.O_NOCTTY)
}

// setAttr changes attributes of a path, or of the file that the Sentry sent a
// descriptor of because it has no name any more.
func (s *server) setAttr(t *tree, path []byte, a *wire.FSSetAttrArgs, fd int, bad bool) unix.Errno {
	if bad || a.Size < 0 {
		return unix.EINVAL
	}
	if fd >= 0 {
		return s.setAttrFD(a, fd)
	}
	if a.Mask&wire.FSSetSize != 0 {
		if e := s.truncate(t, path, a.Size); e != 0 {
			return e
		}
	}
	if t.file != nil || len(path) == 0 {
		return s.setAttrRoot(t, a)
	}
	dir, name, e := s.parent(t, path, &s.name1)
	if e != 0 {
		return e
	}
	defer s.drop(dir, t)
	return s.setAttrAt(t, path, dir, name, a)
}

func (s *server) truncate(t *tree, path []byte, size int64) unix.Errno {
	fd, e := s.openSafe(t, path, unix.O_WRONLY)
	if e != 0 {
		return e
	}
	defer closeFD(fd)
	if err := unix.Ftruncate(fd, size); err != nil {
		return err.(unix.Errno)
	}
	return 0
}

// setAttrAt changes owner, mode and times by name. A change of owner clears
// set-id bits, so the mode comes after it.
func (s *server) setAttrAt(t *tree, path []byte, dir int, name []byte, a *wire.FSSetAttrArgs) unix.Errno {
	if a.Mask&(wire.FSSetUID|wire.FSSetGID) != 0 {
		uid, gid := ids(a)
		if e := sysName(unix.SYS_FCHOWNAT, dir, name, uid, gid, nofollow); e != 0 {
			return e
		}
	}
	if a.Mask&wire.FSSetMode != 0 {
		if e := s.chmod(t, path, dir, name, a.Mode&07777); e != 0 {
			return e
		}
	}
	if a.Mask&(wire.FSSetAtime|wire.FSSetMtime) != 0 {
		ts := times(a)
		if e := utimensat(dir, name, &ts, nofollow); e != 0 {
			return e
		}
	}
	if e := statx(dir, name, nofollow, &s.st); e != 0 {
		return e
	}
	s.putAttr()
	return 0
}

func (s *server) chmod(t *tree, path []byte, dir int, name []byte, mode uint32) unix.Errno {
	e := sysName(sysFchmodat2, dir, name, uintptr(mode), nofollow, 0)
	if e != unix.ENOSYS && e != unix.EPERM {
		return e
	}
	fd, e2 := s.openSafe(t, path, unix.O_RDONLY)
	if e2 != 0 {
		if e == unix.EPERM {
			return e
		}
		return e2
	}
	defer closeFD(fd)
	if err := unix.Fchmod(fd, mode); err != nil {
		return err.(unix.Errno)
	}
	return 0
}

// setAttrRoot changes the mount's root itself.
func (s *server) setAttrRoot(t *tree, a *wire.FSSetAttrArgs) unix.Errno {
	if t.file != nil {
		return s.setAttrAt(t, nil, t.root, t.file, a)
	}
	fd, e := s.open(t, nil, unix.O_RDONLY|unix.O_DIRECTORY)
	if e != 0 {
		return e
	}
	defer closeFD(fd)
	return s.apply(a, fd)
}

// setAttrFD changes a file by the Sentry's descriptor. It must be one that was
// opened for writing: such come only from mounts that may be changed.
func (s *server) setAttrFD(a *wire.FSSetAttrArgs, fd int) unix.Errno {
	if e := s.writableFile(fd); e != 0 {
		return e
	}
	if a.Mask&wire.FSSetSize != 0 {
		if err := unix.Ftruncate(fd, a.Size); err != nil {
			return err.(unix.Errno)
		}
	}
	return s.apply(a, fd)
}

// apply changes owner, mode and times by descriptor.
func (s *server) apply(a *wire.FSSetAttrArgs, fd int) unix.Errno {
	if a.Mask&(wire.FSSetUID|wire.FSSetGID) != 0 {
		uid, gid := ids(a)
		if e := fchown(fd, uid, gid); e != 0 {
			return e
		}
	}
	if a.Mask&wire.FSSetMode != 0 {
		if err := unix.Fchmod(fd, a.Mode&07777); err != nil {
			return err.(unix.Errno)
		}
	}
	if a.Mask&(wire.FSSetAtime|wire.FSSetMtime) != 0 {
		ts := times(a)
		if e := futimens(fd, &ts); e != 0 {
			return e
		}
	}
	if e := statx(fd, zero, unix.AT_EMPTY_PATH, &s.st); e != 0 {
		return e
	}
	s.putAttr()
	return 0
}

// fchown is fchown(2) by way of fchownat(2).
func fchown(fd int, uid, gid uintptr) unix.Errno {
	return sysName(unix.SYS_FCHOWNAT, fd, zero, uid, gid, unix.AT_EMPTY_PATH)
}

// ids gives the ids to change, and those to leave as -1.
func ids(a *wire.FSSetAttrArgs) (uid, gid uintptr) {
	uid, gid = uintptr(^uint32(0)), uintptr(^uint32(0))
	if a.Mask&wire.FSSetUID != 0 {
		uid = uintptr(a.UID)
	}
	if a.Mask&wire.FSSetGID != 0 {
		gid = uintptr(a.GID)
	}
	return uid, gid
}

func times(a *wire.FSSetAttrArgs) [2]unix.Timespec {
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
	if a.Mask&wire.FSSetAtime != 0 {
		ts[0] = timespec(a.Atime)
	}
	if a.Mask&wire.FSSetMtime != 0 {
		ts[1] = timespec(a.Mtime)
	}
	return ts
}

// timespec splits nanoseconds; before the epoch the nanoseconds still count up.
func timespec(ns int64) unix.Timespec {
	sec, rest := ns/1e9, ns%1e9
	if rest < 0 {
		sec, rest = sec-1, rest+1e9
	}
	return unix.Timespec{Sec: sec, Nsec: rest}
}

func (s *server) sync(t *tree, path []byte) unix.Errno {
	fd, e := s.openSafe(t, path, unix.O_RDONLY)
	if e != 0 {
		return e
	}
	defer closeFD(fd)
	if err := unix.Fsync(fd); err != nil {
		return err.(unix.Errno)
	}
	return 0
}
