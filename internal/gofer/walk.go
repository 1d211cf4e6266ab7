package gofer

import (
	"bytes"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

const (
	walkNames = 512 // in one request
	walkDepth = 12  // descriptors held at once
)

// walk lists directories, and what lies below them, until the message is full.
func (s *server) walk(t *tree, d *wire.Decoder) unix.Errno {
	s.walked = 0
	at := len(s.out.B)
	s.out.U32(0)
	groups, index := d.U32(), uint32(0)
	for more := true; groups > 0 && more && !d.Bad; groups-- {
		path, n := d.Str(), d.U32()
		if d.Bad || n == 0 || n > walkNames-index || !valid(path) || t.file != nil {
			return unix.EINVAL
		}
		var e unix.Errno
		if more, e = s.walkIn(t, path, d, index, n); e != 0 {
			return e
		}
		index += n
	}
	s.out.PutU32(at, s.walked)
	return 0
}

// walkIn walks n subdirectories of path; the first has index.
func (s *server) walkIn(t *tree, path []byte, d *wire.Decoder, index, n uint32) (more bool, e unix.Errno) {
	dir, gone := s.open(t, path, unix.O_PATH|unix.O_DIRECTORY)
	if gone == 0 {
		defer closeFD(dir)
		gone = s.mayEnter(t, dir)
	}
	more = true
	for i := range n {
		name := d.Str()
		if d.Bad || len(name) == 0 || !valid(name) || bytes.IndexByte(name, '/') >= 0 {
			return false, unix.EINVAL
		}
		if gone != 0 || !more { // it will be asked for by itself
			continue
		}
		more, _ = s.descend(t, dir, name, wire.FSWalkNamed, index+i, 0)
	}
	return more, 0
}

// descend encodes the section of name in dir and those below it. more: the
// message has room left.
func (s *server) descend(t *tree, dir int, name []byte, parent, index uint32, depth int) (more bool, e unix.Errno) {
	fd, e := openat(dir, cstring(&s.name, name), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if e != 0 {
		return true, e // gone, or not for us: it will be asked for by itself
	}
	defer closeFD(fd)
	mark := len(s.out.B)
	s.out.U32(parent)
	s.out.U32(index)
	start := len(s.out.B)
	h, e := s.section(t, fd, 0)
	if e != 0 || !h.Done && s.walked > 0 {
		s.out.Truncate(mark)
		return e != 0 && e != unix.EMSGSIZE, e
	}
	self := s.walked
	s.walked++
	if !h.Done || depth == walkDepth {
		return h.Done, 0
	}
	// The entries are read back from the message itself, which only grows.
	at := start + 16
	for i := range h.Count {
		d := wire.Decoder{B: s.out.B[at:]}
		before := len(d.B)
		var sub []byte
		if d.U8() == wire.FSEntryLight {
			d.U8()
			d.U64()
			d.Str()
			s.attr.Mode = 0
		} else {
			d.Attr(&s.attr)
			sub = d.Str()
			d.Str()
		}
		at += before - len(d.B)
		if s.attr.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		if more, _ := s.descend(t, fd, sub, self, i, depth+1); !more {
			return false, 0
		}
	}
	return true, 0
}
