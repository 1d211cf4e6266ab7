package vfs

import (
	"strconv"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// O_LARGEFILE as x86-64's kernel shows it in F_GETFL.
const O_LARGEFILE = 0x8000

const (
	oTmpfile      = 0x400000 // __O_TMPFILE, without O_DIRECTORY
	resolveCached = 0x20     // RESOLVE_CACHED
	openDropped   = unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_CLOEXEC
	openPath      = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_PATH | unix.O_CLOEXEC
)

// OpenHow is openat2(2)'s struct open_how; Resolve are RESOLVE_* bits. Flags
// that open(2) ignores are ignored here too: openat2's stricter rules are its
// handler's.
type OpenHow struct {
	Flags   uint32 // O_*
	Mode    uint32
	Resolve uint64
}

// ResolveLookup turns RESOLVE_* bits into those of a walk.
func ResolveLookup(resolve uint64) (how Lookup) {
	for _, x := range [...]struct {
		bit uint64
		how Lookup
	}{
		{unix.RESOLVE_NO_XDEV, LookupNoXDev},
		{unix.RESOLVE_NO_MAGICLINKS, LookupNoMagic},
		{unix.RESOLVE_NO_SYMLINKS, LookupNoSymlinks},
		{unix.RESOLVE_BENEATH, LookupBeneath},
		{unix.RESOLVE_IN_ROOT, LookupInRoot},
		{resolveCached, LookupCached},
	} {
		if resolve&x.bit != 0 {
			how |= x.how
		}
	}
	return how
}

// Open opens, and perhaps creates, a file. The result has one reference.
func Open(c Caller, at At, path string, how OpenHow) (*FileDescription, abi.Errno) {
	flags := how.Flags
	if flags&unix.O_PATH != 0 {
		flags &= openPath
	}
	switch {
	case flags&(unix.O_CREAT|unix.O_DIRECTORY) == unix.O_CREAT|unix.O_DIRECTORY:
		return nil, unix.EINVAL
	case flags&oTmpfile != 0 && (flags&unix.O_DIRECTORY == 0 || AccessMode(flags)&FMODE_WRITE == 0):
		return nil, unix.EINVAL
	case flags&unix.O_CREAT == 0 && flags&oTmpfile == 0:
		how.Mode = 0
	}
	look := ResolveLookup(how.Resolve)
	if flags&unix.O_NOFOLLOW == 0 {
		look |= LookupFollow
	}
	if flags&unix.O_DIRECTORY != 0 {
		look |= LookupDirectory
	}
	switch {
	case flags&oTmpfile != 0:
		return openTmpfile(c, at, path, look, flags, how.Mode)
	case flags&unix.O_CREAT != 0:
		return openCreate(c, at, path, look, flags, how.Mode)
	}
	if flags&(unix.O_ACCMODE|unix.O_PATH|unix.O_TRUNC) == unix.O_RDONLY {
		look |= lookupRead
	}
	p, e := Walk(c, at, path, look)
	if e != 0 {
		return nil, e
	}
	fd, e := OpenPath(c, p, flags)
	p.DecRef()
	return fd, e
}

// OpenPath opens what is at p, checking permissions; flags are open(2)'s, those
// of creating ignored.
func OpenPath(c Caller, p Path, flags uint32) (*FileDescription, abi.Errno) {
	if flags&unix.O_PATH != 0 {
		fd := NewDescription(p, FileDefaults{}, flags&(openPath&^unix.O_CLOEXEC), FMODE_PATH)
		fd.creds = c.Creds()
		return fd, 0
	}
	if e := mayOpen(c, p, flags); e != 0 {
		return nil, e
	}
	return openInode(c, p, flags, false)
}

// mayOpen checks an open of a file that exists.
func mayOpen(c Caller, p Path, flags uint32) abi.Errno {
	ino := p.Dentry.inode
	perm := ino.Perm()
	mode := AccessMode(flags)
	mask := uint32(0)
	if mode&FMODE_READ != 0 {
		mask |= MayRead
	}
	if mode&FMODE_WRITE != 0 || flags&unix.O_TRUNC != 0 {
		mask |= MayWrite
	}
	if flags&unix.O_ACCMODE == unix.O_ACCMODE { // 3: ioctl only, checked as both
		mask |= MayRead | MayWrite
	}
	switch perm.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return unix.ELOOP
	case unix.S_IFDIR:
		if mask&MayWrite != 0 {
			return unix.EISDIR
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		if p.Mount.Flags()&unix.MS_NODEV != 0 {
			return unix.EACCES
		}
	}
	if e := inodePermission(c, p.Dentry.fs, ino, mask); e != 0 {
		return e
	}
	if mask&MayWrite != 0 && !special(ino) && p.Mount.ReadOnly() {
		return unix.EROFS
	}
	if flags&unix.O_NOATIME != 0 && !ownerOrCapable(c.Creds(), perm) {
		return unix.EPERM
	}
	return 0
}

// openInode makes the description; created: the file is new, and empty.
func openInode(c Caller, p Path, flags uint32, created bool) (*FileDescription, abi.Errno) {
	ino := p.Dentry.inode
	kind := ino.Perm().Mode & unix.S_IFMT
	writes := AccessMode(flags)&FMODE_WRITE != 0 && kind == unix.S_IFREG
	if writes {
		if e := ino.Base().GetWrite(); e != 0 {
			return nil, e
		}
		p.Mount.writes.Add(1)
	}
	// Terminals look at O_NOCTTY; it goes once the file is open.
	fd := NewDescription(p, FileDefaults{}, flags&^(openDropped&^unix.O_NOCTTY)|O_LARGEFILE, AccessMode(flags))
	fd.writes, fd.creds = writes, c.Creds()
	impl, e := openImpl(c, fd, ino, kind)
	fd.flags.Store(fd.Flags() &^ unix.O_NOCTTY)
	fd.created = created
	if e == 0 {
		fd.Impl = impl
		if flags&unix.O_DIRECT != 0 && !fd.direct() {
			e = unix.EINVAL
		} else if flags&unix.O_TRUNC != 0 && !created && kind == unix.S_IFREG {
			e = p.truncate(c, 0)
		}
	}
	if e != 0 {
		fd.quiet = true
		fd.DecRef()
		return nil, e
	}
	p.Notify(unix.IN_OPEN)
	return fd, 0
}

func openImpl(c Caller, fd *FileDescription, ino Inode, kind uint32) (File, abi.Errno) {
	if _, own := ino.(OwnOpener); !own {
		switch kind {
		case unix.S_IFSOCK:
			return nil, unix.ENXIO
		case unix.S_IFIFO:
			return FifoOpener(c, fd, ino)
		case unix.S_IFCHR, unix.S_IFBLK:
			return openDevice(c, fd, ino, kind)
		}
	}
	return ino.Open(c, fd)
}

// OpenExec opens a program: a regular file that the caller may execute, on a
// mount without MS_NOEXEC (EACCES). Writers are kept out (ETXTBSY) until the
// description goes.
func OpenExec(c Caller, at At, path string, how Lookup) (*FileDescription, abi.Errno) {
	p, e := Walk(c, at, path, how)
	if e != 0 {
		return nil, e
	}
	defer p.DecRef()
	ino := p.Inode()
	switch ino.Perm().Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return nil, unix.ELOOP
	case unix.S_IFREG:
	default:
		return nil, unix.EACCES
	}
	if p.Mount.Flags()&unix.MS_NOEXEC != 0 {
		return nil, unix.EACCES
	}
	if e := inodePermission(c, p.Dentry.fs, ino, MayExec); e != 0 {
		return nil, e
	}
	if e := ino.Base().DenyWrite(); e != 0 {
		return nil, e
	}
	fd, e := openInode(c, p, unix.O_RDONLY, false)
	if e != 0 {
		ino.Base().AllowWrite()
		return nil, e
	}
	fd.denies = true
	return fd, 0
}

