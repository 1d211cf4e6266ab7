package gofer

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// server answers the requests of one connection.
type server struct {
	conn  *wire.FSConn
	trees []*tree
	out   *wire.Encoder
	send  int // descriptor to send with the reply, or -1

	noOpenat2 bool
	how       unix.OpenHow
	st        unix.Statx_t
	attr      wire.FSAttr
	name      []byte // scratch: zero-terminated names
	name1     []byte
	name2     []byte
	link      [unix.PathMax]byte
	dents     [32 << 10]byte
	value     []byte // scratch: xattr values
	walked    uint32 // sections of the current FSWalk
	light     bool   // the current request has FSLight
	place     place
}

func newServer(conn *wire.FSConn, trees []*tree) *server {
	s := &server{conn: conn, trees: trees, out: wire.NewEncoder(), send: -1}
	s.how = unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve}
	if fd, e := openat2(unix.AT_FDCWD, []byte(".\x00"), &s.how); e == 0 {
		closeFD(fd)
	} else if e == unix.ENOSYS || e == unix.EPERM {
		s.noOpenat2 = true
	}
	return s
}

// serve answers until the Sentry closes its end.
func (s *server) serve() error {
	for {
		b, fd, err := s.conn.Receive()
		if err != nil {
			return err
		}
		if b == nil {
			return nil
		}
		s.handle(b, fd)
		if fd >= 0 {
			closeFD(fd)
		}
		err = s.conn.Send(s.out.B, s.send)
		if s.send >= 0 {
			closeFD(s.send)
			s.send = -1
		}
		if err == unix.EPIPE {
			return nil // it has gone, and wanted the reply no more
		}
		if err != nil {
			return err
		}
	}
}

// handle answers one request into s.out and s.send.
func (s *server) handle(b []byte, fd int) {
	s.out.Reply(0)
	e := s.dispatch(b, fd)
	if e == 0 && s.out.Full {
		e = unix.EMSGSIZE
	}
	if e != 0 {
		s.out.Reply(uint32(e))
		if s.send >= 0 {
			closeFD(s.send)
			s.send = -1
		}
	}
}

func (s *server) dispatch(b []byte, fd int) unix.Errno {
	d := wire.Decoder{B: b}
	op, flags, mount, near := d.Header()
	path := d.Str()
	if d.Bad || int(mount) >= len(s.trees) || !valid(path) {
		return unix.EINVAL
	}
	s.place.follow(near)
	t := s.trees[mount]
	s.light = flags&wire.FSLight != 0
	switch op {
	case wire.FSStat:
		return s.stat(t, path, flags&wire.FSStatOpen != 0)
	case wire.FSList:
		return s.list(t, path, d.U64(), d.Bad)
	case wire.FSOpen:
		return s.openFile(t, path, d.U32(), d.Bad)
	case wire.FSGetXattr:
		return s.getXattr(t, path, d.Str(), d.Bad)
	case wire.FSListXattr:
		return s.listXattr(t, path)
	case wire.FSStatfs:
		return s.statfs(t, path)
	case wire.FSWalk:
		return s.walk(t, &d)
	case wire.FSResolve:
		return s.resolve(t, path, d.Str(), flags&wire.FSStatOpen != 0, d.Bad)
	}
	if t.readonly {
		return unix.EROFS
	}
	return s.change(op, t, path, &d, fd)
}

// change dispatches the requests that change the host's files.
func (s *server) change(op wire.FSOp, t *tree, path []byte, d *wire.Decoder, fd int) unix.Errno {
	switch op {
	case wire.FSCreate, wire.FSMkdir, wire.FSMknod:
		o := owner{d.U32(), d.U32(), d.U32()}
		return s.make(op, t, path, o, d.Bad)
	case wire.FSTmpfile:
		o := owner{d.U32(), d.U32(), d.U32()}
		return s.tmpfile(t, path, o, d.Bad)
	case wire.FSLinkFD:
		return s.linkFD(t, path, fd)
	case wire.FSSymlink:
		target := d.Str()
		o := owner{0, d.U32(), d.U32()}
		return s.symlink(t, path, target, o, d.Bad)
	case wire.FSLink:
		return s.linkFile(t, path, d.Str(), d.Bad)
	case wire.FSUnlink:
		return s.unlink(t, path, 0, d.Identity(), d.Bad)
	case wire.FSRmdir:
		return s.unlink(t, path, unix.AT_REMOVEDIR, d.Identity(), d.Bad)
	case wire.FSRename:
		to := d.Str()
		return s.rename(t, path, to, d.U32(), d.Bad)
	case wire.FSSetAttr:
		var a wire.FSSetAttrArgs
		d.SetAttr(&a)
		return s.setAttr(t, path, &a, fd, d.Bad)
	case wire.FSSetXattr:
		name := d.Str()
		flags := d.U32()
		return s.setXattr(t, path, name, d.Bytes(), flags, d.Bad)
	case wire.FSDelXattr:
		return s.delXattr(t, path, d.Str(), d.Bad)
	case wire.FSSync:
		return s.sync(t, path)
	}
	return unix.ENOSYS
}

// putAttr encodes what statx found in s.st.
func (s *server) putAttr() {
	st := &s.st
	s.attr = wire.FSAttr{
		Mode: uint32(st.Mode), Nlink: st.Nlink, UID: st.Uid, GID: st.Gid,
		Ino: st.Ino, Dev: devOf(st), Rdev: unix.Mkdev(st.Rdev_major, st.Rdev_minor),
		Size: int64(st.Size), Blocks: int64(st.Blocks), Blksize: st.Blksize,
		Atime: nanos(st.Atime), Mtime: nanos(st.Mtime), Ctime: nanos(st.Ctime), Btime: nanos(st.Btime),
	}
	s.out.Attr(&s.attr)
}

func nanos(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// hide makes s.st that of an empty directory nobody may write to.
func (s *server) hide() {
	s.st.Mode = unix.S_IFDIR | 0555
	s.st.Nlink = 2
}
