package vfs

import (
	"maps"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// MountFlags are the per-mount MS_* flags.
const MountFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC |
	unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME | unix.MS_STRICTATIME | msNosymfollow

const msNosymfollow = 0x100

// Mount is one mount: a file system, or a part of it, at a place.
type Mount struct {
	ID     int           // mountinfo's first field
	FS     *Filesystem   // constant
	Root   *Dentry       // constant: where in FS it begins
	Source string        // constant
	flags  atomic.Uint32 // MountFlags
	refs   atomic.Int32  // pins of paths in it
	writes atomic.Int32  // descriptions open for writing through it
	dying  atomic.Bool   // detached: the last pin ends it

	// ns is nil for internal and for detached mounts, at for these and for
	// the root. Written under MountNamespace.mu, read without it.
	ns atomic.Pointer[MountNamespace]
	at atomic.Pointer[mountPoint]

	// Under MountNamespace.mu.
	children []*Mount
	prop     uint64 // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE
	peer     int    // peer group, if shared
	master   int    // the group that it receives from, if a slave
}

// mountPoint is where a mount hangs.
type mountPoint struct {
	parent *Mount
	dentry *Dentry
}

// MountNamespace is the tree of mounts.
type MountNamespace struct {
	mu    sync.Mutex
	root  *Mount
	order []*Mount // as they were mounted
	// table finds the mount on top of a place; copied on change.
	table atomic.Pointer[map[mountPoint]*Mount]
	seq   atomic.Uint64
	queue waiter.Queue
	next  map[mountPoint]*Mount // of a batch, under mu
}

var (
	lastMount   atomic.Int64
	lastPeer    atomic.Int64
	lastAnonDev atomic.Uint32
	// moves counts renames and changes of mounts, for walks that must not
	// meet one half-way.
	moves atomic.Uint64
)

// NewAnonDev gives a device number of its own for a file system without one.
func NewAnonDev() uint64 { return MakeDev(0, 20+lastAnonDev.Add(1)) }

// Flags gives the mount's MS_* flags.
func (m *Mount) Flags() uint64 { return uint64(m.flags.Load()) }

// ReadOnly tells whether nothing may be changed through the mount.
func (m *Mount) ReadOnly() bool {
	return m.flags.Load()&unix.MS_RDONLY != 0 || m.FS.ReadOnly.Load()
}

// IncRef pins the path once more.
func (p Path) IncRef() {
	if p.Dentry == nil {
		return
	}
	p.Dentry.refs.Add(1)
	p.Mount.refs.Add(1)
}

// DecRef unpins the path.
func (p Path) DecRef() {
	if p.Dentry == nil {
		return
	}
	p.Dentry.unpin()
	if p.Mount.refs.Add(-1) == 0 && p.Mount.dying.Load() {
		p.Mount.end()
	}
}

// Inode gives the path's inode.
func (p Path) Inode() Inode { return p.Dentry.inode }

// Namespace gives the namespace of a path; nil for internal and detached mounts.
func (p Path) Namespace() *MountNamespace { return p.Mount.ns.Load() }

// end releases the file system of a dying mount without pins, once.
func (m *Mount) end() {
	if m.dying.CompareAndSwap(true, false) && m.FS.mounts.Add(-1) == 0 {
		m.FS.Ops.Release()
	}
}

// newMount makes a mount that hangs nowhere; root is pinned by it.
func newMount(fs *Filesystem, root *Dentry, source string, flags uint64) *Mount {
	m := &Mount{ID: int(lastMount.Add(1)), FS: fs, Root: root, Source: source, prop: unix.MS_PRIVATE}
	m.flags.Store(uint32(flags & MountFlags))
	root.refs.Add(1)
	fs.mounts.Add(1)
	return m
}

// NewMountNamespace makes one whose root is fs.
func NewMountNamespace(fs *Filesystem, source string, flags uint64) *MountNamespace {
	ns := &MountNamespace{}
	ns.table.Store(&map[mountPoint]*Mount{})
	ns.root = newMount(fs, fs.root, source, mountFlags(flags))
	ns.root.ns.Store(ns)
	ns.order = []*Mount{ns.root}
	return ns
}

// NewInternalMount makes a mount that no path leads to (pipefs, memfd).
func NewInternalMount(fs *Filesystem) *Mount { return newMount(fs, fs.root, "none", 0) }

// mountFlags turns mount(2)'s flags into a mount's: relatime unless said.
func mountFlags(flags uint64) uint64 {
	f := flags & (MountFlags &^ (unix.MS_RELATIME | unix.MS_STRICTATIME))
	if f&unix.MS_NOATIME == 0 && flags&unix.MS_STRICTATIME == 0 {
		f |= unix.MS_RELATIME
	}
	return f
}

// Root gives the root of the first mount, borrowed.
func (ns *MountNamespace) Root() Path {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return Path{ns.root, ns.root.Root}.descend()
}

// Queue is notified of Err|Pri when mounts change (poll of /proc/self/mounts).
func (ns *MountNamespace) Queue() *waiter.Queue { return &ns.queue }

// Seq changes with every change of the mounts.
func (ns *MountNamespace) Seq() uint64 { return ns.seq.Load() }

// descend goes to the root of the topmost mount at p.
func (p Path) descend() Path {
	for p.Dentry.mounted.Load() != 0 {
		ns := p.Mount.ns.Load()
		if ns == nil {
			return p
		}
		m := (*ns.table.Load())[mountPoint{p.Mount, p.Dentry}]
		if m == nil {
			return p
		}
		p = Path{m, m.Root}
	}
	return p
}

// attach hangs m at p. ns.mu is held.
func (ns *MountNamespace) attach(m *Mount, p Path) {
	at := &mountPoint{p.Mount, p.Dentry}
	p.Dentry.refs.Add(1)
	p.Dentry.mounted.Add(1)
	m.at.Store(at)
	m.ns.Store(ns)
	ns.edit(func(t map[mountPoint]*Mount) { t[*at] = m })
	p.Mount.children = append(p.Mount.children, m)
	ns.order = append(ns.order, m)
}

// unhook takes m from where it hangs, without ending it. ns.mu is held.
func (ns *MountNamespace) unhook(m *Mount) {
	at := m.at.Load()
	ns.edit(func(t map[mountPoint]*Mount) { delete(t, *at) })
	at.parent.children = without(at.parent.children, m)
	ns.order = without(ns.order, m)
	m.at.Store(nil)
	at.dentry.mounted.Add(-1)
	at.dentry.unpin()
}

// detach ends m and all that hangs below it. ns.mu is held.
func (ns *MountNamespace) detach(m *Mount) {
	for len(m.children) > 0 {
		ns.detach(m.children[len(m.children)-1])
	}
	ns.unhook(m)
	ns.leaveGroup(m)
	m.ns.Store(nil)
	m.Root.unpin()
	m.dying.Store(true)
	if m.refs.Load() == 0 {
		m.end()
	}
}

// batch has many changes published as one, by the function it gives.
func (ns *MountNamespace) batch() (publish func()) {
	if ns.next != nil {
		return func() {}
	}
	ns.next = maps.Clone(*ns.table.Load())
	return func() {
		t := ns.next
		ns.next = nil
		ns.table.Store(&t)
		moves.Add(1)
	}
}

// now is the table with all changes. ns.mu is held.
func (ns *MountNamespace) now() map[mountPoint]*Mount {
	if ns.next != nil {
		return ns.next
	}
	return *ns.table.Load()
}

// edit publishes a changed copy of the table.
func (ns *MountNamespace) edit(change func(map[mountPoint]*Mount)) {
	if ns.next != nil {
		change(ns.next)
		return
	}
	old := *ns.table.Load()
	t := make(map[mountPoint]*Mount, len(old)+1)
	for k, v := range old {
		t[k] = v
	}
	change(t)
	ns.table.Store(&t)
	moves.Add(1)
}

// changed tells those who poll. ns.mu is not held.
func (ns *MountNamespace) changed() {
	ns.seq.Add(1)
	ns.queue.Notify(waiter.Err | waiter.Pri)
}

func without(list []*Mount, m *Mount) []*Mount {
	out := make([]*Mount, 0, len(list))
	for _, x := range list {
		if x != m {
			out = append(out, x)
		}
	}
	return out
}

// MountAt mounts fs at target with per-mount flags, without a check of
// permission: for boot, and for DoMount after its checks.
func (ns *MountNamespace) MountAt(target Path, fs *Filesystem, source string, flags uint64) (*Mount, abi.Errno) {
	m := newMount(fs, fs.root, source, mountFlags(flags))
	if e := ns.graft(m, target, 1); e != 0 {
		m.Root.unpin()
		fs.mounts.Add(-1)
		return nil, e
	}
	ns.mu.Lock()
	ns.propagate(m)
	ns.mu.Unlock()
	return m, 0
}

// graft attaches m on top of target; n mounts are to come there with it.
func (ns *MountNamespace) graft(m *Mount, target Path, n int) abi.Errno {
	ns.mu.Lock()
	target = target.descend()
	if isDir(target.Inode()) != isDir(m.Root.inode) {
		ns.mu.Unlock()
		return unix.ENOTDIR
	}
	if target.Dentry.flags.Load()&dentryUnlinked != 0 {
		ns.mu.Unlock()
		return unix.ENOENT
	}
	if target.Mount.ns.Load() != ns {
		ns.mu.Unlock()
		return unix.EINVAL
	}
	if !ns.room(target.Mount, n, n) {
		ns.mu.Unlock()
		return unix.ENOSPC
	}
	ns.attach(m, target)
	ns.mu.Unlock()
	ns.changed()
	return 0
}

// BindAt mounts what is at source at target too, without a check of
// permission; recursive: with the mounts below. flags are added to those of
// the source's mount.
func (ns *MountNamespace) BindAt(source, target Path, flags uint64, recursive bool) (*Mount, abi.Errno) {
	if source.Mount.prop&unix.MS_UNBINDABLE != 0 {
		return nil, unix.EINVAL
	}
	m := copyMount(source.Mount, source.Dentry)
	m.flags.Or(uint32(flags & MountFlags))
	// The copies below are made before the graft: target may be below source.
	type copied struct{ from, to *Mount }
	var below []copied
	if recursive {
		ns.mu.Lock()
		var walk func(from, to *Mount)
		walk = func(from, to *Mount) {
			for _, ch := range from.children {
				if ch.prop&unix.MS_UNBINDABLE != 0 || !under(ch.at.Load().dentry, to.Root) {
					continue
				}
				n := copyMount(ch, ch.Root)
				n.at.Store(&mountPoint{to, ch.at.Load().dentry})
				below = append(below, copied{ch, n})
				walk(ch, n)
			}
		}
		walk(source.Mount, m)
		ns.mu.Unlock()
	}
	if e := ns.graft(m, target, 1+len(below)); e != 0 {
		for _, b := range below {
			b.to.Root.unpin()
			b.to.FS.mounts.Add(-1)
		}
		m.Root.unpin()
		m.FS.mounts.Add(-1)
		return nil, e
	}
	ns.mu.Lock()
	publish := ns.batch()
	for _, b := range below {
		at := b.to.at.Load()
		ns.attach(b.to, Path{at.parent, at.dentry})
	}
	ns.propagate(m)
	publish()
	ns.mu.Unlock()
	return m, 0
}

func copyMount(from *Mount, root *Dentry) *Mount {
	m := newMount(from.FS, root, from.Source, from.Flags())
	m.prop, m.peer, m.master = from.prop, from.peer, from.master
	return m
}

// under tells whether d is top or below it.
func under(d, top *Dentry) bool {
	for ; d != nil; d = d.Parent() {
		if d == top {
			return true
		}
	}
	return false
}
