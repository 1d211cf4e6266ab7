package vfstest

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	_ "bulkhead.dev/bulkhead/internal/sentry/fs/pipefs" // fifos
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Caller is a vfs.Caller of a given identity.
type Caller struct {
	Cr    *auth.Creds
	Mask  uint32
	Limit uint64
}

func (c *Caller) Creds() *auth.Creds { return c.Cr }
func (c *Caller) Umask() uint32      { return c.Mask }
func (c *Caller) TGID() int32        { return 1 }
func (c *Caller) FSizeLimit() uint64 { return c.Limit }
func (c *Caller) SignalXFSZ()        {}

// fsCaps are what setfsuid(2) takes away from other users.
const fsCaps = auth.Caps(1<<auth.CAP_CHOWN | 1<<auth.CAP_DAC_OVERRIDE | 1<<auth.CAP_DAC_READ_SEARCH | 1<<auth.CAP_FOWNER |
	1<<auth.CAP_FSETID | 1<<auth.CAP_LINUX_IMMUTABLE | 1<<auth.CAP_MKNOD | 1<<auth.CAP_MAC_OVERRIDE)

// NewCaller gives a caller as setfsuid(2) to p would make it.
func NewCaller(p Person) *Caller {
	cr := auth.Root()
	cr.FSUID, cr.FSGID, cr.Groups = p.UID, p.GID, p.Groups
	if p.UID != 0 {
		cr.Effective &^= fsCaps
	}
	return &Caller{Cr: cr, Mask: 022, Limit: ^uint64(0)}
}

// Guest runs calls on a file system behind vfs.
type Guest struct {
	NS *vfs.MountNamespace
	FS *vfs.FSContext
}

// NewGuest makes fs the root.
func NewGuest(fs *vfs.Filesystem) *Guest {
	ns := vfs.NewMountNamespace(fs, "root", 0)
	return &Guest{ns, vfs.NewFSContext(ns.Root(), 022)}
}

func errno(e abi.Errno) string {
	if e == 0 {
		return "ok"
	}
	return unix.ErrnoName(e)
}

// Do runs one call.
func (g *Guest) Do(o Op) string {
	c := NewCaller(People[o.Who])
	at := vfs.At{FS: g.FS}
	switch o.Name {
	case "mkdir":
		return errno(vfs.Mkdir(c, at, o.Path, o.Mode))
	case "create":
		return g.open(c, o.Path, vfs.OpenHow{Flags: o.Flags | unix.O_CREAT, Mode: o.Mode})
	case "open":
		return g.open(c, o.Path, vfs.OpenHow{Flags: o.Flags, Mode: o.Mode})
	case "openat2":
		return g.open(c, o.Path, vfs.OpenHow{Flags: o.Flags &^ unix.O_CREAT, Resolve: uint64(o.Len % 32)})
	case "symlink":
		return errno(vfs.Symlink(c, o.To, at, o.Path))
	case "link":
		return errno(vfs.Link(c, at, o.Path, at, o.To, o.Flags))
	case "unlink":
		return errno(vfs.Unlink(c, at, o.Path))
	case "rmdir":
		return errno(vfs.Rmdir(c, at, o.Path))
	case "rename":
		return errno(vfs.Rename(c, at, o.Path, at, o.To, 0))
	case "rename2":
		return errno(vfs.Rename(c, at, o.Path, at, o.To, o.Flags))
	case "mknod":
		return errno(vfs.Mknod(c, at, o.Path, o.Mode, uint64(o.Flags)))
	case "access":
		return errno(vfs.Access(c, at, o.Path, o.Mode, unix.AT_EACCESS))
	case "chdir":
		return errno(vfs.Chdir(c, g.FS, o.Path))
	case "getcwd":
		s, e := vfs.Getcwd(g.FS)
		if e != 0 {
			return errno(e)
		}
		return s
	case "readlink":
		s, e := vfs.Readlink(c, at, o.Path)
		if e != 0 {
			return errno(e)
		}
		return s
	case "stat", "lstat", "rdev":
		how := vfs.Lookup(0)
		if o.Name == "stat" {
			how = vfs.LookupFollow
		}
		a, e := vfs.Stat(c, at, o.Path, how)
		if e != 0 {
			return errno(e)
		}
		return attrString(a)
	case "list":
		return g.list(c, o.Path)
	}
	return g.onPath(c, o)
}

func attrString(a vfs.Attr) string {
	sec := int64(a.Mtime) / 1e9
	if a.Mtime < 0 {
		sec = -1
	}
	return statString(a.Mode, a.Nlink, a.UID, a.GID, a.Size, a.Rdev, sec)
}

func (g *Guest) open(c vfs.Caller, path string, how vfs.OpenHow) string {
	how.Flags |= unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, e := vfs.Open(c, vfs.At{FS: g.FS}, path, how)
	if e != 0 {
		return errno(e)
	}
	defer fd.DecRef()
	a, _ := fd.Path.Stat(c)
	return fmt.Sprintf("flags %#x ", fd.Flags()&^unix.O_NONBLOCK) + attrString(a)
}

