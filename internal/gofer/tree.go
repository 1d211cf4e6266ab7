package gofer

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// tree is one mount: a host directory, or one file.
type tree struct {
	root     int    // O_PATH descriptor of the directory
	file     []byte // a tree of one file: its name in root, zero-terminated
	readonly bool
	dev      uint64 // of the root
	// hiddenDevs are devices of file systems below that may not be looked into.
	hiddenDevs []uint64
}

// openTree opens a mount's root. Its path has been resolved by the lifecycle:
// a symbolic link in it now is an error.
func openTree(m wire.GoferMount) (*tree, error) {
	dir, base := m.Root, ""
	st, err := os.Lstat(m.Root)
	if err != nil {
		return nil, fmt.Errorf("gofer: root of %s: %w", m.Dest, err)
	}
	if !st.IsDir() {
		if !st.Mode().IsRegular() {
			return nil, fmt.Errorf("gofer: root of %s: %s is neither a directory nor a regular file", m.Dest, m.Root)
		}
		slash := strings.LastIndexByte(m.Root, '/') + 1
		dir, base = m.Root[:slash], m.Root[slash:]
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, dir, &how)
	if err == unix.ENOSYS || err == unix.EPERM {
		fd, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("gofer: root of %s: opening %s: %w", m.Dest, dir, err)
	}
	t := &tree{root: fd, readonly: m.Readonly}
	if base != "" {
		t.file = append([]byte(base), 0)
	}
	var stx unix.Statx_t
	if e := statx(fd, zero, unix.AT_EMPTY_PATH, &stx); e != 0 {
		return nil, fmt.Errorf("gofer: root of %s: statx of %s: %w", m.Dest, dir, e)
	}
	t.dev = devOf(&stx)
	if base == "" {
		t.makePoints(m.MountPoints)
	}
	return t, nil
}

var zero = []byte{0}

func devOf(st *unix.Statx_t) uint64 { return unix.Mkdev(st.Dev_major, st.Dev_minor) }

// valid tells whether p is a path as the protocol has it: components that are
// not empty, not "." and not "..", without zero bytes.
func valid(p []byte) bool {
	if bytes.IndexByte(p, 0) >= 0 {
		return false
	}
	for len(p) > 0 {
		name, rest, more := bytes.Cut(p, slash)
		if len(name) == 0 || len(name) > 255 || string(name) == "." || string(name) == ".." || more && len(rest) == 0 {
			return false
		}
		p = rest
	}
	return true
}

var slash = []byte{'/'}

// split gives the directory and the last name of a path.
func split(p []byte) (dir, name []byte) {
	if i := bytes.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return nil, p
}

// cstring copies p with a zero byte behind it into buf.
func cstring(buf *[]byte, p []byte) []byte {
	*buf = append(append((*buf)[:0], p...), 0)
	return *buf
}

const (
	resolve  = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS
	pieceMax = 4000 // of a path in one openat2
)

// open opens path below the root of t; flags O_NOFOLLOW is added, so that a
// symbolic link is ELOOP, or with O_PATH the link itself.
func (s *server) open(t *tree, path []byte, flags uint64) (int, unix.Errno) {
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
	if t.file != nil {
		if len(path) != 0 {
			return -1, unix.ENOTDIR
		}
		return openat(t.root, t.file, int(flags), 0)
	}
	if len(path) == 0 {
		s.how = unix.OpenHow{Flags: flags, Resolve: resolve}
		return s.openOne(t.root, []byte("."), flags)
	}
	dir := t.root
	for len(path) > pieceMax {
		i := bytes.LastIndexByte(path[:pieceMax], '/')
		if i < 0 {
			return s.drop(dir, t), unix.ENAMETOOLONG
		}
		next, e := s.openOne(dir, path[:i], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW)
		s.drop(dir, t)
		if e != 0 {
			return -1, e
		}
		dir, path = next, path[i+1:]
	}
	fd, e := s.openOne(dir, path, flags)
	s.drop(dir, t)
	return fd, e
}

