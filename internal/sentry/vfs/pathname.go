package vfs

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// PathName gives p's name relative to root as /proc/self/fd shows it: with
// " (deleted)" for a name that is gone; reachable is false if root does not
// lead to it, and the name then ends at the mount it is cut off at.
func PathName(root, p Path) (name string, reachable bool) {
	if d := p.Dentry; d.flags.Load()&dentryLoose != 0 && d.Parent() == nil {
		return d.Name(), true
	}
	for {
		before := moves.Load()
		name, reachable = pathName(root, p)
		if moves.Load() == before {
			break
		}
	}
	if p.Dentry.flags.Load()&dentryUnlinked != 0 {
		name += " (deleted)"
	}
	return name, reachable
}

func pathName(root, p Path) (string, bool) {
	buf := make([]byte, 512)
	at := len(buf)
	reachable := true
	for p != root {
		if p.Dentry == p.Mount.Root || p.Dentry.Parent() == nil {
			mp := p.Mount.at.Load()
			if mp == nil || p.Dentry != p.Mount.Root {
				reachable = p.Mount.ns.Load() != nil && root == (Path{})
				break
			}
			p = Path{mp.parent, mp.dentry}
			continue
		}
		loc := p.Dentry.loc.Load()
		need := len(loc.name) + 1
		if need > at {
			grown := make([]byte, 2*len(buf)+need)
			n := copy(grown[len(grown)-(len(buf)-at):], buf[at:])
			buf, at = grown, len(grown)-n
		}
		at -= need
		buf[at] = '/'
		copy(buf[at+1:], loc.name)
		p.Dentry = loc.parent
	}
	if at == len(buf) {
		return "/", reachable
	}
	return string(buf[at:]), reachable
}

// Getcwd is getcwd(2)'s string: "(unreachable)…" included, ENOENT if deleted.
func Getcwd(fs *FSContext) (string, abi.Errno) {
	root, cwd := fs.Both()
	if cwd.Dentry.flags.Load()&dentryUnlinked != 0 {
		return "", unix.ENOENT
	}
	name, reachable := PathName(root, cwd)
	if !reachable {
		name = "(unreachable)" + name
	}
	return name, 0
}

// Chdir is chdir(2).
func Chdir(c Caller, fs *FSContext, path string) abi.Errno {
	p, e := Walk(c, At{FS: fs}, path, LookupFollow|LookupDirectory)
	if e != 0 {
		return e
	}
	defer p.DecRef()
	if e := p.Permission(c, MayExec); e != 0 {
		return e
	}
	fs.SetCwd(p)
	return 0
}

// Fchdir is fchdir(2).
func Fchdir(c Caller, fs *FSContext, fd *FileDescription) abi.Errno {
	if fd.Path.Dentry == nil || !isDir(fd.Inode()) {
		return unix.ENOTDIR
	}
	if e := fd.Path.Permission(c, MayExec); e != 0 {
		return e
	}
	fs.SetCwd(fd.Path)
	return 0
}
