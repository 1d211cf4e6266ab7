package gofer

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// resolveMax bounds the components of one FSResolve.
const resolveMax = 32

// resolve follows rest from the directory path on, one component at a time,
// and encodes each, up to the first that is not a directory to be entered. With
// open, a regular file at its end is opened to be read.
func (s *server) resolve(t *tree, path, rest []byte, open, bad bool) unix.Errno {
	if bad || len(rest) == 0 || !valid(rest) || t.file != nil {
		return unix.EINVAL
	}
	dir, e := s.open(t, path, unix.O_PATH|unix.O_DIRECTORY)
	if e != 0 {
		return e
	}
	defer func() { closeFD(dir) }()
	if e := s.mayEnter(t, dir); e != 0 {
		return e
	}
	at, count := len(s.out.B), uint32(0)
	s.out.U32(0)
	var end unix.Errno
	for more := true; more && count < resolveMax; count++ {
		var name []byte
		name, rest, more = bytes.Cut(rest, slash)
		fd, e := openat(dir, cstring(&s.name, name), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if e == 0 {
			e = s.component(t, fd, &more)
		}
		if e != 0 {
			if fd >= 0 {
				closeFD(fd)
			}
			if count == 0 {
				return e
			}
			end = e
			break
		}
		if open && s.st.Mode&unix.S_IFMT == unix.S_IFREG && len(rest) == 0 {
			s.out.PutU32(at, count+1)
			s.out.U8(0)
			s.openLast(dir)
			closeFD(fd)
			return 0
		}
		closeFD(dir)
		dir = fd
	}
	s.out.PutU32(at, count)
	absent := uint8(0)
	if end == unix.ENOENT {
		absent = 1
	}
	s.out.U8(absent)
	return 0
}

// component encodes what fd is; more is taken back where the way ends.
func (s *server) component(t *tree, fd int, more *bool) unix.Errno {
	if e := statx(fd, zero, unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT, &s.st); e != 0 {
		return e
	}
	mark := len(s.out.B)
	dir := s.st.Mode&unix.S_IFMT == unix.S_IFDIR
	if dir && t.hidden(devOf(&s.st), fd) {
		s.hide()
		dir = false
	}
	*more = *more && dir
	s.putAttr()
	if e := s.putTarget(fd, zero); e != 0 {
		s.out.Truncate(mark)
		return e
	}
	if s.out.Full {
		s.out.Truncate(mark)
		return unix.EMSGSIZE
	}
	return 0
}

// openLast opens s.name in dir, which s.st tells of, and encodes the names of
// its xattrs; without a descriptor there are none.
func (s *server) openLast(dir int) {
	ino, dev := s.st.Ino, devOf(&s.st)
	fd, e := openat(dir, s.name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if e != 0 {
		return
	}
	if statx(fd, zero, unix.AT_EMPTY_PATH, &s.st) != 0 || s.st.Mode&unix.S_IFMT != unix.S_IFREG || s.st.Ino != ino || devOf(&s.st) != dev {
		closeFD(fd)
		return
	}
	mark := len(s.out.B)
	if s.putNames(fd); s.out.Full {
		s.out.Truncate(mark)
		closeFD(fd)
		return
	}
	s.send = fd
}
