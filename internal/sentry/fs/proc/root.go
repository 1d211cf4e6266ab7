package proc

import (
	"strconv"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// topFile is a file, directory or link of the root, made anew for each
// instance by nobody: they are shared.
type topFile struct {
	name string
	ino  vfs.Inode
}

// newDir makes a fixed directory. Making a name in /proc fails already in
// looking for it.
func newDir() *kernfs.Dir {
	d := kernfs.NewDir()
	d.Refusal = unix.ENOENT
	return d
}

// newRoot makes an instance's root directory.
func (i *instance) newRoot() *kernfs.Dir {
	root := newDir()
	root.Ino = 1
	root.Dynamic = pidList{i}
	root.Fill = func(root *kernfs.Dir) {
		if i.opt.subset {
			root.Add("self", selfLink())
			root.Add("thread-self", threadSelfLink())
			return
		}
		for _, f := range i.p.top() {
			root.Add(f.name, f.ino)
		}
	}
	return root
}

// threader is a caller that is a thread.
type threader interface{ TID() int32 }

func selfLink() vfs.Inode {
	return kernfs.NewDynamicLink(func(c vfs.Caller) (string, abi.Errno) {
		if c.TGID() <= 0 {
			return "", unix.ENOENT
		}
		return strconv.Itoa(int(c.TGID())), 0
	})
}

func threadSelfLink() vfs.Inode {
	return kernfs.NewDynamicLink(func(c vfs.Caller) (string, abi.Errno) {
		t, ok := c.(threader)
		if !ok {
			return "", unix.ENOENT
		}
		return strconv.Itoa(int(c.TGID())) + "/task/" + strconv.Itoa(int(t.TID())), 0
	})
}

// pidList are the root's directories of processes.
type pidList struct{ i *instance }

// parseID reads an id as the kernel writes it.
func parseID(name string) (int32, bool) {
	n, err := strconv.ParseInt(name, 10, 32)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != name {
		return 0, false
	}
	return int32(n), true
}

// Lookup finds a process by the id of any of its threads, as Linux does.
func (l pidList) Lookup(c vfs.Caller, name string) (vfs.Inode, abi.Errno) {
	t := l.find(c, name)
	if t == nil {
		return nil, unix.ENOENT
	}
	return l.i.newTaskDir(t, false), 0
}

func (l pidList) find(c vfs.Caller, name string) inspect.Task {
	id, ok := parseID(name)
	if !ok {
		return nil
	}
	t := l.i.p.view.Task(id)
	if t == nil || !l.i.visible(c, t) {
		return nil
	}
	return t
}

func (l pidList) Valid(c vfs.Caller, name string, child vfs.Inode) bool {
	t := l.find(c, name)
	d, ok := child.(*taskDir)
	if !ok {
		return t == nil
	}
	return t == d.t
}

func (l pidList) List(c vfs.Caller, after int64, emit func(kernfs.Entry) bool) abi.Errno {
	for _, pid := range l.i.p.view.PIDs(int32(min(after, 1<<30))) {
		if l.i.options().hidePID >= 2 {
			if t := l.i.p.view.Task(pid); t == nil || !l.i.visible(c, t) {
				continue
			}
		}
		if !emit(kernfs.Entry{Name: strconv.Itoa(int(pid)), Key: int64(pid), Ino: taskIno(pid, false, 0), Type: unix.DT_DIR}) {
			break
		}
	}
	return 0
}
