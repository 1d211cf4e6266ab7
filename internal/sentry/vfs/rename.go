package vfs

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

const renameFlags = unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE | unix.RENAME_WHITEOUT

// Rename is renameat2(2).
func Rename(c Caller, oldAt At, oldPath string, newAt At, newPath string, flags uint32) abi.Errno {
	if flags&^uint32(renameFlags) != 0 ||
		flags&unix.RENAME_EXCHANGE != 0 && flags&(unix.RENAME_NOREPLACE|unix.RENAME_WHITEOUT) != 0 {
		return unix.EINVAL
	}
	var r retries
	for {
		e := renameOnce(c, oldAt, oldPath, newAt, newPath, flags)
		if !r.again(e) {
			return e
		}
	}
}

// renaming is the state of one rename.
type renaming struct {
	c        Caller
	from, to walker
	flags    uint32
	src, dst *Dentry
}

func renameOnce(c Caller, oldAt At, oldPath string, newAt At, newPath string, flags uint32) abi.Errno {
	r := renaming{c: c, flags: flags, from: walker{c: c}, to: walker{c: c}}
	defer r.from.done()
	defer r.to.done()
	if e := r.from.walkParent(oldAt, oldPath); e != 0 {
		return e
	}
	if e := r.to.walkParent(newAt, newPath); e != 0 {
		return e
	}
	if r.from.cur.Mount != r.to.cur.Mount {
		return unix.EXDEV
	}
	if !plain(r.from.last) {
		return unix.EBUSY
	}
	if !plain(r.to.last) {
		if flags&unix.RENAME_NOREPLACE != 0 {
			return unix.EEXIST
		}
		return unix.EBUSY
	}
	if r.from.cur.Mount.ReadOnly() {
		return unix.EROFS
	}
	return r.locked()
}

// locked takes the locks of a rename and does it.
func (r *renaming) locked() abi.Errno {
	a, b := r.from.cur.Dentry, r.to.cur.Dentry
	if !a.tryPin() {
		return errRetry
	}
	defer a.unpin()
	if !b.tryPin() {
		return errRetry
	}
	defer b.unpin()
	fs := a.fs
	fs.renameMu.Lock()
	defer fs.renameMu.Unlock()
	lockPair(a, b)
	defer unlockPair(a, b)
	if e := r.find(a, b); e != 0 {
		return e
	}
	if r.src.inode == r.dst.inode {
		return 0 // two names of one file: rename(2) leaves both
	}
	if e := r.permitted(a, b); e != 0 {
		return e
	}
	return r.move(a, b)
}

// lockPair locks two directories of one file system: the one above first.
func lockPair(a, b *Dentry) {
	switch {
	case a == b:
		a.mu.Lock()
		return
	case under(a, b), !under(b, a) && before(b, a):
		a, b = b, a
	}
	a.mu.Lock()
	b.mu.Lock()
}

func unlockPair(a, b *Dentry) {
	a.mu.Unlock()
	if a != b {
		b.mu.Unlock()
	}
}

// find looks both names up, and checks what does not depend on the caller.
func (r *renaming) find(a, b *Dentry) (e abi.Errno) {
	if r.src, e = a.child(r.c, r.from.last); e != 0 {
		return e
	}
	if r.src.inode == nil {
		return unix.ENOENT
	}
	if r.dst, e = b.child(r.c, r.to.last); e != 0 {
		return e
	}
	exchange := r.flags&unix.RENAME_EXCHANGE != 0
	switch {
	case r.dst.inode != nil && r.flags&unix.RENAME_NOREPLACE != 0:
		return unix.EEXIST
	case r.dst.inode == nil && exchange:
		return unix.ENOENT
	case exchange && r.to.slash && !isDir(r.dst.inode):
		return unix.ENOTDIR
	case !isDir(r.src.inode) && (r.from.slash || !exchange && r.to.slash):
		return unix.ENOTDIR
	case under(b, r.src):
		return unix.EINVAL
	case r.dst.inode != nil && under(a, r.dst):
		if exchange {
			return unix.EINVAL
		}
		return unix.ENOTEMPTY
	}
	return 0
}

