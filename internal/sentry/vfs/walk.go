package vfs

import (
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// At is where a relative path starts.
type At struct {
	FS  *FSContext
	Dir *FileDescription // nil: the working directory (AT_FDCWD)
}

// Lookup are the ways of walking a path.
type Lookup uint32

const (
	LookupFollow     Lookup = 1 << iota // follow a symlink in the last place
	LookupDirectory                     // ENOTDIR unless it is a directory
	LookupEmpty                         // AT_EMPTY_PATH: "" is At.Dir itself
	LookupNoXDev                        // RESOLVE_NO_XDEV
	LookupNoMagic                       // RESOLVE_NO_MAGICLINKS
	LookupNoSymlinks                    // RESOLVE_NO_SYMLINKS
	LookupBeneath                       // RESOLVE_BENEATH
	LookupInRoot                        // RESOLVE_IN_ROOT
	LookupCached                        // RESOLVE_CACHED: EAGAIN if a file system must be asked

	lookupRead   // the file will be opened for reading
	lookupParent // the last component is not looked up
)

const (
	maxLinks = 40
	nameMax  = 255
	pathMax  = 4096

	// errRetry restarts a walk that met a dentry dropped meanwhile.
	errRetry abi.Errno = 0xfff0
)

// walker is the state of one walk. Its paths are borrowed, but for held.
type walker struct {
	c     Caller
	how   Lookup
	root  Path // ".." and absolute names stop here
	cur   Path
	perm  Perm // of cur
	links int
	last  string // the last component, after parent
	ahead string // what the next step begins, in full
	slash bool   // slashes follow it
	held  Path   // the target of the last magic link, pinned
	moves uint64 // renames and mounts seen at the start, for scoped walks
	// rooted: the root has been needed before. Linux, which finds it out
	// late, refuses RESOLVE_NO_XDEV walks whose first need is a symlink's.
	rooted bool
	slow   bool // a file system was asked: there may be too many dentries now
}

// start sets the walk to its first directory.
func (w *walker) start(at At, path string) abi.Errno {
	var cwd Path
	w.root, cwd = at.FS.Both()
	w.links, w.rooted = 0, w.scoped()
	switch {
	case at.Dir != nil && (path == "" || path[0] != '/' || w.scoped()):
		w.cur = at.Dir.Path
		if w.cur.Dentry == nil {
			return unix.ENOTDIR
		}
	default:
		w.cur = cwd
	}
	if w.scoped() {
		w.root = w.cur
		w.moves = moves.Load()
	}
	w.perm = w.cur.Dentry.inode.Perm()
	return 0
}

func (w *walker) scoped() bool { return w.how&(LookupBeneath|LookupInRoot) != 0 }

// done lets go of what the walk held. It is called without locks.
func (w *walker) done() {
	w.held.DecRef()
	if w.slow && w.cur.Dentry.fs.cache.overfull() {
		w.cur.Dentry.fs.shrink()
	}
}

// retries counts the tries of a walk that met dropped dentries. After a few,
// nothing more is dropped until it is through.
type retries struct{ n int }

const patience = 4

// again tells whether to try once more after e.
func (r *retries) again(e abi.Errno) bool {
	if e == errRetry {
		if r.n++; r.n == patience {
			desperate.Add(1)
		}
		return true
	}
	if r.n >= patience {
		desperate.Add(-1)
	}
	return false
}

// pin makes the walk's place the caller's.
func (w *walker) pin() (Path, abi.Errno) {
	if !w.cur.Dentry.tryPin() {
		return Path{}, errRetry
	}
	w.cur.Mount.refs.Add(1)
	return w.cur, 0
}

// parent walks all of path but its last component, which it leaves in w.last:
// "" if path is "/" alone.
func (w *walker) parent(path string) abi.Errno {
	if path[0] == '/' {
		if e := w.toRoot(); e != 0 {
			return e
		}
	}
	for {
		path = skipSlashes(path)
		if path == "" {
			w.last, w.slash = "", true
			return 0
		}
		name, rest := path, ""
		if i := strings.IndexByte(path, '/'); i >= 0 {
			name, rest = path[:i], path[i:]
		}
		w.ahead = path
		if after := skipSlashes(rest); after == "" {
			w.last, w.slash = name, rest != ""
			return w.search()
		}
		if e := w.step(name, true); e != 0 {
			return e
		}
		path = rest
	}
}

// search checks that the current place is a directory to search.
func (w *walker) search() abi.Errno {
	if w.perm.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	return CheckPerm(w.c.Creds(), w.perm, MayExec)
}

func (w *walker) toRoot() abi.Errno {
	if w.how&LookupBeneath != 0 {
		return unix.EXDEV
	}
	if w.how&LookupNoXDev != 0 && w.links > 0 && (!w.rooted || w.root.Mount != w.cur.Mount) {
		return unix.EXDEV
	}
	w.rooted = true
	w.set(w.root)
	return 0
}

func (w *walker) set(p Path) {
	w.cur = p
	w.perm = p.Dentry.inode.Perm()
}

// step moves on by one component; follow says to follow a symlink there.
func (w *walker) step(name string, follow bool) abi.Errno {
	if e := w.search(); e != 0 {
		return e
	}
	if name[0] == '.' {
		if name == "." {
			return 0
		}
		if name == ".." {
			return w.up()
		}
	}
	d, e := w.lookup(name)
	if e != 0 {
		return e
	}
	if d.inode == nil {
		return unix.ENOENT
	}
	return w.enter(d, follow)
}

// enter moves to d, a child of the current directory.
func (w *walker) enter(d *Dentry, follow bool) abi.Errno {
	next := Path{w.cur.Mount, d}
	if d.mounted.Load() != 0 {
		next = next.descend()
		if next.Mount != w.cur.Mount && w.how&LookupNoXDev != 0 {
			return unix.EXDEV
		}
	}
	perm := next.Dentry.inode.Perm()
	if perm.Mode&unix.S_IFMT == unix.S_IFLNK && follow {
		return w.follow(next)
	}
	w.cur, w.perm = next, perm
	return 0
}

// follow goes where the symlink at link, in the current directory, leads.
func (w *walker) follow(link Path) abi.Errno {
	if w.how&LookupNoSymlinks != 0 || link.Mount.flags.Load()&msNosymfollow != 0 {
		return unix.ELOOP
	}
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	if magic, ok := link.Dentry.inode.(MagicLink); ok {
		return w.jump(magic)
	}
	target, e := link.Dentry.inode.Readlink(w.c)
	if e != 0 {
		return e
	}
	if target == "" {
		return unix.ENOENT
	}
	if e := w.parent(target); e != 0 {
		return e
	}
	return w.final(true)
}

// jump follows a magic link.
func (w *walker) jump(magic MagicLink) abi.Errno {
	if w.how&LookupNoMagic != 0 {
		return unix.ELOOP
	}
	p, e := magic.Target(w.c)
	if e != 0 {
		return e
	}
	w.held.DecRef()
	w.held = p
	if w.scoped() || w.how&LookupNoXDev != 0 && p.Mount != w.cur.Mount {
		return unix.EXDEV
	}
	w.set(p)
	return 0
}

// final takes the step to w.last after parent.
func (w *walker) final(follow bool) abi.Errno {
	name, slash := w.last, w.slash
	if name != "" {
		if e := w.step(name, follow || slash); e != 0 {
			return e
		}
	}
	if slash && w.perm.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	return 0
}

// up is the step to "..".
func (w *walker) up() abi.Errno {
	w.rooted = true
	p := w.cur
	for {
		if p == w.root {
			if w.how&LookupBeneath != 0 {
				return unix.EXDEV
			}
			break
		}
		if p.Dentry != p.Mount.Root {
			parent := p.Dentry.Parent()
			if parent == nil {
				break
			}
			p.Dentry = parent
			break
		}
		at := p.Mount.at.Load()
		if at == nil {
			break
		}
		if w.how&LookupNoXDev != 0 {
			return unix.EXDEV
		}
		p = Path{at.parent, at.dentry}
	}
	if p != w.cur && p.Dentry.mounted.Load() != 0 {
		p = p.descend()
	}
	if w.scoped() && moves.Load() != w.moves {
		return unix.EAGAIN
	}
	w.set(p)
	return 0
}

// lookup finds name in the current directory: perhaps a negative dentry.
func (w *walker) lookup(name string) (*Dentry, abi.Errno) {
	dir := w.cur.Dentry
	dir.mu.RLock()
	d := dir.children[name]
	gone := dir.dead()
	dir.mu.RUnlock()
	if gone {
		return nil, errRetry
	}
	if dir.fs.Volatile && w.how&LookupCached == 0 {
		w.foresee(dir, name)
	}
	if d != nil {
		d.used()
		if !dir.fs.Volatile || dir.inode.(Revalidator).Revalidate(w.c, name, d.inode) {
			return d, 0
		}
	}
	if w.how&LookupCached != 0 {
		return nil, unix.EAGAIN
	}
	return w.lookupSlow(dir, name, d)
}

// foresee tells a Volatile file system what of the path is still to come, where
// name is not all of it.
func (w *walker) foresee(dir *Dentry, name string) {
	f, ok := dir.inode.(Foreseer)
	if !ok {
		return
	}
	path := w.ahead
	for n := len(path); n > 0 && path[n-1] == '/'; n-- {
		path = path[:n-1]
	}
	if w.how&lookupParent != 0 {
		path = path[:max(strings.LastIndexByte(path, '/'), 0)]
	}
	read := w.how&lookupRead != 0
	if !strings.HasPrefix(path, name) || len(path) == len(name) && !read {
		return
	}
	f.Foresee(w.c, path, read)
}

// lookupSlow asks the file system, unless another task has meanwhile. stale is
// a cached dentry found invalid, or nil.
func (w *walker) lookupSlow(dir *Dentry, name string, stale *Dentry) (*Dentry, abi.Errno) {
	w.slow = true
	if len(w.ahead) > len(name)+1 {
		if p, ok := dir.inode.(Prefetcher); ok {
			p.Prefetch(w.ahead)
		}
	}
	dir.mu.Lock()
	defer dir.mu.Unlock()
	return dir.lookupLocked(w.c, name, stale)
}

// lookupLocked finds name with dir.mu held for writing.
func (dir *Dentry) lookupLocked(c Caller, name string, stale *Dentry) (*Dentry, abi.Errno) {
	if !dir.tryPin() {
		return nil, errRetry
	}
	defer dir.unpin()
	if dir.flags.Load()&dentryUnlinked != 0 {
		return nil, unix.ENOENT
	}
	if len(name) > nameMax {
		return nil, unix.ENAMETOOLONG
	}
	if d := dir.children[name]; d != nil {
		if d != stale {
			return d, 0
		}
		delete(dir.children, name)
		d.drop()
	}
	ino, e := dir.inode.Lookup(c, name)
	if e != 0 && e != unix.ENOENT {
		return nil, e
	}
	if e != 0 {
		ino = nil
	}
	return dir.attach(strings.Clone(name), ino), 0
}

// child finds a valid dentry for name with dir.mu held for writing.
func (dir *Dentry) child(c Caller, name string) (*Dentry, abi.Errno) {
	var stale *Dentry
	if d := dir.children[name]; d != nil && dir.fs.Volatile && d.mounted.Load() == 0 &&
		!dir.inode.(Revalidator).Revalidate(c, name, d.inode) {
		stale = d
	}
	return dir.lookupLocked(c, name, stale)
}

func skipSlashes(s string) string {
	for len(s) > 0 && s[0] == '/' {
		s = s[1:]
	}
	return s
}

// Walk resolves path (path_resolution(7)) and gives a pinned Path.
func Walk(c Caller, at At, path string, how Lookup) (Path, abi.Errno) {
	var r retries
	for {
		p, e := walkOnce(c, at, path, how)
		if !r.again(e) {
			return p, e
		}
	}
}

func walkOnce(c Caller, at At, path string, how Lookup) (Path, abi.Errno) {
	if len(path) >= pathMax {
		return Path{}, unix.ENAMETOOLONG
	}
	w := walker{c: c, how: how}
	if path == "" && how&LookupEmpty == 0 {
		return Path{}, unix.ENOENT
	}
	if e := w.start(at, path); e != 0 {
		return Path{}, e
	}
	defer w.done()
	if path != "" {
		if e := w.parent(path); e != 0 {
			return Path{}, e
		}
		if e := w.final(how&LookupFollow != 0); e != 0 {
			return Path{}, e
		}
	}
	if how&LookupDirectory != 0 && w.perm.Mode&unix.S_IFMT != unix.S_IFDIR {
		return Path{}, unix.ENOTDIR
	}
	return w.pin()
}

// walkParent resolves all but the last component of path; done must be called
// whatever comes of it.
func (w *walker) walkParent(at At, path string) abi.Errno {
	if len(path) >= pathMax {
		return unix.ENAMETOOLONG
	}
	if path == "" {
		return unix.ENOENT
	}
	if e := w.start(at, path); e != 0 {
		return e
	}
	w.how |= lookupParent
	return w.parent(path)
}