func (g *Guest) list(c vfs.Caller, path string) string {
	fd, e := vfs.Open(c, vfs.At{FS: g.FS}, path, vfs.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY})
	if e != 0 {
		return errno(e)
	}
	defer fd.DecRef()
	var names []string
	for {
		n := 0
		e := fd.ReadDir(c, func(d vfs.Dirent) bool {
			if n == 3 {
				return false // several reads, to try the cookies
			}
			n++
			names = append(names, fmt.Sprintf("%s:%d", d.Name, d.Type))
			return true
		})
		if e != 0 {
			return errno(e)
		}
		if n == 0 {
			break
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// onPath runs the calls that walk first, then act on a Path.
func (g *Guest) onPath(c vfs.Caller, o Op) string {
	at := vfs.At{FS: g.FS}
	how := vfs.Lookup(0)
	switch o.Name {
	case "chmod", "truncate", "utimes":
		how = vfs.LookupFollow
	case "chown", "setxattr", "getxattr", "listxattr", "removexattr":
	default:
		return g.onFile(c, o)
	}
	if o.Name == "truncate" && o.Size < 0 {
		return "EINVAL"
	}
	if strings.HasSuffix(o.Name, "xattr") && o.Name != "listxattr" && o.Xattr == "" {
		return "ERANGE" // found when the name is copied in
	}
	if o.Name == "setxattr" && o.XattrFlags > 3 {
		return "EINVAL"
	}
	if o.Name == "utimes" && o.Mode&3 == 3 {
		return "ok"
	}
	p, e := vfs.Walk(c, at, o.Path, how)
	if e != 0 {
		return errno(e)
	}
	defer p.DecRef()
	switch o.Name {
	case "chmod":
		return errno(vfs.Chmod(c, p, o.Mode))
	case "chown":
		return errno(vfs.Chown(c, p, o.UID, o.GID))
	case "truncate":
		return errno(vfs.Truncate(c, p, o.Size))
	case "utimes":
		a, m := guestTimes(o)
		return errno(vfs.Utimens(c, p, a, m))
	case "setxattr":
		return errno(vfs.SetXattr(c, p, o.Xattr, o.Data, o.XattrFlags))
	case "removexattr":
		return errno(vfs.RemoveXattr(c, p, o.Xattr))
	case "getxattr":
		v, e := vfs.GetXattr(c, p, o.Xattr)
		if e != 0 {
			return errno(e)
		}
		return fmt.Sprintf("%x", v)
	case "listxattr":
		names, e := vfs.ListXattr(c, p)
		if e != 0 {
			return errno(e)
		}
		slices.Sort(names)
		return strings.Join(names, ",")
	}
	return "?"
}

func guestTimes(o Op) (a, m vfs.TimeSpec) {
	a.Time, m.Time = vfs.Time(o.Size*1e9+o.Len), vfs.Time(o.Len*1e9+5)
	switch o.Mode & 3 {
	case 1:
		a = vfs.TimeSpec{Omit: true}
	case 2:
		a, m = vfs.TimeSpec{Now: true}, vfs.TimeSpec{Now: true}
	case 3:
		a, m = vfs.TimeSpec{Omit: true}, vfs.TimeSpec{Omit: true}
	}
	return a, m
}

// onFile runs the calls on an open file.
func (g *Guest) onFile(c vfs.Caller, o Op) string {
	flags := uint32(unix.O_RDWR)
	switch o.Name {
	case "read", "seekdata", "seekhole":
		flags = unix.O_RDONLY
	case "append":
		flags = unix.O_WRONLY | unix.O_APPEND
	case "tmpfile":
		flags |= unix.O_TMPFILE
	}
	at := vfs.At{FS: g.FS}
	fd, e := vfs.Open(c, at, o.Path, vfs.OpenHow{Flags: flags | unix.O_NONBLOCK, Mode: o.Mode})
	if e != 0 {
		return errno(e)
	}
	defer fd.DecRef()
	var n int
	var off int64
	switch o.Name {
	case "write", "append", "tmpfile":
		n, e = fd.Write(c, o.Data)
	case "pwrite":
		n, e = fd.Pwrite(c, o.Data, pwriteOff(o.Size))
	case "read":
		buf := make([]byte, o.Len)
		n, e = fd.Pread(c, buf, o.Size)
		if e == 0 {
			return fmt.Sprintf("%x", sum(buf[:n]))
		}
	case "seekdata":
		off, e = fd.Seek(c, o.Size, unix.SEEK_DATA)
	case "seekhole":
		off, e = fd.Seek(c, o.Size, unix.SEEK_HOLE)
	case "fallocate":
		e = fd.Allocate(c, o.Flags, o.Size, o.Len)
	}
	if e != 0 {
		return errno(e)
	}
	if o.Name == "tmpfile" {
		if e := vfs.Link(rootFor(c), vfs.At{FS: g.FS, Dir: fd}, "", at, o.To, unix.AT_EMPTY_PATH); e != 0 {
			return errno(e)
		}
	}
	return fmt.Sprintf("n %d off %d", n, off)
}

func rootFor(c vfs.Caller) vfs.Caller { return c }

// pwriteOff keeps -1, which means AtEnd inside, an error.
func pwriteOff(off int64) int64 {
	if off < 0 {
		return -2
	}
	return off
}
