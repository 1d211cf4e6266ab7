package vfs

import (
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

var fsTypes struct {
	sync.Mutex
	list []*FSType
}

// RegisterFilesystem makes a kind known to mount(2); a later one of the same
// name takes the place of the earlier.
func RegisterFilesystem(t *FSType) {
	fsTypes.Lock()
	defer fsTypes.Unlock()
	for i, old := range fsTypes.list {
		if old.Name == t.Name {
			fsTypes.list[i] = t
			return
		}
	}
	fsTypes.list = append(fsTypes.list, t)
}

// FilesystemTypes lists the kinds, in order of registration.
func FilesystemTypes() []*FSType {
	fsTypes.Lock()
	defer fsTypes.Unlock()
	return append([]*FSType(nil), fsTypes.list...)
}

func fsType(name string) *FSType {
	for _, t := range FilesystemTypes() {
		if t.Name == name {
			return t
		}
	}
	return nil
}

const propagation = unix.MS_SHARED | unix.MS_SLAVE | unix.MS_PRIVATE | unix.MS_UNBINDABLE

// DoMount is mount(2), permissions included.
func DoMount(c Caller, fs *FSContext, source, target, fstype string, flags uint64, data string) abi.Errno {
	const magic = 0xC0ED0000
	if flags&0xffff0000 == magic {
		flags &^= 0xffff0000
	}
	at := At{FS: fs}
	p, e := Walk(c, at, target, LookupFollow)
	if e != 0 {
		return e
	}
	defer p.DecRef()
	if !c.Creds().Capable(auth.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	ns := p.Namespace()
	if ns == nil {
		return unix.EINVAL
	}
	switch {
	case flags&(unix.MS_REMOUNT|unix.MS_BIND) == unix.MS_REMOUNT|unix.MS_BIND:
		return ns.remountBind(p, flags)
	case flags&unix.MS_REMOUNT != 0:
		return ns.remount(c, p, flags, data)
	case flags&unix.MS_BIND != 0:
		return ns.bind(c, at, source, p, flags)
	case flags&propagation != 0:
		return ns.SetPropagation(p, flags)
	case flags&unix.MS_MOVE != 0:
		return ns.move(c, at, source, p)
	}
	return ns.mountNew(c, p, source, fstype, flags, data)
}

func (ns *MountNamespace) mountNew(c Caller, p Path, source, fstype string, flags uint64, data string) abi.Errno {
	if fstype == "" {
		return unix.EINVAL
	}
	t := fsType(fstype)
	if t == nil {
		return unix.ENODEV
	}
	n, e := t.New(c, source, flags, strings.Clone(data))
	if e != 0 {
		return e
	}
	if flags&unix.MS_RDONLY != 0 && n.mounts.Load() == 0 {
		n.ReadOnly.Store(true)
	}
	if source == "" {
		source = "none"
	}
	_, e = ns.MountAt(p, n, strings.Clone(source), flags)
	return e
}

func (ns *MountNamespace) bind(c Caller, at At, source string, p Path, flags uint64) abi.Errno {
	if source == "" {
		return unix.EINVAL
	}
	src, e := Walk(c, at, source, LookupFollow)
	if e != 0 {
		return e
	}
	defer src.DecRef()
	if src.Namespace() != ns {
		return unix.EINVAL
	}
	_, e = ns.BindAt(src, p, 0, flags&unix.MS_REC != 0)
	return e
}

func (ns *MountNamespace) move(c Caller, at At, source string, p Path) abi.Errno {
	if source == "" {
		return unix.EINVAL
	}
	src, e := Walk(c, at, source, LookupFollow)
	if e != 0 {
		return e
	}
	defer src.DecRef()
	m := src.Mount
	if src.Dentry != m.Root || m.at.Load() == nil || m.ns.Load() != ns {
		return unix.EINVAL
	}
	if isDir(src.Inode()) != isDir(p.Inode()) {
		return unix.EINVAL
	}
	ns.mu.Lock()
	dst := p.descend()
	for up := dst.Mount; up != nil; {
		if up == m {
			ns.mu.Unlock()
			return unix.ELOOP
		}
		mp := up.at.Load()
		if mp == nil {
			break
		}
		up = mp.parent
	}
	if m.at.Load().parent.peer != 0 {
		ns.mu.Unlock()
		return unix.EINVAL // it would have to go from the peers too
	}
	n := 0
	m.each(true, func(*Mount) { n++ })
	if !ns.room(dst.Mount, n, 0) {
		ns.mu.Unlock()
		return unix.ENOSPC
	}
	ns.unhook(m)
	ns.attach(m, dst)
	ns.propagate(m)
	ns.mu.Unlock()
	ns.changed()
	return 0
}

// remountBind changes one mount's own flags.
func (ns *MountNamespace) remountBind(p Path, flags uint64) abi.Errno {
	if p.Dentry != p.Mount.Root {
		return unix.EINVAL
	}
	return p.Mount.setFlags(mountFlags(flags))
}

func (m *Mount) setFlags(flags uint64) abi.Errno {
	if flags&unix.MS_RDONLY != 0 && m.Flags()&unix.MS_RDONLY == 0 && m.writes.Load() > 0 {
		return unix.EBUSY
	}
	m.flags.Store(uint32(flags))
	if ns := m.ns.Load(); ns != nil {
		ns.changed()
	}
	return 0
}

// remount changes a file system and the mount it is reached by.
func (ns *MountNamespace) remount(c Caller, p Path, flags uint64, data string) abi.Errno {
	if p.Dentry != p.Mount.Root {
		return unix.EINVAL
	}
	fs := p.Mount.FS
	if flags&unix.MS_RDONLY != 0 && !fs.ReadOnly.Load() && ns.writers(fs) > 0 {
		return unix.EBUSY
	}
	if e := fs.Ops.Remount(c, strings.Clone(data)); e != 0 {
		return e
	}
	fs.ReadOnly.Store(flags&unix.MS_RDONLY != 0)
	p.Mount.flags.Store(uint32(mountFlags(flags)))
	ns.changed()
	return 0
}

func (ns *MountNamespace) writers(fs *Filesystem) (n int32) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for _, m := range ns.order {
		if m.FS == fs {
			n += m.writes.Load()
		}
	}
	return n
}

// each calls f for m and, if recursive, the mounts below. ns.mu is held.
func (m *Mount) each(recursive bool, f func(*Mount)) {
	f(m)
	if recursive {
		for _, ch := range m.children {
			ch.each(true, f)
		}
	}
}

// SetPropagation sets MS_SHARED, … of the mount at p, with MS_REC of those
// below.
func (ns *MountNamespace) SetPropagation(p Path, flags uint64) abi.Errno {
	kind := flags & propagation
	if kind&(kind-1) != 0 || kind == 0 || flags&^uint64(propagation|unix.MS_REC|unix.MS_SILENT) != 0 {
		return unix.EINVAL
	}
	if p.Dentry != p.Mount.Root {
		return unix.EINVAL
	}
	ns.mu.Lock()
	p.Mount.each(flags&unix.MS_REC != 0, func(m *Mount) {
		ns.setPropagation(m, kind)
	})
	ns.mu.Unlock()
	ns.changed()
	return 0
}

// SetMountFlags is the change of one mount's flags (mount_setattr): it clears,
// then sets, recursively if so asked.
func (ns *MountNamespace) SetMountFlags(p Path, set, clear uint64, recursive bool) abi.Errno {
	if p.Dentry != p.Mount.Root {
		return unix.EINVAL
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	busy := false
	p.Mount.each(recursive, func(m *Mount) {
		busy = busy || set&unix.MS_RDONLY != 0 && m.Flags()&unix.MS_RDONLY == 0 && m.writes.Load() > 0
	})
	if busy {
		return unix.EBUSY
	}
	p.Mount.each(recursive, func(m *Mount) {
		m.flags.Store(uint32(m.Flags()&^clear | set&MountFlags))
	})
	ns.seq.Add(1)
	return 0
}

// DoUmount is umount2(2).
func DoUmount(c Caller, fs *FSContext, target string, flags uint32) abi.Errno {
	const nofollow = 8
	if flags&^uint32(unix.MNT_FORCE|unix.MNT_DETACH|unix.MNT_EXPIRE|nofollow) != 0 {
		return unix.EINVAL
	}
	if flags&unix.MNT_EXPIRE != 0 && flags&(unix.MNT_FORCE|unix.MNT_DETACH) != 0 {
		return unix.EINVAL
	}
	how := LookupFollow
	if flags&nofollow != 0 {
		how = 0
	}
	p, e := Walk(c, At{FS: fs}, target, how)
	if e != 0 {
		return e
	}
	e = p.umountable(c)
	m := p.Mount
	p.DecRef()
	if e != 0 {
		return e
	}
	return m.umount(flags)
}

func (p Path) umountable(c Caller) abi.Errno {
	if !c.Creds().Capable(auth.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	if p.Dentry != p.Mount.Root || p.Namespace() == nil {
		return unix.EINVAL
	}
	if p.Mount.at.Load() == nil {
		return unix.EBUSY
	}
	return 0
}

func (m *Mount) umount(flags uint32) abi.Errno {
	ns := m.ns.Load()
	if ns == nil {
		return unix.EINVAL
	}
	ns.mu.Lock()
	if m.at.Load() == nil {
		ns.mu.Unlock()
		return unix.EINVAL
	}
	busy := m.refs.Load() != 0 || len(m.children) != 0
	for _, c := range ns.propagated(m) {
		busy = busy || c.refs.Load() != 0
	}
	if flags&unix.MNT_DETACH == 0 && busy {
		ns.mu.Unlock()
		return unix.EBUSY
	}
	if flags&unix.MNT_EXPIRE != 0 && !m.expire() {
		ns.mu.Unlock()
		return unix.EAGAIN
	}
	publish := ns.batch()
	ns.detachEverywhere(m)
	publish()
	ns.mu.Unlock()
	ns.changed()
	return 0
}

// expire marks m, and tells whether it was marked already.
func (m *Mount) expire() bool {
	const mark = 1 << 31
	old := m.flags.Or(mark)
	return old&mark != 0
}

// PivotRoot is pivot_root(2). each calls its argument with every task's
// context.
func PivotRoot(c Caller, fs *FSContext, newRoot, putOld string, each func(func(*FSContext))) abi.Errno {
	if !c.Creds().Capable(auth.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	at := At{FS: fs}
	np, e := Walk(c, at, newRoot, LookupFollow|LookupDirectory)
	if e != 0 {
		return e
	}
	defer np.DecRef()
	op, e := Walk(c, at, putOld, LookupFollow|LookupDirectory)
	if e != 0 {
		return e
	}
	defer op.DecRef()
	root := fs.Root()
	root.IncRef()
	defer root.DecRef()
	if e := pivot(root, np, op); e != 0 {
		return e
	}
	each(func(f *FSContext) {
		r, w := f.Both()
		if r == root {
			f.SetRoot(np)
		}
		if w == root {
			f.SetCwd(np)
		}
	})
	return 0
}

// pivot puts the mount of root at op, and that of np where root was.
func pivot(root, np, op Path) abi.Errno {
	ns := root.Namespace()
	if ns == nil || np.Namespace() != ns || op.Namespace() != ns {
		return unix.EINVAL
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if np.Mount == root.Mount || op.Mount == root.Mount {
		return unix.EBUSY
	}
	if root.Dentry != root.Mount.Root || np.Dentry != np.Mount.Root || np.Mount.at.Load() == nil {
		return unix.EINVAL
	}
	if !reaches(np, op) || !reaches(root, np) {
		return unix.EINVAL
	}
	if np.Mount.peer != 0 || root.Mount.peer != 0 {
		return unix.EINVAL
	}
	where := root.Mount.at.Load()
	ns.unhook(np.Mount)
	if where != nil {
		ns.unhook(root.Mount)
		ns.attach(np.Mount, Path{where.parent, where.dentry})
	} else {
		ns.root = np.Mount
		ns.order = append([]*Mount{np.Mount}, without(ns.order, root.Mount)...)
	}
	ns.attach(root.Mount, op)
	ns.seq.Add(1)
	return 0
}

// reaches tells whether p is top or below it, over mounts.
func reaches(top, p Path) bool {
	for {
		if p.Mount == top.Mount {
			return under(p.Dentry, top.Dentry)
		}
		at := p.Mount.at.Load()
		if at == nil {
			return false
		}
		p = Path{at.parent, at.dentry}
	}
}
