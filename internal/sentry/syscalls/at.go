package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

// atPath is a path as an *at call is given it: where it starts, and the name.
// The name is valid during the call only.
type atPath struct {
	vfs.At
	name string
}

// cwdPath copies a path that starts at the working directory.
func cwdPath(t *kernel.Task, addr uint64) (atPath, abi.Errno) {
	name, e := t.CopyInString(addr, pathMax)
	return atPath{At: vfs.At{FS: t.FS()}, name: name}, e
}

// pathAt copies the path of an *at call. A descriptor that the name does not
// need is not looked at. put gives the descriptor back.
func pathAt(t *kernel.Task, dirfd int32, addr uint64) (atPath, abi.Errno) {
	p, e := cwdPath(t, addr)
	if e != 0 || dirfd == unix.AT_FDCWD || len(p.name) > 0 && p.name[0] == '/' {
		return p, e
	}
	p.Dir, e = t.FDs().Get(dirfd)
	return p, e
}

// pathAtOrNull is pathAt for calls where a null path with AT_EMPTY_PATH is the
// descriptor itself.
func pathAtOrNull(t *kernel.Task, dirfd int32, addr uint64, flags uint32) (atPath, abi.Errno) {
	if addr != 0 || flags&unix.AT_EMPTY_PATH == 0 {
		return pathAt(t, dirfd, addr)
	}
	p := atPath{At: vfs.At{FS: t.FS()}}
	if dirfd == unix.AT_FDCWD {
		return p, 0
	}
	var e abi.Errno
	p.Dir, e = t.FDs().Get(dirfd)
	return p, e
}

func (p *atPath) put() {
	if p.Dir != nil {
		p.Dir.DecRef()
	}
}

// walk resolves the path and pins it.
func (p *atPath) walk(t *kernel.Task, how vfs.Lookup) (vfs.Path, abi.Errno) {
	return vfs.Walk(t, p.At, p.name, how)
}

// lookupFor turns AT_* flags into ways of walking; follow says what is done
// without AT_SYMLINK_NOFOLLOW and AT_SYMLINK_FOLLOW.
func lookupFor(flags uint32, follow bool) vfs.Lookup {
	var how vfs.Lookup
	if follow && flags&unix.AT_SYMLINK_NOFOLLOW == 0 || flags&unix.AT_SYMLINK_FOLLOW != 0 {
		how |= vfs.LookupFollow
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		how |= vfs.LookupEmpty
	}
	return how
}

// withPath resolves a path from the working directory for f.
func withPath(t *kernel.Task, addr uint64, how vfs.Lookup, f func(vfs.Path) abi.Errno) (uint64, abi.Errno) {
	return withPathAt(t, unix.AT_FDCWD, addr, how, f)
}

// withPathAt resolves a path for f.
func withPathAt(t *kernel.Task, dirfd int32, addr uint64, how vfs.Lookup, f func(vfs.Path) abi.Errno) (uint64, abi.Errno) {
	p, e := pathAt(t, dirfd, addr)
	if e != 0 {
		return 0, e
	}
	defer p.put()
	path, e := p.walk(t, how)
	if e != 0 {
		return 0, e
	}
	defer path.DecRef()
	return 0, f(path)
}

// withFD gets a description for f; O_PATH ones are refused.
func withFD(t *kernel.Task, num int32, f func(*vfs.FileDescription) abi.Errno) (uint64, abi.Errno) {
	fd, e := t.FDs().GetFile(num)
	if e != 0 {
		return 0, e
	}
	defer fd.DecRef()
	return 0, f(fd)
}

// noFile is RLIMIT_NOFILE.
func noFile(t *kernel.Task) uint64 { return t.ThreadGroup().LimitCur(kernel.RLIMIT_NOFILE) }

// install gives a new description its lowest descriptor; it is released if
// there is none.
func install(t *kernel.Task, fd *vfs.FileDescription, cloexec bool) (uint64, abi.Errno) {
	num, e := t.FDs().Install(fd, 0, cloexec, noFile(t))
	if e != 0 {
		fd.DecRef()
		if e == unix.EINVAL { // a limit of 0
			e = unix.EMFILE
		}
		return 0, e
	}
	return uint64(num), 0
}
