package proc

import (
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
		n := &nsNode{}
		n.Init(unix.S_IFREG | 0444)
		n.Ino = id
		fd = vfs.DescribeLoose(nsfs.mount, name, n, vfs.FileDefaults{}, unix.O_RDONLY, vfs.FMODE_PATH)
		nsfs.files[name] = fd
	}
	return fd.Path
}

// nsNode is a namespace's file: it can be opened and compared, and nothing
// else (setns(2) is refused).
type nsNode struct{ kernfs.Node }

func (n *nsNode) Open(vfs.Caller, *vfs.FileDescription) (vfs.File, abi.Errno) {
	return vfs.FileDefaults{}, 0
}
