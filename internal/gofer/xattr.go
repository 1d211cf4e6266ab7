package gofer

import (
	"bytes"

	"golang.org/x/sys/unix"
)

const xattrMax = 64 << 10

// served tells whether the guest may know of xattrs of this name. ACLs are
// refused, since the Sentry does not judge by them; trusted ones may be the
// host's overlay's.
func served(name []byte) bool {
	return bytes.HasPrefix(name, []byte("user.")) || string(name) == "security.capability"
}

// xattrFile opens a file whose xattrs are asked for. Other files than regular
// ones and directories have none for the guest.
func (s *server) xattrFile(t *tree, path, name []byte, bad bool, none unix.Errno) (int, unix.Errno) {
	if bad || len(name) > 255 || !noZero(name) {
		return -1, unix.EINVAL
	}
	if name != nil && !served(name) {
		return -1, none
	}
	fd, e := s.openSafe(t, path, unix.O_RDONLY)
	if e == unix.EOPNOTSUPP {
		e = none
	}
	return fd, e
}

func (s *server) getXattr(t *tree, path, name []byte, bad bool) unix.Errno {
	fd, e := s.xattrFile(t, path, name, bad, unix.ENODATA)
	if e != 0 {
		return e
	}
	defer closeFD(fd)
	v := s.scratch()
	n, err := unix.Fgetxattr(fd, string(name), v)
	if err != nil {
		return err.(unix.Errno)
	}
	s.out.Bytes(v[:n])
	return 0
}

// scratch is the buffer for values, made when first needed.
func (s *server) scratch() []byte {
	if s.value == nil {
		s.value = make([]byte, xattrMax)
	}
	return s.value
}

func (s *server) setXattr(t *tree, path, name, value []byte, flags uint32, bad bool) unix.Errno {
	fd, e := s.xattrFile(t, path, name, bad || len(value) > xattrMax, unix.EOPNOTSUPP)
	if e != 0 {
		return e
	}
	defer closeFD(fd)
	if err := unix.Fsetxattr(fd, string(name), value, int(flags&(unix.XATTR_CREATE|unix.XATTR_REPLACE))); err != nil {
		return err.(unix.Errno)
	}
	return 0
}

func (s *server) listXattr(t *tree, path []byte) unix.Errno {
	fd, e := s.xattrFile(t, path, nil, false, unix.ENODATA)
	if e == unix.ENODATA {
		s.out.U32(0)
		return 0
	}
	if e != 0 {
		return e
	}
	defer closeFD(fd)
	s.putNames(fd)
	return 0
}

func (s *server) delXattr(t *tree, path, name []byte, bad bool) unix.Errno {
	fd, e := s.xattrFile(t, path, name, bad, unix.ENODATA)
	if e != 0 {
		return e
	}
	defer closeFD(fd)
	if err := unix.Fremovexattr(fd, string(name)); err != nil {
		return err.(unix.Errno)
	}
	return 0
}
