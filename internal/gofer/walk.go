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

// walk lists directories below path, and what lies below them, until the
// message is full.
func (s *server) walk(t *tree, path []byte, d *wire.Decoder) unix.Errno {
	n := d.U32()
	if d.Bad || n == 0 || n > walkNames || t.file != nil {
		return unix.EINVAL
	}
	s.walked = 0
	at := len(s.out.B)
	s.out.U32(0)
	dir, e := s.open(t, path, unix.O_PATH|unix.O_DIRECTORY)
	if e != 0 {
		return e
	}
	defer closeFD(dir)
	if e := s.mayEnter(t, dir); e != 0 {
		return e
	}
	for i := range n {
		name := d.Str()
		if d.Bad || len(name) == 0 || !valid(name) || bytes.IndexByte(name, '/') >= 0 {
			return unix.EINVAL
		}
		more, e := s.descend(t, dir, name, wire.FSWalkNamed, i, 0)
		if i == 0 && s.walked == 0 && e != 0 {
			return e
		}
		if !more {
			break
		}
	}
	s.out.PutU32(at, s.walked)
	return 0
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