// openCreate opens with O_CREAT.
func openCreate(c Caller, at At, path string, look Lookup, flags, mode uint32) (*FileDescription, abi.Errno) {
	var r retries
	for {
		fd, e := openCreateOnce(c, at, path, look, flags, mode)
		if !r.again(e) {
			return fd, e
		}
	}
}

func openCreateOnce(c Caller, at At, path string, look Lookup, flags, mode uint32) (*FileDescription, abi.Errno) {
	w := walker{c: c, how: look}
	defer w.done()
	if e := w.walkParent(at, path); e != 0 {
		return nil, e
	}
	created := false
	var dir Perm
	for {
		dir = w.perm
		if !plain(w.last) || w.slash {
			return nil, w.createdDir(flags)
		}
		again, made, e := w.createLast(flags, mode)
		if e != 0 {
			return nil, e
		}
		if created = made; !again {
			break
		}
	}
	p, e := w.pin()
	if e != 0 {
		return nil, e
	}
	defer p.DecRef()
	if created {
		return openInode(c, p, flags, true)
	}
	if w.perm.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil, unix.EISDIR
	}
	if stickyCreate(c.Creds().FSUID, dir, w.perm) {
		return nil, unix.EACCES
	}
	if e := mayOpen(c, p, flags); e != 0 {
		return nil, e
	}
	return openInode(c, p, flags, false)
}

// stickyCreate tells whether O_CREAT must not open what exists: another's device
// or socket in a sticky directory that all may write to. Regular files and
// fifos may be (fs.protected_regular and protected_fifos are 0).
func stickyCreate(fsuid uint32, dir, file Perm) bool {
	switch file.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFIFO:
		return false
	}
	return dir.Mode&unix.S_ISVTX != 0 && dir.Mode&0002 != 0 && file.UID != dir.UID && file.UID != fsuid
}

