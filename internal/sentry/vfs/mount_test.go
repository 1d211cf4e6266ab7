package vfs_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/tmpfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs/vfstest"
)

// world is a tmpfs as root, and the superuser's calls on it.
type world struct {
	t  testing.TB
	c  *vfstest.Caller
	ns *vfs.MountNamespace
	fs *vfs.FSContext
}

func newWorld(t testing.TB) *world {
	t.Helper()
	fs, e := tmpfs.New(vfs.Internal, "", 0, "mode=755")
	if e != 0 {
		t.Fatal(e)
	}
	g := vfstest.NewGuest(fs)
	return &world{t, vfstest.NewCaller(vfstest.People[0]), g.NS, g.FS}
}

func (w *world) at() vfs.At { return vfs.At{FS: w.fs} }

// want reports an error number that is not the expected one.
func (w *world) want(what string, got, want abi.Errno) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func (w *world) mkdir(paths ...string) {
	w.t.Helper()
	for _, p := range paths {
		w.want("mkdir "+p, vfs.Mkdir(w.c, w.at(), p, 0755), 0)
	}
}

func (w *world) open(path string, flags uint32) *vfs.FileDescription {
	w.t.Helper()
	fd, e := vfs.Open(w.c, w.at(), path, vfs.OpenHow{Flags: flags, Mode: 0644})
	if e != 0 {
		w.t.Fatalf("open %s: %v", path, e)
	}
	return fd
}

func (w *world) touch(path string) { w.open(path, unix.O_CREAT|unix.O_WRONLY).DecRef() }

func (w *world) mount(source, target, typ string, flags uint64) abi.Errno {
	return vfs.DoMount(w.c, w.fs, source, target, typ, flags, "")
}

func (w *world) exists(path string) bool {
	_, e := vfs.Stat(w.c, w.at(), path, 0)
	return e == 0
}

func TestMountAndUmount(t *testing.T) {
	w := newWorld(t)
	w.mkdir("/m", "/m/below", "/d")
	w.touch("/file")
	w.want("mount of an unknown kind", w.mount("none", "/m", "nofs", 0), unix.ENODEV)
	w.want("mount of a directory on a file", w.mount("none", "/file", "tmpfs", 0), unix.ENOTDIR)
	w.want("mount", w.mount("src", "/m", "tmpfs", unix.MS_NOSUID), 0)
	if w.exists("/m/below") {
		t.Error("the mount does not cover what was there")
	}
	w.touch("/m/x")
	a, _ := vfs.Stat(w.c, w.at(), "/m/..", 0)
	b, _ := vfs.Stat(w.c, w.at(), "/", 0)
	if a.Ino != b.Ino || a.Dev != b.Dev {
		t.Error(`"/m/.." is not "/"`)
	}
	w.want("rmdir of a mount point", vfs.Rmdir(w.c, w.at(), "/m"), unix.EBUSY)
	w.want("rename of a mount point", vfs.Rename(w.c, w.at(), "/m", w.at(), "/d/m", 0), unix.EBUSY)
	w.want("rename out of a mount", vfs.Rename(w.c, w.at(), "/m/x", w.at(), "/x", 0), unix.EXDEV)
	w.want("link out of a mount", vfs.Link(w.c, w.at(), "/m/x", w.at(), "/x", 0), unix.EXDEV)
	_, e := vfs.Open(w.c, w.at(), "/m/x", vfs.OpenHow{Resolve: unix.RESOLVE_NO_XDEV})
	w.want("RESOLVE_NO_XDEV", e, unix.EXDEV)
	fd := w.open("/m/x", unix.O_RDONLY)
	w.want("umount of a busy mount", vfs.DoUmount(w.c, w.fs, "/m", 0), unix.EBUSY)
	if name, ok := vfs.PathName(w.fs.Root(), fd.Path); name != "/m/x" || !ok {
		t.Errorf("name of an open file: %q %v", name, ok)
	}
	w.want("umount of no mount", vfs.DoUmount(w.c, w.fs, "/d", 0), unix.EINVAL)
	w.want("lazy umount", vfs.DoUmount(w.c, w.fs, "/m", unix.MNT_DETACH), 0)
	if !w.exists("/m/below") {
		t.Error("what was covered is not seen again")
	}
	n, e := fd.Pread(w.c, make([]byte, 1), 0)
	w.want("read after a lazy umount", e, 0)
	if n != 0 {
		t.Errorf("read %d bytes of an empty file", n)
	}
	fd.DecRef()
	user := vfstest.NewCaller(vfstest.People[1])
	user.Cr.Effective = 0
	w.want("mount by a user", vfs.DoMount(user, w.fs, "x", "/m", "tmpfs", 0, ""), unix.EPERM)
}

func TestReadonlyMounts(t *testing.T) {
	w := newWorld(t)
	w.mkdir("/m", "/b")
	w.want("mount", w.mount("none", "/m", "tmpfs", 0), 0)
	w.touch("/m/x")
	w.want("bind", w.mount("/m", "/b", "", unix.MS_BIND), 0)
	w.want("remount of the bind", w.mount("", "/b", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY), 0)
	_, e := vfs.Open(w.c, w.at(), "/b/x", vfs.OpenHow{Flags: unix.O_WRONLY})
	w.want("write through the read-only bind", e, unix.EROFS)
	w.want("mkdir there", vfs.Mkdir(w.c, w.at(), "/b/d", 0755), unix.EROFS)
	w.want("mkdir of what exists", vfs.Mkdir(w.c, w.at(), "/b/x", 0755), unix.EEXIST)
	w.want("unlink there", vfs.Unlink(w.c, w.at(), "/b/x"), unix.EROFS)
	fd := w.open("/m/x", unix.O_WRONLY)
	w.want("remount of a mount with a writer", w.mount("", "/m", "", unix.MS_REMOUNT|unix.MS_RDONLY), unix.EBUSY)
	fd.DecRef()
	w.want("remount", w.mount("", "/m", "", unix.MS_REMOUNT|unix.MS_RDONLY), 0)
	w.want("mkdir on a read-only file system", vfs.Mkdir(w.c, w.at(), "/m/d", 0755), unix.EROFS)
}

