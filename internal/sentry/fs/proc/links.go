package proc

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// magic makes a link to the path that find gives, pinned.
func magic(find func(d *taskDir) (vfs.Path, bool)) func(*taskDir, kernfs.Meta) vfs.Inode {
	return func(d *taskDir, n kernfs.Meta) vfs.Inode {
		m := &kernfs.Magic{}
		m.Meta = n
		m.To = func(c vfs.Caller) (vfs.Path, abi.Errno) {
			if !mayTrace(c, d.t) {
				return vfs.Path{}, unix.EACCES
			}
			p, ok := find(d)
			if !ok {
				return vfs.Path{}, unix.ENOENT
			}
			return p, 0
		}
		m.Text = func(c vfs.Caller) (string, abi.Errno) {
			p, e := m.To(c)
			if e != 0 {
				return "", e
			}
			defer p.DecRef()
			return nameFor(c, p), 0
		}
		return m
	}
}

var (
	makeExe = magic(func(d *taskDir) (vfs.Path, bool) { return d.t.Exe() })
	makeCwd = magic(func(d *taskDir) (vfs.Path, bool) { return ofFS(d, (*vfs.FSContext).Cwd) })
	// A root that leads to the task's own directory of names.
	makeRoot = magic(func(d *taskDir) (vfs.Path, bool) { return ofFS(d, (*vfs.FSContext).Root) })
)

func ofFS(d *taskDir, get func(*vfs.FSContext) vfs.Path) (vfs.Path, bool) {
	fs, release := d.t.FS()
	if fs == nil {
		return vfs.Path{}, false
	}
	defer release()
	p := get(fs)
	p.IncRef()
	return p, true
}

// userNS is the id of the user namespace.
const userNS = 4026531837

// namespaces are the links of /proc/PID/ns, whose ids stay the same: a sandbox
// has one of each kind.
var namespaces = []struct {
	name, kind string
	id         uint64
}{
	{"net", "net", 4026531840}, {"uts", "uts", 4026531838}, {"ipc", "ipc", 4026531839}, {"pid", "pid", 4026531836},
	{"pid_for_children", "pid", 4026531836}, {"user", "user", userNS}, {"mnt", "mnt", 4026531841},
	{"cgroup", "cgroup", 4026531835}, {"time", "time", 4026531834}, {"time_for_children", "time", 4026531834},
}

func makeNSDir(d *taskDir, n kernfs.Meta) vfs.Inode {
	dir := &kernfs.Dir{Refusal: unix.ENOENT}
	dir.Meta = n
	dir.Nlink = 2
	for _, ns := range namespaces {
		target := nsTarget(ns.kind, ns.id)
		l := &nsLink{}
		l.Mode, l.Ino, l.Nlink, l.Owner, l.Time = lnk, ns.id|1<<33, 1, n.Owner, n.Time
		l.Text = func(c vfs.Caller) (string, abi.Errno) {
			if !mayTrace(c, d.t) {
				return "", unix.EACCES
			}
			return target, 0
		}
		file := nsFile(target, ns.id)
		l.To = func(c vfs.Caller) (vfs.Path, abi.Errno) {
			if !mayTrace(c, d.t) {
				return vfs.Path{}, unix.EACCES
			}
			file.IncRef()
			return file, 0
		}
		dir.Add(ns.name, l)
	}
	return dir
}

// nsLink leads to the file of a namespace.
type nsLink struct{ kernfs.Magic }
