package gofer

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// at opens path itself with O_PATH, and fills s.st. A hidden file system's
// directory is made to look empty.
func (s *server) at(t *tree, path []byte) (int, unix.Errno) {
	fd, e := s.open(t, path, unix.O_PATH)
	if e != 0 {
		return -1, e
	}
	if e := statx(fd, zero, unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT, &s.st); e != 0 {
		closeFD(fd)
		return -1, e
	}
	return fd, 0
}

// covered tells, after at, whether path lies inside a hidden file system: below
// its root. The root itself is shown, as an empty directory.
func (s *server) covered(t *tree, path []byte, fd int) (inside, root bool) {
	dev := devOf(&s.st)
	if !t.hidden(dev, fd) {
		return false, false
	}
	if up, _ := split(path); len(path) > 0 {
		dir, e := s.open(t, up, unix.O_PATH|unix.O_DIRECTORY)
		if e != 0 {
			return true, false
		}
		defer closeFD(dir)
		var st unix.Statx_t
		if statx(dir, zero, unix.AT_EMPTY_PATH, &st) == 0 && !t.hidden(devOf(&st), dir) {
			return false, true
		}
	}
	return true, false
}

// stat gives attributes, and, if open, a descriptor of a regular file.
func (s *server) stat(t *tree, path []byte, open bool) unix.Errno {
	fd, e := s.at(t, path)
	if e != 0 {
		return e
	}
	defer closeFD(fd)
	inside, root := s.covered(t, path, fd)
	if inside {
		return unix.ENOENT
	}
	if root {
		s.hide()
	}
	s.putAttr()
	if e := s.putTarget(fd, zero); e != 0 || !open || root || s.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return e
	}
	mark := len(s.out.B)
	if e := s.openAs(t, path, unix.O_RDONLY); e == 0 {
		s.putNames(s.send)
	} else {
		s.out.Truncate(mark)
	}
	return 0
}

// openAs opens path, which s.st tells of, and readies the descriptor for
// sending: another file that has come in its place is ENOENT.
func (s *server) openAs(t *tree, path []byte, access uint32) unix.Errno {
	ino, dev := s.st.Ino, devOf(&s.st)
	fd, e := s.open(t, path, uint64(access)|unix.O_NONBLOCK|unix.O_NOCTTY)
	if e != 0 {
		return e
	}
	if e := statx(fd, zero, unix.AT_EMPTY_PATH, &s.st); e != 0 {
		closeFD(fd)
		return e
	}
	if s.st.Mode&unix.S_IFMT != unix.S_IFREG || s.st.Ino != ino || devOf(&s.st) != dev {
		closeFD(fd)
		return unix.ENOENT
	}
	s.send = fd
	return 0
}

// putNames encodes the names of a file's xattrs.
func (s *server) putNames(fd int) {
	at, count := len(s.out.B), uint32(0)
	s.out.U32(0)
	v := s.scratch()
	n, e := flistxattr(fd, v)
	if e != 0 {
		return
	}
	for v = v[:n]; len(v) > 0; {
		name, rest, _ := bytes.Cut(v, zero)
		if served(name) {
			s.putBytes(name)
			count++
		}
		v = rest
	}
	s.out.PutU32(at, count)
}

// putTarget encodes a symbolic link's target; an empty one for other files.
func (s *server) putTarget(dir int, name []byte) unix.Errno {
	if s.st.Mode&unix.S_IFMT != unix.S_IFLNK {
		s.out.Str("")
		return 0
	}
	n, e := readlinkat(dir, name, s.link[:])
	if e != 0 {
		return e
	}
	s.putBytes(s.link[:n])
	return 0
}

// putBytes encodes a string that is not one of Go's.
func (s *server) putBytes(b []byte) {
	e := s.out
	if len(e.B)+2+len(b) > wire.MaxFSMessage {
		e.Full = true
		return
	}
	e.B = append(append(e.B, byte(len(b)), byte(len(b)>>8)), b...)
}