func TestBindAndMove(t *testing.T) {
	w := newWorld(t)
	w.mkdir("/a", "/a/sub", "/b", "/c", "/d")
	w.want("mount", w.mount("none", "/a/sub", "tmpfs", 0), 0)
	w.touch("/a/sub/x")
	w.want("bind", w.mount("/a", "/b", "", unix.MS_BIND), 0)
	if w.exists("/b/sub/x") {
		t.Error("a plain bind took the mounts below along")
	}
	w.want("recursive bind", w.mount("/a", "/c", "", unix.MS_BIND|unix.MS_REC), 0)
	if !w.exists("/c/sub/x") {
		t.Error("a recursive bind left the mounts below out")
	}
	w.want("move below itself", w.mount("/c", "/c/sub", "", unix.MS_MOVE), unix.ELOOP)
	w.want("move of no mount", w.mount("/d", "/b", "", unix.MS_MOVE), unix.EINVAL)
	w.want("move", w.mount("/c", "/d", "", unix.MS_MOVE), 0)
	if w.exists("/c/sub") || !w.exists("/d/sub/x") {
		t.Error("the mount did not move as a whole")
	}
	var points []string
	for _, m := range w.ns.GetMountInfo(w.fs.Root()) {
		points = append(points, m.Point+"="+m.Root)
	}
	if got := strings.Join(points, " "); got != "/=/ /a/sub=/ /b=/a /d/sub=/ /d=/a" {
		t.Errorf("mounts: %s", got)
	}
}

func TestPivotRoot(t *testing.T) {
	w := newWorld(t)
	w.mkdir("/new")
	w.want("mount", w.mount("none", "/new", "tmpfs", 0), 0)
	w.mkdir("/new/old")
	each := func(f func(*vfs.FSContext)) { f(w.fs) }
	w.want("pivot_root to no mount", vfs.PivotRoot(w.c, w.fs, "/new/old", "/new/old", each), unix.EINVAL)
	w.want("pivot_root", vfs.PivotRoot(w.c, w.fs, "/new", "/new/old", each), 0)
	if !w.exists("/old/new") || w.exists("/new") {
		t.Error("the old root is not at /old")
	}
	if cwd, e := vfs.Getcwd(w.fs); cwd != "/" || e != 0 {
		t.Errorf("working directory: %q %v", cwd, e)
	}
	w.want("umount of the old root", vfs.DoUmount(w.c, w.fs, "/old", unix.MNT_DETACH), 0)
}

func TestChrootAndNames(t *testing.T) {
	w := newWorld(t)
	w.mkdir("/jail", "/jail/in", "/out")
	w.want("chdir", vfs.Chdir(w.c, w.fs, "/out"), 0)
	w.want("chroot", vfs.Chroot(w.c, w.fs, "/jail"), 0)
	if cwd, e := vfs.Getcwd(w.fs); cwd != "(unreachable)/out" || e != 0 {
		t.Errorf("working directory outside the root: %q %v", cwd, e)
	}
	if w.exists("/out") || !w.exists("/../in") {
		t.Error("the root is not the root")
	}
	fd := w.open("/in/f", unix.O_CREAT|unix.O_RDWR)
	w.want("unlink", vfs.Unlink(w.c, w.at(), "/in/f"), 0)
	if name, _ := vfs.PathName(w.fs.Root(), fd.Path); name != "/in/f (deleted)" {
		t.Errorf("name of a deleted file: %q", name)
	}
	w.want("link of a deleted file", vfs.Link(w.c, vfs.At{FS: w.fs, Dir: fd}, "", w.at(), "/in/g", unix.AT_EMPTY_PATH), unix.ENOENT)
	fd.DecRef()
	w.want("chdir", vfs.Chdir(w.c, w.fs, "/in"), 0)
	w.want("rmdir", vfs.Rmdir(w.c, w.at(), "/in"), 0)
	_, e := vfs.Getcwd(w.fs)
	w.want("getcwd of a removed directory", e, unix.ENOENT)
	w.want("create in it", vfs.Mkdir(w.c, w.at(), "x", 0755), unix.ENOENT)
}

func TestTextBusy(t *testing.T) {
	w := newWorld(t)
	w.open("/prog", unix.O_CREAT|unix.O_WRONLY).DecRef()
	p, _ := vfs.Walk(w.c, w.at(), "/prog", 0)
	defer p.DecRef()
	vfs.Chmod(w.c, p, 0755)
	fd, e := vfs.OpenExec(w.c, w.at(), "/prog", vfs.LookupFollow)
	w.want("exec", e, 0)
	_, e = vfs.Open(w.c, w.at(), "/prog", vfs.OpenHow{Flags: unix.O_WRONLY})
	w.want("write to a running program", e, unix.ETXTBSY)
	w.want("truncate it", vfs.Truncate(w.c, p, 0), unix.ETXTBSY)
	fd.DecRef()
	wr := w.open("/prog", unix.O_WRONLY)
	_, e = vfs.OpenExec(w.c, w.at(), "/prog", vfs.LookupFollow)
	w.want("exec of a file being written", e, unix.ETXTBSY)
	wr.DecRef()
}
