package vfs

import (
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

// inParent walks to the directory of path's last component, locks it for
// writing, and calls f there; w.last is the name.
func inParent(c Caller, at At, path string, f func(w *walker, dir *Dentry) abi.Errno) abi.Errno {
	var r retries
	for {
		e := inParentOnce(c, at, path, f)
		if !r.again(e) {
			return e
		}
	}
}

func inParentOnce(c Caller, at At, path string, f func(w *walker, dir *Dentry) abi.Errno) abi.Errno {
	w := walker{c: c}
	defer w.done()
	if e := w.walkParent(at, path); e != 0 {
		return e
	}
	dir := w.cur.Dentry
	if !dir.tryPin() {
		return errRetry
	}
	defer dir.unpin()
	w.slow = true
	dir.mu.Lock()
	defer dir.mu.Unlock()
	return f(&w, dir)
}

// plain tells whether name is an ordinary component.
func plain(name string) bool { return name != "" && name != "." && name != ".." }

// create makes a name that must not exist yet, by mk. dirOK: a slash behind
// the name is allowed.
func create(c Caller, at At, path string, dirOK bool, event uint32, mk func(dir Inode, name string) (Inode, abi.Errno)) (Path, abi.Errno) {
	var made Path
	e := inParent(c, at, path, func(w *walker, dir *Dentry) abi.Errno {
		if !plain(w.last) {
			return unix.EEXIST
		}
		d, e := w.makeFirst(dir, w.slash && !dirOK, event, mk)
		if d == nil {
			if d, e = dir.child(c, w.last); e != 0 {
				return e
			}
			if d.inode != nil {
				return unix.EEXIST
			}
			if w.slash && !dirOK {
				return unix.ENOENT
			}
			d, e = w.make(dir, d, event, mk)
		}
		if e == 0 {
			made = Path{w.cur.Mount, d}
			made.IncRef()
		}
		return e
	})
	return made, e
}

// make replaces the negative dentry d in the locked dir by what mk makes.
func (w *walker) make(dir, d *Dentry, event uint32, mk func(dir Inode, name string) (Inode, abi.Errno)) (*Dentry, abi.Errno) {
	if w.cur.Mount.ReadOnly() {
		return nil, unix.EROFS
	}
	if e := inodePermission(w.c, dir.fs, dir.inode, MayWrite|MayExec); e != 0 {
		return nil, e
	}
	ino, e := mk(dir.inode, w.last)
	if e != 0 {
		return nil, e
	}
	name := d.Name()
	d.drop()
	n := dir.attach(name, ino)
	dir.notifyChild(event, 0, name, ino)
	return n, 0
}

// makeFirst is make in a directory whose names are not known for sure: it tries
// without looking. nil: it could not, and a look will tell why.
func (w *walker) makeFirst(dir *Dentry, not bool, event uint32, mk func(dir Inode, name string) (Inode, abi.Errno)) (*Dentry, abi.Errno) {
	if not || !dir.fs.MakesFirst || dir.dead() || dir.flags.Load()&dentryUnlinked != 0 || len(w.last) > nameMax {
		return nil, 0
	}
	d := dir.children[w.last]
	if d == nil {
		d = dir.attach(strings.Clone(w.last), nil)
	} else if d.inode != nil || d.mounted.Load() != 0 {
		return nil, 0
	}
	n, e := w.make(dir, d, event, mk)
	if e != 0 {
		delete(dir.children, w.last)
		d.drop()
		return nil, 0
	}
	return n, 0
}

// Mkdir is mkdirat(2).
func Mkdir(c Caller, at At, path string, mode uint32) abi.Errno {
	p, e := create(c, at, path, true, unix.IN_CREATE, func(dir Inode, name string) (Inode, abi.Errno) {
		return dir.Mkdir(c, name, mode&01777&^c.Umask())
	})
	p.DecRef()
	return e
}

// Mknod is mknodat(2); rdev is encoded as st_rdev.
func Mknod(c Caller, at At, path string, mode uint32, rdev uint64) abi.Errno {
	kind := mode & unix.S_IFMT
	switch kind {
	case 0:
		kind = unix.S_IFREG
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK:
	case unix.S_IFDIR:
		return unix.EPERM
	default:
		return unix.EINVAL
	}
	p, e := create(c, at, path, false, unix.IN_CREATE, func(dir Inode, name string) (Inode, abi.Errno) {
		perm := mode & 07777 &^ c.Umask()
		if kind == unix.S_IFREG {
			return dir.Create(c, name, perm)
		}
		if kind == unix.S_IFCHR || kind == unix.S_IFBLK {
			// The 0:0 character device is overlay's whiteout: free to make.
			if !(kind == unix.S_IFCHR && rdev == 0) && !c.Creds().Capable(auth.CAP_MKNOD) {
				return nil, unix.EPERM
			}
		} else {
			rdev = 0
		}
		return dir.Mknod(c, name, kind|perm, rdev)
	})
	p.DecRef()
	return e
}

// Symlink is symlinkat(2).
func Symlink(c Caller, target string, at At, path string) abi.Errno {
	if target == "" {
		return unix.ENOENT
	}
	if len(target) >= pathMax {
		return unix.ENAMETOOLONG
	}
	p, e := create(c, at, path, false, unix.IN_CREATE, func(dir Inode, name string) (Inode, abi.Errno) {
		return dir.Symlink(c, name, strings.Clone(target))
	})
	p.DecRef()
	return e
}

// BindSocket makes a socket file whose Special is sock (bind(2) of a path);
// EADDRINUSE if the name exists. mode is that of the socket, before the umask.
func BindSocket(c Caller, at At, path string, mode uint32, sock any) (Path, abi.Errno) {
	p, e := create(c, at, path, false, unix.IN_CREATE, func(dir Inode, name string) (Inode, abi.Errno) {
		ino, e := dir.Mknod(c, name, unix.S_IFSOCK|mode&0777&^c.Umask(), 0)
		if e == 0 {
			ino.Base().SetSpecial(sock)
		}
		return ino, e
	})
	if e == unix.EEXIST {
		e = unix.EADDRINUSE
	}
	return p, e
}

// LookupSocket finds what is bound to a path (connect(2)): write permission is
// checked; ECONNREFUSED if it is no socket, or nothing is bound.
func LookupSocket(c Caller, at At, path string) (any, Path, abi.Errno) {
	p, e := Walk(c, at, path, LookupFollow)
	if e != 0 {
		return nil, Path{}, e
	}
	if e := p.Permission(c, MayWrite); e != 0 {
		p.DecRef()
		return nil, Path{}, e
	}
	var sock any
	if p.Inode().Perm().Mode&unix.S_IFMT == unix.S_IFSOCK {
		sock = p.Inode().Base().Special()
	}
	if sock == nil {
		p.DecRef()
		return nil, Path{}, unix.ECONNREFUSED
	}
	return sock, p, 0
}

// Link is linkat(2); flags are AT_SYMLINK_FOLLOW and AT_EMPTY_PATH.
func Link(c Caller, oldAt At, oldPath string, newAt At, newPath string, flags uint32) abi.Errno {
	if flags&^uint32(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return unix.EINVAL
	}
	var how Lookup
	if flags&unix.AT_SYMLINK_FOLLOW != 0 {
		how = LookupFollow
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		own := oldAt.Dir != nil && oldAt.Dir.creds == c.Creds()
		if oldPath == "" && !own && !c.Creds().Capable(auth.CAP_DAC_READ_SEARCH) {
			return unix.ENOENT
		}
		how |= LookupEmpty
	}
	old, e := Walk(c, oldAt, oldPath, how)
	if e != 0 {
		return e
	}
	defer old.DecRef()
	p, e := LinkPath(c, old, newAt, newPath)
	p.DecRef()
	return e
}

// LinkPath gives old one more name; the new Path is pinned.
func LinkPath(c Caller, old Path, at At, path string) (Path, abi.Errno) {
	ino := old.Dentry.inode
	var made Path
	e := inParent(c, at, path, func(w *walker, dir *Dentry) abi.Errno {
		if !plain(w.last) {
			return unix.EEXIST
		}
		link := func(in Inode, name string) (Inode, abi.Errno) {
			if isDir(ino) {
				return nil, unix.EPERM
			}
			if a, e := ino.Attr(); e != 0 {
				return nil, e
			} else if a.Nlink == 0 && !ino.Base().linkable.Load() {
				return nil, unix.ENOENT
			}
			return ino, in.Link(c, name, ino)
		}
		away := old.Mount != w.cur.Mount || old.Dentry.fs != dir.fs
		d, e := w.makeFirst(dir, w.slash || away, unix.IN_CREATE, link)
		if d == nil {
			if d, e = dir.child(c, w.last); e != 0 {
				return e
			}
			if d.inode != nil {
				return unix.EEXIST
			}
			if w.slash {
				return unix.ENOENT
			}
			if away {
				return unix.EXDEV
			}
			d, e = w.make(dir, d, unix.IN_CREATE, link)
		}
		if e == 0 {
			made = Path{w.cur.Mount, d}
			made.IncRef()
		}
		return e
	})
	if e == 0 {
		old.notifySelf(unix.IN_ATTRIB)
	}
	return made, e
}

// mayDelete checks the removal of victim from the locked dir.
func (w *walker) mayDelete(dir, victim *Dentry) abi.Errno {
	if e := inodePermission(w.c, dir.fs, dir.inode, MayWrite|MayExec); e != 0 {
		return e
	}
	if sticky(w.c.Creds(), dir.inode.Perm(), victim.inode.Perm()) {
		return unix.EPERM
	}
	return 0
}

// victim finds w.last in the locked dir, to remove it. Where the file system
// makes sure itself, a cached dentry that may be removed need not be
// revalidated.
func (w *walker) victim(dir *Dentry, directory bool) (*Dentry, abi.Errno) {
	if d := dir.children[w.last]; d != nil && dir.fs.RemovesSure && d.inode != nil && !w.slash &&
		isDir(d.inode) == directory && d.mounted.Load() == 0 && w.mayDelete(dir, d) == 0 {
		return d, 0
	}
	return dir.child(w.c, w.last)
}

// unlinkUnseen removes a name that no dentry is of, where it does not matter whose
// it is and nobody is to be told.
func (w *walker) unlinkUnseen(dir *Dentry) (done bool, e abi.Errno) {
	if !dir.fs.RemovesSure || w.slash || dir.children[w.last] != nil || len(w.last) > nameMax || watched.Load() != 0 ||
		dir.dead() || dir.inode.Perm().Mode&unix.S_ISVTX != 0 || inodePermission(w.c, dir.fs, dir.inode, MayWrite|MayExec) != 0 {
		return false, 0
	}
	u, ok := dir.inode.(UnseenRemover)
	if !ok {
		return false, 0
	}
	return u.UnlinkUnseen(w.c, w.last)
}

// Unlink is unlinkat(2) without AT_REMOVEDIR.
func Unlink(c Caller, at At, path string) abi.Errno {
	return inParent(c, at, path, func(w *walker, dir *Dentry) abi.Errno {
		if !plain(w.last) {
			return unix.EISDIR
		}
		if w.cur.Mount.ReadOnly() {
			return unix.EROFS
		}
		if done, e := w.unlinkUnseen(dir); done {
			return e
		}
		d, e := w.victim(dir, false)
		if e != 0 {
			return e
		}
		switch {
		case d.inode == nil:
			return unix.ENOENT
		case w.slash && isDir(d.inode):
			return unix.EISDIR
		case w.slash:
			return unix.ENOTDIR
		}
		if e := w.mayDelete(dir, d); e != 0 {
			return e
		}
		if isDir(d.inode) {
			return unix.EISDIR
		}
		if d.mounted.Load() != 0 {
			return unix.EBUSY
		}
		return dir.remove(c, d, dir.inode.Unlink)
	})
}

// remove takes d out of the locked dir by op, and tells watchers.
func (dir *Dentry) remove(c Caller, d *Dentry, op func(Caller, string, Inode) abi.Errno) abi.Errno {
	name, ino := d.Name(), d.inode
	e := op(c, name, ino)
	if e == unix.ESTALE && dir.fs.RemovesSure {
		delete(dir.children, name)
		d.drop()
		return errRetry
	}
	if e != 0 {
		return e
	}
	if watched.Load() != 0 && !isDir(ino) {
		ino.Base().notify(unix.IN_ATTRIB, 0, "")
	}
	dir.notifyChild(unix.IN_DELETE, 0, name, ino)
	dir.unlink(d)
	return 0
}

// Rmdir is rmdir(2).
func Rmdir(c Caller, at At, path string) abi.Errno {
	return inParent(c, at, path, func(w *walker, dir *Dentry) abi.Errno {
		switch w.last {
		case ".":
			return unix.EINVAL
		case "..":
			return unix.ENOTEMPTY
		case "":
			return unix.EBUSY
		}
		if w.cur.Mount.ReadOnly() {
			return unix.EROFS
		}
		d, e := w.victim(dir, true)
		if e != 0 {
			return e
		}
		if d.inode == nil {
			return unix.ENOENT
		}
		if e := w.mayDelete(dir, d); e != 0 {
			return e
		}
		if !isDir(d.inode) {
			return unix.ENOTDIR
		}
		if d.mounted.Load() != 0 {
			return unix.EBUSY
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if e := dir.remove(c, d, dir.inode.Rmdir); e != 0 {
			return e
		}
		d.clear()
		return 0
	})
}

// clear drops the negative dentries of a removed directory, whose lock is held.
func (d *Dentry) clear() {
	for _, ch := range d.children {
		ch.drop()
	}
	d.children = nil
}

// Readlink is readlinkat(2).
func Readlink(c Caller, at At, path string) (string, abi.Errno) {
	how := Lookup(0)
	if path == "" && at.Dir != nil {
		how = LookupEmpty
	}
	p, e := Walk(c, at, path, how)
	if e != 0 {
		return "", e
	}
	defer p.DecRef()
	if p.Inode().Perm().Mode&unix.S_IFMT != unix.S_IFLNK {
		if path == "" {
			return "", unix.ENOENT
		}
		return "", unix.EINVAL
	}
	return p.Inode().Readlink(c)
}