// drop closes dir unless it is the tree's root.
func (s *server) drop(dir int, t *tree) int {
	if dir != t.root {
		closeFD(dir)
	}
	return -1
}

// openOne is one openat2, or, where the host has none, an openat for each
// component.
func (s *server) openOne(dir int, path []byte, flags uint64) (int, unix.Errno) {
	if !s.noOpenat2 {
		s.how = unix.OpenHow{Flags: flags, Resolve: resolve}
		for range 32 {
			fd, e := openat2(dir, cstring(&s.name, path), &s.how)
			if e != unix.EAGAIN {
				return fd, e
			}
		}
		return -1, unix.EAGAIN
	}
	at := dir
	for {
		name, rest, more := bytes.Cut(path, slash)
		f := int(flags)
		if more {
			f = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		fd, e := openat(at, cstring(&s.name, name), f, 0)
		if at != dir {
			closeFD(at)
		}
		if e != 0 || !more {
			return fd, e
		}
		at, path = fd, rest
	}
}

// parent opens the directory that path stands in, and gives the last name,
// zero-terminated. done closes what it opened.
func (s *server) parent(t *tree, path []byte, buf *[]byte) (dir int, name []byte, e unix.Errno) {
	if t.file != nil || len(path) == 0 {
		return -1, nil, unix.EBUSY
	}
	d, n := split(path)
	if len(d) == 0 {
		return t.root, cstring(buf, n), 0
	}
	dir, e = s.open(t, d, unix.O_PATH|unix.O_DIRECTORY)
	if e != 0 {
		return -1, nil, e
	}
	if e := s.mayEnter(t, dir); e != 0 {
		closeFD(dir)
		return -1, nil, e
	}
	return dir, cstring(buf, n), 0
}

// mayEnter refuses directories of hidden file systems.
func (s *server) mayEnter(t *tree, dir int) unix.Errno {
	if e := statx(dir, zero, unix.AT_EMPTY_PATH, &s.st); e != 0 {
		return e
	}
	if t.hidden(devOf(&s.st), dir) {
		return unix.ENOENT
	}
	return 0
}

// hiddenTypes are the host's interfaces to its kernel: the guest has its own.
var hiddenTypes = map[int64]bool{
	0x9fa0:     true, // proc
	0x62656572: true, // sysfs
	0x64626720: true, // debugfs
	0x74726163: true, // tracefs
	0x73636673: true, // securityfs
	0x27e0eb:   true, // cgroup
	0x63677270: true, // cgroup2
	0xcafe4a11: true, // bpf
	0x1cd1:     true, // devpts
	0x6165676c: true, // pstore
	0xde5e81e4: true, // efivarfs
	0xf97cff8c: true, // selinuxfs
	0x43415d53: true, // smackfs
	0x5a3c69f0: true, // apparmorfs
	0x62656570: true, // configfs
	0x42494e4d: true, // binfmt_misc
	0x67596969: true, // rpc_pipefs
	0x6e736673: true, // nsfs
	0x19800202: true, // mqueue
	0x65735543: true, // fusectl
	0x187:      true, // autofs
}

// hidden tells whether the file system of fd, on device dev, may not be looked
// into. What a mount's root itself lies on was chosen by the bundle. A device
// number found harmless may be another file system's later: only hidden ones
// are remembered.
func (t *tree) hidden(dev uint64, fd int) bool {
	if dev == t.dev {
		return false
	}
	if slices.Contains(t.hiddenDevs, dev) {
		return true
	}
	var sfs unix.Statfs_t
	if unix.Fstatfs(fd, &sfs) != nil {
		return true
	}
	if !hiddenTypes[int64(uint32(sfs.Type))] {
		return false
	}
	if len(t.hiddenDevs) < 64 {
		t.hiddenDevs = append(t.hiddenDevs, dev)
	}
	return true
}