// createdDir is the error for O_CREAT of what must be a directory.
func (w *walker) createdDir(flags uint32) abi.Errno {
	if plain(w.last) {
		return unix.EISDIR
	}
	if w.last != "" {
		if e := w.step(w.last, true); e != 0 {
			return e
		}
	}
	if flags&unix.O_EXCL != 0 {
		return unix.EEXIST
	}
	return unix.EISDIR
}

// createLast makes the last component a file if there is none, and moves to
// it. again: it is a symlink, and w.last has become its target's last part.
func (w *walker) createLast(flags, mode uint32) (again, made bool, e abi.Errno) {
	if dir := w.cur.Dentry; dir.fs.MakesFirst && w.how&LookupCached == 0 {
		if d := w.createFirst(mode); d != nil {
			w.set(Path{w.cur.Mount, d})
			return false, true, 0
		}
	}
	d, e := w.lookup(w.last)
	if e != 0 {
		return false, false, e
	}
	if d.inode == nil {
		if d, made, e = w.createFile(mode); e != 0 {
			return false, false, e
		}
	}
	if made {
		w.set(Path{w.cur.Mount, d})
		return false, true, 0
	}
	if flags&unix.O_EXCL != 0 {
		return false, false, unix.EEXIST
	}
	if d.inode.Perm().Mode&unix.S_IFMT == unix.S_IFLNK && w.how&LookupFollow != 0 && d.mounted.Load() == 0 {
		again, e = w.createThrough(Path{w.cur.Mount, d})
		return again, false, e
	}
	return false, false, w.enter(d, false)
}

// createThrough goes to the directory that a symlink's target stands in.
func (w *walker) createThrough(link Path) (again bool, e abi.Errno) {
	if _, magic := link.Dentry.inode.(MagicLink); magic {
		return false, w.follow(link)
	}
	if w.how&LookupNoSymlinks != 0 || link.Mount.flags.Load()&msNosymfollow != 0 {
		return false, unix.ELOOP
	}
	if w.links++; w.links > maxLinks {
		return false, unix.ELOOP
	}
	target, e := link.Dentry.inode.Readlink(w.c)
	if e != 0 {
		return false, e
	}
	if target == "" {
		return false, unix.ENOENT
	}
	return true, w.parent(target)
}

// createFirst is createFile without a look at what is there; nil: look.
func (w *walker) createFirst(mode uint32) *Dentry {
	dir := w.cur.Dentry
	if !dir.tryPin() {
		return nil
	}
	defer dir.unpin()
	dir.mu.Lock()
	defer dir.mu.Unlock()
	d, _ := w.makeFirst(dir, false, unix.IN_CREATE, func(in Inode, name string) (Inode, abi.Errno) {
		return in.Create(w.c, name, mode&07777&^w.c.Umask())
	})
	return d
}

// createFile makes w.last in the current directory, unless it exists by now.
func (w *walker) createFile(mode uint32) (d *Dentry, made bool, e abi.Errno) {
	dir := w.cur.Dentry
	if !dir.tryPin() {
		return nil, false, errRetry
	}
	defer dir.unpin()
	dir.mu.Lock()
	defer dir.mu.Unlock()
	d, e = dir.child(w.c, w.last)
	if e != 0 || d.inode != nil {
		return d, false, e
	}
	d, e = w.make(dir, d, unix.IN_CREATE, func(in Inode, name string) (Inode, abi.Errno) {
		return in.Create(w.c, name, mode&07777&^w.c.Umask())
	})
	return d, e == 0, e
}

// openTmpfile is O_TMPFILE.
func openTmpfile(c Caller, at At, path string, look Lookup, flags, mode uint32) (*FileDescription, abi.Errno) {
	p, e := Walk(c, at, path, look|LookupDirectory)
	if e != 0 {
		return nil, e
	}
	defer p.DecRef()
	if e := p.writable(); e != 0 {
		return nil, e
	}
	dir := p.Dentry
	if e := inodePermission(c, dir.fs, dir.inode, MayWrite|MayExec); e != 0 {
		return nil, e
	}
	ino, e := dir.inode.Tmpfile(c, mode&07777&^c.Umask())
	if e != 0 {
		return nil, e
	}
	ino.Base().linkable.Store(flags&unix.O_EXCL == 0)
	name := "#0"
	if a, e := ino.Attr(); e == 0 {
		name = "#" + strconv.FormatUint(a.Ino, 10)
	}
	d := newDentry(dir.fs, dir, name, ino)
	d.flags.Store(dentryLoose | dentryUnlinked)
	d.refs.Add(1)
	fd, e := openInode(c, Path{p.Mount, d}, flags&^oTmpfile|unix.O_EXCL, true)
	d.unpin()
	if e == 0 {
		fd.flags.Or(flags & (oTmpfile | unix.O_DIRECTORY))
	}
	return fd, e
}
