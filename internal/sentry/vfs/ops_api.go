package vfs

import (
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
)

// Walk resolves path (path_resolution(7)) and gives a pinned Path.
func Walk(c Caller, at At, path string, how Lookup) (Path, abi.Errno) { return Path{}, unix.ENOSYS }

// OpenHow is openat2(2)'s struct open_how; Resolve are RESOLVE_* bits.
type OpenHow struct {
	Flags   uint32 // O_*
	Mode    uint32
	Resolve uint64
}

// Open opens, and perhaps creates, a file; open's flags have been checked by
// the caller only for openat2's stricter rules. The result has one reference.
func Open(c Caller, at At, path string, how OpenHow) (*FileDescription, abi.Errno) {
	return nil, unix.ENOSYS
}

// OpenPath opens what is at p, checking permissions: for exec, and for files
// that exist. Flags as open(2)'s, without O_CREAT.
func OpenPath(c Caller, p Path, flags uint32) (*FileDescription, abi.Errno) {
	return nil, unix.ENOSYS
}

// OpenExec opens a program: regular file, execute permission, no MS_NOEXEC
// (EACCES); writers are kept out (ETXTBSY) until the description goes.
func OpenExec(c Caller, at At, path string, how Lookup) (*FileDescription, abi.Errno) {
	return nil, unix.ENOSYS
}

// Stat is fstatat's and statx's.
func Stat(c Caller, at At, path string, how Lookup) (Attr, abi.Errno) { return Attr{}, unix.ENOSYS }

// Stat gives the attributes of what is at p, Dev filled in.
func (p Path) Stat(c Caller) (Attr, abi.Errno) { return Attr{}, unix.ENOSYS }

// Statfs gives the file system's figures; flags as f_flags are the mount's.
func (p Path) Statfs(c Caller) (Statfs, abi.Errno) { return Statfs{}, unix.ENOSYS }

// Chmod, Chown, Utimens and Truncate change attributes; fd variants pass
// fd.Path. uid and gid of ^0 are left alone.
func Chmod(c Caller, p Path, mode uint32) abi.Errno     { return unix.ENOSYS }
func Chown(c Caller, p Path, uid, gid uint32) abi.Errno { return unix.ENOSYS }

// TimeSpec is one of utimensat's two times.
type TimeSpec struct {
	Omit, Now bool
	Time      Time
}

// Utimens sets the times; both Now, as with a nil pointer, needs only write permission.
func Utimens(c Caller, p Path, atime, mtime TimeSpec) abi.Errno { return unix.ENOSYS }

// Truncate is truncate(2): write permission is checked.
func Truncate(c Caller, p Path, size int64) abi.Errno { return unix.ENOSYS }

// Truncate is ftruncate(2).
func (fd *FileDescription) Truncate(c Caller, size int64) abi.Errno { return unix.ENOSYS }

// Mkdir, Mknod, Symlink, Link, Unlink, Rmdir and Rename are the calls of the
// same names, umask, permissions and events included.
func Mkdir(c Caller, at At, path string, mode uint32) abi.Errno { return unix.ENOSYS }
func Mknod(c Caller, at At, path string, mode uint32, rdev uint64) abi.Errno {
	return unix.ENOSYS
}
func Symlink(c Caller, target string, at At, path string) abi.Errno { return unix.ENOSYS }

// Link is linkat(2); flags are AT_SYMLINK_FOLLOW and AT_EMPTY_PATH.
func Link(c Caller, oldAt At, oldPath string, newAt At, newPath string, flags uint32) abi.Errno {
	return unix.ENOSYS
}
func Unlink(c Caller, at At, path string) abi.Errno { return unix.ENOSYS }
func Rmdir(c Caller, at At, path string) abi.Errno  { return unix.ENOSYS }

// Rename is renameat2(2).
func Rename(c Caller, oldAt At, oldPath string, newAt At, newPath string, flags uint32) abi.Errno {
	return unix.ENOSYS
}

// BindSocket makes a socket file whose Special is sock (bind(2) of a path);
// EADDRINUSE if the name exists. The Path is pinned.
func BindSocket(c Caller, at At, path string, mode uint32, sock any) (Path, abi.Errno) {
	return Path{}, unix.ENOSYS
}

// LookupSocket finds what is bound to a path (connect(2)): write permission is
// checked; ECONNREFUSED if it is no socket, or nothing is bound.
func LookupSocket(c Caller, at At, path string) (any, Path, abi.Errno) {
	return nil, Path{}, unix.ENOSYS
}

// Readlink is readlinkat(2).
func Readlink(c Caller, at At, path string) (string, abi.Errno) { return "", unix.ENOSYS }

// Access is faccessat2(2): mode is R_OK|W_OK|X_OK; flags AT_EACCESS,
// AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH.
func Access(c Caller, at At, path string, mode, flags uint32) abi.Errno { return unix.ENOSYS }

// Permission checks mask (FMODE_READ|FMODE_WRITE|FMODE_EXEC as MAY_*) for the
// caller's file-system ids.
func (p Path) Permission(c Caller, mask uint32) abi.Errno { return unix.ENOSYS }

// Chdir, Fchdir and Chroot are the calls of the same names.
func Chdir(c Caller, fs *FSContext, path string) abi.Errno { return unix.ENOSYS }
func Fchdir(c Caller, fs *FSContext, fd *FileDescription) abi.Errno {
	return unix.ENOSYS
}
func Chroot(c Caller, fs *FSContext, path string) abi.Errno { return unix.ENOSYS }

// PathName gives p's name relative to root as /proc/self/fd shows it: with
// " (deleted)" for a name that is gone; reachable is false if root does not
// lead to it.
func PathName(root, p Path) (name string, reachable bool) { return "", false }

// Getcwd is getcwd(2)'s string: "(unreachable)…" included, ENOENT if deleted.
func Getcwd(fs *FSContext) (string, abi.Errno) { return "", unix.ENOSYS }

// GetXattr, SetXattr, ListXattr and RemoveXattr check the rules of their
// namespaces (xattr(7)).
func GetXattr(c Caller, p Path, name string) ([]byte, abi.Errno) { return nil, unix.ENOSYS }
func SetXattr(c Caller, p Path, name string, value []byte, flags int) abi.Errno {
	return unix.ENOSYS
}
func ListXattr(c Caller, p Path) ([]string, abi.Errno)    { return nil, unix.ENOSYS }
func RemoveXattr(c Caller, p Path, name string) abi.Errno { return unix.ENOSYS }