// permitted checks what the caller may do.
func (r *renaming) permitted(a, b *Dentry) abi.Errno {
	if e := r.from.mayDelete(a, r.src); e != 0 {
		return e
	}
	if r.dst.inode == nil {
		if b.flags.Load()&dentryUnlinked != 0 {
			return unix.ENOENT
		}
		if e := inodePermission(r.c, b.fs, b.inode, MayWrite|MayExec); e != 0 {
			return e
		}
	} else {
		if e := r.to.mayDelete(b, r.dst); e != 0 {
			return e
		}
		if r.flags&unix.RENAME_EXCHANGE == 0 && isDir(r.src.inode) != isDir(r.dst.inode) {
			if isDir(r.src.inode) {
				return unix.ENOTDIR
			}
			return unix.EISDIR
		}
	}
	if a != b {
		// A directory that moves has its ".." changed.
		if isDir(r.src.inode) {
			if e := inodePermission(r.c, a.fs, r.src.inode, MayWrite); e != 0 {
				return e
			}
		}
		if r.flags&unix.RENAME_EXCHANGE != 0 && isDir(r.dst.inode) {
			if e := inodePermission(r.c, a.fs, r.dst.inode, MayWrite); e != 0 {
				return e
			}
		}
	}
	if r.src.mounted.Load() != 0 || r.dst.mounted.Load() != 0 {
		return unix.EBUSY
	}
	return 0
}

// move does it: in the file system, then among the dentries.
func (r *renaming) move(a, b *Dentry) abi.Errno {
	src, dst := r.src, r.dst
	gone := dst.inode != nil && r.flags&unix.RENAME_EXCHANGE == 0
	if gone && isDir(dst.inode) {
		dst.mu.Lock()
		defer dst.mu.Unlock()
	}
	oldName, newName := src.Name(), dst.Name()
	if e := a.inode.Rename(r.c, oldName, src.inode, b.inode, newName, dst.inode, r.flags); e != 0 {
		return e
	}
	moves.Add(1)
	defer moves.Add(1)
	r.tell(a, b, oldName, newName)
	delete(b.children, newName)
	delete(a.children, oldName)
	if r.flags&unix.RENAME_EXCHANGE != 0 {
		dst.hang(a, oldName)
		a.put(oldName, dst)
	} else {
		if gone && isDir(dst.inode) {
			dst.clear()
		}
		dst.drop()
		if r.flags&unix.RENAME_WHITEOUT == 0 && !a.fs.Volatile {
			a.attach(oldName, nil)
		}
	}
	src.hang(b, newName)
	b.put(newName, src)
	return 0
}

// tell sends the events of a rename.
func (r *renaming) tell(a, b *Dentry, oldName, newName string) {
	if watched.Load() == 0 {
		return
	}
	cookie := lastCookie.Add(1)
	a.notifyChild(unix.IN_MOVED_FROM, cookie, oldName, r.src.inode)
	b.notifyChild(unix.IN_MOVED_TO, cookie, newName, r.src.inode)
	r.src.inode.Base().notify(unix.IN_MOVE_SELF|dirBit(r.src.inode), 0, "")
	if r.flags&unix.RENAME_EXCHANGE != 0 {
		cookie = lastCookie.Add(1)
		b.notifyChild(unix.IN_MOVED_FROM, cookie, newName, r.dst.inode)
		a.notifyChild(unix.IN_MOVED_TO, cookie, oldName, r.dst.inode)
		r.dst.inode.Base().notify(unix.IN_MOVE_SELF|dirBit(r.dst.inode), 0, "")
	} else if r.dst.inode != nil && !isDir(r.dst.inode) {
		r.dst.inode.Base().notify(unix.IN_ATTRIB, 0, "")
	}
}
