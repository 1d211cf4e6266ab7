package vfs

import (
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
	ID     int             // mountinfo's first field
	FS     *Filesystem     // constant
	Root   *Dentry         // constant: where in FS it begins
	Source string          // constant
	ns     *MountNamespace // nil: internal, or detached
	flags  atomic.Uint32   // MountFlags
	refs   atomic.Int32    // pins of paths in it
	writes atomic.Int32    // descriptions open for writing through it

	// Under ns.mu; at is read without it.
	at       atomic.Pointer[mountPoint]
	children []*Mount
	prop     uint32 // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE
	peer     int    // peer group, if shared
}

// mountPoint is where a mount hangs; nil for the namespace's root.
type mountPoint struct {
	parent *Mount
	dentry *Dentry
}

// MountNamespace is the tree of mounts.
type MountNamespace struct {
	mu    sync.Mutex
	root  *Mount
	order []*Mount
	// table finds the mount on top of a dentry: copied on change.
	table atomic.Pointer[map[mountPoint]*Mount]
	seq   atomic.Uint64
	queue waiter.Queue
}

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
	p.Mount.refs.Add(-1)
	p.Dentry.unpin()
}

// Inode gives the path's inode.
func (p Path) Inode() Inode { return p.Dentry.inode }

// MountInfo is a line of /proc/PID/mountinfo and of /proc/PID/mounts.
type MountInfo struct {
	ID, Parent int
	Dev        uint64
	Root       string // of the mount within its file system
	Point      string // relative to the reader's root
	Flags      uint64
	Optional   string // "shared:1"
	Type       string
	Source     string
	SuperOpts  string // "rw,size=64k"
}

// Queue is notified of Err|Pri when mounts change (poll of /proc/self/mounts).
func (ns *MountNamespace) Queue() *waiter.Queue { return &ns.queue }

// Seq changes with every change of the mounts.
func (ns *MountNamespace) Seq() uint64 { return ns.seq.Load() }

// Root gives the root of the first mount, borrowed.
func (ns *MountNamespace) Root() Path { return Path{ns.root, ns.root.Root} }

// Namespace gives the namespace of a path; nil for internal mounts.
func (p Path) Namespace() *MountNamespace { return p.Mount.ns }

// GetMountInfo lists the mounts that are visible below root, in order.
func (ns *MountNamespace) GetMountInfo(root Path) []MountInfo { return nil }

// NewMountNamespace makes one whose root is fs.
func NewMountNamespace(fs *Filesystem, source string, flags uint64) *MountNamespace {
	return &MountNamespace{}
}

// MountAt mounts fs at target with per-mount flags, without a check of
// permission: for boot.
func (ns *MountNamespace) MountAt(target Path, fs *Filesystem, source string, flags uint64) (*Mount, abi.Errno) {
	return nil, unix.ENOSYS
}

// BindAt mounts what is at source at target too, for boot. recursive: with the
// mounts below.
func (ns *MountNamespace) BindAt(source, target Path, flags uint64, recursive bool) (*Mount, abi.Errno) {
	return nil, unix.ENOSYS
}

// RegisterFilesystem makes a kind known to mount(2).
func RegisterFilesystem(t *FSType) {}

// FilesystemTypes lists the kinds, in order of registration.
func FilesystemTypes() []*FSType { return nil }

// DoMount is mount(2), permissions included.
func DoMount(c Caller, fs *FSContext, source, target, fstype string, flags uint64, data string) abi.Errno {
	return unix.ENOSYS
}

// DoUmount is umount2(2).
func DoUmount(c Caller, fs *FSContext, target string, flags uint32) abi.Errno { return unix.ENOSYS }

// PivotRoot is pivot_root(2). each calls its argument with every task's
// context.
func PivotRoot(c Caller, fs *FSContext, newRoot, putOld string, each func(func(*FSContext))) abi.Errno {
	return unix.ENOSYS
}

// SetPropagation sets MS_SHARED, … of a mount, with MS_REC of those below.
func (ns *MountNamespace) SetPropagation(p Path, flags uint64) abi.Errno { return unix.ENOSYS }

// SetMountFlags is the remount of one mount (mount_setattr): it clears, then
// sets per-mount flags, recursively if so asked.
func (ns *MountNamespace) SetMountFlags(p Path, set, clear uint64, recursive bool) abi.Errno {
	return unix.ENOSYS
}