// list reads a directory from cookie on: as many entries as one message holds.
func (s *server) list(t *tree, path []byte, cookie uint64, bad bool) unix.Errno {
	if bad {
		return unix.EINVAL
	}
	fd, e := s.open(t, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if e != 0 {
		return e
	}
	defer closeFD(fd)
	if cookie != 0 {
		if _, err := unix.Seek(fd, int64(cookie), unix.SEEK_SET); err != nil {
			return unix.EINVAL
		}
	}
	_, e = s.section(t, fd, cookie)
	return e
}

// section encodes the header and the entries of the directory fd.
func (s *server) section(t *tree, fd int, cookie uint64) (wire.FSListHeader, unix.Errno) {
	h := wire.FSListHeader{Next: cookie}
	if e := statx(fd, zero, unix.AT_EMPTY_PATH, &s.st); e != 0 {
		return h, e
	}
	at := len(s.out.B)
	s.out.ListHeader(h)
	dev := devOf(&s.st)
	if s.out.Full {
		return h, unix.EMSGSIZE
	}
	h.Done = t.hidden(dev, fd)
	for full := false; !h.Done && !full; {
		n, e := getdents(fd, s.dents[:])
		if e != 0 {
			return h, e
		}
		if n == 0 {
			h.Done = true
			break
		}
		full = s.entries(t, fd, dev, s.dents[:n], &h)
	}
	if h.Count == 0 && !h.Done {
		return h, unix.EMSGSIZE
	}
	s.out.PutListHeader(at, h)
	return h, 0
}

// entries encodes what getdents gave; full: not all of it fitted.
func (s *server) entries(t *tree, fd int, dev uint64, b []byte, h *wire.FSListHeader) (full bool) {
	for len(b) > 19 {
		reclen := int(b[16]) | int(b[17])<<8
		next := binary.LittleEndian.Uint64(b[8:])
		name := b[19:reclen]
		name = name[:bytes.IndexByte(name, 0)+1] // with its zero
		ino, kind := binary.LittleEndian.Uint64(b), b[18]
		b = b[reclen:]
		if string(name) == ".\x00" || string(name) == "..\x00" {
			h.Next = next
			continue
		}
		mark := len(s.out.B)
		if s.light && kind != unix.DT_DIR && kind != unix.DT_UNKNOWN {
			s.out.U8(wire.FSEntryLight)
			s.out.U8(kind)
			s.out.U64(ino)
			s.putBytes(name[:len(name)-1])
			if s.out.Full {
				s.out.Truncate(mark)
				return true
			}
			h.Count++
		} else if !s.entry(t, fd, dev, name) {
			if s.out.Full {
				s.out.Truncate(mark)
				return true
			}
			s.out.Truncate(mark) // gone meanwhile
		} else {
			h.Count++
		}
		h.Next = next
	}
	return false
}

// entry encodes one entry; false if it did not fit, or is gone.
func (s *server) entry(t *tree, fd int, dev uint64, name []byte) bool {
	if statx(fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, &s.st) != 0 {
		return false
	}
	if d := devOf(&s.st); d != dev && s.st.Mode&unix.S_IFMT == unix.S_IFDIR {
		sub, e := openat(fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if e != 0 {
			return false
		}
		if t.hidden(d, sub) {
			s.hide()
		}
		closeFD(sub)
	}
	s.out.U8(wire.FSEntryFull)
	s.putAttr()
	s.putBytes(name[:len(name)-1])
	if e := s.putTarget(fd, name); e != 0 {
		return false
	}
	return !s.out.Full
}

// openFile opens a regular file and sends its descriptor.
func (s *server) openFile(t *tree, path []byte, access uint32, bad bool) unix.Errno {
	if bad || access != unix.O_RDONLY && access != unix.O_RDWR && access != unix.O_WRONLY {
		return unix.EINVAL
	}
	if t.readonly && access != unix.O_RDONLY {
		return unix.EROFS
	}
	// Nothing but a regular file may even be opened: look first.
	look, e := s.at(t, path)
	if e != 0 {
		return e
	}
	inside, root := s.covered(t, path, look)
	closeFD(look)
	if inside || root {
		return unix.ENOENT
	}
	if s.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.ENXIO
	}
	if e := s.openAs(t, path, access); e != 0 {
		return e
	}
	s.putAttr()
	s.putNames(s.send)
	return 0
}

func (s *server) statfs(t *tree, path []byte) unix.Errno {
	fd, e := s.open(t, path, unix.O_PATH)
	if e != 0 {
		return e
	}
	defer closeFD(fd)
	var f unix.Statfs_t
	if err := unix.Fstatfs(fd, &f); err != nil {
		return err.(unix.Errno)
	}
	s.out.Statfs(&wire.FSStatfsReply{
		Type: f.Type, Bsize: f.Bsize, Blocks: f.Blocks, Bfree: f.Bfree, Bavail: f.Bavail,
		Files: f.Files, Ffree: f.Ffree, Namelen: f.Namelen,
	})
	return 0
}
