package proc

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// taskDir is /proc/PID or /proc/PID/task/TID.
type taskDir struct {
	kernfs.Dir
	i      *instance
	t      inspect.Task
	thread bool
}

// taskIno numbers the inodes of a task: its directory is 0, the entries follow.
func taskIno(tid int32, thread bool, entry int) uint64 {
	n := 1<<32 | uint64(tid)<<8 | uint64(entry)
	if thread {
		n |= 1 << 63
	}
	return n
}

// who are those that an entry is for.
type who int

const (
	both who = iota
	processes
	threads
)

// entry is one name in a task's directory.
type entry struct {
	name string
	mode uint32 // with its type
	who  who
	make func(d *taskDir, n kernfs.Meta) vfs.Inode
}

// text makes a file from what read writes.
func text(read func(d *taskDir, b *bytes.Buffer) abi.Errno) func(*taskDir, kernfs.Meta) vfs.Inode {
	return func(d *taskDir, n kernfs.Meta) vfs.Inode {
		f := &kernfs.File{Read: func(_ vfs.Caller, b *bytes.Buffer) abi.Errno {
			if !d.t.Alive() {
				return unix.ESRCH
			}
			return read(d, b)
		}}
		f.Meta = n
		return f
	}
}

// guarded is text for what only those may read who may trace the process. The
// check is made on open, and again on reading.
func guarded(read func(d *taskDir, b *bytes.Buffer) abi.Errno) func(*taskDir, kernfs.Meta) vfs.Inode {
	return func(d *taskDir, n kernfs.Meta) vfs.Inode {
		f := text(read)(d, n).(*kernfs.File)
		plain := f.Read
		f.Check = func(c vfs.Caller, _ *vfs.FileDescription) abi.Errno {
			if !mayTrace(c, d.t) {
				return unix.EACCES
			}
			return 0
		}
		f.Read = func(c vfs.Caller, b *bytes.Buffer) abi.Errno {
			if !mayTrace(c, d.t) {
				return unix.EACCES
			}
			return plain(c, b)
		}
		return f
	}
}

// writable adds a write operation.
func writable(mk func(*taskDir, kernfs.Meta) vfs.Inode, write func(d *taskDir, c vfs.Caller, data []byte) abi.Errno) func(*taskDir, kernfs.Meta) vfs.Inode {
	return func(d *taskDir, n kernfs.Meta) vfs.Inode {
		f := mk(d, n).(*kernfs.File)
		f.Write = func(c vfs.Caller, data []byte) abi.Errno {
			if !d.t.Alive() {
				return unix.ESRCH
			}
			return write(d, c, data)
		}
		return f
	}
}

const (
	reg = unix.S_IFREG
	dir = unix.S_IFDIR
	lnk = unix.S_IFLNK | 0777
)

var entries []entry
var entryIndex map[string]int

func init() {
	entries = taskEntries()
	entryIndex = make(map[string]int, len(entries))
	for k, e := range entries {
		entryIndex[e.name] = k
	}
}

func (i *instance) newTaskDir(t inspect.Task, thread bool) *taskDir {
	d := &taskDir{i: i, t: t, thread: thread}
	d.Mode, d.Ino, d.Nlink = unix.S_IFDIR|0555, taskIno(t.TID(), thread, 0), 9
	d.Owner = func() (uint32, uint32) { return owner(t, true) }
	d.Time = vfs.Now()
	d.Dynamic = taskList{d}
	d.Refusal = unix.ENOENT
	d.MayRead = func(c vfs.Caller) abi.Errno { return d.allowed(c) }
	return d
}

// owner gives the owner of a task's files: root's, unless it may be dumped or
// the entry is for all to see.
func owner(t inspect.Task, open bool) (uid, gid uint32) {
	if !open && !t.Dumpable() {
		return 0, 0
	}
	c := t.Creds()
	return c.EUID, c.EGID
}

// allowed is hidepid=1's part: others' directories cannot be entered.
func (d *taskDir) allowed(c vfs.Caller) abi.Errno {
	o := d.i.options()
	if o.hidePID == 1 && !d.i.sees(c, d.t, &o) {
		return unix.EPERM
	}
	return 0
}

// meta makes entry k's attributes.
func (d *taskDir) meta(k int) kernfs.Meta {
	e := &entries[k]
	t := d.t
	n := kernfs.Meta{Mode: e.mode, Ino: taskIno(t.TID(), d.thread, k+1), Nlink: 1, Time: d.Time}
	open := e.mode == dir|0555
	n.Owner = func() (uint32, uint32) { return owner(t, open) }
	return n
}

func (d *taskDir) has(k int) bool {
	switch entries[k].who {
	case processes:
		return !d.thread
	case threads:
		return d.thread
	}
	return true
}

// taskList are the entries of a task's directory, made on lookup.
type taskList struct{ d *taskDir }

func (l taskList) Lookup(c vfs.Caller, name string) (vfs.Inode, abi.Errno) {
	k, ok := entryIndex[name]
	if !ok || !l.d.has(k) || !l.d.t.Alive() {
		return nil, unix.ENOENT
	}
	if e := l.d.allowed(c); e != 0 {
		return nil, e
	}
	return entries[k].make(l.d, l.d.meta(k)), 0
}

func (l taskList) Valid(c vfs.Caller, name string, child vfs.Inode) bool {
	if child == nil {
		return false
	}
	return l.d.t.Alive() && l.d.allowed(c) == 0
}

func (l taskList) List(_ vfs.Caller, after int64, emit func(kernfs.Entry) bool) abi.Errno {
	if !l.d.t.Alive() {
		return unix.ENOENT
	}
	for k := int(after); k < len(entries); k++ {
		if !l.d.has(k) {
			continue
		}
		e := kernfs.Entry{Name: entries[k].name, Key: int64(k) + 1, Ino: taskIno(l.d.t.TID(), l.d.thread, k+1), Type: kernfs.DType(entries[k].mode)}
		if !emit(e) {
			break
		}
	}
	return 0
}

// threadList is /proc/PID/task.
type threadList struct{ d *taskDir }

func makeThreadList(d *taskDir, n kernfs.Meta) vfs.Inode {
	dir := &kernfs.Dir{Refusal: unix.ENOENT, Dynamic: threadList{d}}
	dir.Meta = n
	dir.Nlink = uint32(2 + len(d.t.Threads()))
	return dir
}

func (l threadList) find(name string) inspect.Task {
	id, ok := parseID(name)
	if !ok {
		return nil
	}
	t := l.d.i.p.view.Task(id)
	if t == nil || t.PID() != l.d.t.PID() {
		return nil
	}
	return t
}

func (l threadList) Lookup(_ vfs.Caller, name string) (vfs.Inode, abi.Errno) {
	t := l.find(name)
	if t == nil {
		return nil, unix.ENOENT
	}
	return l.d.i.newTaskDir(t, true), 0
}

func (l threadList) Valid(_ vfs.Caller, name string, child vfs.Inode) bool {
	t := l.find(name)
	d, ok := child.(*taskDir)
	if !ok {
		return t == nil
	}
	return t == d.t
}

func (l threadList) List(_ vfs.Caller, after int64, emit func(kernfs.Entry) bool) abi.Errno {
	for _, tid := range l.d.t.Threads() {
		if int64(tid) <= after {
			continue
		}
		if !emit(kernfs.Entry{Name: strconv.Itoa(int(tid)), Key: int64(tid), Ino: taskIno(tid, true, 0), Type: unix.DT_DIR}) {
			break
		}
	}
	return 0
}
