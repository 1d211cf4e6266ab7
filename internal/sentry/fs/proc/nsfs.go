package proc

import (
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// nsfs holds a file for each namespace, so that links to it can be compared by
// device and inode number.
var nsfs struct {
	sync.Mutex
	mount *vfs.Mount
	files map[string]*vfs.FileDescription
}

// nsFile gives the path of a namespace's file, borrowed: it stays for ever.
func nsFile(name string, id uint64) vfs.Path {
	nsfs.Lock()
	defer nsfs.Unlock()
	if nsfs.mount == nil {
		nsfs.mount = vfs.NewInternalMount(vfs.NewFilesystem("nsfs", 0x6e736673, kernfs.NewDir(), vfs.FilesystemDefaults{}))
		nsfs.files = map[string]*vfs.FileDescription{}
	}
	fd := nsfs.files[name]
	if fd == nil {
		kind, _, _ := strings.Cut(name, ":")
		n := &nsNode{kind: kind}
		n.Init(unix.S_IFREG | 0444)
		n.Ino = id
		fd = vfs.DescribeLoose(nsfs.mount, name, n, vfs.FileDefaults{}, unix.O_RDONLY, vfs.FMODE_PATH)
		nsfs.files[name] = fd
	}
	return fd.Path
}

// nsNode is a namespace's file: it can be opened, compared and asked what it is
// (setns(2) is refused).
type nsNode struct {
	kernfs.Node
	kind string
}

func (n *nsNode) Open(vfs.Caller, *vfs.FileDescription) (vfs.File, abi.Errno) {
	return nsOpen{kind: n.kind}, 0
}

// nsOpen is an open one.
type nsOpen struct {
	vfs.FileDefaults
	kind string
}

// Requests of ioctl_ns(2).
const (
	NS_GET_USERNS    = 0xb701
	NS_GET_PARENT    = 0xb702
	NS_GET_NSTYPE    = 0xb703
	NS_GET_OWNER_UID = 0xb704
)

// nsTypes are the CLONE_NEW* flags of the kinds.
var nsTypes = map[string]uint64{
	"cgroup": unix.CLONE_NEWCGROUP, "ipc": unix.CLONE_NEWIPC, "mnt": unix.CLONE_NEWNS, "net": unix.CLONE_NEWNET, "pid": unix.CLONE_NEWPID,
	"time": unix.CLONE_NEWTIME, "user": unix.CLONE_NEWUSER, "uts": unix.CLONE_NEWUTS,
}

// fdInstaller is a caller with a table of descriptors.
type fdInstaller interface {
	InstallFD(fd *vfs.FileDescription, cloexec bool) (int32, abi.Errno)
}

// Ioctl is ioctl_ns(2). What stands above a sandbox's namespaces is out of its
// sight.
func (f nsOpen) Ioctl(c vfs.Caller, _ *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	switch cmd {
	case NS_GET_NSTYPE:
		return nsTypes[f.kind], 0
	case NS_GET_OWNER_UID:
		if f.kind != "user" {
			return 0, unix.EINVAL
		}
		return 0, mem.CopyOut(arg, make([]byte, 4)) // root's
	case NS_GET_PARENT:
		if f.kind != "user" && f.kind != "pid" {
			return 0, unix.EINVAL
		}
		return 0, unix.EPERM
	case NS_GET_USERNS:
		if f.kind == "user" {
			return 0, unix.EPERM
		}
		return openUserNS(c)
	}
	return 0, abi.ENOIOCTLCMD
}

// openUserNS opens the user namespace, which all others belong to.
func openUserNS(c vfs.Caller) (uint64, abi.Errno) {
	in, ok := c.(fdInstaller)
	if !ok {
		return 0, unix.EPERM
	}
	fd := vfs.NewDescription(nsFile(nsTarget("user", userNS), userNS), nsOpen{kind: "user"}, unix.O_RDONLY, vfs.FMODE_READ)
	num, e := in.InstallFD(fd, true)
	if e != 0 {
		fd.DecRef()
		return 0, e
	}
	return uint64(num), 0
}

// nsTarget is what a link to a namespace shows.
func nsTarget(kind string, id uint64) string { return kind + ":[" + strconv.FormatUint(id, 10) + "]" }
