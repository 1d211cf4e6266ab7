package vfs

import (
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// AnonKind is a kind of file without a name in any tree.
type AnonKind int

const (
	AnonPipe   AnonKind = iota // "pipe:[7]"
	AnonSocket                 // "socket:[9]"
)

// AnonInode is an inode of pipefs, sockfs or anon_inodefs.
type AnonInode struct {
	InodeBase
	InodeDefaults
	kind AnonKind
	ino  uint64

	mode     atomic.Uint32
	uid, gid atomic.Uint32
	atime    atomic.Int64
	mtime    atomic.Int64
	ctime    atomic.Int64
}

// pseudo is an internal file system, mounted nowhere.
type pseudo struct {
	fs    *Filesystem
	mount *Mount
}

func newPseudo(typ string, magic int64) pseudo {
	root := &AnonInode{}
	root.mode.Store(unix.S_IFDIR | 0555)
	fs := NewFilesystem(typ, magic, root, FilesystemDefaults{})
	return pseudo{fs, NewInternalMount(fs)}
}

var (
	pseudoFS = [...]pseudo{
		AnonPipe:   newPseudo("pipefs", 0x50495045),
		AnonSocket: newPseudo("sockfs", 0x534f434b),
	}
	anonFS    = newPseudo("anon_inodefs", 0x09041934)
	anonInode = newAnonInode(Internal, 0600)
	lastAnon  atomic.Uint64
)

func newAnonInode(c Caller, mode uint32) *AnonInode {
	a := &AnonInode{ino: lastAnon.Add(1)}
	a.mode.Store(mode)
	a.uid.Store(c.Creds().FSUID)
	a.gid.Store(c.Creds().FSGID)
	now := int64(Now())
	a.atime.Store(now)
	a.mtime.Store(now)
	a.ctime.Store(now)
	return a
}

// NewAnonInode makes the inode of a pipe or socket, mode with its type, owned
// by the caller. AnonInode.Describe gives descriptions of it.
func NewAnonInode(c Caller, kind AnonKind, mode uint32) *AnonInode {
	a := newAnonInode(c, mode)
	a.kind = kind
	return a
}

// Ino is its number.
func (a *AnonInode) Ino() uint64 { return a.ino }

// Describe makes a description, with one reference; mode is FMODE_*.
func (a *AnonInode) Describe(impl File, flags, mode uint32) *FileDescription {
	name := "pipe:["
	if a.kind == AnonSocket {
		name = "socket:["
	}
	ps := pseudoFS[a.kind]
	return ps.describe(name+strconv.FormatUint(a.ino, 10)+"]", a, impl, flags, mode)
}

// describe makes a description behind a pseudo dentry.
func (ps pseudo) describe(name string, ino Inode, impl File, flags, mode uint32) *FileDescription {
	return NewDescription(ps.path(name, ino), impl, flags, mode)
}

// path makes a pseudo dentry; it has no pin yet.
func (ps pseudo) path(name string, ino Inode) Path {
	d := newDentry(ps.fs, nil, name, ino)
	d.flags.Store(dentryLoose | dentryUnlinked)
	return Path{ps.mount, d}
}

// DescribeLoose makes a description of ino, which belongs to m's file system
// and stands in no directory, under a name as /proc/self/fd shows it:
// "/memfd:x (deleted)".
func DescribeLoose(m *Mount, name string, ino Inode, impl File, flags, mode uint32) *FileDescription {
	return pseudo{m.FS, m}.describe(name, ino, impl, flags, mode)
}

// NewAnon makes a description of the one anonymous inode: "eventfd" is shown
// as "anon_inode:[eventfd]". flags have the access mode.
func NewAnon(name string, impl File, flags uint32) *FileDescription {
	return NewAnonBare("["+name+"]", impl, flags)
}

// NewAnonBare is NewAnon for the few kinds that have no brackets.
func NewAnonBare(name string, impl File, flags uint32) *FileDescription {
	return anonFS.describe("anon_inode:"+name, anonInode, impl, flags, AccessMode(flags))
}

// Perm and Attr are the inode's.
func (a *AnonInode) Perm() Perm {
	return Perm{Mode: a.mode.Load(), UID: a.uid.Load(), GID: a.gid.Load()}
}

func (a *AnonInode) Attr() (Attr, abi.Errno) {
	return Attr{
		Mode: a.mode.Load(), Nlink: 1, UID: a.uid.Load(), GID: a.gid.Load(), Ino: a.ino, Blksize: 4096,
		Atime: Time(a.atime.Load()), Mtime: Time(a.mtime.Load()), Ctime: Time(a.ctime.Load()),
	}, 0
}

// SetAttr changes mode, owner and times of pipes and sockets.
func (a *AnonInode) SetAttr(c Caller, s SetAttr) abi.Errno {
	if a == anonInode {
		return unix.EOPNOTSUPP
	}
	if s.Mask&SetMode != 0 {
		a.mode.Store(a.mode.Load()&unix.S_IFMT | s.Mode)
	}
	if s.Mask&SetUID != 0 {
		a.uid.Store(s.UID)
	}
	if s.Mask&SetGID != 0 {
		a.gid.Store(s.GID)
	}
	if s.Mask&SetAtime != 0 {
		a.atime.Store(int64(s.Atime))
	}
	if s.Mask&SetMtime != 0 {
		a.mtime.Store(int64(s.Mtime))
	}
	a.ctime.Store(int64(Now()))
	return 0
}

// Touched sets the times that reading and writing a pipe change.
func (a *AnonInode) Touched(read, written bool) {
	now := int64(Now())
	if read {
		a.atime.Store(now)
	}
	if written {
		a.mtime.Store(now)
		a.ctime.Store(now)
	}
}

// Open by name happens through /proc/self/fd: pipes open as fifos do, the rest
// cannot be.
func (a *AnonInode) Open(Caller, *FileDescription) (File, abi.Errno) { return nil, unix.ENXIO }
